"""Workers begun by Ray on this machine: two are killed, and the ledger is as after any crash. Needs Ray."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from storm.harness import wait_for

from tests import postgres

if TYPE_CHECKING:
    from tests.conftest import BatchJob

ROWS = 3000
WHY_NOT = postgres.WHY_NOT or ("" if importlib.util.find_spec("ray") else "no Ray here: pip install 'batchjob[ray]'")
pytestmark = [pytest.mark.storm, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]


def workers(said: Path) -> list[tuple[int, int]]:
    """(process, its parent) of the workers alive that write there."""
    time.sleep(0.2)
    found = subprocess.run(["ps", "-wweo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    return [
        (int(pid), int(parent)) for pid, parent in re.findall(rf"^ *(\d+) +(\d+) .*work --log-file={said}", found, re.M)
    ]


@pytest.fixture
def begun(batchjob: BatchJob, sandbox: Callable[..., str]) -> Iterator[tuple[subprocess.Popen[str], Path, str]]:
    """A job, four workers on it by Ray, their log, and the database."""
    url = postgres.new_database()
    texts = "".join(f"{n},text number {n}\n" for n in range(ROWS))
    (batchjob.folder / "in.csv").write_text(f"id,text\n{texts}")
    asked = (
        "--base-url",
        sandbox("--latency", "0.1-0.2", "--ledger", str(batchjob.folder / "ledger.jsonl")),
        "--model",
        "m",
    )
    start = (
        "start",
        "in.csv",
        *asked,
        "--labels",
        "a,b",
        "--rpm",
        "0",
        "--concurrency",
        "8",
        "--lease",
        "5",
        "--db",
        url,
    )
    first = batchjob.begin(*start, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    ledger = batchjob.folder / "ledger.jsonl"
    assert wait_for(lambda: ledger.exists() and ledger.read_text().count("\n") > 50, seconds=30)
    first.terminate()
    assert first.wait(30) == 130
    said = batchjob.folder / "workers.log"
    process = batchjob.begin(
        "work", "in", "--on", "ray:4", "--log-file", str(said), "--db", url, stdout=subprocess.DEVNULL
    )
    try:
        assert wait_for(lambda: len(workers(said)) == 4, seconds=60)
        yield process, said, url
    finally:
        process.kill()
        process.communicate()


def test_two_of_four_are_killed_and_others_take_their_place(
    batchjob: BatchJob, begun: tuple[subprocess.Popen[str], Path, str]
) -> None:
    process, said, url = begun
    (worker, _), (_, of_ray), *_ = workers(said)
    before = (batchjob.folder / "ledger.jsonl").read_text().count("\n")
    assert wait_for(lambda: (batchjob.folder / "ledger.jsonl").read_text().count("\n") > before + 100, seconds=60)
    os.kill(worker, signal.SIGKILL)
    os.kill(of_ray, signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert err.count("died: a new one takes its place") == 2
    assert err.count("has ended with exit code 0") == 4
    status = json.loads(batchjob("status", "in", "--json", "--db", url).out)
    bills: Counter[str] = Counter()
    for line in (batchjob.folder / "ledger.jsonl").read_text().splitlines():
        bills.update(row["text"] for row in json.loads(line)["rows"])
    assert (status["rows"]["done"], len(bills)) == (ROWS, ROWS)
    assert sum(bills.values()) - ROWS <= status["paid_twice_at_most"] <= 16


def test_who_is_told_to_end_tells_the_workers_and_waits_for_them(
    batchjob: BatchJob, begun: tuple[subprocess.Popen[str], Path, str]
) -> None:
    process, said, url = begun
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert workers(said) == []
    status = json.loads(batchjob("status", "in", "--json", "--db", url).out)
    assert (status["rows"]["in_flight"], status["requests"]["lost"]) == (0, 0)
