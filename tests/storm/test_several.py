"""`make storm-postgres`: storms over several workers on one job, KILLS blows from SEED on. `make test` has a share."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from storm import harness
from storm.harness import World, plan_storm
from storm.several import storm_of_workers
from storm.test_storm import objections, told_line, told_table
from tests import postgres

pytestmark = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)

KILLS = int(os.environ.get("KILLS", "100"))
SEED = int(os.environ.get("SEED", "1"))
MODE = os.environ.get("MODE", "")
WORKERS = 4
BLOWS = 12  # of one storm
MODES = (
    "resend",
    "hold",
    "many rows",
    "many rows, hold",
    "duplicates",
    "duplicates, hold",
    "duplicates, many rows, hold",
    "loose, hold",
    "resend, faults",
    "hold, faults",
    "duplicates, faults",
    "budget",
    "budget, hold",
    "budget, many rows",
    "fields",
    "second",
    "verify",
)


def world_of(folder: Path, seed: int, mode: str, rows: int) -> World:
    rows *= harness.MODES[mode].copies
    plan = plan_storm(seed, mode, blows=1, rows=rows)._replace(concurrency=8, latency=(0.1, 0.3), suffix=".csv")
    return World(folder, plan, url=postgres.new_database())


@pytest.mark.parametrize("mode", ["resend, faults", "duplicates, hold"])
def test_a_storm_over_four_workers_loses_no_label_and_pays_no_row_twice(tmp_path: Path, mode: str) -> None:
    with world_of(tmp_path, SEED, mode, 500) as world:
        told = storm_of_workers(world, workers=WORKERS, blows=6)
    assert objections([told]) == []
    assert told.blows.total() > 0


@pytest.mark.storm
@pytest.mark.timeout(7200)
def test_no_storm_over_four_workers_loses_a_label_or_pays_twice(tmp_path: Path) -> None:
    modes = [mode for mode in MODES if re.search(MODE, mode)]
    storms, struck = [], 0
    while struck < KILLS:
        seed = SEED + len(storms)
        with world_of(tmp_path / str(seed), seed, modes[seed % len(modes)], 2500) as world:
            storms.append(storm_of_workers(world, workers=WORKERS, blows=BLOWS))
        struck += storms[-1].blows.total()
        print(f"{seed}  {told_line(modes[seed % len(modes)], storms[-1:])}", flush=True)
    print(told_table(storms))
    assert objections(storms) == []
