"""The installed command with its work table in PostgreSQL; the sandbox's ledger judges."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import BatchJob
from storm.harness import Blow, Plan, World, storm

from tests import postgres

pytestmark = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)


def killed(tmp_path: Path, mode: str, *blows: Blow) -> None:
    plan = Plan(3, mode, 80, ".csv", 8, (0.03, 0.06), blows)
    with World(tmp_path, plan, url=postgres.new_database()) as world:
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
