"""When the next request may go: two quotas, a rate learned from refusals, pauses, and how many may be in flight.

Nothing here reads a clock: `now` and `sent_at` are seconds of the caller's monotonic clock, rates are per second, and
every method must be called with a `now` that does not go back.
"""

from __future__ import annotations

from math import inf

from batchjob.model import Limits
from batchjob.numbers import duration
from batchjob.pace.company import Company, Trial, Verdict
from batchjob.pace.insistence import Found, Insistence
from batchjob.pace.overload import Overload
from batchjob.pace.quota import CATCH_UP, SHARE, Gcra, believable
from batchjob.pace.refusals import Refusals

MARGIN = 0.02  # seconds added to a Retry-After: never early
FIRST_PAUSE, PAUSE_GROWTH, LONGEST_PAUSE = 1.0, 1.5, 60.0  # after 429s that do not say how long

STILL_TO_HEAR = 1.0
"""Seconds after which to ask again whether what went out at full speed is heard of; each answer is a reason, too."""

BECAUSE = {
    "429s": "because the endpoint has too many requests (429)",
    "asked": "as the endpoint asks",
    "paused": "as the endpoint asks",
}
"""Reason of a pause -> the end of a sentence."""


class Pacer:
    """When the next request may go, and how many may be in flight.

    `rpm` and `tpm` are the user's quotas a minute, 0 for none; `concurrency` is the most requests in flight.
    """

    def __init__(self, *, rpm: float, tpm: float, concurrency: int, now: float) -> None:
        self._requests = Gcra(per_minute=rpm, now=now)
        self._tokens = Gcra(per_minute=tpm, now=now)
        self._given = bool(rpm or tpm)
        self._refusals = Refusals(now)
        self._overload = Overload(concurrency)
        self._concurrency = 1
        self._probing = True  # one request at a time, until one is answered: a wrong key costs one
        self._started = False
        self._until = -inf  # nobody sends before
        self._why = ""
        self._company = Company(concurrency)
        self._trial = Trial()
        self._insistence = Insistence()
        self._paused_at = -inf  # when the latest pause for a quota began: what was sent before knew nothing of it
        self._refused = False  # the pause that runs, or ran last, is a 429's and its lesson not drawn yet
        self._held_at, self._held_by = -inf, ""
        self._free = not (rpm or tpm)

    @property
    def counts_tokens(self) -> bool:
        """Whether tokens matter to `admit` and `correct`: without a token quota any number will do."""
        return self._tokens.rate > 0.0

    @property
    def concurrency(self) -> int:
        """How many requests may be in flight now; at least 1."""
        return 1 if self._probing else max(self._concurrency - self._company.held, 1)

    def admit(self, tokens: float, now: float) -> float:
        """0.0: a request of that many tokens may go, and is charged. Else the seconds to wait; nothing is charged."""
        if self._free:
            self._company.sent(now)
            return 0.0
        if now < self._until:
            return self._until - now
        if self._refused:
            self._refused = False
            self._refusals.pause_over(self._until, given=self._given)
        requests, budget, insists = self._requests, self._tokens, self._insistence.sends
        if self._insistence.on and not insists:
            if self._insistence.late(now) is None:
                return STILL_TO_HEAR
            self._take_for_chance(now)
        wait, by = (-inf if insists and not requests.rate else requests.next - now), "rpm"
        if budget.next - now > wait:
            wait, by = budget.next - now, "tpm"
        if wait > 0.0:
            self._held_at, self._held_by = now, by
            return wait
        learned = inf if insists else min(self._refusals.rate or inf, self._trial.rate or inf)
        rate = min(requests.rate or inf, learned)
        if rate < inf:
            requests.charge(1.0, now, rate)
        if budget.rate:
            budget.charge(max(tokens, 0.0), now, budget.rate)
        if insists:
            self._insistence.sent(now)
        elif rate == inf and not budget.rate:
            self._free = True  # no limit is known, and the pause is over
        self._company.sent(now)
        return 0.0

    def correct(self, estimated: float, actual: float, now: float) -> None:
        """Correct the token clock: a request charged as `estimated` used `actual` tokens."""
        if self._tokens.rate:
            self._tokens.next = max(self._tokens.next + (actual - estimated) / self._tokens.rate, now - CATCH_UP)

    def learn(self, limits: Limits, now: float) -> None:
        """The x-ratelimit headers of an answer."""
        self._requests.learn(limits.requests, now)
        self._tokens.learn(limits.tokens, now)
        if self._requests.rate or self._tokens.rate or max(self._requests.next, self._tokens.next) > now:
            self._free = False

    def rate_limited(self, retry_after: float | None, sent_at: float, now: float) -> None:
        """A 429, to a request admitted at `sent_at`: everybody waits if it is a quota's, and else nobody but its row.

        It is a quota's if its company says so; or if one was to be expected, until a trial has found that they come by
        chance: before anything was answered, at the rate learned or above, and just after a pause.
        """
        asked = believable(retry_after)
        if self._insistence.on:
            found = self._insistence.heard(sent_at, now, refused=True)
            if found is Found.CHANCE:
                self._take_for_chance(now)
            if found is not Found.QUOTA:
                return
        if sent_at > self._paused_at:
            verdict = self._company.refused(sent_at, now)
            if verdict is Verdict.QUOTA:
                self._trial.quota()
            elif self._trial.refused(sent_at, now, self._company.count, alone=verdict is Verdict.ALONE):
                self._refusals.doubted(now)
            expected = not self._trial.found_chance and (self._refusals.expects or not self._started)
            if verdict is not Verdict.QUOTA and not expected:
                self._free = self._free and not self._trial.rate
                return
            self._company.usual = 0.0
            self._paused_at = now
            self._take_for_quota(asked, now)
        if asked is not None:
            self._wait(asked + MARGIN, now, "asked")

    def _take_for_quota(self, asked: float | None, now: float) -> None:
        self._refused = True
        self._refusals.happened(now, self._requests.rate)
        streak = self._refusals.streak
        if streak == 1:
            self._insistence.event(self._refusals.accepted, now)
        if asked is None or streak > 1:  # no word, or one that did not hold: wait longer, then try with one
            self._probing = True
            exponent = min(streak - (1 if asked is None else 2), 50)
            self._wait(min(FIRST_PAUSE * PAUSE_GROWTH**exponent, LONGEST_PAUSE), now, "429s")

    def _take_for_chance(self, now: float) -> None:
        """They come at any speed: nothing that was learned of them holds."""
        self._refusals = Refusals(now)
        self._company.usual = self._insistence.share
        self._probing = self._refused = False
        if not self._requests.rate:
            self._requests.next = now

    @property
    def until(self) -> float:
        """Nobody sends before."""
        return self._until

    def share(self, runs: int) -> None:
        """So many runs send: each has its part of the quotas, the user's and those that headers teach."""
        self._requests.share(runs)
        self._tokens.share(runs)

    def pause(self, seconds: float, now: float) -> None:
        """Everybody waits, for a reason of the caller's."""
        self._wait(believable(seconds) or 0.0, now, "paused")

    def _wait(self, seconds: float, now: float, why: str) -> None:
        self._free = False
        if now + seconds > self._until:
            self._until, self._why = now + seconds, why
            self._requests.next = max(self._requests.next, self._until)  # no credit from the pause
            self._tokens.next = max(self._tokens.next, self._until)

    def overloaded(self, now: float, in_flight: int | None = None) -> bool:
        """A 503, 529, timeout or connection error, with that many requests in flight (None: as many as may be).

        Whether they are too many for chance.
        """
        self._overload.happened(now, in_flight)
        self._concurrency = int(self._overload.limit)
        return self._overload.many

    def no_room(self, in_flight: int) -> None:
        """This machine could not open one more connection while so many requests, this one too, were in flight."""
        self._overload.no_room(in_flight)
        self._concurrency = int(self._overload.limit)

    def went_well(self, now: float, in_flight: int | None = None, sent_at: float = inf) -> None:
        """A request was accepted and answered; `in_flight` and `sent_at` as with `rate_limited`."""
        if not self._started:
            self._started = True
            self._refusals.since = now  # what went before is not sending
        if self._probing and now >= self._until:
            self._probing = False
        if self._insistence.on and self._insistence.heard(sent_at, now, refused=False) is Found.CHANCE:
            self._take_for_chance(now)
        if self._trial.rate and (found := self._trial.accepted(sent_at)):
            self._refusals.found(found, now)
        self._refusals.succeeded(now, self._requests.rate)
        if self._concurrency < self._overload.ceiling or self._overload.trouble:
            self._overload.went_well(in_flight)
            self._concurrency = int(self._overload.limit)

    def describe(self, now: float, in_flight: int) -> str:
        """What holds the job back, in a few words; "" if nothing does."""
        if now < self._until:
            return f"waiting {duration(max(round(self._until - now), 1))}, {BECAUSE[self._why]}"
        if self._overload.cut and in_flight >= self.concurrency:
            most = self._overload.ceiling
            return f"{self.concurrency} of {most} requests at once, because the endpoint is overloaded"
        if now - self._held_at > 1.0:
            return ""
        learned = self._refusals.rate
        if self._held_by == "rpm" and learned and learned < (self._requests.rate or inf):
            return f"held to {learned * 60:,.0f} requests a minute, as its 429s teach"
        clock, what = (self._requests, "requests") if self._held_by == "rpm" else (self._tokens, "tokens")
        by = ", the endpoint's limit" if clock.taught else f" by --{self._held_by}"
        return f"held to {clock.rate * clock.runs * 60 / SHARE:,.0f} {what} a minute{by}"
