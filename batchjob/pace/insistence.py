"""Whether 429s come at any speed, although they were taken for a quota's: some requests at full speed tell.

Nothing here reads a clock: `now` and `sent_at` are seconds of the caller's monotonic clock.
"""

from __future__ import annotations

from enum import Enum
from math import inf


class Found(Enum):
    """What insisting has shown."""

    QUOTA = "quota"  # more is refused of what comes faster
    CHANCE = "chance"  # no more than of what comes slowly


class Insistence:
    """A quota refuses more of what comes faster; chance does not. So a rate that chance has taught falls and falls.

    A rate learned of a quota is refused seldom. Where it is refused DENSE times in a row with few accepted in between,
    REQUESTS go out as fast as they can. If the share of them that is refused is not much higher than before, 429s come
    by chance. If it is, that is asked again ever more rarely: a quota of a few requests a minute looks like this, too.
    """

    __slots__ = ("_accepted", "_dense", "_from", "_heard", "_last", "_next", "_patience", "_refused", "_sent", "share")

    DENSE, FEW = 5, 12  # events; accepted requests from one to the next
    MOST = 0.6  # that is taken for the share before: with MORE it is less than a quota of three or fewer refuses
    REQUESTS, MORE = 24, 0.25  # twice FEW: of a quota that accepts fewer than those, half of these are refused
    SECONDS = 10.0  # after the last of them; what is not refused by then will not be
    PATIENCE, LONGEST = 20.0, 960.0  # seconds from one time to the next

    def __init__(self) -> None:
        self._dense = self._accepted = 0
        self._sent = self._heard = self._refused = 0
        self._from, self._last = inf, inf  # when the first and the last of them were sent; inf: not yet, or none is
        self._next, self._patience = -inf, self.PATIENCE
        self.share = 0.0  # of 429s, where they were found to come by chance

    @property
    def on(self) -> bool:
        """Whether they are to be sent, or are on their way."""
        return self._from < inf

    @property
    def sends(self) -> bool:
        """Whether the next request is to go as fast as it can."""
        return self.on and self._sent < self.REQUESTS

    def event(self, accepted: int, now: float) -> None:
        """A 429 was taken for a quota's, after so many were accepted since the one before."""
        if accepted >= self.FEW:
            self._dense = self._accepted = 0
            return
        self._dense += 1
        self._accepted += accepted
        if self._dense >= self.DENSE and now >= self._next:
            self._sent = self._heard = self._refused = 0
            self._from, self._last = now, inf

    def _before(self) -> float:
        """Of the requests behind an accepted one, the share that was refused."""
        return min(self._dense / max(self._accepted, 1), self.MOST)

    def sent(self, now: float) -> None:
        """One of them goes out."""
        self._sent += 1
        if self._sent == self.REQUESTS:
            self._last = now

    def heard(self, sent_at: float, now: float, *, refused: bool) -> Found | None:
        """What became of a request; and what is found by that."""
        if sent_at < self._from:
            return None
        self._heard += 1
        self._refused += refused
        if self._refused > (self._before() + self.MORE) * self.REQUESTS:
            return self._over(Found.QUOTA, now)
        return self._over(Found.CHANCE, now) if self._heard >= self.REQUESTS else None

    def late(self, now: float) -> Found | None:
        """What is found although some were not heard of."""
        return self._over(Found.CHANCE, now) if now - self._last > self.SECONDS else None

    def _over(self, found: Found, now: float) -> Found:
        if found is Found.QUOTA:
            self._next, self._patience = now + self._patience, min(2 * self._patience, self.LONGEST)
        else:
            self.share = (self._dense + self._refused) / (self._accepted + self.REQUESTS)
            self._patience = self.PATIENCE
        self._dense = self._accepted = 0
        self._from = self._last = inf
        return found
