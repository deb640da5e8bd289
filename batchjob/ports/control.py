"""What a store tells a run of a job that others may be working on."""

from __future__ import annotations

from typing import NamedTuple

from batchjob.model import Ending, RowResult, Value
from batchjob.states import JobState

ENDS_ALL = (JobState.REFUSED, JobState.OVER_BUDGET)
"""States in which a run leaves a job because no other could go on either."""

SURE = 0.6
"""Of a lease: for so long after its last commit a run is sure that nobody takes it for dead."""


class Control(Value, frozen=True):
    """What a commit answers with: what the run is to do, for reasons that only the store knows."""

    stop: Ending | None = None
    refused: tuple[int, ...] = ()  # requests of that commit that must not be sent; their rows are as before
    runs: int = 1  # of the job that are at work, this one too
    pause: float = 0.0  # seconds for which none of them sends
    may_send: bool = True  # False: the first request of another run is to be answered before
    lost: int = 0  # requests that other runs had out when they died, counted as lost since the last commit


class Drawn(NamedTuple):
    """What a run may spend. Amounts are picodollars (1e-12 USD)."""

    spent: int  # by all runs of the job so far, lost requests at their worst case
    allowance: int | None  # of this run, with what it has spent or put aside; None: there is no limit
    more: bool = False  # others may leave some of theirs


class Asking(NamedTuple):
    """The row that asks for a text, for all rows of the job with that text."""

    number: int
    result: RowResult | None  # what became of it; None: it is not over
    free: bool = False  # it asks no more, and another one may
