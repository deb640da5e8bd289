"""The installed command with its work table in PostgreSQL; the sandbox's ledger judges."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import BatchJob
from storm.harness import Blow, Plan, World, storm

from tests import postgres
from tests.waiting import until

pytestmark = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)


def killed(tmp_path: Path, mode: str, *blows: Blow) -> None:
    plan = Plan(3, mode, 80, ".csv", 8, (0.03, 0.06), blows)
    with World(tmp_path, plan, url=postgres.new_database(), warm=True) as world:
        told = storm(world)
    assert told.objections == []
    assert told.blows["kill"] >= 1


@pytest.mark.parametrize("mode", ["resend", pytest.param("hold", marks=pytest.mark.storm)])
def test_a_job_that_was_killed_has_every_label_once_and_no_bill_it_does_not_name(tmp_path: Path, mode: str) -> None:
    more = (Blow("kill", "request", 0.1, command="resume"), Blow("kill", "spawn", 0.0)) if mode == "hold" else ()
    killed(tmp_path, mode, Blow("kill", "request", 0.05), *more)


def test_every_command_reads_it_and_none_says_the_password(batchjob: BatchJob) -> None:
    secret = "pa55word-of-nobody"
    url = postgres.new_database().replace("postgres:@", f"postgres:{secret}@")
    (batchjob.folder / "in.csv").write_text("id,text\n1,good\n2,bad \0 \ue000\n")
    start = ("start", "in.csv", "--sandbox", "--labels", "good,bad", "--rpm", "0", "--output", "out.csv")
    said = [batchjob(*start, "--db", url)]
    for command in (["status"], ["doctor"], ["export", "-o", "labels.jsonl"], ["remove", "in"]):
        said.append(batchjob(*command, "--db", url))
    assert [ended.code for ended in said] == [0] * len(said), said
    assert secret not in "".join(ended.out + ended.err for ended in said)
    assert "\\u0000" in (batchjob.folder / "labels.jsonl").read_text()


def test_a_server_that_is_not_there_is_said_in_a_sentence(batchjob: BatchJob) -> None:
    ended = batchjob("status", "--db", "postgresql://me:pa55word@127.0.0.1:9/db")
    assert ended.code == 1
    assert ended.err.startswith("batchjob: postgresql://me@127.0.0.1:9/db cannot be reached")
    assert "pa55word" not in ended.err


READ = (
    "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE schemaname = 'batchjob'"
    " AND relname IN ('input', 'row', 'asked', 'request', 'flight', 'intent', 'lease')"
)


def test_a_job_reads_no_table_whole_as_it_grows(batchjob: BatchJob) -> None:
    """A group of claims or answers meets tables of any size: a plan that reads one whole is quick only at first."""
    url, rows = postgres.new_database(), 4000
    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(rows)))
    ended = batchjob("start", "in.csv", "--sandbox", "--labels", "good,bad", "--rpm", "0", "--quiet", "--db", url)
    assert ended.code == 0, ended.err
    assert postgres.fetch(url, READ) < 3 * rows


def test_a_worker_joins_a_job_and_is_told_when_there_is_nothing_to_do(
    batchjob: BatchJob, sandbox: Callable[..., str]
) -> None:
    url, base = postgres.new_database(), sandbox("--latency", "0.05")
    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(300)))
    start = ("start", "in.csv", "--base-url", base, "--model", "m", "--labels", "good,bad", "--rpm", "0", "--quiet")
    first = batchjob.begin(*start, "--concurrency", "2", "--db", url)
    until(lambda: "job in: running" in batchjob("status", "--db", url).out)
    joined = batchjob("work", "in", "--db", url, "--concurrency", "8")
    _, said = first.communicate()
    assert (joined.code, first.returncode) == (0, 0), joined.err + said
    assert "300 of 300 rows labelled" in batchjob("status", "--db", url).out
    again = batchjob("work", "in", "--db", url)
    assert (again.code, again.err) == (0, "job 'in' is finished: there is nothing to do\n")
    stopped = batchjob("stop", "in", "--db", url)
    assert (stopped.code, stopped.err) == (0, "nobody is working on job 'in'\n")


def test_what_a_worker_cannot_join_is_said_in_a_sentence(batchjob: BatchJob) -> None:
    (batchjob.folder / "in.csv").write_text("id,text\n1,good\n")
    start = ("start", "in.csv", "--labels", "good,bad", "--limit", "1")
    assert batchjob(*start, "--sandbox").code == 0
    own = batchjob("work", "in")
    assert (own.code, "asks the built-in sandbox, which is each process's own" in own.err) == (2, True)
    assert batchjob("stop", "in").err == "nobody is working on job 'in'\n"
