"""A share of the grid: full speed where 429s come by chance, the quota where there is one. All in virtual time."""

from __future__ import annotations

from functools import partial

import pytest

from tests.pace.endpoints import Bucket, FixedWindow, Server, SlidingWindow
from tests.pace.grid import KINDS
from tests.pace.simulator import World, perfect_seconds, simulate

FAST = {"latency": 0.015, "refusal": 0.003, "concurrency": 40, "rows": 20_000}
SLOW = {"latency": 0.5, "refusal": 0.02, "concurrency": 100, "rows": 5_000}

told_and_not = pytest.mark.parametrize("told", [True, False])


def goodput(world: World) -> float:
    """Of what a perfect scheduler gets. No row may fail but for an answer that was paid for and is empty."""
    run = simulate(world)
    assert set(run.ends) <= {"empty_answer"}
    return perfect_seconds(world) / run.seconds


@told_and_not
@pytest.mark.parametrize("share", [0.01, 0.02, 0.05])
@pytest.mark.parametrize("place", [FAST, SLOW], ids=["15 ms", "500 ms"])
def test_429s_by_chance_hold_back_nobody_but_their_rows(place: dict[str, float], share: float, told: bool) -> None:
    assert goodput(World(**place, chance=share, told=told)) >= 0.9  # type: ignore[arg-type]


@told_and_not
@pytest.mark.parametrize(("place", "least"), [(FAST, 0.8), (SLOW, 0.9)], ids=["15 ms", "500 ms"])
def test_a_mix_of_faults_holds_the_job_back_by_little(place: dict[str, float], least: float, told: bool) -> None:
    assert goodput(World(**place, chance=0.05, told=told, mix=True)) >= least  # type: ignore[arg-type]


@told_and_not
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", [FAST, SLOW], ids=["15 ms", "500 ms"])
def test_a_quota_that_shows_only_in_429s_is_used_and_kept(place: dict[str, float], kind: str, told: bool) -> None:
    world = World(**{**place, "rows": None}, server=partial(KINDS[kind], 3_000), minutes=8, told=told)  # type: ignore[arg-type]
    run = simulate(world)
    assert run.used(3_000, first=3) >= (0.8 if kind == "bucket of 10" else 0.94)
    assert run.refusals <= 0.01
    assert run.failed == 0


@told_and_not
def test_a_quota_a_little_below_what_the_concurrency_can_do_is_found_by_a_trial(told: bool) -> None:
    """Its 429s are as few as those by chance, and come as late as answers: only going slower tells them apart."""
    place = World(server=partial(Bucket, 10_000, full=False), told=told, minutes=5)
    run = simulate(World(**{**place.__dict__, "latency": 0.5, "refusal": 0.5, "concurrency": 100}))
    assert run.used(10_000) >= 0.93
    assert run.refusals <= 0.01


def test_chance_on_top_of_a_quota_does_not_wear_the_rate_down() -> None:
    run = simulate(World(server=partial(FixedWindow, 6_000), chance=0.02, minutes=8))
    assert run.used(6_000) >= 0.9
    assert run.refusals <= 0.05


@pytest.mark.parametrize("kind", [FixedWindow, SlidingWindow])
def test_a_429_by_chance_behind_a_long_pause_that_was_guessed_says_nothing_of_the_rate(kind: type[Server]) -> None:
    """The half of the pause that may have been in vain was taken for a time in which hardly anything was accepted."""
    place = World(latency=0.015, refusal=0.003, concurrency=10, chance=0.02, told=False)
    run = simulate(World(**{**place.__dict__, "server": partial(kind, 3_000), "minutes": 15}))
    assert run.used(3_000) >= 0.3


@told_and_not
def test_a_tiny_quota_costs_no_more_than_was_in_flight_at_first(told: bool) -> None:
    run = simulate(World(**{**SLOW, "rows": None}, server=partial(FixedWindow, 60), minutes=10, told=told))  # type: ignore[arg-type]
    assert run.refused <= 100 + 30


@told_and_not
@pytest.mark.parametrize("share", [0.2, 0.3, 0.5])
@pytest.mark.parametrize("place", [FAST, SLOW, {**FAST, "concurrency": 1}], ids=["15 ms", "500 ms", "one at a time"])
def test_many_429s_by_chance_do_not_wear_the_speed_down(place: dict[str, float], share: float, told: bool) -> None:
    """They are taken for a quota's at first, and a rate that is learned of them falls with each: for ever, once."""
    world = World(**{**place, "rows": 500}, chance=share, told=told)  # type: ignore[arg-type]
    assert simulate(world).seconds <= perfect_seconds(world) + 180


def test_a_quota_of_a_few_a_minute_is_asked_ever_more_rarely_whether_it_is_one() -> None:
    run = simulate(World(server=partial(FixedWindow, 5), minutes=60, told=True))
    assert run.used(5) >= 0.9
    assert run.refused <= 40 + 60 + 8 * 24
