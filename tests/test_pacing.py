"""Pacing against simulated servers, in virtual time: no test sleeps."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count, pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchjob.model import Limits, Quota
from batchjob.pace.pacer import CATCH_UP, MARGIN, Pacer
from tests.pace.endpoints import Bucket, FixedWindow, Server, SlidingWindow


def ten_second_window(per_minute: float) -> FixedWindow:
    return FixedWindow(per_minute / 6, window=10.0, phase=3.0)


KINDS: dict[str, Callable[[float], Server]] = {
    "fixed": FixedWindow,
    "sliding": SlidingWindow,
    "bucket": Bucket,
    "10 s": ten_second_window,
}


class Said(NamedTuple):
    """A request, and later its answer."""

    sent_at: float = 0.0
    estimate: float = 0.0
    actual: float = 0.0
    quota: Quota = Quota()
    retry_after: float = 0.0


NOTHING = Said()


@dataclass
class Run:
    """A run in virtual time: one dispatcher that wakes a little late, `concurrency` slots, a server."""

    server: Server
    pacer: Pacer
    minutes: float
    tokens: bool = False  # the quota counts tokens
    headers: bool = False
    retry_after: bool = True
    latency: tuple[float, float] = (0.05, 0.1)
    slots: int = 10**9  # requests the endpoint carries at once; 503 above
    busy: int = 0
    health: Callable[[float, int], bool] = lambda now, in_flight: True  # False: 503
    by_chance: Callable[[float], bool] = lambda now: False  # True: 429, whatever the quota
    asks: float = 0.0  # seconds that such a 429 asks to wait
    stranger: Callable[[float], float] = lambda now: 0.0  # requests a second of another process
    seed: int = 1
    accepted: float = 0.0
    by_minute: list[float] = field(default_factory=list)
    refused: int = 0
    overloads: int = 0
    sent: list[float] = field(default_factory=list)

    def go(self) -> Run:
        chance, ids = random.Random(self.seed), count()
        now, end, in_flight, asleep = 0.0, self.minutes * 60, 0, False
        self.by_minute = [0.0] * (int(self.minutes) + 1)
        queue: list[tuple[float, int, str, Said]] = []

        def at(when: float, what: str, said: Said = NOTHING) -> None:
            heapq.heappush(queue, (when, next(ids), what, said))

        at(0.0, "stranger")
        at(0.0, "wake")
        while queue and (now := queue[0][0]) < end:
            _, _, what, said = heapq.heappop(queue)
            if what == "wake":
                asleep = False
            elif what == "stranger":
                rate = self.stranger(now)
                if rate:
                    self.server.take(1.0, now)
                at(now + (1 / rate if rate else 1.0), "stranger")
            elif what == "arrive":
                what, said = self._arrive(now, in_flight, said)
                at(now + chance.uniform(*self.latency) * 0.9, what, said)
            else:
                self._answer(now, in_flight, what, said)
                in_flight -= 1
                self.busy -= what != "overload"
            while not asleep and in_flight < self.pacer.concurrency:
                actual = chance.uniform(20, 400) if self.tokens else 1.0
                estimate = actual * chance.uniform(0.85, 1.15) if self.tokens else 1.0
                wait = self.pacer.admit(estimate, now)
                if wait:
                    asleep = True
                    at(now + wait + chance.uniform(0, 0.0015), "wake")
                    break
                in_flight += 1
                self.sent.append(now)
                at(now + chance.uniform(*self.latency) * 0.1, "arrive", Said(now, estimate, actual))
        return self

    def _arrive(self, now: float, in_flight: int, said: Said) -> tuple[str, Said]:
        if not self.health(now, in_flight) or self.busy >= self.slots:
            self.overloads += 1
            return "overload", said
        self.busy += 1
        if self.by_chance(now):
            self.refused += 1
            return "refused", said._replace(retry_after=self.asks)
        taken = self.server.take(said.actual, now)
        if taken:
            self.accepted += said.actual
            self.by_minute[int(now // 60)] += said.actual
        else:
            self.refused += 1
        if self.headers:
            remaining, reset = self.server.remaining(now), self.server.reset(now)
            said = said._replace(quota=Quota(limit=self.server.quota, remaining=remaining, reset_seconds=reset))
        if taken:
            return "well", said
        return "refused", said._replace(retry_after=self.server.retry_after(said.actual, now))

    def _answer(self, now: float, in_flight: int, what: str, said: Said) -> None:
        if self.headers and what != "overload":
            self.pacer.learn(Limits(tokens=said.quota) if self.tokens else Limits(requests=said.quota), now)
        self.pacer.correct(said.estimate, said.actual if what == "well" else 0.0, now)
        if what == "well":
            self.pacer.went_well(now, in_flight, said.sent_at)
        elif what == "overload":
            self.pacer.overloaded(now, in_flight)
        else:
            self.pacer.rate_limited(said.retry_after if self.retry_after else None, said.sent_at, now)

    def used(self, per_minute: float) -> float:
        return self.accepted / (per_minute * self.minutes)

    @property
    def refusals(self) -> float:
        return self.refused / len(self.sent)


def pacer(rpm: float = 0, tpm: float = 0, concurrency: int = 40) -> Pacer:
    return Pacer(rpm=rpm, tpm=tpm, concurrency=concurrency, now=0.0)


def most_within(sent: list[float], seconds: float) -> int:
    best = first = 0
    for last, at in enumerate(sent):
        while sent[first] <= at - seconds:
            first += 1
        best = max(best, last - first + 1)
    return best


every_kind = pytest.mark.parametrize("kind", KINDS)
with_and_without_retry_after = pytest.mark.parametrize("retry_after", [True, False])


# ---------------------------------------------------------------- quotas the user gave


@every_kind
def test_a_given_request_quota_is_used_to_98_percent_with_almost_no_429(kind: str) -> None:
    run = Run(KINDS[kind](6000), pacer(rpm=6000), 10).go()
    assert run.used(6000) >= 0.98
    assert run.refusals <= 0.005


@every_kind
def test_a_given_token_quota_is_used_to_95_percent_although_the_estimates_are_off(kind: str) -> None:
    run = Run(KINDS[kind](1_000_000), pacer(tpm=1_000_000), 10, tokens=True).go()
    assert run.used(1_000_000) >= 0.95
    assert run.refusals <= 0.01


@pytest.mark.parametrize("rpm", [10, 60, 500])
@pytest.mark.parametrize("kind", ["fixed", "sliding", "bucket"])
def test_a_small_quota_is_used_evenly_from_the_first_second(kind: str, rpm: int) -> None:
    run = Run(KINDS[kind](rpm), pacer(rpm=rpm), 10).go()
    assert run.used(rpm) >= 0.98
    assert run.refused == 0
    assert min(b - a for a, b in pairwise(run.sent)) >= 60 / rpm - CATCH_UP


def test_late_wake_ups_do_not_lower_the_rate() -> None:
    subject, now, admitted = pacer(rpm=6000), 0.0, 0
    while now < 60.0:
        wait = subject.admit(1, now)
        admitted += not wait
        now += wait + 0.0013 if wait else 0.0
    assert admitted >= 5900


def test_idle_time_and_pauses_build_up_no_credit() -> None:
    for rest in ("idle", "pause"):
        subject = pacer(rpm=600)
        subject.admit(1, 0.0)
        if rest == "pause":
            subject.pause(100.0, 0.1)
        now, sent = 100.2, []
        while now < 110.0:
            wait = subject.admit(1, now)
            if not wait:
                sent.append(now)
            now += wait
        assert most_within(sent, 1.0) <= 11, rest


def test_a_refused_admission_charges_nothing() -> None:
    subject = pacer(rpm=60)
    assert subject.admit(1, 0.0) == 0.0
    first = subject.admit(1, 0.1)
    assert [subject.admit(1, 0.1) for _ in range(100)] == [first] * 100


def test_settling_moves_the_next_request_by_what_the_estimate_was_off() -> None:
    cheap, right, dear = pacer(tpm=6000), pacer(tpm=6000), pacer(tpm=6000)
    for subject, actual in ((cheap, 50), (right, 100), (dear, 200)):
        subject.admit(100, 0.0)
        subject.correct(100, actual, 0.1)
    assert right.admit(1, 0.1) - cheap.admit(1, 0.1) == pytest.approx(50 / 98.5)
    assert dear.admit(1, 0.1) - right.admit(1, 0.1) == pytest.approx(100 / 98.5)


# ---------------------------------------------------------------- quotas nobody gave


@every_kind
@pytest.mark.parametrize("tokens", [False, True])
def test_a_quota_told_only_in_headers_is_used_to_90_percent(kind: str, tokens: bool) -> None:
    quota = 1_000_000 if tokens else 6000
    run = Run(KINDS[kind](quota), pacer(), 15, headers=True, tokens=tokens).go()
    assert run.used(quota) >= 0.9
    assert run.refusals <= 0.02


@every_kind
@with_and_without_retry_after
@pytest.mark.parametrize("quota", [6000, 500])
def test_a_quota_that_shows_only_in_429s_is_found(kind: str, retry_after: bool, quota: int) -> None:
    run = Run(KINDS[kind](quota), pacer(), 15, retry_after=retry_after).go()
    assert run.used(quota) >= 0.9
    assert run.refusals <= 0.02


@every_kind
def test_a_tiny_unknown_quota_costs_one_volley_of_429s(kind: str) -> None:
    run = Run(KINDS[kind](60), pacer(), 15).go()
    assert run.used(60) >= 0.9
    assert run.refused <= 40 + 30


@every_kind
@with_and_without_retry_after
def test_a_stranger_on_the_quota_slows_the_rate_and_it_recovers_afterwards(kind: str, retry_after: bool) -> None:
    def half(now: float) -> float:
        return 50.0 if 180 < now < 480 else 0.0

    run = Run(KINDS[kind](6000), pacer(rpm=6000), 15, stranger=half, retry_after=retry_after).go()
    assert run.refusals <= 0.015  # a volley of those in flight whenever the stranger takes more
    assert all(minute <= 0.7 * 6000 for minute in run.by_minute[6:8])
    assert all(minute >= 0.95 * 6000 for minute in run.by_minute[13:15])


# ---------------------------------------------------------------- 429


@pytest.mark.parametrize("asked", [0.0, 0.5, 12.0, 300.0])
def test_the_retry_after_of_a_quota_is_followed_exactly_and_never_early(asked: float) -> None:
    subject = pacer()
    heard = refused_all(subject, asked, 1.0)
    assert asked - 1e-9 <= subject.admit(1, heard) <= asked + MARGIN + 1e-9
    assert subject.admit(1, heard + asked + MARGIN + 1e-6) == 0.0


def refused_all(subject: Pacer, asked: float | None, now: float, requests: int = 10) -> float:
    """One request is accepted; then so many go out in a fifth of a second, if they may, and all are refused.

    When the last 429 is heard.
    """
    subject.admit(1, now - 0.4)
    subject.went_well(now - 0.3)
    asked_at = [(now - 0.25 + 0.2 * n / (requests - 1), "sent", 0.0) for n in range(requests)]
    heapq.heapify(asked_at)
    at = now
    while asked_at:
        at, what, sent_at = heapq.heappop(asked_at)
        if what == "heard":
            subject.rate_limited(asked, sent_at, at)
        elif not subject.admit(1, at):
            heapq.heappush(asked_at, (at + 0.05, "heard", at))
    return at


def test_429s_of_requests_that_were_in_flight_together_are_one_event() -> None:
    for requests in (10, 40):
        subject = pacer()
        refused_all(subject, None, 1.0, requests)
        assert 0.8 < subject.admit(1, 1.0) < 1.0, "one pause, of a second"


def test_pauses_grow_while_429s_say_nothing_and_only_one_request_tries() -> None:
    subject, now, waits = pacer(), 1.0, []
    for _ in range(9):
        subject.rate_limited(None, now, now + 0.1)
        waits.append(subject.admit(1, now + 0.1))
        assert subject.concurrency == 1
        now += 0.2 + waits[-1]
        assert subject.admit(1, now) == 0.0
    assert waits == sorted(waits)
    assert waits[0] == pytest.approx(1.0)
    assert 20 < waits[-1] <= 60.0


def test_a_retry_after_of_nothing_does_not_become_a_storm() -> None:
    subject, now = pacer(), 0.0
    for n in range(20):
        now += subject.admit(1, now)
        subject.rate_limited(0.0, now, now + 0.05 * (n > 0))
        now += 0.1
    assert now > 100


# ---------------------------------------------------------------- 429s by chance, with no quota behind them


def by_chance(share: float, until: float = 1e9, seed: int = 7) -> Callable[[float], bool]:
    chance = random.Random(seed)
    return lambda now: now < until and chance.random() < share


@pytest.mark.parametrize("asks", [0.0, None])
def test_429s_by_chance_teach_no_rate_below_the_one_the_user_gave(asks: float | None) -> None:
    run = Run(
        FixedWindow(1e9), pacer(rpm=600), 3, by_chance=by_chance(0.05), asks=asks or 0.0, retry_after=asks is not None
    ).go()
    assert run.used(600) >= 0.88


def test_a_429_alone_among_accepted_ones_holds_nobody_back() -> None:
    subject, now = pacer(concurrency=10), 0.0
    for _ in range(10):
        subject.went_well(now, 10, now)
    for asked in (3.0, None) * 5:
        for _ in range(10):
            assert subject.admit(1, now) == 0.0
        subject.rate_limited(asked, now, now + 0.1)
        for _ in range(9):
            subject.went_well(now + 0.2, 9, now)
        assert subject.concurrency == 10
        now += 0.3
    assert subject.describe(now, 10) == ""


def test_429s_that_come_all_together_are_a_quota() -> None:
    subject = pacer(concurrency=10)
    refused_all(subject, None, 1.0)
    assert subject.concurrency == 1
    assert subject.admit(1, 1.0) > 0.8
    assert subject.admit(1, 2.2) == 0.0
    assert subject.admit(1, 2.2) > 0.0


# ---------------------------------------------------------------- headers


def test_headers_never_raise_a_rate_the_user_set() -> None:
    subject, plain = pacer(rpm=60), pacer(rpm=60)
    subject.learn(Limits(requests=Quota(limit=1e6, remaining=1e6, reset_seconds=1.0)), 0.0)
    assert [subject.admit(1, 0.0) for _ in "12"] == [plain.admit(1, 0.0) for _ in "12"]


def test_headers_slow_down_when_little_remains_and_no_more_than_to_a_quarter() -> None:
    subject = pacer(rpm=600)
    subject.learn(Limits(requests=Quota(limit=600, remaining=0, reset_seconds=50.0)), 0.0)
    assert subject.admit(1, 0.0) == pytest.approx(4 * 60 / (0.985 * 600))


def test_a_window_of_ten_seconds_is_recognised_by_its_restart() -> None:
    run = Run(ten_second_window(6000), pacer(), 3, headers=True).go()
    assert min(run.by_minute[1:3]) >= 0.97 * 6000


numbers = st.none() | st.sampled_from([0.0, -1.0, 1e-9, 1e18, float("nan"), float("inf"), -float("inf")]) | st.floats()
quotas = st.builds(Quota, limit=numbers, remaining=numbers, reset_seconds=numbers)


@settings(max_examples=200, deadline=None)
@given(said=st.lists(st.builds(Limits, requests=quotas, tokens=quotas), min_size=1, max_size=4))
def test_no_header_however_odd_raises_or_stalls_the_job(said: list[Limits]) -> None:
    subject, now = pacer(), 0.0
    for limits in said:
        subject.learn(limits, now)
        wait = subject.admit(100, now)
        assert 0.0 <= wait <= 86400
        now += wait + 0.1


events = st.lists(
    st.tuples(
        st.sampled_from(["admit", "well", "429", "429 after", "pause", "overload", "correct"]), st.floats(0.0, 20.0)
    ),
    max_size=60,
)


@settings(max_examples=200, deadline=None)
@given(rpm=st.sampled_from([0, 10, 6000]), tpm=st.sampled_from([0, 5000]), story=events)
def test_whatever_happens_the_limits_hold_and_the_job_goes_on(
    rpm: float, tpm: float, story: list[tuple[str, float]]
) -> None:
    subject, now, sent = pacer(rpm, tpm, 7), 0.0, []
    for what, amount in story:
        now += amount / 10
        if what == "admit" and not subject.admit(50, now):
            sent.append(now)
        elif what == "well":
            subject.went_well(now, 1 + int(amount))
        elif what.startswith("429"):
            subject.rate_limited(amount if what == "429 after" else None, now - amount / 20, now)
        elif what == "pause":
            subject.pause(amount, now)
        elif what == "overload":
            subject.overloaded(now, int(amount))
        elif what == "correct":
            subject.correct(50, amount, now)
        assert 1 <= subject.concurrency <= 7
        assert isinstance(subject.describe(now, 3), str)
    if rpm:
        assert most_within(sent, 60.0) <= rpm + 1
    for _ in range(5):  # what one is told to wait is enough, but for what a learned rate adds once
        wait = subject.admit(50, now)
        if not wait:
            return
        now += wait + 1e-6
    raise AssertionError("never admitted")


# ---------------------------------------------------------------- overload


def test_one_request_goes_first_until_it_is_answered() -> None:
    run = Run(FixedWindow(1e9), pacer(), 0.1, latency=(2.0, 2.0)).go()
    assert sum(at < 2.0 for at in run.sent) == 1
    assert most_within([at for at in run.sent if at < 3.9], 2.0) <= 21


@pytest.mark.parametrize(("ceiling", "first"), [(4, 4), (10, 10), (15, 10), (40, 20)])
def test_behind_the_first_request_go_ten_or_half_of_what_may(ceiling: int, first: int) -> None:
    subject = pacer(concurrency=ceiling)
    assert subject.concurrency == 1
    subject.went_well(0.0, 1)
    assert subject.concurrency == first


def test_the_concurrency_doubles_with_each_round_trip_until_it_is_full() -> None:
    subject = pacer()
    subject.went_well(0.0, 1)
    limit = subject.concurrency
    for seconds in range(1, 3):
        in_flight = limit
        for answered in range(limit):  # all at once: each has been replaced before the next is looked at
            subject.went_well(float(seconds), in_flight if answered else limit)
        assert subject.concurrency == min(2 * limit, 40)
        limit = subject.concurrency
    assert limit == 40


def test_the_concurrency_finds_what_an_overloaded_endpoint_can_carry() -> None:
    run = Run(FixedWindow(1e9), pacer(), 5, slots=10).go()
    assert run.overloads / len(run.sent) <= 0.2  # 0.75 without a control
    assert run.accepted >= 0.75 * 10 / 0.075 * 300


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(("latency", "minutes"), [((0.05, 0.1), 1), ((1.5, 2.5), 5)])
def test_five_percent_of_failures_by_chance_do_not_throttle_the_job(
    latency: tuple[float, float], minutes: int, seed: int
) -> None:
    """In the time of 800 answers behind one another, or of 150 slow ones."""
    chance = random.Random(seed)
    run = Run(FixedWindow(1e9), pacer(), minutes, health=lambda now, n: chance.random() > 0.05, latency=latency).go()
    assert run.accepted >= 0.75 * 40 / (sum(latency) / 2) * minutes * 60


def test_after_an_outage_the_concurrency_comes_back() -> None:
    subject = pacer()
    run = Run(FixedWindow(1e9), subject, 3, health=lambda now, in_flight: not 60 < now < 120).go()
    assert subject.concurrency == 40
    assert sum(125 <= at < 126 for at in run.sent) >= 0.9 * 40 / 0.075


def test_overload_cuts_once_in_five_seconds_and_never_below_one() -> None:
    subject = pacer(concurrency=10)
    for _ in range(20):
        subject.went_well(0.0)
    for _ in range(30):
        subject.overloaded(1.0)
    assert subject.concurrency == 7
    for second in range(7, 200, 6):
        subject.overloaded(float(second))
    assert subject.concurrency == 1


def test_requests_that_do_not_fill_the_limit_do_not_raise_it() -> None:
    subject = pacer()
    for _ in range(100):
        subject.went_well(0.0, 10)
    assert subject.concurrency == 20


# ---------------------------------------------------------------- words


def test_what_holds_the_job_back_is_said_in_a_few_words() -> None:
    subject = pacer(rpm=60)
    assert subject.describe(0.0, 0) == ""
    subject.admit(1, 0.0)
    subject.admit(1, 0.0)
    assert subject.describe(0.1, 1) == "held to 60 requests a minute by --rpm"
    subject.rate_limited(12.0, 0.0, 0.2)  # before anything was answered
    assert subject.describe(0.2, 1) == "waiting 12.0 s, as the endpoint asks"
    budget = pacer(tpm=60)
    budget.admit(100, 0.0)
    budget.admit(100, 0.0)
    assert budget.describe(0.1, 1) == "held to 60 tokens a minute by --tpm"
    crowd = pacer(concurrency=10)
    for _ in range(20):
        crowd.went_well(0.0)
    for _ in range(30):
        crowd.overloaded(1.0)
    assert crowd.describe(1.0, 7) == "7 of 10 requests at once, because the endpoint is overloaded"
    assert crowd.describe(1.0, 3) == ""
