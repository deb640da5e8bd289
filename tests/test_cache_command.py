"""The labels that are remembered: counted, forgotten, and left alone while a job runs."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.server import Exchange, FaultServer, completion, http

if TYPE_CHECKING:
    from tests.conftest import BatchJob

TASK = ("--labels", "billing,refund,other", "--sandbox", "--rpm", "0", "--quiet")
DAY = 86400


def write(job: BatchJob, first: int, last: int, name: str = "t.csv") -> None:
    rows = (f"{n},refund number {n}" for n in range(first, last + 1))
    (job.folder / name).write_text("\n".join(["id,text", *rows]) + "\n")


@pytest.fixture(scope="session")
def two_jobs(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type[BatchJob]) -> Path:
    """A folder with two finished jobs of 8 and 4 texts, the first of them bought 40 days ago."""
    batchjob = batchjob_in(tmp_path_factory.mktemp("two"))
    write(batchjob, 1, 8)
    assert batchjob("start", "t.csv", *TASK).code == 0
    with sqlite3.connect(batchjob.folder / "batchjob.db") as db:
        db.execute("UPDATE label_cache SET at = at - ?", (40 * DAY,))
    db.close()
    write(batchjob, 101, 104, "u.csv")
    assert batchjob("start", "u.csv", *TASK).code == 0
    return batchjob.folder


@pytest.fixture
def labelled(two_jobs: Path, batchjob: BatchJob) -> BatchJob:
    """The command in a folder with a copy of those jobs."""
    for file in two_jobs.iterdir():
        shutil.copy(file, batchjob.folder)
    return batchjob


def stats(job: BatchJob) -> dict[str, Any]:
    ended = job("cache", "stats", "--json")
    assert ended.code == 0, ended.err
    document: dict[str, Any] = json.loads(ended.out)
    return document


def sent(job: BatchJob, *arguments: str) -> int:
    job("start", *arguments, *TASK, "--new")
    requests: int = json.loads(job("status", "--json").out)["requests"]["sent"]
    return requests


def test_stats_tell_how_many_labels_are_remembered_by_job_and_age_and_how_large_that_is(labelled: BatchJob) -> None:
    found = stats(labelled)
    assert found["labels"] == 12
    assert [(job["job"], job["labels"]) for job in found["jobs"]] == [("t", 8), ("u", 4)]
    assert found["newest_at"] - found["oldest_at"] == pytest.approx(40 * DAY, abs=60)
    assert found["newest_at"] == pytest.approx(time.time(), abs=60)
    assert found["about_bytes"] > 12 * 20
    said = labelled("cache", "stats").out
    assert "labels    12 remembered" in said
    assert "  t: 8, 40 days old" in said


def test_the_size_that_is_told_is_near_the_true_one(labelled: BatchJob) -> None:
    with sqlite3.connect(labelled.folder / "batchjob.db") as db:
        db.execute(
            "WITH n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
            " INSERT OR IGNORE INTO label_cache SELECT random(), random(), 'billing', 0, 1, 1700000000, NULL FROM n"
        )
        db.commit()
        try:
            true = db.execute("SELECT sum(pgsize) FROM dbstat WHERE name = 'label_cache'").fetchone()[0]
        except sqlite3.OperationalError:
            pytest.skip("this SQLite cannot tell the size of a table")
    db.close()
    assert stats(labelled)["about_bytes"] == pytest.approx(true, rel=0.3)


def test_prune_forgets_the_labels_that_are_older_and_keeps_the_others(labelled: BatchJob) -> None:
    assert labelled("cache", "prune", "--older-than", "8w").out == "0 labels older than 8w forgotten, 12 left\n"
    assert labelled("cache", "prune", "--older-than", "30d").out == "8 labels older than 30d forgotten, 4 left\n"
    assert sent(labelled, "u.csv") == 0
    assert sent(labelled, "t.csv") == 8


def test_after_clear_every_text_is_paid_for_again_and_labels_in_jobs_stay(labelled: BatchJob) -> None:
    assert labelled("cache", "clear").out == "12 labels forgotten, 0 left\n"
    assert stats(labelled)["labels"] == 0
    assert "no label is remembered" in labelled("cache", "stats").out
    assert json.loads(labelled("status", "t", "--json").out)["rows"]["done"] == 8
    assert sent(labelled, "u.csv") == 4


def test_while_a_job_runs_clear_and_prune_are_refused_by_its_name_and_stats_is_not(
    batchjob: BatchJob, sandbox: Callable[..., str]
) -> None:
    write(batchjob, 1, 400)
    url = sandbox("--latency", "0.2")
    task = ("--labels", "billing,refund,other", "--model", "m", "--rpm", "0", "--quiet", "--concurrency", "2")
    process = batchjob.begin("start", "t.csv", "--base-url", url, *task)
    try:
        end = time.monotonic() + 15
        while not ((batchjob.folder / "batchjob.db").exists() and batchjob("cache", "stats").out.startswith("labels")):
            assert time.monotonic() < end, "waited in vain"
            time.sleep(0.1)
        for words in (("clear",), ("prune", "--older-than", "0d")):
            ended = batchjob("cache", *words)
            assert (ended.code, ended.out) == (1, "")
            assert f"process {process.pid} is working on job 't'" in ended.err
        assert stats(batchjob)["labels"] > 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("age", ["30", "30m", "-1d", "d", "1e5d", "9999999d", "inf d", ""])
def test_an_age_that_is_none_is_refused_with_an_example_and_nothing_is_forgotten(batchjob: BatchJob, age: str) -> None:
    ended = batchjob("cache", "prune", f"--older-than={age}")
    assert (ended.code, ended.out) == (2, "")
    assert "such as 12h, 30d or 8w" in ended.err


@pytest.mark.parametrize("words", [("stats",), ("clear",), ("prune", "--older-than", "1d")])
def test_without_a_database_the_command_says_so_and_makes_none(batchjob: BatchJob, words: tuple[str, ...]) -> None:
    ended = batchjob("cache", *words)
    assert (ended.code, ended.out) == (1, "")
    assert "there is no database" in ended.err
    assert list(batchjob.folder.iterdir()) == []


def test_a_foreign_database_is_left_as_it_is(batchjob: BatchJob) -> None:
    with sqlite3.connect(batchjob.folder / "other.db") as db:
        db.execute("CREATE TABLE label_cache (at)")
    db.close()
    before = (batchjob.folder / "other.db").read_bytes()
    ended = batchjob("cache", "clear", "--db", "other.db")
    assert ended.code == 1
    assert "another program" in ended.err
    assert (batchjob.folder / "other.db").read_bytes() == before


def test_the_labels_of_a_job_that_is_not_finished_stay_for_its_own_rows(labelled: BatchJob) -> None:
    """Rows that come again with the texts of rows that are done would be paid for a second time."""
    (labelled.folder / "v.csv").write_text("text\n" + "refund one\nrefund two\n" * 2)
    assert labelled("start", "v.csv", *TASK, "--limit", "2").code == 0
    ended = labelled("cache", "clear")
    assert "those stay that rows without a label may still get" in ended.out
    assert stats(labelled)["labels"] == 2
    assert labelled("resume", "--limit", "4", "--quiet").code == 0
    assert json.loads(labelled("status", "v", "--json").out)["requests"]["sent"] == 2
    assert labelled("cache", "clear").code == 0
    assert stats(labelled)["labels"] == 0


@pytest.mark.parametrize("words", [("clear",), ("prune", "--older-than", "0d")])
def test_a_failed_row_still_gets_the_label_of_a_row_of_its_job_with_the_same_text(
    batchjob: BatchJob, words: tuple[str, ...]
) -> None:
    """Not so one whose text no other has, and a label that another job alone has."""
    (batchjob.folder / "t.csv").write_text("text\nrow 1\nrow 2\nrow 1\nrow 3\n")
    (batchjob.folder / "u.csv").write_text("text\nrow 4\n")
    failing = {1, 2}

    async def act(x: Exchange) -> None:
        refused = http(b'{"error": {"message": "no"}}', 400)
        await x.send(refused if x.row in failing else http(completion("alpha")))

    with FaultServer(act).running() as server:
        task = ("--base-url", server.url, "--model", "m", "--labels", "alpha,beta", "--rpm", "0", "--quiet")
        assert batchjob("start", "t.csv", *task, "--limit", "2").code == 4
        failing.remove(1)
        assert batchjob("resume", "--quiet").code == 4
        assert batchjob("start", "u.csv", *task).code == 0
        sent = len(server.requests)
        failing.clear()
        ended = batchjob("cache", *words)
        assert "2 labels" in ended.out
        assert "1 left" in ended.out
        assert batchjob("retry", "t", "--quiet").code == 0
        assert [x.row for x in server.requests[sent:]] == [2]
    exported = batchjob("export", "t", "--only", "done", "--format", "jsonl", "-o", "-").out
    assert [json.loads(line)["source"] for line in exported.splitlines()] == ["duplicate", "model", "model", "model"]
