"""How far a run is: rows by state, rows a second, what went wrong last, and what is out for how long."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

from batchjob.model import Chunk, RowResult
from batchjob.settings.config import JobConfig
from batchjob.settings.failures import BLANK
from batchjob.states import TRANSITIONS, State

RATE_SECONDS = 15
"""Rows a second are those of so many last seconds."""


class Progress:
    """Rows by state, pending including those in flight; `mark` is called once a second.

    Rows that this run does not want (behind its limit, or not put back for it) are in `counts` and not in `total`.
    """

    def __init__(self, config: JobConfig) -> None:
        self.counts: Counter[str] = Counter()
        self.rows_per_second: float | None = None
        self.reading = False  # more rows are to come from the input
        self.last_kind = ""  # why a row failed last
        self._limit, self._skips_blank = config.limit, config.blank == "skip"
        self.unwanted = 0  # pending rows that are not for this run
        self._skipped = 0
        self._marks: deque[tuple[float, int]] = deque(maxlen=RATE_SECONDS)
        self._out: dict[int, float] = {}  # request -> when it went out, the oldest first

    def begin(self, counts: Mapping[str, int], failures: Mapping[str, int], wanted: int) -> None:
        """How the job stands when the run begins, and how many of its pending rows the run wants."""
        self.counts.update(counts)
        self._skipped = failures.get(BLANK, 0) if self._skips_blank else 0
        self.unwanted = self.counts[State.PENDING] - wanted

    def refresh(self, counts: Mapping[str, int], failures: Mapping[str, int]) -> None:
        """How the job stands by the work of all its runs."""
        self.counts = Counter(counts)
        self.counts[State.PENDING] += self.counts.pop(State.IN_FLIGHT, 0)
        self._skipped = failures.get(BLANK, 0) if self._skips_blank else 0

    def arrived(self, chunk: Chunk) -> None:
        """A chunk of the input is in the work table."""
        self.counts[State.PENDING] += len(chunk.rows)
        if self._limit is not None:
            behind = chunk.first_number + len(chunk.rows) - 1 - self._limit
            self.unwanted += min(max(behind, 0), len(chunk.rows))

    def count(self, result: RowResult) -> None:
        """A row has its end, if this is one."""
        state = TRANSITIONS[result.event][1]
        if state is not State.PENDING:
            self.counts[State.PENDING] -= 1
            self.counts[state] += 1
            if state is not State.DONE:
                self._count_failed(result.error_kind or "")

    def _count_failed(self, kind: str) -> None:
        if self._skips_blank and kind == BLANK:
            self._skipped += 1
        else:
            self.last_kind = kind

    @property
    def total(self) -> int:
        """Rows read so far that have their end or are wanted by this run."""
        return sum(self.counts.values()) - self.unwanted

    @property
    def settled(self) -> int:
        """Rows that have their end, for now."""
        return self.counts[State.DONE] + self.failed + self._skipped

    @property
    def left(self) -> int:
        """Rows that this run still wants, of those that are read."""
        return self.total - self.settled

    @property
    def failed(self) -> int:
        """Rows that failed or are held, but for those that are skipped."""
        return self.counts[State.FAILED] + self.counts[State.UNCONFIRMED] - self._skipped

    # ------------------------------------------------------------ in time

    def mark(self, now: float) -> None:
        """Work out the rate anew."""
        self._marks.append((now, self.settled))
        since, then = self._marks[0]
        self.rows_per_second = (self.settled - then) / (now - since) if now - since > 0.5 else None

    def sent(self, request_id: int, at: float) -> None:
        """A request goes out."""
        self._out[request_id] = at

    def back(self, request_id: int) -> None:
        """It is over."""
        self._out.pop(request_id, None)

    def oldest_seconds(self, now: float) -> float:
        """How long the oldest request that is out has been; 0 where none is."""
        return now - next(iter(self._out.values()), now)
