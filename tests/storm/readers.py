"""All commands that read, while another process works on the job, and is killed."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from storm.oracle import read_export
from tests.page.client import Page

if TYPE_CHECKING:
    from storm.harness import World

NOT_YET = ("no database", "no jobs", "no job is named")
"""What a command that reads says while there is nothing to read."""
LABELS = str(Path(__file__).resolve().parents[2] / "examples" / "labels.txt")
FIRST = "refund"
"""A label: what a person would say of each row."""


AT_ONCE = 3
"""Commands between two looks at whether a run has ended: all of them take seconds."""


def read_some(world: World, chance: random.Random) -> None:
    """A few of the commands that read; see read_all."""
    for read in chance.sample(_readers(world), AT_ONCE):
        read(world)


def read_all(world: World) -> None:
    """Each command that reads, while another process works; it succeeds, and its numbers are true."""
    for read in _readers(world):
        read(world)


def _readers(world: World) -> list[Callable[[World], None]]:
    """With fields, without those that look at one label."""
    some = [_jobs, _profile, _errors, _cache, _requests, _rows]
    return some if world.mode.fields else [*some, _score, _compare, _report, _try, _view]


def _named(world: World) -> list[str]:
    """The jobs there are; one may not be made yet."""
    told = _heard(world, "jobs", "--json", "--db", world.url)
    return [] if told is None else [job["job"] for job in json.loads(told)]


def _jobs(world: World) -> None:
    named, made = _named(world), [work.name for work in world.works]
    if named != made[: len(named)]:
        world.oracle.object(f"jobs: {named}")


def _profile(world: World) -> None:
    labels = () if world.mode.fields else ("--labels-file", LABELS)
    told = _heard(world, "profile", *map(str, world.at.inputs), *labels, "--json", "--db", world.url)
    if told is not None and json.loads(told)["rows"]["total"] != len(world.rows):
        world.oracle.object(f"profile: {told[:300]}")


def _errors(world: World) -> None:
    _heard(world, "errors", world.at.name, "--json", "--db", world.url)


def _cache(world: World) -> None:
    _heard(world, "cache", "stats", "--json", "--db", world.url)


def _requests(world: World) -> None:
    _heard(world, "export", world.at.name, "--requests", "-o", "-", "--db", world.url)


def _rows(world: World) -> None:
    path = world.folder / "read.jsonl"
    if _heard(world, "export", world.at.name, "--details", "-o", str(path), "--db", world.url) is not None:
        world.oracle.see_export(read_export(path), ended_at=time.time(), whole=False)


def _heard(world: World, *command: str) -> str | None:
    """What a command prints; None where it is too early for it."""
    answer = world.ask(*command)
    if answer.returncode == 0:
        return answer.stdout
    if not any(part in answer.stderr for part in NOT_YET):
        world.oracle.object(f"{command[0]}, while it runs: exit {answer.returncode}: {answer.stderr.strip()[-300:]}")
    return None


def _score(world: World) -> None:
    gold = world.folder / "gold.csv"
    if not gold.exists():
        with gold.open("w", newline="") as file:
            csv.writer(file).writerows(
                [("id", "gold"), *((key, FIRST) for work in world.works for key, _ in work.rows)]
            )
    told = _heard(world, "score", world.at.name, "--gold-file", str(gold), "--json", "--db", world.url)
    rows = json.loads(told)["rows"] if told is not None else {}
    if rows and not rows["right"] <= rows["scored"] <= len(world.rows):
        world.oracle.object(f"score: {rows}")


def _compare(world: World) -> None:
    """The endpoint says of a text always the same, so two jobs agree."""
    if len(jobs := _named(world)) == 2:
        told = _heard(world, "compare", *jobs, "--json", "--db", world.url)
        share = json.loads(told)["agreement"] if told is not None else None
        if share and share["hits"] != share["n"]:
            world.oracle.object(f"compare: {share}")


def _report(world: World) -> None:
    """Whole, or not there."""
    for form, end in ((".html", "</html>"), (".md", "\n")):
        path = world.folder / f"report{form}"
        written = _heard(world, "report", world.at.name, "-o", str(path), "--db", world.url) is not None
        if written and not path.read_text(encoding="utf-8").endswith((end, f"{end}\n")):
            world.oracle.object(f"report: {path.name} has no end")


def _try(world: World) -> None:
    """A few rows of the same input, asked of another endpoint into another database: this one has its writer."""
    seed = str(random.Random(f"try {world.plan.seed} {world.runs}").randint(1, 3))
    asked = ("try", *map(str, world.at.inputs), "--labels-file", LABELS, "--sandbox", "-n", "3", "--seed", seed)
    told = _heard(world, *asked, "--rpm", "0", "--json", "--db", str(world.folder / "tried.db"))
    if told is not None and len(json.loads(told)["rows"]) != 3:
        world.oracle.object(f"try: {told[:300]}")


def _view(world: World) -> None:
    """The page: its job, and its first rows."""
    if world.at.name not in _named(world):
        return  # nor would it begin
    process = subprocess.Popen(
        world.called("view", "--no-open", "--db", world.url),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=world.folder,
    )
    try:
        page = Page(process)
        world.oracle.see_status(page.ask("/api/job", job=world.at.name)["status"])
        _see_rows(world, page.ask("/api/rows", job=world.at.name)["rows"])
        page.stop()
    finally:
        process.kill()
        process.communicate(timeout=15)


def _see_rows(world: World, rows: list[dict[str, Any]]) -> None:
    if any((row["state"] == "done") != (row["label"] is not None) for row in rows):
        world.oracle.object(f"view: a row is done without a label, or not with one: {rows[:3]}")
