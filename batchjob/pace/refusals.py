"""What 429s teach of a quota: its rate.

Nothing here reads a clock: `now` and `sent_at` are seconds of the caller's monotonic clock, rates are per second, and
every method must be called with a `now` that does not go back.
"""

from __future__ import annotations

from collections import deque
from math import inf

from batchjob.pace.quota import WINDOW


class Refusals:
    """The rate learned from 429s: what was accepted from the end of one pause to the end of the next, over that time.

    That is the quota on fixed windows, sliding windows and buckets alike, whoever else uses it. In a cycle longer
    than a minute the last minute counts too, for the rate rose meanwhile. From a little under it the rate rises with
    the square of the time, as in CUBIC (RFC 9438): it stays near and still finds a quota that has grown. A cycle too
    short to measure, or ended by a pause that was guessed, only bounds the next rate, which then rises quickly.

    A quota refuses above the rate it was measured to carry. What comes below that is judged by its company alone.
    """

    __slots__ = (
        "_base",
        "_base_at",
        "_before",
        "_ended",
        "_mark_at",
        "_marks",
        "_measured",
        "_open",
        "_resumed",
        "_rough",
        "accepted",
        "rate",
        "since",
        "streak",
    )

    UNDER = 0.97  # of the measured rate
    SHORT = 5.0  # seconds (or accepted requests) below which a cycle measures nothing
    LONG = 75.0  # seconds above which a cycle says little of now
    TRUST = 0.85  # the lowest cut after a long cycle, or of a quota the user gave: one strange window must not spoil it
    CALM = 30.0  # seconds in which the rate rises by 3 %
    SOON = 12  # accepted requests
    QUICK, QUICKER = 0.05, 0.1  # while the rate is only bounded: rise in a second, and with the square of the time

    def __init__(self, now: float) -> None:
        self.rate = 0.0  # requests a second; 0: nothing learned
        self.accepted = 0  # requests since the pause before
        self.since = now
        self.streak = 0  # events with no success in between
        self._base, self._base_at = 0.0, now
        self._rough, self._measured = True, False
        self._before = inf  # the rate that was refused
        self._ended = now  # when the latest pause could have ended
        self._resumed = now  # when the first request behind it was accepted
        self._open = inf  # when the pause ends, while it is not known that it was long enough
        self._mark_at = now
        self._marks: deque[tuple[float, int]] = deque(maxlen=12)  # (when, accepted), five seconds apart: a minute

    def happened(self, now: float, cap: float) -> None:
        """The first 429 of an event; `cap` is the rate the clock allows (0: any)."""
        self.streak += 1
        if self.streak == 1:
            speed = self.accepted / max(now - self.since, 0.01)
            self._before = min(self.rate or inf, cap or inf)
            if self._before == inf or (now - self.since > 1.0 and self.accepted >= self.SHORT):
                self._before = min(self._before, max(speed, 1 / WINDOW))

    def pause_over(self, until: float, *, given: bool) -> None:
        """Work the rate out when the pause is over: by then the requests that were in flight are counted too."""
        before, self._open = self._open, until
        self._ended = (before + until) / 2 if self.streak > 1 else until  # a guess that held was too long
        if not self.accepted and not self.rate:
            return  # refused before anything was accepted: nothing is known of the rate
        span = max(self._ended - self.since, 0.01)
        measured = max(self.accepted / span, self._last_minute(self._ended))
        guessed = self._resumed - self.since  # of the span: a cycle that is mostly a guess measures nothing
        if span < max(self.SHORT, 2 * guessed) or self.accepted < self.SHORT:  # two in a row: the rate is far off
            low, high = (0.25, 0.7) if self._rough else (0.9, 0.9)
            self._rough = True
        else:
            low, high = (0.0 if span < self.LONG or not self._measured else self.TRUST), 1.0
            self._rough, self._measured = False, self.streak == 1
        if given:
            low, high = self.TRUST, 1.0
        low, high = low * self._before, high * self._before
        self._base = self.rate = max(min(measured, high), low) * self.UNDER
        self._base_at = until

    @property
    def expects(self) -> bool:
        """Whether a 429 now is to be expected of the quota: at the rate measured or above, and just after a pause."""
        if self.streak:
            return True
        return self.rate > 0.0 and (self._base <= self.rate * self.UNDER or self.accepted < self.SOON)

    def found(self, rate: float, now: float) -> None:
        """A quota of this rate has shown itself, without a pause."""
        self._base = self.rate = rate * self.UNDER
        self._base_at, self._rough, self._measured = now, False, True

    def doubted(self, now: float) -> None:
        """429s come at lower rates too: it may be far too low, so it rises quickly."""
        if self.rate:
            self._base, self._base_at, self._rough = self.rate, now, True

    def _last_minute(self, until: float) -> float:
        for at, accepted in self._marks:
            if at >= until - WINDOW:
                return (self.accepted - accepted) / WINDOW
        return 0.0

    def succeeded(self, now: float, cap: float) -> None:
        """A request was accepted."""
        if now >= self._open:
            self.since, self.accepted, self.streak, self._open = self._ended, 0, 0, inf
            self._resumed = now
            self._marks.clear()
        self.accepted += 1
        if now >= self._mark_at:
            self._mark_at = now + WINDOW / 12
            self._marks.append((now, self.accepted))
        if self.rate and not self.streak:
            age = now - self._base_at
            rise = self.QUICK * age + (self.QUICKER * age) ** 2 if self._rough else 0.03 * (age / self.CALM) ** 2
            self.rate = self._base * (1 + rise)
            if cap and self.rate >= cap:
                self.rate = 0.0
