"""What 429s teach: the rate of a quota, and whether a 429 is a quota's at all.

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

    Only 429s in company (see there) teach a first rate. A quota refuses above the rate it was measured to carry: 429s
    alone and below that teach nothing, nor do those before a rate is known; after DOUBTS of them a rate is forgotten.
    """

    __slots__ = (
        "_base",
        "_base_at",
        "_before",
        "_doubts",
        "_early",
        "_ended",
        "_mark_at",
        "_marks",
        "_measured",
        "_open",
        "_rough",
        "accepted",
        "believed",
        "clear",
        "rate",
        "since",
        "streak",
    )

    UNDER = 0.97  # of the measured rate
    SHORT = 5.0  # seconds (or accepted requests) below which a cycle measures nothing
    LONG = 75.0  # seconds above which a cycle says little of now
    TRUST = 0.85  # the lowest cut after a long cycle, or of a quota the user gave: one strange window must not spoil it
    CALM = 30.0  # seconds in which the rate rises by 3 %
    QUICK, QUICKER = 0.05, 0.1  # while the rate is only bounded: rise in a second, and with the square of the time
    DOUBTS = 2

    def __init__(self, now: float) -> None:
        self.rate = 0.0  # requests a second; 0: nothing learned
        self.accepted = 0  # requests since the pause before
        self.since = now
        self.streak = 0  # events with no success in between
        self.believed = True  # that 429s are a quota's, until they are seen to come at any rate
        self.clear = False  # the event is a quota's, by the company of its 429
        self._doubts = 0
        self._early = False  # the event came at a rate below the one measured
        self._base, self._base_at = 0.0, now
        self._rough, self._measured = True, False
        self._before = inf  # the rate that was refused
        self._ended = now  # when the latest pause could have ended
        self._open = inf  # when the pause ends, while it is not known that it was long enough
        self._mark_at = now
        self._marks: deque[tuple[float, int]] = deque(maxlen=12)  # (when, accepted), five seconds apart: a minute

    def happened(self, now: float, cap: float) -> None:
        """The first 429 of an event; `cap` is the rate the clock allows (0: any)."""
        self.streak += 1
        if self.streak == 1:
            self._early = 0.0 < self.rate * self.UNDER < self._base
            speed = self.accepted / max(now - self.since, 0.01)
            self._before = min(self.rate or inf, cap or inf)
            if self._before == inf or now - self.since > 1.0:
                self._before = min(self._before, max(speed, 1 / WINDOW))

    def pause_over(self, until: float, *, given: bool) -> None:
        """Work the rate out when the pause is over: by then the requests that were in flight are counted too."""
        before, self._open = self._open, until
        self._ended = (before + until) / 2 if self.streak > 1 else until  # a guess that held was too long
        if not self.accepted and not self.rate:
            return  # refused before anything was accepted: nothing is known of the rate
        if self._doubtful():
            return
        span = max(self._ended - self.since, 0.01)
        measured = max(self.accepted / span, self._last_minute(self._ended))
        if span < self.SHORT or self.accepted < self.SHORT:  # two in a row say that the rate is far off
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

    def _doubtful(self) -> bool:
        """Whether the event teaches nothing, because it speaks against a quota; enough of these, and none is seen."""
        if self.clear or (self.rate and not self._early):
            self._doubts = 0
            return False
        self._doubts += 1
        if self._doubts >= self.DOUBTS:
            self.rate, self.believed, self._doubts = 0.0, False, 0
        return True

    def confirm(self) -> None:
        """The event is a quota's, without doubt."""
        self.clear = self.believed = True

    def _last_minute(self, until: float) -> float:
        for at, accepted in self._marks:
            if at >= until - WINDOW:
                return (self.accepted - accepted) / WINDOW
        return 0.0

    def succeeded(self, now: float, cap: float) -> None:
        """A request was accepted."""
        if now >= self._open:
            self.since, self.accepted, self.streak, self._open = self._ended, 0, 0, inf
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


class Company:
    """Whether a 429 is a quota's, by the answers to other requests.

    When a quota is used up nearly all that is sent after the refused request is refused too; a 429 by chance stands
    among accepted ones. So many refusals in one event tell, or too many of the latest answers (a bucket that is
    overrun by little refuses few), or event after event with nothing accepted in between. At 5 % of 429s by chance
    that was seen once in 50,000 requests, and the doubts of Refusals found it out. From about 8 % on chance looks
    like a quota.
    """

    __slots__ = ("_at", "_others", "_refused", "_sent_at", "_share", "_unbroken")

    ENOUGH = 8  # requests in flight from which they are company
    MANY = 6  # refusals of one event, if they are at least two thirds of it
    IN_A_ROW = 3  # events
    SHARE = 0.12  # of the latest answers
    MEMORY = 100.0  # answers, of the moving average

    def __init__(self) -> None:
        self._at = -inf  # when the first 429 of the latest event was heard
        self._sent_at = -inf  # when its request was sent
        self._refused = self._others = 0  # of the requests sent between the two
        self._unbroken = 0  # events in a row
        self._share = 0.0  # of the latest answers that are refusals

    def refused(self, sent_at: float, now: float) -> bool:
        """A 429 was heard; whether it begins an event: those of requests sent before are the same event."""
        self._share += (1.0 - self._share) / self.MEMORY
        if sent_at <= self._at:
            self._refused += sent_at >= self._sent_at
            return False
        self._at, self._sent_at = now, sent_at
        self._refused, self._others = 1, 0
        self._unbroken += 1
        return True

    def accepted(self, sent_at: float) -> None:
        """A request was accepted."""
        self._share = self._share * (1.0 - 1.0 / self.MEMORY) if self._share > 0.001 else 0.0
        if sent_at >= self._sent_at:
            self._unbroken = 0
            if sent_at <= self._at:
                self._others += 1

    @property
    def tells(self) -> bool:
        """Whether the event is a quota's beyond doubt."""
        return (
            (self._refused >= self.MANY and self._refused >= 2 * self._others)
            or self._unbroken >= self.IN_A_ROW
            or self._share > self.SHARE
        )
