"""--on-end: a command that is told how a run ended, and gets no secret."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import BatchJob

Sandbox = Callable[..., str]
ROOT = Path(__file__).resolve().parent.parent
KEY = "sk-very-secret-1234"
TASK = ("--labels", "billing,refund", "--rpm", "0", "--quiet", "--model", "toy", "--price", "1,2")
TELL = "env | grep -a ^BATCHJOB_ | sort > told"


@pytest.fixture
def job(batchjob: BatchJob) -> BatchJob:
    """The command in a folder with three rows, the last of them blank."""
    (batchjob.folder / "t.csv").write_text("id,text\n1,a refund please\n2,a bill for me\n3,\n")
    return batchjob


def told(job: BatchJob) -> dict[str, str]:
    lines = (job.folder / "told").read_text().splitlines()
    return dict(line.removeprefix("BATCHJOB_").partition("=")[::2] for line in lines)


def test_the_command_is_told_state_rows_and_cost(job: BatchJob, sandbox: Sandbox) -> None:
    ended = job("start", "t.csv", *TASK, "--base-url", sandbox(), "--on-end", TELL)
    assert ended.code == 4
    found = told(job)
    assert float(found.pop("COST_USD")) > 0
    assert found.pop("SECONDS").isdecimal()
    assert found == {
        "DB": str(job.folder / "batchjob.db"),
        "JOB": "t",
        "STATE": "finished",
        "REASON": "",
        "EXIT_CODE": "4",
        "ROWS": "3",
        "DONE": "2",
        "FAILED": "1",
        "UNCONFIRMED": "0",
        "PENDING": "0",
    }


def test_it_is_told_of_a_refusal_and_of_a_retry(job: BatchJob, sandbox: Sandbox) -> None:
    url = sandbox("--model", "other")
    assert job("start", "t.csv", *TASK, "--base-url", url, "--on-end", TELL).code == 3
    assert (told(job)["STATE"], told(job)["EXIT_CODE"], told(job)["PENDING"]) == ("refused", "3", "2")
    assert job("resume", "--model", "other", "--on-end", TELL).code == 4
    assert (told(job)["STATE"], told(job)["DONE"]) == ("finished", "2")


def test_it_gets_no_key_by_whatever_name(job: BatchJob, sandbox: Sandbox) -> None:
    env = {
        "MY_KEY": KEY,
        "OPENAI_API_KEY": "another-key-5678",
        "COPY": f"Bearer {KEY}",
        "TOKEN": "header-secret-9",
        "PLAIN": "stays",
    }
    ended = job(
        *("start", "t.csv", *TASK, "--base-url", sandbox("--require-key", KEY), "--api-key-env", "MY_KEY"),
        *("--header", "X-Token=env:TOKEN", "--on-end", "env > all"),
        env=env,
    )
    assert ended.code == 4, ended.err
    found = (job.folder / "all").read_text()
    assert not any(secret in found for secret in (KEY, "another-key-5678", "header-secret-9"))
    assert "PLAIN=stays" in found


def test_its_failure_is_said_and_changes_nothing(job: BatchJob, sandbox: Sandbox) -> None:
    ask = ("start", "t.csv", *TASK, "--base-url", sandbox(), "--blank", "skip")
    ended = job(*ask, "--json", "--on-end", "echo out; echo err >&2; exit 7")
    assert ended.code == 0
    assert ended.out.startswith("{")
    assert ended.out.rstrip().endswith("}")
    assert ended.err.splitlines()[-3:] == [
        "out",
        "err",
        "batchjob: --on-end ended with exit code 7; the job is as it was said above",
    ]
    assert "batchjob: --on-end was killed by SIGKILL; the job is" in job(*ask, "--on-end", "kill -9 $$").err
    assert "ended with exit code 127" in job(*ask, "--on-end", "no-such-program").err


def test_it_is_stored_nowhere_and_counts_in_no_file_that_nobody_named(job: BatchJob, sandbox: Sandbox) -> None:
    (job.folder / "job.toml").write_text('on_end = "touch ran-by-marker"\n')
    ask = ("start", "t.csv", *TASK, "--base-url", sandbox())
    ended = job(*ask)
    assert (ended.code, "give --config job.toml, or --on-end" in ended.err) == (2, True)
    assert not (job.folder / "ran-by-marker").exists()
    assert job(*ask, "--config", "job.toml").code == 4
    assert (job.folder / "ran-by-marker").exists()
    with sqlite3.connect(job.folder / "batchjob.db") as db:
        assert "ran-by-marker" not in "\n".join(db.iterdump())
    db.close()


def test_an_input_that_breaks_off_in_the_middle_is_told_as_well(job: BatchJob, sandbox: Sandbox) -> None:
    (job.folder / "u.jsonl").write_bytes(b'{"text": "a refund"}\n' * 20_000 + b'{"text": "\xff"}\n')
    ended = job("start", "u.jsonl", *TASK, "--base-url", sandbox(), "--on-end", TELL)
    assert ended.code == 1, ended.err
    assert (told(job)["STATE"], told(job)["EXIT_CODE"]) == ("stopped", "1")


def test_what_never_ran_tells_nobody(job: BatchJob) -> None:
    assert job("start", "nowhere.csv", "--sandbox", "--labels", "a,b", "--on-end", "touch ran").code == 1
    assert not (job.folder / "ran").exists()
