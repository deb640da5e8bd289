"""What is read back of a job: the records that reports, exports and checks are made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from batchjob.model import Job, Outage, Value

RESULT_COLUMNS = ("label", "source", "state", "error")
DETAIL_COLUMNS = (
    "origin",
    "attempts",
    "request_id",
    "answer",
    "model",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "cost_usd",
)
"""Our columns of an export, and those of its details."""
CONFIDENCE = "confidence"
"""A column of jobs that ask for it."""
ROW_NUMBER = "id"
"""Our column for a row without an id."""
MODEL_LABEL = "model_label"
"""The label that the job gave: a column of jobs in which people corrected rows."""


class Problem(NamedTuple):
    """A failed or unconfirmed row, as `errors` shows it."""

    number: int
    line: int
    key: str
    text: str  # its first 200 characters
    error: str | None
    answer: str | None
    attempts: int
    request_id: str | None


class CacheShare(NamedTuple):
    """The labels in the cache that one job bought. Times are UTC epoch seconds."""

    job: str | None  # None: the job is gone
    labels: int
    fallbacks: int
    oldest_at: int
    newest_at: int
    label_bytes: int


class Difference(NamedTuple):
    """A counter that is not what it counts."""

    job: str
    kind: str
    name: str
    kept: int  # what the counter says
    counted: int  # what is there


class ExportRow(NamedTuple):
    """A row with what became of it, and with its last request."""

    number: int
    key: str
    text: str
    rest: str | None
    label: str | None
    source: str | None
    state: str
    error_kind: str | None
    error: str | None
    origin: str | None
    answer: str | None
    attempts: int
    confidence: float | None
    request_id: str | None
    request_rows: str | None
    model: str | None  # that was asked last
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    cost_picousd: int | None


class RowFilter(Value, frozen=True):
    """Which rows of a job are looked for: those that meet every condition. None and "" are none."""

    state: str | None = None
    label: str | None = None
    source: str | None = None
    kind: str | None = None  # of the error of a failed or unconfirmed row
    matched: str | None = None  # how the label was read from the answer
    below: float | None = None  # the confidence in its label is lower
    text: str = ""  # stands in its text, in capitals or not; or is its whole id


class Found(NamedTuple):
    """Rows that were looked for, as ExportRow has them, in input order."""

    rows: list[tuple[Any, ...]]
    looked_to: int  # the number of the last row that was looked at; of the first one, where it went backwards
    ended: bool  # there are no rows behind it


class RowDetail(NamedTuple):
    """A row, with what an export does not need."""

    row: ExportRow
    line: int
    matched: str | None


class FoundRequests(NamedTuple):
    """Requests that carried a row, as RequestRecord has them, and how far was looked."""

    requests: list[tuple[Any, ...]]
    looked_to: int | None  # the last request that was looked at; None: there are no more


class Sent(NamedTuple):
    """When a request went out, and how many of its run before it."""

    request: int
    at: float  # UTC epoch seconds
    rows: int  # that it asked about for the first time or again, and not to compare


class Disagreements(NamedTuple):
    """Rows that got another label when they were asked once more, and how far was looked."""

    numbers: list[int]
    looked_to: int | None  # the last request that was looked at; None: there are no more


class Correction(Value, frozen=True):
    """What a person said of a row: a line of the log of corrections, its keys in this order."""

    at: float  # UTC epoch seconds
    who: str
    job: str  # its uid, which no other job has, in whatever database
    row: int
    label: str | None  # None: the last correction of the row is taken back
    before: str | None  # the label until then, a person's or the job's own
    model: str | None  # the job's own label, which stays
    why: str  # the queue it was reviewed in, or how else it came
    field: str | None = None  # which answer the three labels are of, as an export has it; None: the row has one label


class News(NamedTuple):
    """What was added to a log of corrections since it was looked at."""

    added: list[Correction]
    anew: bool  # they are all that there are: what was known before is not in it any more


class RequestRecord(NamedTuple):
    """A request with what became of it: a line of the ledger a bill can be checked against."""

    request: int
    client_key: str
    request_id: str | None
    rows: str  # JSON: the numbers of its rows
    purpose: str  # label, or verify: a row that has a label is asked once more to compare
    model: str
    sent_at: float
    ended_at: float | None
    outcome: str | None  # None: in flight
    status: int | None
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    cost_source: str | None  # see states.CostSource
    odd_usage: str | None  # JSON: the usage as it was reported, where that cannot be true
    error_kind: str | None
    error: str | None


NOTHING: Mapping[str, bytes] = {}


class Worker(Value, frozen=True):
    """A process that works on a job, where several may. Times are UTC epoch seconds."""

    host: str
    pid: int
    since: float
    rows_per_second: float | None
    doing: str  # what holds it back; "" if nothing does
    silent_seconds: float  # since its last sign of life


class Snapshot(Value, frozen=True):
    """A job as it stands at one instant."""

    job: Job
    alive: bool  # a process is working on it
    tally: dict[str, dict[str, int]]  # kind -> name -> n, as in the tally table
    examples: dict[str, Problem]  # error kind -> its first row
    started_at: float | None  # of the latest run
    updated_at: float
    rows_per_second: float | None
    pacing: str
    writer_pid: int | None
    warnings: tuple[str, ...] = ()  # what is odd in its input
    outage: Outage | None = None  # nothing is answered
    rows_unwanted: int = 0  # pending rows that the run does not want: behind its limit, or not put back for it
    learned: Mapping[str, bytes] = NOTHING  # what its endpoint taught, by model (JSON)
    workers: tuple[Worker, ...] = ()  # where several may work on it: the first to begin first
