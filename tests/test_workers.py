"""Several workers on one job in PostgreSQL, as installed commands: what they share, and what each may not do."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests import postgres
from tests.faults.server import Exchange, FaultServer, completion, http, label_of
from tests.waiting import until

if TYPE_CHECKING:
    from tests.conftest import BatchJob

pytestmark = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)

QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}


def begin(batchjob: BatchJob, url: str, base: str, *options: str, rows: int) -> subprocess.Popen[str]:
    """Who makes the job, and works on it."""
    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},row {n}\n" for n in range(1, rows + 1)))
    asked = ("--base-url", base, "--model", "m", "--labels", "alpha,beta", "--rpm", "0", "--quiet", "--db", url)
    return batchjob.begin("start", "in.csv", *asked, *options, **QUIET)


def join(batchjob: BatchJob, url: str, *options: str) -> subprocess.Popen[str]:
    return batchjob.begin("work", "in", "--db", url, "--quiet", *options, **QUIET)


def ended(*workers: subprocess.Popen[str]) -> tuple[list[int], str]:
    """Their exit codes, and what they said."""
    said = [worker.communicate(timeout=100)[1] for worker in workers]
    return [worker.returncode for worker in workers], "".join(said)


def rows_of(batchjob: BatchJob, url: str) -> dict[str, int]:
    found: dict[str, int] = json.loads(batchjob("status", "in", "--json", "--db", url).out)["rows"]
    return found


def asking(server: FaultServer) -> set[str]:
    """The workers that have asked for something, by the beginning of their keys."""
    return {x.key.split("-")[1] for x in server.requests}


def test_rows_that_fail_alike_stop_all_workers_together_and_are_pending_again(batchjob: BatchJob) -> None:
    """20 in a row are enough, whoever has them, not 20 of each. A label that is committed late begins anew."""
    url, together = postgres.new_database(), 2
    refused: list[int] = []

    async def act(x: Exchange) -> None:
        if not refused and len(asking(server)) < 3:
            while len(server.requests) > 20 and len(asking(server)) < 3:
                await asyncio.sleep(0.05)
            await x.send(http(completion(label_of(x.row))))
            return
        refused.append(x.row)
        await x.send(http(b'{"error": {"message": "no such parameter"}}', 400))

    with FaultServer(act).running() as server:
        first = begin(batchjob, url, server.url, "--concurrency", str(together), rows=200)
        until(lambda: len(server.requests) > 5)
        workers = [first, *(join(batchjob, url, "--concurrency", str(together)) for _ in range(2))]
        codes, said = ended(*workers)
    assert codes == [3, 3, 3], said
    assert said.count("row after row failed alike") == 3
    assert len(refused) < 20 * len(workers)
    rows = rows_of(batchjob, url)
    assert (rows["failed"], rows["in_flight"], rows["done"] + rows["pending"]) == (0, 0, 200)


def test_a_key_that_is_refused_is_told_to_all_at_once(batchjob: BatchJob) -> None:
    """Who hears of it still waits for an answer; the other one sends nothing more, and ends before that comes."""
    url, other_ended, many = postgres.new_database(), threading.Event(), 100
    of_first: list[int] = []
    after: list[int] = []

    async def act(x: Exchange) -> None:
        if x.key.split("-")[1] == server.requests[0].key.split("-")[1]:
            if len(asking(server)) > 1:
                of_first.append(x.row)
        elif len(of_first) > 1:
            after.append(x.row)
        if len(of_first) == 2 and of_first[-1] == x.row:
            await x.send(http(b'{"error": {"message": "wrong key", "code": "invalid_api_key"}}', 401))
            return
        while of_first and of_first[0] == x.row and not other_ended.is_set() and len(after) < many:
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.05)
        await x.send(http(completion(label_of(x.row))))

    with FaultServer(act).running() as server:
        first = begin(batchjob, url, server.url, "--concurrency", "3", rows=600)
        until(lambda: len(server.requests) > 3)
        codes, said = ended(join(batchjob, url, "--concurrency", "3"))
        other_ended.set()
        assert codes == [3], said
        assert len(after) < many
        assert ended(first)[0] == [3]


def test_a_worker_keeps_to_the_limit_of_the_job(batchjob: BatchJob, sandbox: Callable[..., str]) -> None:
    url, ledger = postgres.new_database(), batchjob.folder / "ledger.jsonl"
    base = sandbox("--latency", "0.2", "--ledger", str(ledger))
    first = begin(batchjob, url, base, "--limit", "12", "--concurrency", "1", rows=60)
    until(lambda: ledger.exists() and ledger.read_text() != "")
    codes, said = ended(first, join(batchjob, url, "--concurrency", "8"))
    assert codes == [0, 0], said
    assert ledger.read_text().count("\n") == 12


AN_HOUR = """
import sys, time
real = time.time
time.time = lambda: real() + {hours} * 3600.0
sys.argv[0] = "batchjob"
from batchjob.cli import main
main()
"""


def test_clocks_an_hour_apart_change_nothing(batchjob: BatchJob, sandbox: Callable[..., str]) -> None:
    """One worker is an hour behind the server, one an hour before it, and pauses are shared by the server's clock."""
    url, ledger = postgres.new_database(), batchjob.folder / "ledger.jsonl"
    base = sandbox("--latency", "0.1", "--ledger", str(ledger), "--fault", "429=0.05")
    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},row {n}\n" for n in range(120)))
    asked = ("--base-url", base, "--model", "m", "--labels", "a,b", "--rpm", "0", "--concurrency", "4", "--quiet")
    commands = {-1: ("start", "in.csv", *asked), 1: ("work", "in", "--quiet", "--concurrency", "4")}
    workers = []
    for hours, command in commands.items():
        code = [sys.executable, "-P", "-c", AN_HOUR.format(hours=hours), *command, "--db", url]
        workers.append(subprocess.Popen(code, cwd=batchjob.folder, env=batchjob.environment, text=True, **QUIET))
        until(lambda: ledger.exists() and ledger.read_text() != "")
    until(lambda: len(json.loads(batchjob("status", "in", "--json", "--db", url).out)["workers"]) == 2)
    codes, said = ended(*workers)
    assert codes == [0, 0], said
    requests = map(json.loads, ledger.read_text().splitlines())
    bills = Counter(row["text"] for request in requests if request["billed"] for row in request["rows"])
    assert (len(bills), set(bills.values())) == (120, {1})
    assert batchjob("doctor", "--db", url).code == 0


def test_two_starts_at_once_make_one_job(batchjob: BatchJob, sandbox: Callable[..., str]) -> None:
    """One makes the job and works on it; the other says so in a sentence, and asks for nothing."""
    url, ledger = postgres.new_database(), batchjob.folder / "ledger.jsonl"
    base = sandbox("--latency", "0.05", "--ledger", str(ledger))
    starts = [begin(batchjob, url, base, "--concurrency", "4", "--name", "in", rows=40) for _ in range(3)]
    codes, said = ended(*starts)
    assert sorted(codes) == [0, 1, 1], said
    assert ledger.read_text().count("\n") == 40
    assert "something else has changed the database" not in said
