"""batchjob remove: nothing of a job's texts is left, and everything of the others is."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.cli import _run

if TYPE_CHECKING:
    from tests.conftest import BatchJob

JOB = ("--labels", "a,b", "--sandbox", "--rpm", "0", "--quiet")
TABLES = ("job", "run", "task", "input", "row", "request", "intent", "tally", "notice")


def write(folder: Path, name: str, secret: str, rows: int = 3000) -> None:
    lines = [json.dumps({"id": n, "text": f"{secret} {n}", "note": f"{secret}-note"}) for n in range(rows)]
    (folder / name).write_text("\n".join(lines) + "\n")


def counts(folder: Path) -> dict[str, int]:
    with sqlite3.connect(folder / "batchjob.db") as db:
        found = {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}
    db.close()
    return found


def on_disk(folder: Path, secret: str) -> list[str]:
    return [file.name for file in folder.glob("batchjob.db*") if secret.encode() in file.read_bytes()]


def test_a_removed_job_leaves_no_text_and_the_others_as_they_were(batchjob: BatchJob) -> None:
    write(batchjob.folder, "one.jsonl", "zebrafish")
    write(batchjob.folder, "two.jsonl", "armadillo", rows=50)
    assert batchjob("start", "two.jsonl", *JOB).code == 0
    before = counts(batchjob.folder)
    kept = batchjob("export", "two", "-o", "-").out
    assert batchjob("start", "one.jsonl", *JOB, "--fallback", "b").code == 0
    assert on_disk(batchjob.folder, "zebrafish")
    ended = batchjob("remove", "one")
    assert ended.code == 0, ended.err
    assert "job one is removed: 3,000 rows, 3,000 requests" in ended.out
    assert on_disk(batchjob.folder, "zebrafish") == []
    assert counts(batchjob.folder) == before
    assert batchjob("export", "two", "-o", "-").out == kept
    assert "equal to what they count" in batchjob("doctor").out
    assert batchjob("status", "one").code == 1
    assert (batchjob.folder / "one.jsonl").is_file()


def test_nor_does_it_where_sqlite_is_built_without_secure_delete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A page that both jobs share was left with copies of what had moved from it."""

    def without(*arguments: Any, **more: Any) -> sqlite3.Connection:
        connection = begun(*arguments, **more)
        connection.execute("PRAGMA secure_delete = OFF").fetchone()
        return connection

    begun = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", without)
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "one.jsonl", "zebrafish")
    write(tmp_path, "two.jsonl", "armadillo", rows=50)
    for name in ("two.jsonl", "one.jsonl"):
        assert _run(["start", name, *JOB, "--fallback", "b"]) == 0
    assert on_disk(tmp_path, "zebrafish")
    assert _run(["remove", "one"]) == 0, capsys.readouterr().err
    assert on_disk(tmp_path, "zebrafish") == []


def test_the_labels_of_a_removed_job_are_not_paid_again_and_belong_to_nobody(batchjob: BatchJob) -> None:
    write(batchjob.folder, "one.jsonl", "zebrafish", rows=20)
    assert batchjob("start", "one.jsonl", *JOB).code == 0
    assert batchjob("remove", "one").code == 0
    write(batchjob.folder, "other.jsonl", "armadillo", rows=1)
    assert batchjob("start", "other.jsonl", *JOB).code == 0
    cache = json.loads(batchjob("cache", "stats", "--json").out)
    assert [(share["job"], share["labels"]) for share in cache["jobs"]] == [(None, 20), ("other", 1)]
    assert batchjob("start", "one.jsonl", *JOB).code == 0
    assert json.loads(batchjob("status", "one", "--json").out)["requests"]["sent"] == 0


def test_a_job_that_runs_is_not_removed_nor_another_beside_it(batchjob: BatchJob, sandbox: Callable[..., str]) -> None:
    write(batchjob.folder, "old.jsonl", "armadillo", rows=5)
    assert batchjob("start", "old.jsonl", *JOB).code == 0
    write(batchjob.folder, "one.jsonl", "zebrafish", rows=500)
    given = ("--labels", "a,b", "--model", "m", "--base-url", sandbox("--latency", "0.2"), "--quiet")
    process = batchjob.begin("start", "one.jsonl", *given, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 20
        while batchjob("status", "one").code != 0:
            assert time.monotonic() < end
        for name in ("one", "old"):
            ended = batchjob("remove", name)
            assert (ended.code, "is working" in ended.err) == (1, True)
    finally:
        process.kill()
        process.communicate()
    assert batchjob("remove", "one").code == 0
    assert on_disk(batchjob.folder, "zebrafish") == []


def test_a_job_that_is_not_there_is_named(batchjob: BatchJob) -> None:
    write(batchjob.folder, "one.jsonl", "zebrafish", rows=1)
    assert batchjob("start", "one.jsonl", *JOB).code == 0
    ended = batchjob("remove", "on")
    assert (ended.code, "Did you mean 'one'?" in ended.err) == (1, True)
    assert batchjob("remove").code == 2
