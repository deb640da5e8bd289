"""Whatever a power cut leaves of what was not synced, every acknowledged group is there, wholly."""

from __future__ import annotations

import contextlib
import random
import re
import sqlite3
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import apsw
import pytest

from batchjob.stores.sqlite import connections, schema
from batchjob.stores.sqlite.check import SqliteCheck
from tests.powercut.disk import MODES, Disk, PowerCut
from tests.powercut.workload import dump, steps

CHECKPOINTS = (4000, 100, 20)
"""Pages of log after which it is copied into the database: the store's own number, and some that a cut meets often."""
NAME = "/job.db"


class Found(NamedTuple):
    """What was there when the power came back."""

    acknowledged: int  # steps before the cut
    there: int | None  # after which step the tables looked so; None: after none
    integrity: str
    differences: int  # counters that are not what they count


@cache
def pragmas() -> dict[str, str]:
    """Those the store itself opens its connection with, in their order."""
    said: list[str] = []

    class Heard(sqlite3.Connection):
        def execute(self, query: str, *values: object) -> sqlite3.Cursor:
            said.append(query)
            return super().execute(query, *values)

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", partial(sqlite3.connect, factory=Heard))
        connections.connect(Path(folder) / "job.db").close()
    found = [named for query in said if (named := re.fullmatch(r"PRAGMA (\w+) = (\w+)", query))]
    return {named[1]: named[2] for named in found if named[1] not in ("application_id", "user_version")}


def test_these_are_the_pragmas_the_cuts_are_tried_with() -> None:
    known = ["journal_mode", "synchronous", "fullfsync", "secure_delete", "wal_autocheckpoint", "temp_store"]
    assert list(pragmas()) == known


def connect(disk: Disk, *, synchronous: str | None, checkpoint: int) -> apsw.Connection:
    """As open_store does it, but alone: the log's index is in memory, since the simulated disk shares none."""
    db = apsw.Connection(NAME, vfs=disk.name)
    db.execute("PRAGMA locking_mode = EXCLUSIVE")
    for name, value in pragmas().items():
        db.execute(f"PRAGMA {name} = {value}")
    db.execute(f"PRAGMA wal_autocheckpoint = {checkpoint}")
    if synchronous:
        db.execute(f"PRAGMA synchronous = {synchronous}")
    return db


def live(disk: Disk, seed: int, *, synchronous: str | None, checkpoint: int) -> int:
    """The life of a job on this disk, until its power is cut; the steps that were acknowledged."""
    acknowledged = 0
    db = None
    with quiet():
        try:
            db = connect(disk, synchronous=synchronous, checkpoint=checkpoint)
            for step in steps(seed):
                step(db)
                acknowledged += 1
        except (PowerCut, apsw.Error):
            assert disk.off
        finally:
            disk.left = True
            if db is not None:
                db.close()
    return acknowledged


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Where SQLite can do without, as in a checkpoint, it goes on after a PowerCut, and apsw would complain."""
    complain = sys.unraisablehook
    sys.unraisablehook = lambda raised: None if raised.exc_type is PowerCut else complain(raised)
    try:
        yield
    finally:
        sys.unraisablehook = complain


def reference(seed: int) -> list[object]:
    """What the tables hold after no step, after one, and so on."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    found: list[object] = [dump(db)]
    for step in steps(seed):
        step(db)
        found.append(dump(db))
    db.close()
    return found


class Seed:
    """One life, cut wherever one likes."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.seed, self._folder = seed, folder
        self._expected = reference(seed)
        self.lengths: dict[tuple[str | None, int], int] = {}

    def length(self, synchronous: str | None, checkpoint: int) -> int:
        """Operations of the whole life on a disk."""
        key = (synchronous, checkpoint)
        if key not in self.lengths:
            disk = Disk()
            done = live(disk, self.seed, synchronous=synchronous, checkpoint=checkpoint)
            assert done == len(self._expected) - 1
            self.lengths[key] = disk.operations
        return self.lengths[key]

    def cut(self, number: int, *, synchronous: str | None) -> tuple[str, Found]:
        """The number-th cut: how it was, and what was found."""
        chance = random.Random(f"cut {self.seed} {number}")
        checkpoint, mode = CHECKPOINTS[number % len(CHECKPOINTS)], MODES[number % len(MODES)]
        disk = Disk(cut_at=chance.randint(1, self.length(synchronous, checkpoint)))
        acknowledged = live(disk, self.seed, synchronous=synchronous, checkpoint=checkpoint)
        return mode, self._after(disk.images(mode, chance), acknowledged)

    def _after(self, images: dict[str, bytes], acknowledged: int) -> Found:
        for old in self._folder.iterdir():
            old.unlink()
        for name, image in images.items():
            (self._folder / name[1:]).write_bytes(image)
        path = self._folder / NAME[1:]
        db = sqlite3.connect(path, isolation_level=None)
        try:
            integrity = db.execute("PRAGMA integrity_check").fetchone()[0]
            tables = dump(db)
        except sqlite3.DatabaseError as error:
            integrity, tables = str(error), None
        finally:
            db.close()
        # The step that was cut may be there or not.
        near = (acknowledged, acknowledged + 1, *range(acknowledged - 1, -1, -1))
        there = next((n for n in near if n < len(self._expected) and self._expected[n] == tables), None)
        differences = 0
        if tables is not None and integrity == "ok":  # else it is told already, and cannot be counted
            with SqliteCheck(path) as check:
                differences = len(list(check.differences()))
        return Found(acknowledged, there, integrity, differences)


def cuts(folder: Path, count: int, *, synchronous: str | None) -> Counter[str]:
    """So many cuts; how many of each mode, and what was wrong with how many."""
    told: Counter[str] = Counter()
    lives = [Seed(seed, folder) for seed in range(1 + count // 100)]
    for number in range(count):
        mode, found = lives[number % len(lives)].cut(number, synchronous=synchronous)
        told[mode] += 1
        told["steps acknowledged"] += found.acknowledged
        told["in the cut step"] += found.there == found.acknowledged + 1
        told["lost"] += found.there is not None and found.there < found.acknowledged
        told["torn"] += found.there is None
        told["damaged"] += found.integrity != "ok"
        told["counters wrong"] += found.differences > 0
    print(f"{count} cuts, synchronous={synchronous or 'as the store has it'}: {dict(told)}")
    return told


def check_full(told: Counter[str]) -> None:
    wrong = {name: told[name] for name in ("lost", "torn", "damaged", "counters wrong")}
    assert wrong == dict.fromkeys(wrong, 0)
    assert min(told[mode] for mode in MODES) > 0
    assert told["in the cut step"] > 0


def test_sixty_cuts_lose_no_acknowledged_group(tmp_path: Path) -> None:
    check_full(cuts(tmp_path, 60, synchronous=None))


def test_without_full_this_very_test_sees_acknowledged_groups_lost(tmp_path: Path) -> None:
    told = cuts(tmp_path, 20, synchronous="NORMAL")
    assert told["lost"] >= 5
    assert told["damaged"] == told["torn"] == 0  # NORMAL loses what is last, and no more


@pytest.mark.storm
@pytest.mark.timeout(1800)
def test_a_thousand_cuts_lose_no_acknowledged_group(tmp_path: Path) -> None:
    check_full(cuts(tmp_path, 1000, synchronous=None))
    for synchronous in ("NORMAL", "OFF"):
        assert cuts(tmp_path, 1000, synchronous=synchronous)["lost"] >= 100


def test_a_migration_that_is_cut_is_there_or_not(tmp_path: Path) -> None:
    life = Seed(1, tmp_path)
    whole = Disk()
    db = connect(whole, synchronous=None, checkpoint=4000)
    schema.migrate(db, Path(NAME))  # type: ignore[arg-type]
    operations = whole.operations
    db.close()
    first = Counter[int | None]()
    for at in range(1, operations + 2):
        for mode in MODES:
            disk = Disk(cut_at=at)
            acknowledged = live(disk, 1, synchronous=None, checkpoint=4000)
            found = life._after(disk.images(mode, random.Random(at)), acknowledged)
            assert found.integrity == "ok"
            assert found.there is not None
            assert found.there >= acknowledged
            first[found.there] += 1
    assert set(first) >= {0, 1}
