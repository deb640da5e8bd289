"""Whether 429s are a quota's or come by chance: by what became of the requests beside them, and by going slower.

Nothing here reads a clock: `now` and `sent_at` are seconds of the caller's monotonic clock, rates are per second, and
every method must be called with a `now` that does not go back.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import deque
from enum import Enum
from math import inf, sqrt


class Verdict(Enum):
    """What the company of a 429 says of it."""

    QUOTA = "quota"  # nearly all is refused
    ALONE = "alone"  # it stands among accepted ones
    OPEN = "open"  # that cannot be said yet


class Company:
    """Whether nearly all is refused, as when a quota is used up, or little, as by chance.

    Judged are the requests sent since the first that was refused, long enough ago for a 429 to be heard. Those of them
    that are in flight count as accepted: an answer takes longer than a 429, so among what is heard refusals are always
    many. Too many refusals among the latest requests are a quota's as well: a bucket refuses only what overruns it.
    """

    __slots__ = ("_latency", "_memory", "_mostly", "_refused", "_sent", "_share", "_until", "count", "usual")

    RIPE = 1.2  # times the slowest of the latest 429s: then a 429 is heard
    FORGET = 0.97  # of that latency, with each 429
    ALL_OF = 6  # requests, if all are refused
    ENOUGH, MOST, FEW = 12, 0.75, 0.25  # requests; the shares that say quota, or alone
    SOME = 2  # refusals: by chance there are seldom more in one event
    MANY, PART = 40, 0.4  # requests, and the share that then says quota
    MUCH = 0.15  # of the latest requests
    SIGMAS, BESIDES = 4.5, 2.0  # by which more are refused than is usual, to be a quota's: chance does so once in 1e5
    ALL = 0.95  # of so many of those that are judged a quota refuses

    def __init__(self, most_in_flight: int) -> None:
        self.count = 0  # requests sent
        self._sent: deque[float] = deque(maxlen=2 * most_in_flight + 64)  # when the latest were
        self._refused: list[float] = []  # when those were sent that are refused since the latest verdict, sorted
        self._until = 0  # the request with which they are too few to say anything
        self._latency = 0.0
        # All that go out at once at the start may be heard of as refusals first: an average must outlast them.
        self._memory = 400.0 + 2.0 * most_in_flight  # requests
        self._share = 0.0  # of the latest requests that were refused
        self._mostly = True  # more than half of those that are judged was refused, as far as that is known
        self.usual = 0.0  # a share of 429s that was found to come by chance, at any speed; 0: none was

    def sent(self, now: float) -> None:
        """A request goes out."""
        self.count += 1
        self._sent.append(now)
        if self._refused and self.count > self._until:
            self._refused.clear()
        if self._share:
            self._share = self._share * (1.0 - 1.0 / self._memory) if self._share > 0.001 else 0.0

    @property
    def held(self) -> int:
        """Requests that are not to be replaced by others while it is open what their 429s say, but for a few."""
        return max(len(self._refused) - self.SOME, 0) if self._mostly and not self.usual else 0

    def refused(self, sent_at: float, now: float) -> Verdict:
        """A 429 was heard, to a request sent then. After a verdict the next 429 is looked at anew."""
        self._share += 1.0 / self._memory
        self._latency = max(now - sent_at, self._latency * self.FORGET)
        insort(self._refused, sent_at)
        self._until = self.count + self.MANY
        if self._sent and self._refused[0] < self._sent[0]:  # what went out beside those is forgotten
            del self._refused[: bisect_left(self._refused, self._sent[0])]
        verdict = self._verdict(now)
        if verdict is not Verdict.OPEN:
            self._refused.clear()
        if verdict is Verdict.QUOTA:
            self._share = 0.0
        return verdict

    def _verdict(self, now: float) -> Verdict:
        if self._share > self.MUCH and not self.usual:
            return Verdict.QUOTA
        ripe = now - self.RIPE * self._latency
        refused = bisect_right(self._refused, ripe)
        if not refused:
            self._mostly = True
            return Verdict.OPEN
        sent = max(bisect_right(self._sent, ripe) - bisect_left(self._sent, self._refused[0]), refused)
        if self.usual:
            by_chance = sent * self.usual
            most = by_chance + self.SIGMAS * sqrt(by_chance * (1.0 - self.usual)) + self.BESIDES
            if refused >= max(most, self.ALL_OF):
                return Verdict.QUOTA
            return Verdict.ALONE if most < self.ALL * sent else Verdict.OPEN
        share = refused / sent
        self._mostly = share > 0.5 or sent < self.ENOUGH
        if sent < self.ENOUGH:
            return Verdict.QUOTA if share == 1.0 and sent >= self.ALL_OF else Verdict.OPEN
        if share >= (self.MOST if sent < self.MANY else self.PART):
            return Verdict.QUOTA
        return Verdict.ALONE if share <= self.FEW else Verdict.OPEN


class Trial:
    """Whether 429s that are few come of the speed: a while at SLOWER of it tells.

    When BEGIN were heard the job goes slower, until EXPECTED should have come again. More than LEFT say that they come
    by chance; no more, that the speed was a little above a quota. Chance is tried again ever more rarely, for a quota
    may come to it. (BBR asks whether more can be had in the same way; here it is whether less is needed.)
    """

    __slots__ = ("_began", "_chances", "_count", "_from", "_heard", "_next", "_patience", "_quota", "_refused", "rate")

    BEGIN = 12  # refusals
    RARE = 0.01  # a share that is not worth a trial
    EXPECTED, LEFT = 24, 4
    SLOWER = 0.8
    PATIENCE, LONGEST = 15.0, 240.0  # seconds from one trial to the next
    SURE = 2  # trials

    def __init__(self) -> None:
        self.rate = 0.0  # requests a second while it lasts; 0: there is none
        self._begin_anew()
        self._believe_nothing()

    def _begin_anew(self) -> None:
        self.rate = 0.0
        self._began, self._count, self._refused = inf, 0, 0  # since when, from which request on, how many 429s
        self._from, self._heard = inf, 0.0  # the trial's first moment; requests that are still to be heard of
        self._quota = 0.0  # requests accepted a second before it

    def _believe_nothing(self) -> None:
        self._chances, self._patience, self._next = 0, self.PATIENCE, -inf

    @property
    def found_chance(self) -> bool:
        """Whether 429s come by chance, by the latest trial."""
        return self._chances > 0

    def quota(self) -> None:
        """A quota has shown itself without a trial. What was found SURE times to come by chance may do so besides."""
        self._begin_anew()
        if self._chances < self.SURE:
            self._believe_nothing()

    def refused(self, sent_at: float, now: float, count: int, *, alone: bool) -> bool:
        """A 429, after `count` requests of the run; whether a trial has found just now that they come by chance."""
        if self.rate:
            if sent_at < self._from:
                return False
            self._heard -= 1
            self._refused += 1
            if self._refused <= self.LEFT:
                return False
            self._begin_anew()
            self._chances += 1
            self._next, self._patience = now + self._patience, min(2 * self._patience, self.LONGEST)
            return True
        if now >= self._next:
            if self._began == inf or count - self._count > self.BEGIN / self.RARE:
                self._began, self._count, self._refused = now, count, -1  # the first says when, and is not counted
            self._refused += 1
            if alone and self._refused >= self.BEGIN:
                self._begin(now, count - self._count)
        return False

    def _begin(self, now: float, sent: int) -> None:
        seconds = max(now - self._began, 0.01)
        self._heard = self.EXPECTED * sent / self._refused
        self._quota = (sent - self._refused) / seconds
        self.rate = self.SLOWER * sent / seconds
        self._from, self._refused = now, 0

    def accepted(self, sent_at: float) -> float:
        """An answer; the rate of the quota (requests a second) where a trial has found one just now, else 0."""
        if not self.rate or sent_at < self._from:
            return 0.0
        self._heard -= 1
        if self._heard > 0:
            return 0.0
        found = self._quota
        self._begin_anew()
        self._believe_nothing()
        return found
