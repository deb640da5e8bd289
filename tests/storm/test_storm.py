"""`make storm`: KILLS interruptions (100) of storms from SEED (1) on, and that the oracle would have noticed.

MODE, a regular expression, chooses modes; SEED and MODE together bring a storm back.
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

from storm.harness import LLMOCK, MODES, Blow, Llmock, Plan, Told, World, plan_storm, storm

pytestmark = [pytest.mark.storm, pytest.mark.timeout(7200)]

KILLS = int(os.environ.get("KILLS", "100"))
SEED = int(os.environ.get("SEED", "1"))
MODE = os.environ.get("MODE", "")
ROOT = Path(__file__).resolve().parents[2]
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
    lines = [_line(mode, [told for told in storms if told.plan.mode == mode]) for mode in sorted(modes)]
    signals = sum((told.blows for told in storms), Counter[str]())
    moments = sum((told.moments for told in storms), Counter[str]())
    told = [f"{name}: {_counted(counts)}" for name, counts in (("signals", signals), ("killed in", moments))]
    return "\n".join(["", head, *lines, _line("all", storms), *told])


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.most_common())


def _line(name: str, storms: list[Told]) -> str:
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
        with World(folder, plan) as world:
            storms.append(storm(world))
        print(f"{time.monotonic() - began:6.0f} s  {_line(plan.mode, storms[-1:])}", flush=True)
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

DEFECTS = {
    "the claim is committed after the request": (
        "await self._commits.submit(claim)\n        heard = await self._endpoint.send(body, key)",
        "heard = await self._endpoint.send(body, key)\n        await self._commits.submit(claim)",
        "resend",
        "sent without a claim",
    ),
    "a resent request has a new key": (
        "key = parcel.lost.client_key if parcel.lost else ",
        "key = ",
        "idempotent",
        "paid twice",
    ),
    "hold sends again all the same": (
        "State.UNCONFIRMED if hold else State.PENDING",
        "State.PENDING",
        "hold",
        "paid twice",
    ),
    "what is sent again is not counted": (
        'self._tally["request", "resent"] += 1',
        "pass",
        "resend",
        "paid twice",
    ),
    # Not lost, for the label cache still has them; but they are counted twice.
    "a restart puts done rows back": (
        'lost = {"rows": _encode(requests)',
        "db.execute(\"UPDATE row SET state = 'pending', label = NULL, source = NULL WHERE state = 'done'\")\n"
        '            lost = {"rows": _encode(requests)',
        "resend",
        "row counters",
    ),
    "a counter drifts": (
        'self._tally["row", State.PENDING] += len(chunk.rows)',
        'self._tally["row", State.PENDING] += len(chunk.rows) + 1',
        "resend",
        "row counters",
    ),
    "usage is counted twice": (
        '"input_tokens"] += usage.input_tokens',
        '"input_tokens"] += 2 * usage.input_tokens',
        "resend",
        "usage",
    ),
    "labels land on the wrong row": (
        "label = terms.labels.match(answer)",
        "label = terms.labels.labels[row.number % len(terms.labels.labels)]",
        "resend",
        "label: row",
    ),
    "nobody is refused": ("if self._taken():", "if True:", "resend", "second runner"),
    "labels that were bought are not looked up": (
        "found = await self._store.cached_labels(wanted) if wanted else {}",
        "found: dict[Key, Remembered] = {}",
        "duplicates",
        "billed after its commit",
    ),
    "texts that begin alike are the same": (
        "state.update(self._form(values[0]).encode(",
        "state.update(self._form(values[0])[:9].encode(",
        "duplicates",
        "label: row",
    ),
    "rows are the same whatever their other columns hold": (
        "values = self._prompt.values(row)",
        "values = (row.text,)",
        "columns",
        "label: row",
    ),
    "another job's labels are bought again": (
        "if not (self._config.dedupe if own else self._config.cache):",
        "if not own:",
        "cache",
        "billed after its commit",
    ),
    "a held row is asked again although its text has a label": (
        "if known:\n                self._settle(known)",
        "if not known and False:\n                self._settle(known)",
        "duplicates, hold",
        "billed after its commit",
    ),
    "what a dead run had reserved is free again": (
        'tally["cost", "lost"] += sum(cost for _, cost in requests)',
        "pass",
        "budget",
        "cost: lost requests",
    ),
    "every run has the whole budget": ("spent=await store.spent_picousd()", "spent=0", "budget", "over the budget"),
    "a verification looks like any request": (
        'purpose = "verify" if claim.verify else "label"',
        'purpose = "label"',
        "verify",
        "paid twice",
    ),
    "every row is verified": ("self._chance() < sample", "self._chance() < 1", "verify", "verify: "),
}
"""A defect -> what is replaced by what, in which mode it is looked for, what the oracle says of it."""


@pytest.mark.parametrize("defect", DEFECTS)
def test_the_oracle_objects_to_a_defect(tmp_path: Path, defect: str) -> None:
    right, wrong, mode, expected = DEFECTS[defect]
    copy = tmp_path / "copy"
    shutil.copytree(ROOT / "batchjob", copy / "batchjob", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "migrations", copy / "migrations")
    sources = [path for path in (copy / "batchjob").rglob("*.py") if right in path.read_text()]
    assert len(sources) == 1, "the line this defect is made from is no longer there, once"
    text = sources[0].read_text()
    assert text.count(right) == 1
    sources[0].write_text(text.replace(right, wrong))
    kills = tuple(Blow("kill", "request", 0.1 + 0.05 * n, rival=n == 1) for n in range(4))
    plan = Plan(SEED, mode, 1000, ".csv", 20, (0.02, 0.05), kills)
    command = (sys.executable, "-c", "from batchjob.cli import main; main()")
    with World(tmp_path / "job", plan, command=command, environment={"PYTHONPATH": str(copy)}) as world:
        told = storm(world)
    assert [said for said in told.objections if expected in said], told.objections
