"""The grid: quotas and 429s by chance, each world a job in virtual time. `make pacing` runs it and prints the worst."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from tests.pace.endpoints import Bucket, FixedWindow, Server, SlidingWindow
from tests.pace.simulator import World, perfect_seconds, simulate

KINDS: dict[str, Callable[[float], Server]] = {
    "fixed": FixedWindow,
    "sliding": SlidingWindow,
    "bucket full": Bucket,
    "bucket empty": partial(Bucket, full=False),
    "bucket of 10": partial(Bucket, burst=10),
}
PLACES = (
    (0.015, 0.003, 10),
    (0.015, 0.003, 40),
    (0.015, 0.015, 40),
    (0.015, 0.003, 400),
    (0.5, 0.02, 10),
    (0.5, 0.02, 100),
    (0.5, 0.5, 100),
    (0.5, 0.02, 400),
)
"""Seconds to an answer, seconds to a 429, and how many are in flight."""
BEFORE = Path(__file__).with_name("grid-0.1.0.json")


WORST = 5


class Cell(NamedTuple):
    """A world with its name."""

    name: str
    world: World
    per_minute: float = 0.0  # of the quota; 0: there is none


class Figure(NamedTuple):
    """What came of a cell."""

    name: str
    good: float  # share of the quota used, or of what a perfect scheduler gets
    refused: float  # share of 429s
    failed: int = 0  # rows, for a 429


def _worlds(**more: Any) -> Iterator[World]:
    for latency, refusal, concurrency in PLACES:
        for told in (True, False):
            yield World(latency=latency, refusal=refusal, concurrency=concurrency, told=told, **more)


def chance_cells() -> Iterator[Cell]:
    """429s whatever the speed is."""
    for share in (0.005, 0.01, 0.02, 0.05, 0.1):
        for world in _worlds(chance=share):
            yield Cell(f"chance {share:.1%}, {_place(world)}", replace(world, rows=_rows(world)))


def mix_cells() -> Iterator[Cell]:
    """429s among other faults, all by chance."""
    for world in _worlds(chance=0.05, mix=True):
        yield Cell(f"mix, {_place(world)}", replace(world, rows=_rows(world)))


def quota_cells(chance: float = 0.0) -> Iterator[Cell]:
    """A quota that shows only in 429s; with `chance`, 429s by chance besides."""
    both = f" and chance {chance:.0%}" if chance else ""
    for kind, make in KINDS.items():
        for per_minute in (60, 600, 3_000, 6_000, 60_000):
            minutes = 15 if per_minute < 60_000 else 4
            for world in _worlds(server=partial(make, per_minute), minutes=minutes, chance=chance):
                if _most(world) >= per_minute:
                    yield Cell(f"{kind} {per_minute}{both}, {_place(world)}", world, per_minute)


def near_cells() -> Iterator[Cell]:
    """Quotas a little below what the concurrency can do."""
    for kind, make in KINDS.items():
        for part in (0.95, 0.85, 0.7):
            for world in _worlds():
                per_minute = round(part * _most(world))
                minutes = 10.0 if per_minute < 7_000 else 5.0 if per_minute < 20_000 else 2.5
                if per_minute < 200_000:
                    near = replace(world, server=partial(make, per_minute), minutes=minutes)
                    yield Cell(
                        f"{kind} {per_minute} ({part:.0%} of what is possible), {_place(world)}", near, per_minute
                    )


def change_cells() -> Iterator[Cell]:
    """A quota that is another one after five minutes."""
    for kind, make in KINDS.items():
        for before, after in ((6_000, 3_000), (3_000, 6_000), (600, 6_000)):
            for world in _worlds(server=partial(make, before), then=(300.0, partial(make, after)), minutes=20):
                if _most(world) >= 6_000:
                    yield Cell(f"{kind} {before} then {after}, {_place(world)}", world, after)


def _most(world: World) -> float:
    """Requests a minute with all in flight."""
    return 60 * world.concurrency / world.latency


def _rows(world: World) -> int:
    return 50_000 if world.latency < 0.1 else min(20_000, int(50 * world.concurrency / world.latency))


def _place(world: World) -> str:
    slow = " (429s as late)" if world.refusal == world.latency else ""
    told = "a second or more" if world.told else "none"
    return f"{world.latency * 1000:.0f} ms{slow}, {world.concurrency} in flight, Retry-After {told}"


GROUPS: dict[str, Callable[[], Iterator[Cell]]] = {
    "chance": chance_cells,
    "mix": mix_cells,
    "quota": quota_cells,
    "near": near_cells,
    "both": partial(quota_cells, 0.02),
    "change": change_cells,
}


def figure(cell: Cell) -> Figure:
    """Simulate one."""
    run = simulate(cell.world)
    if not cell.per_minute:
        return Figure(cell.name, perfect_seconds(cell.world) / run.seconds, run.refusals, run.rows_failed)
    return Figure(cell.name, run.used(cell.per_minute, 11 if cell.world.then else 1), run.refusals, run.rows_failed)


def told(name: str, now: list[Figure], before: dict[str, Figure]) -> Iterator[str]:
    """A group's worst cells, each beside what 0.1.0 did there."""
    yield f"{name}: {len(now)} cells, rows failed for a 429: {sum(one.failed for one in now)}"
    known = [before[one.name] for one in now if one.name in before]
    yield f"  now    {_middle(now)}"
    yield f"  0.1.0  {_middle(known)}"
    worst = sorted(now, key=lambda one: one.good)[:WORST] + sorted(now, key=lambda one: -one.refused)[:WORST]
    for one in dict.fromkeys(worst):
        was = before.get(one.name)
        then = f"{was.good:5.2f} {was.refused:7.2%}" if was else ""
        yield f"    {one.good:5.2f} {one.refused:7.2%}   0.1.0: {then:14}  {one.name}"


def _middle(figures: list[Figure]) -> str:
    if not figures:
        return "unknown"
    good, refused = sorted(one.good for one in figures), sorted(one.refused for one in figures)
    n = len(figures)
    return (
        f"good: least {good[0]:.2f}, tenth {good[n // 10]:.2f}, median {good[n // 2]:.2f};"
        f"  429s: median {refused[n // 2]:.2%}, nine tenths {refused[n * 9 // 10]:.2%}, most {refused[-1]:.2%}"
    )


def main() -> None:
    """Run the groups that are named, or all; --keep FILE writes the figures down."""
    parser = argparse.ArgumentParser()
    parser.add_argument("groups", nargs="*", default=list(GROUPS))
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    before = {one[0]: Figure(*one) for one in json.loads(BEFORE.read_text())}
    print("good: of the quota used, behind the first minute; or of what a perfect scheduler gets")
    found: list[Figure] = []
    with ProcessPoolExecutor() as pool:
        for name in given.groups:
            now = list(pool.map(figure, GROUPS[name]()))
            found += now
            print(*told(name, now, before), sep="\n", flush=True)
    if given.keep:
        given.keep.write_text(json.dumps([[one.name, round(one.good, 3), round(one.refused, 4)] for one in found]))


if __name__ == "__main__":
    main()
