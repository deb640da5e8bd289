"""`make storm`: KILLS interruptions (100) of storms from SEED (1) on, and that the oracle would have noticed.

MODE, a regular expression, chooses modes; SEED and MODE together bring a storm back. With STORE=postgres the work
table lies in PostgreSQL.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from defects import DEFECTS, Defect, copied, why_not

from storm.harness import LLMOCK, MODES, Blow, Llmock, Plan, Told, World, plan_storm, storm
from tests import postgres

pytestmark = [pytest.mark.storm, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("KILLS", "100"))
SEED = int(os.environ.get("SEED", "1"))
MODE = os.environ.get("MODE", "")
ON_POSTGRES = os.environ.get("STORE") == "postgres"
COLUMNS = {
    "storms": 7,
    "kills": 7,
    "runs": 6,
    "rows": 8,
    "questions": 11,
    "labels lost": 13,
    "billed after commit": 21,
    "extra bills": 13,
    "printed": 9,
    "held, then retried": 20,
}


def told_table(storms: list[Told]) -> str:
    """A line per mode and one for all: what was done and what came of it."""
    head = f"{'mode':<24}" + "".join(f"{name:>{width}}" for name, width in COLUMNS.items())
    modes = {told.plan.mode for told in storms}
    lines = [told_line(mode, [told for told in storms if told.plan.mode == mode]) for mode in sorted(modes)]
    signals = sum((told.blows for told in storms), Counter[str]())
    moments = sum((told.moments for told in storms), Counter[str]())
    told = [f"{name}: {_counted(counts)}" for name, counts in (("signals", signals), ("killed in", moments))]
    return "\n".join(["", head, *lines, told_line("all", storms), *told])


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.most_common())


def told_line(name: str, storms: list[Told]) -> str:
    """What was done in these storms, and what came of it."""

    def total(figure: str) -> int:
        return sum(int(getattr(told, figure)) for told in storms)

    retried = f"{total('retried_extra')} of {total('retried_printed')}"
    figures = (
        len(storms),
        sum(told.blows.total() for told in storms),
        *map(total, ("runs", "rows", "questions", "labels_lost", "billed_after_commit", "extra_bills", "printed")),
        retried,
    )
    return f"{name:<24}" + "".join(f"{n:>{width}}" for n, width in zip(figures, COLUMNS.values(), strict=True))


def objections(storms: list[Told]) -> list[str]:
    """All of them, each with what brings it back."""
    return [f"SEED={told.plan.seed} MODE='^{told.plan.mode}$': {said}" for told in storms for said in told.objections]


def test_no_storm_of_kills_loses_a_label_or_pays_twice(tmp_path: Path) -> None:
    storms: list[Told] = []
    modes = [mode for mode in MODES if re.search(MODE, mode)]
    began = time.monotonic()
    while sum(told.blows.total() for told in storms) < KILLS:
        seed = SEED + len(storms)
        plan = plan_storm(seed, modes[seed % len(modes)], blows=4 + seed % 5)
        folder = tmp_path / f"storm-{seed}"
        url = postgres.new_database() if ON_POSTGRES else None
        with World(folder, plan, url=url) as world:
            storms.append(storm(world))
        print(f"{time.monotonic() - began:6.0f} s  {told_line(plan.mode, storms[-1:])}", flush=True)
        if storms[-1].objections:
            print("\n".join(objections(storms[-1:])), flush=True)
        else:
            shutil.rmtree(folder)
    print(told_table(storms), flush=True)
    assert objections(storms) == []


@pytest.mark.parametrize("mode", ["resend", "hold"])
def test_a_job_of_3080_rows_survives_twelve_kills(tmp_path: Path, mode: str) -> None:
    blows = plan_storm(SEED, mode, blows=12, rows=3080).blows
    plan = Plan(SEED, mode, 3080, ".csv", 20, (0.1, 0.2), blows)
    with World(tmp_path / "large", plan) as world:
        told = storm(world)
    print(told_table([told]), flush=True)
    assert told.objections == []


def test_somebody_elses_endpoint_has_the_same_story_in_its_journal(tmp_path: Path) -> None:
    if not Path(LLMOCK).exists():
        pytest.skip("llmock is not installed")
    kills = tuple(Blow("kill", "request", 0.1 * n) for n in range(1, 7))
    plan = Plan(SEED, "resend", 600, ".csv", 8, (0.0, 0.0), kills)
    endpoint = Llmock(tmp_path, "card_arrival", latency_ms=20)
    with World(tmp_path / "job", plan, endpoint=endpoint) as world:
        told = storm(world)
    print(told_table([told]), flush=True)
    assert told.objections == []
    assert told.blows["kill"] >= 3


# ---------------------------------------------------------------- would it have been noticed?

NOTICED = [one for one in DEFECTS if one.storm]


@pytest.mark.parametrize("one", NOTICED, ids=lambda one: one.name)
def test_the_oracle_objects_to_a_defect(tmp_path: Path, one: Defect) -> None:
    assert why_not(one) == ""
    copy = copied(tmp_path / "copy", ("batchjob", "migrations"), one)
    kills = tuple(Blow("kill", "request", 0.1 + 0.05 * n, rival=n == 1) for n in range(4))
    plan = Plan(SEED, one.storm.mode, one.storm.rows, ".csv", 20, (0.02, 0.05), kills)
    command = (sys.executable, "-c", "from batchjob.cli import main; main()")
    with World(tmp_path / "job", plan, command=command, environment={"PYTHONPATH": str(copy)}) as world:
        told = storm(world)
    assert [said for said in told.objections if one.storm.objection in said], told.objections
