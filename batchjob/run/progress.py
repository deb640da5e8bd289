"""How far a run is: rows by state, and rows a second."""

from __future__ import annotations

from collections import Counter, deque

from batchjob.model import RowResult
from batchjob.states import TRANSITIONS, State

RATE_SECONDS = 15
"""Rows a second are those of so many last seconds."""


class Progress:
    """Rows by state, pending including those in flight; `mark` is called once a second."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows_per_second: float | None = None
        self._marks: deque[tuple[float, int]] = deque(maxlen=RATE_SECONDS)

    def count(self, result: RowResult) -> None:
        """A row has its end, if this is one."""
        state = TRANSITIONS[result.event][1]
        if state is not State.PENDING:
            self.counts[State.PENDING] -= 1
            self.counts[state] += 1

    @property
    def total(self) -> int:
        """Rows read so far."""
        return sum(self.counts.values())

    @property
    def settled(self) -> int:
        """Rows that have their end, for now."""
        return self.counts[State.DONE] + self.failed

    @property
    def failed(self) -> int:
        """Rows that failed or are held."""
        return self.counts[State.FAILED] + self.counts[State.UNCONFIRMED]

    def mark(self, now: float) -> None:
        """Work out the rate anew."""
        self._marks.append((now, self.settled))
        since, then = self._marks[0]
        self.rows_per_second = (self.settled - then) / (now - since) if now - since > 0.5 else None
