"""A quota a minute as a clock: when the next request conforms, and what an answer's headers teach of it.

Nothing here reads a clock: `now` and `sent_at` are seconds of the caller's monotonic clock, rates are per second, and
every method must be called with a `now` that does not go back.
"""

from __future__ import annotations

from math import isfinite

from batchjob.model import Quota

SHARE = 0.985  # of a quota that is used. On 60 s windows, fixed or sliding, that left under 0.03 % 429s in simulation
CATCH_UP = 0.02  # seconds a late caller may make up for; an event loop wakes about 1 ms late
WINDOW = 60.0  # seconds a limit in a header counts for, until the headers show another window
NEARLY_SPENT = 0.01  # of a header's limit: from here on what remains is spread over the time to its reset


class Gcra:
    """GCRA with a burst of one: the time from which the next request conforms. Rate 0: no limit.

    A caller who comes late is charged from the time it could have gone, within CATCH_UP, so the rate does not drift;
    idle time beyond that is lost, so there never is a full bucket. Source: ITU-T I.371,
    the virtual scheduling algorithm.
    """

    __slots__ = ("cost", "known_window", "last", "next", "rate", "runs", "taught")

    def __init__(self, *, per_minute: float, now: float) -> None:
        self.rate = SHARE * per_minute / 60.0
        self.taught = not per_minute  # only where the user set nothing do headers teach the limit
        self.next = now
        self.cost = 1.0  # of the latest request
        self.known_window = 0.0  # seconds between the resets of a fixed window; 0: none was seen
        self.last = Quota()
        self.runs = 1  # that share the quota in equal parts; `rate` is one's part

    def share(self, runs: int) -> None:
        """So many runs share it from here on."""
        self.rate *= self.runs / runs
        self.runs = runs

    def charge(self, cost: float, now: float, rate: float) -> None:
        """Take one request of this cost at this rate (of the clock, or a lower one)."""
        self.cost = cost
        step = cost / rate
        if self.taught and step > WINDOW:  # a limit that no request fits in is nonsense, and must not stall the job
            step = WINDOW
        self.next = max(self.next, now - CATCH_UP) + step

    def learn(self, quota: Quota, now: float) -> None:
        """What an answer's headers say of this quota; nonsense (negative, NaN, infinite) is no information."""
        limit, remaining, reset = believable(quota.limit), believable(quota.remaining), believable(quota.reset_seconds)
        if limit and limit >= 1:
            self._see_window(limit, remaining, reset)
            if self.taught:
                self.rate = SHARE * limit / (self.known_window or WINDOW) / self.runs
        if remaining is not None and reset and remaining < max(self.cost, NEARLY_SPENT * (limit or 0.0)):
            self._stretch(remaining, reset, now)

    def _see_window(self, limit: float, remaining: float | None, reset: float | None) -> None:
        """A fixed window shows its length when it starts again: what remains and the time to the reset both jump up.

        In a bucket they move against each other, and an answer overtaken by another moves them by little.
        """
        if remaining is None or reset is None:
            return
        before, self.last = self.last, Quota(limit=limit, remaining=remaining, reset_seconds=reset)
        if before.remaining is None or before.reset_seconds is None or before.limit != limit:
            return
        used = limit - before.remaining
        if (
            used >= 0.05 * limit
            and (limit - remaining) * 4 <= used
            and 86400 >= reset >= max(1.0, 2 * before.reset_seconds)
        ):
            self.known_window = reset

    def _stretch(self, remaining: float, reset: float, now: float) -> None:
        """Spread the rest over the time to the reset.

        Unless this is a known window the clock goes no slower than a quarter: buckets call the time until they are
        full a reset too, and to wait for that would waste the quota.
        """
        slowest = self.known_window or (4 * self.cost / self.rate if self.rate else 1.0)
        gap = reset if remaining <= 0 else reset * self.cost * self.runs / remaining
        self.next = max(self.next, now + min(gap, reset, slowest))


def believable(value: float | None) -> float | None:
    """The value if it can be meant: finite and not negative."""
    return value if value is not None and isfinite(value) and value >= 0 else None
