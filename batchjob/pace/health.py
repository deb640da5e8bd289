"""Is the endpoint working, and does the job make sense to it? Decided by what the last requests came to."""

from __future__ import annotations

from collections import deque

from batchjob.exchange.decide import PAID_KINDS, Signal, advice_of
from batchjob.model import Ending, Row, RowResult
from batchjob.states import Event, JobState, Source, plain_kind

OUTAGE_IN_A_ROW = 20
OUTAGE_WINDOW = 100
BREATH_SECONDS, BREATHS = 0.01, 10
"""How long nothing is sent after a connection that was not made, times how many were not in a row, up to BREATHS.
Refusals come at once: without it a job with many rows tries hundreds in a second."""
NOBODY_SECONDS, NOBODY_LONG_SECONDS = 1.0, 5.0
"""Connections that are not made are an outage only when nothing was answered for so long: half of a balancer may be
down, or a server start again. After the longer time two will do, for each may take its --connect-timeout."""
BY_CHANCE = 1e-9
"""A row that was turned away each time is to blame itself when others fare so much better that this is less likely."""
FIRST_PROBE_SECONDS = 1.0
LAST_PROBE_SECONDS = 60.0
OF_THE_ROW = frozenset({"content_filter", "too_long", "filtered_answer", "refused_by_model"})
"""Failures that say nothing of the job: however many rows fail so, the others go on."""
ALIKE_AT_FIRST = 5
ALIKE_IN_A_ROW = 20


class Health:
    """Probe first, fan out when one request has been answered; in an outage, probe at growing intervals.

    A row that fails while others are answered is to blame itself; rows that fail while nothing is answered are not.
    So a failure is held against the row (costs it an attempt) or against the endpoint (towards an outage), and a row
    that failed once, then saw others answered, and failed again, no longer speaks for the endpoint. Where the endpoint
    turns requests away, it is held against a row only if chance cannot have it turned away so often: else one that
    breaks what is behind a proxy would be sent, and perhaps paid, for ever. What was never sent is held against no row.
    """

    def __init__(self, *, now: float) -> None:
        self.probing = True  # one request at a time
        self.probe_at = now  # none before this time, probing or not
        self.outage_since: float | None = None
        self._last_good = now
        self._excused = 0.0  # seconds of waiting that the endpoint asked for since
        self._still = 0.0  # seconds since in which nobody listened
        self._asked_until = now
        self._good = 0
        self._bad_in_a_row = 0
        self._window: deque[bool] = deque(maxlen=OUTAGE_WINDOW)
        self._interval = FIRST_PROBE_SECONDS
        self.said = ""  # of the latest failure, in the endpoint's or the system's own words
        self._failed_at: dict[int, int] = {}  # row -> how many were answered when it last failed
        self._turned_away: dict[int, int] = {}  # row -> how often it was, with others answered in between
        self._lately: deque[bool] = deque(maxlen=OUTAGE_WINDOW)  # whether the last requests were, since one failed

    def good(self, now: float, rows: tuple[Row, ...] = ()) -> None:
        """A request was answered, or rejected for what it said: the endpoint works."""
        if self.probing:
            self.probing, self.probe_at = False, now
        self.outage_since = None
        self._last_good = now
        self._excused = self._still = 0.0
        self._good += 1
        self._bad_in_a_row = 0
        self._interval = FIRST_PROBE_SECONDS
        if self._window:
            self._window.append(False)
            self._lately.append(False)
        if self._failed_at:
            for row in rows:
                self.forget(row.number)

    def bad(self, signal: Signal, row: Row, now: float) -> bool:
        """A request failed that was not answered; whether that costs its row an attempt."""
        before = self._failed_at.get(row.number)
        sent = signal is not Signal.UNREACHABLE
        suspect = sent and before is not None and self._good > before
        if sent:
            self._failed_at[row.number] = self._good
        to_blame = self._is_to_blame(row, suspect=suspect) if signal is Signal.UNAVAILABLE else suspect
        speaks = not suspect and (signal is not Signal.ERRED or before is None)
        if speaks:
            self._bad_in_a_row += 1
            self._window.append(True)
        in_outage = self.outage_since is not None
        if in_outage:
            if now >= self.probe_at:  # what fails before that was sent before the outage was noticed
                self._probe_later(now)
        elif self._is_outage(now, sent=sent):
            self.probing = True
            self.outage_since = self._last_good
            self._window.clear()
            self._probe_later(now)
        elif not sent:
            self.probe_at = max(self.probe_at, now + BREATH_SECONDS * min(self._bad_in_a_row, BREATHS))
        return not in_outage and (signal is Signal.ERRED or to_blame)

    def _is_to_blame(self, row: Row, *, suspect: bool) -> bool:
        """Whether a row that was turned away once more is so for what it is."""
        self._lately.append(True)
        if not suspect:
            return False
        times = self._turned_away[row.number] = self._turned_away.get(row.number, 0) + 1
        return (sum(self._lately) / len(self._lately)) ** times < BY_CHANCE

    def _is_outage(self, now: float, *, sent: bool) -> bool:
        many = self._bad_in_a_row >= OUTAGE_IN_A_ROW or sum(self._window) * 2 >= OUTAGE_WINDOW
        if sent:
            return many
        silent = self.down_seconds(now)
        return silent >= NOBODY_SECONDS and (many or (silent >= NOBODY_LONG_SECONDS and self._bad_in_a_row > 1))

    def _probe_later(self, now: float) -> None:
        self.probe_at = max(self.probe_at, now + self._interval)
        self._interval = min(self._interval * 2, LAST_PROBE_SECONDS)

    def probe_by(self, at: float) -> None:
        """The run gives up then: one more try is made before."""
        self.probe_at = min(self.probe_at, at)

    def stood_still(self, seconds: float) -> None:
        """This process was stopped, or the machine asleep: nobody could be heard meanwhile."""
        self._still += seconds

    def told_to_wait(self, seconds: float, now: float, *, most: float) -> None:
        """The endpoint asked for a pause: that time does not count as down, up to `most` seconds of it."""
        asked_until = now + seconds
        self._excused = min(self._excused + max(asked_until - max(self._asked_until, now), 0.0), most)
        self._asked_until = max(self._asked_until, asked_until)

    def down_seconds(self, now: float) -> float:
        """How long nothing has been answered, but for the time that is excused."""
        return now - self._last_good - self._excused - self._still

    def forget(self, number: int) -> None:
        """The row is settled."""
        self._failed_at.pop(number, None)
        self._turned_away.pop(number, None)


class AlikeFailures:
    """Rows that fail alike, one after the other: then it is not the rows, it is the job.

    Stops at the first five distinct rows while the job has no label, later at twenty in a row. A fallback is no label.

    Where several runs share a job, nobody but the store can count: then each such row is said to be enough.
    """

    enough = ALIKE_AT_FIRST, ALIKE_IN_A_ROW

    def __init__(self, *, labelled: bool = False, shared: bool = False) -> None:
        self._labelled_any, self._shared = labelled, shared
        self._kind = ""
        self._rows: set[int] = set()

    def watch(self, result: RowResult, row: Row) -> Ending | None:
        """A row has its end; how the job ends where all rows fail alike, for it is not the rows then."""
        if result.event is Event.COMPLETE:
            if result.source is not Source.FALLBACK:
                self.labelled()
        elif result.event is Event.FAIL and result.error_kind not in OF_THE_ROW:
            kind = result.error_kind or ""
            if self.failed(kind, row):
                reason = f"row after row failed alike ({kind}: {result.error}). What to do: {advice_of(kind)}"
                return Ending(JobState.REFUSED, reason, 3, kind, puts_back=plain_kind(kind) not in PAID_KINDS)
        return None

    def labelled(self) -> None:
        """A row got its label."""
        self._labelled_any = True
        if self._rows:
            self._rows.clear()

    def failed(self, kind: str, row: Row) -> bool:
        """A row failed for its content; whether the job should stop because of it."""
        if kind != self._kind:
            self._kind = kind
            self._rows.clear()
        self._rows.add(row.number)
        return self._shared or len(self._rows) >= (ALIKE_IN_A_ROW if self._labelled_any else ALIKE_AT_FIRST)
