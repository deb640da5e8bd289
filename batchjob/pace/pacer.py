"""How fast requests may go: two clocks for the quotas, a rate learned from refusals, and a limit on how many fly.

Nothing here reads a clock: `now` and `sent_at` are seconds of the caller's monotonic clock, rates are per second,
and every method must be called with a `now` that does not go back.
"""

from __future__ import annotations

from collections import deque
from math import inf, isfinite

from batchjob.model import Limits, Quota

SHARE = 0.985  # of a quota that is used. On 60 s windows, fixed or sliding, that left under 0.03 % 429s in simulation
CATCH_UP = 0.02  # seconds a late caller may make up for; an event loop wakes about 1 ms late
WINDOW = 60.0  # seconds a limit in a header counts for, until the headers show another window
NEARLY_SPENT = 0.01  # of a header's limit: from here on what remains is spread over the time to its reset
MARGIN = 0.02  # seconds added to a Retry-After: never early
FIRST_PAUSE, PAUSE_GROWTH, LONGEST_PAUSE = 1.0, 1.5, 60.0  # after 429s that do not say how long
SHORT_PAUSE = 0.25  # seconds after one that does not say how long and is not taken for a quota


class Clock:
    """GCRA with a burst of one: the time from which the next request conforms. Rate 0: no limit.

    A caller who comes late is charged from the time it could have gone, within CATCH_UP, so the rate does not drift;
    idle time beyond that is lost, so there never is a full bucket. Source: ITU-T I.371,
    the virtual scheduling algorithm.
    """

    __slots__ = ("cost", "known_window", "last", "next", "rate", "taught")

    def __init__(self, *, per_minute: float, now: float) -> None:
        self.rate = SHARE * per_minute / 60.0
        self.taught = not per_minute  # only where the user set nothing do headers teach the limit
        self.next = now
        self.cost = 1.0  # of the latest request
        self.known_window = 0.0  # seconds between the resets of a fixed window; 0: none was seen
        self.last = Quota()

    def charge(self, cost: float, now: float, rate: float) -> None:
        """Take one request of this cost at this rate (of the clock, or a lower one)."""
        self.cost = cost
        step = cost / rate
        if self.taught and step > WINDOW:  # a limit that no request fits in is nonsense, and must not stall the job
            step = WINDOW
        self.next = max(self.next, now - CATCH_UP) + step

    def learn(self, quota: Quota, now: float) -> None:
        """What an answer's headers say of this quota; nonsense (negative, NaN, infinite) is no information."""
        limit, remaining, reset = _number(quota.limit), _number(quota.remaining), _number(quota.reset_seconds)
        if limit and limit >= 1:
            self._see_window(limit, remaining, reset)
            if self.taught:
                self.rate = SHARE * limit / (self.known_window or WINDOW)
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
        gap = reset if remaining <= 0 else reset * self.cost / remaining
        self.next = max(self.next, now + min(gap, reset, slowest))


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


class Overload:
    """How many requests may be in flight: AIMD (RFC 5681's shape, with a gentler cut).

    FIRST at the start, as many as TCP begins with (RFC 6928), or half of the ceiling where that is more; then one more
    for each answer (doubling each round trip) up to the threshold, then one more a round trip. When overloads are more
    than MANY of the latest answers it is cut to CUT of what was in flight, at most once in EVERY seconds, and does not
    grow beyond the threshold until they are fewer than half of that. Single failures by chance do not cut: at 5 % of
    them it would never get off the ground. The threshold falls only if something went well since the cut before: an
    outage does not make it forget.
    """

    __slots__ = ("_cut_at", "_threshold", "_well", "ceiling", "cut", "limit", "trouble")

    FIRST = 10
    CUT = 0.7
    EVERY = 5.0
    MANY = 0.1
    MEMORY = 100.0  # answers, of the moving average

    def __init__(self, ceiling: int) -> None:
        self.ceiling = max(ceiling, 1)
        self.limit = float(min(max(self.FIRST, self.ceiling // 2), self.ceiling))
        self.trouble = 0.0  # the share of overloads among the latest answers
        self.cut = False  # below the ceiling because of an overload
        self._threshold = float(self.ceiling)
        self._cut_at = -inf
        self._well = True

    def happened(self, now: float, in_flight: int | None) -> None:
        """An overload was heard."""
        self.trouble += (1.0 - self.trouble) / self.MEMORY
        if self.trouble < self.MANY or now - self._cut_at < self.EVERY:
            return
        if self._well:
            self._threshold = max(self.limit * self.CUT, 1.0)
        flying = self.limit if in_flight is None else min(self.limit, max(in_flight, 1))
        self.limit = max(flying * self.CUT, 1.0)
        self._cut_at, self._well, self.cut = now, False, True

    def went_well(self, in_flight: int | None) -> None:
        """An answer was heard; it teaches a higher limit only if this one was used up (in slow start, half)."""
        self._well = True
        self.trouble = self.trouble * (1.0 - 1.0 / self.MEMORY) if self.trouble > 0.001 else 0.0
        slow_start = self.limit < self._threshold
        # Answers come in bunches, and each of a bunch finds the limit raised by those before it: half of it will do.
        used = self.limit / 2 if slow_start else int(self.limit) - 1
        if in_flight is not None and in_flight <= used:
            return
        if self.trouble > self.MANY / 2 and not slow_start:
            return
        self.limit = min(self.limit + (1.0 if slow_start else 1.0 / self.limit), self.ceiling)
        if self.limit >= self.ceiling:
            self.cut = False


class Pacer:
    """When the next request may go, and how many may be in flight.

    `rpm` and `tpm` are the user's quotas a minute, 0 for none; `concurrency` is the most requests in flight.
    """

    def __init__(self, *, rpm: float, tpm: float, concurrency: int, now: float) -> None:
        self._requests = Clock(per_minute=rpm, now=now)
        self._tokens = Clock(per_minute=tpm, now=now)
        self._given = bool(rpm or tpm)
        self._refusals = Refusals(now)
        self._overload = Overload(concurrency)
        self._concurrency = 1
        self._probing = True  # one request at a time, until one is answered: a wrong key costs one
        self._started = False
        self._until = -inf  # nobody sends before
        self._why = ""
        self._company = Company()
        self._by_chance = False  # the latest event is not taken for a quota's
        self._refused = False  # the pause that runs, or ran last, is a 429's and its lesson not drawn yet
        self._held_at, self._held_by = -inf, ""
        self._free = not (rpm or tpm)

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens matter to `admit` and `settle`: without a token quota any number will do."""
        return self._tokens.rate > 0.0

    @property
    def concurrency(self) -> int:
        """How many requests may be in flight now; at least 1."""
        return 1 if self._probing else self._concurrency

    def admit(self, tokens: float, now: float) -> float:
        """0.0: a request of that many tokens may go, and is charged. Else the seconds to wait; nothing is charged."""
        if self._free:
            return 0.0
        if now < self._until:
            return self._until - now
        if self._refused:
            self._refused = False
            self._refusals.pause_over(self._until, given=self._given)
        requests, budget = self._requests, self._tokens
        wait, by = requests.next - now, "rpm"
        if budget.next - now > wait:
            wait, by = budget.next - now, "tpm"
        if wait > 0.0:
            self._held_at, self._held_by = now, by
            return wait
        rate = min(requests.rate or inf, self._refusals.rate or inf)
        if rate < inf:
            requests.charge(1.0, now, rate)
        if budget.rate:
            budget.charge(max(tokens, 0.0), now, budget.rate)
        elif rate == inf:
            self._free = True  # no limit is known, and the pause is over
        return 0.0

    def settle(self, estimated: float, actual: float, now: float) -> None:
        """Correct the token clock: a request charged as `estimated` used `actual` tokens."""
        if self._tokens.rate:
            self._tokens.next = max(self._tokens.next + (actual - estimated) / self._tokens.rate, now - CATCH_UP)

    def learn(self, limits: Limits, now: float) -> None:
        """The x-ratelimit headers of an answer."""
        self._requests.learn(limits.requests, now)
        self._tokens.learn(limits.tokens, now)
        if self._requests.rate or self._tokens.rate or max(self._requests.next, self._tokens.next) > now:
            self._free = False

    def rate_limited(self, retry_after: float | None, sent_at: float, now: float, in_flight: int | None = None) -> None:
        """A 429: everybody waits. One that may be by chance teaches no more, unless its company tells otherwise.

        `sent_at` is when the request was admitted; `in_flight` is how many requests were, this one counted (None: few).
        """
        asked = _number(retry_after)
        refusals, company = self._refusals, self._company
        if company.refused(sent_at, now):
            refusals.clear = False
            few = in_flight is None or in_flight < company.ENOUGH
            self._by_chance = not refusals.rate and not (few and refusals.believed)
            if not self._by_chance:
                self._take_for_quota(asked, now)
            elif asked is None:
                self._wait(SHORT_PAUSE, now, "429s")
        if company.tells and not refusals.clear:
            if self._by_chance:
                self._by_chance = False
                self._take_for_quota(asked, now)
            refusals.confirm()
        if asked is not None:
            self._wait(asked + MARGIN, now, "the endpoint asked")

    def _take_for_quota(self, asked: float | None, now: float) -> None:
        self._refused = True
        self._refusals.happened(now, self._requests.rate)
        streak = self._refusals.streak
        if asked is None or streak > 1:  # no word, or one that did not hold: wait longer, then try with one
            self._probing = True
            exponent = min(streak - (1 if asked is None else 2), 50)
            self._wait(min(FIRST_PAUSE * PAUSE_GROWTH**exponent, LONGEST_PAUSE), now, "429s")

    def pause(self, seconds: float, now: float) -> None:
        """Everybody waits, for a reason of the caller's."""
        self._wait(_number(seconds) or 0.0, now, "paused")

    def _wait(self, seconds: float, now: float, why: str) -> None:
        self._free = False
        if now + seconds > self._until:
            self._until, self._why = now + seconds, why
            self._requests.next = max(self._requests.next, self._until)  # no credit from the pause
            self._tokens.next = max(self._tokens.next, self._until)

    def overloaded(self, now: float, in_flight: int | None = None) -> None:
        """A 503, 529, timeout or connection error, with that many requests in flight (None: as many as may be)."""
        self._overload.happened(now, in_flight)
        self._concurrency = int(self._overload.limit)

    def went_well(self, now: float, in_flight: int | None = None, sent_at: float = inf) -> None:
        """A request was accepted and answered; `in_flight` and `sent_at` as with `rate_limited`."""
        if not self._started:
            self._started = True
            self._refusals.since = now  # what went before is not sending
        if self._probing and now >= self._until:
            self._probing = False
        self._company.accepted(sent_at)
        self._refusals.succeeded(now, self._requests.rate)
        if self._concurrency < self._overload.ceiling or self._overload.trouble:
            self._overload.went_well(in_flight)
            self._concurrency = int(self._overload.limit)

    def describe(self, now: float, in_flight: int) -> str:
        """What holds the job back, in a few words; "" if nothing does."""
        if now < self._until:
            return f"waiting {max(round(self._until - now), 1)} s: {self._why}"
        if self._overload.cut and in_flight >= self.concurrency:
            return f"concurrency {self.concurrency} of {self._overload.ceiling}: overload"
        if now - self._held_at > 1.0:
            return ""
        learned = self._refusals.rate
        if self._held_by == "rpm" and learned and learned < (self._requests.rate or inf):
            return f"paced by 429s to {learned * 60:.0f} a minute"
        return f"paced by {self._held_by}"


def _number(value: float | None) -> float | None:
    """The value if it can be meant: finite and not negative."""
    return value if value is not None and isfinite(value) and value >= 0 else None
