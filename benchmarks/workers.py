"""How fast are several workers on one job in PostgreSQL, and do they share a quota?

python -m benchmarks.workers: 1, 2, 4 and 8 of them against answers of 50 to 100 ms; one and four without latency,
beside SQLite in the same run; and 8 on a quota of 6,000 requests a minute. The server is the tests' own.

python -m benchmarks.workers large: four workers on 1,000,000 rows, and on 10,000,000 of which nine in ten are done; how
the tables grow. It takes 12 GB of disk, and half an hour.

python -m benchmarks.workers demo: four workers on one job, to look at, in a minute.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.common import BATCHJOB, LABELS, endpoint, forget, make_input, write_result
from benchmarks.pacing import CASES, PER_MINUTE, quota
from tests import postgres

IN_FLIGHT = 64
ANSWERED_AFTER = "0.05-0.1"
MEAN_SECONDS = 0.075


def run(path: Path, db: str, url: str, workers: int, *more: str, in_flight: int = IN_FLIGHT) -> list[dict[str, Any]]:
    """The requests of a job that so many work on, in the order of sending; the first worker is who began it."""
    label(path, db, url, workers, *more, in_flight=in_flight)
    with tempfile.NamedTemporaryFile(suffix=".jsonl") as out:
        listed = [BATCHJOB, "export", "--db", db, "--requests", "-o", out.name]
        subprocess.run(listed, check=True, stderr=subprocess.DEVNULL)
        return [json.loads(line) for line in Path(out.name).open()]


def label(path: Path, db: str, url: str, workers: int, *more: str, in_flight: int = IN_FLIGHT) -> float:
    """So many work on a job to its end; the most memory that one of them took, in MB."""
    own = ["--concurrency", str(in_flight)]
    first = subprocess.Popen(_start(path, db, url, *own, *more))
    if workers > 1:
        _wait_for_job(db, first)
    return _ended([first, *(_join(db, *own) for _ in range(workers - 1))])


def _join(db: str, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([BATCHJOB, "work", "--db", db, "--quiet", *more])


def _ended(processes: list[subprocess.Popen[bytes]]) -> float:
    """Wait for them; the most memory that one of them took, in MB."""
    most = 0.0
    for process in processes:
        _, status, used = os.wait4(process.pid, 0)
        most = max(most, used.ru_maxrss / 1024)
        if os.waitstatus_to_exitcode(status) not in (0, 4):
            raise SystemExit(f"exit code {os.waitstatus_to_exitcode(status)}")
    return most


def _start(path: Path, db: str, url: str, *more: str) -> list[str]:
    common = ["--labels", LABELS, "--base-url", url, "--model", "m", "--rpm", "0", "--quiet"]
    return [BATCHJOB, "start", str(path), "--db", db, *common, *more]


def _wait_for_job(db: str, first: subprocess.Popen[bytes]) -> None:
    while first.poll() is None and not _asked(db).get("rows", {}).get("done"):
        time.sleep(0.1)


def _asked(db: str) -> dict[str, Any]:
    """What status says; nothing while there is no job."""
    asked = subprocess.run([BATCHJOB, "status", "--db", db, "--json"], capture_output=True)
    found: dict[str, Any] = json.loads(asked.stdout) if asked.returncode == 0 else {}
    return found


def pace(requests: list[dict[str, Any]]) -> float:
    """Requests a second in the middle half of a job, when all are at work and none has run dry."""
    ends = sorted(request["ended_at"] for request in requests)
    first, last = len(ends) // 4, 3 * len(ends) // 4
    return (last - first) / (ends[last] - ends[first])


def by_workers(folder: Path) -> list[str]:
    """1, 2, 4 and 8 workers against answers that take a while."""
    lines = [f"answers after 50 to 100 ms, {IN_FLIGHT} in flight for each worker"]
    for workers in (1, 2, 4, 8):
        with endpoint(ANSWERED_AFTER) as url:
            rows = 12_000 * workers
            found = pace(run(make_input(folder / "in.csv", rows), postgres.new_database(), url, workers))
        ideal = workers * IN_FLIGHT / MEAN_SECONDS
        lines.append(f"  {workers} workers {found:8,.0f} rows/s   {found / ideal:.0%} of the ideal   {_load()}")
        print(lines[-1], flush=True)
    return lines


def without_latency(folder: Path) -> list[str]:
    """The same without latency, where processors are the limit, and SQLite beside it."""
    lines = ["no latency, 40 in flight for each worker"]
    path = make_input(folder / "in.csv", 40_000)
    for name, workers in (("SQLite", 1), ("PostgreSQL", 1), ("PostgreSQL", 4)):
        db = str(folder / "job.db") if name == "SQLite" else postgres.new_database()
        with endpoint() as url:
            found = pace(run(path, db, url, workers, in_flight=40))
        lines.append(f"  {name:10} {workers} workers {found:8,.0f} rows/s   {_load()}")
        print(lines[-1], flush=True)
    forget(folder / "job.db")
    return lines


def on_a_quota(folder: Path) -> list[str]:
    """8 workers on one quota: how much of it is used, and how many requests are refused."""
    case = CASES[0]
    path = make_input(folder / "in.csv", 18_000)
    with quota(case, folder / "ledger.jsonl") as url:
        more = ("--rpm", str(PER_MINUTE))
        requests = run(path, postgres.new_database(), url, 8, *more, in_flight=16)
    refused = sum(request["outcome"] == "rejected" for request in requests)
    used = 60 * pace([request for request in requests if request["outcome"] == "answered"]) / PER_MINUTE
    return [
        f"8 workers on {PER_MINUTE:,} requests a minute: {used:.1%} of it used, {refused / len(requests):.2%} refused"
        f"   (targets 98 %, 0.5 %)   {_load()}"
    ]


def whole(folder: Path, rows: int = 1_000_000) -> list[str]:
    """A long job from its first row to its last: does it slow down, and how large are its tables?"""
    db = postgres.new_database()
    with endpoint() as url:
        memory = label(make_input(folder / "in.csv", rows), db, url, 4, in_flight=40)
    return [f"{rows:,} rows, no latency, 4 workers, {memory:.0f} MB the largest   {_load()}", *_told(db)]


def nearly_done(folder: Path, rows: int = 10_000_000, done: int = 9_000_000) -> list[str]:
    """The rest of a long job. What is done was put there by SQL."""
    db = postgres.new_database()
    with endpoint() as url:
        label(make_input(folder / "in.csv", 1_000), db, url, 1)
        postgres.execute(db, FILLED.format(first=1_001, done=done, rows=rows))
        postgres.execute(db, "VACUUM ANALYZE")
        began = time.monotonic()
        assert _asked(db)["rows"]["done"] == done
        looked, began, at = time.monotonic() - began, time.monotonic(), time.time()
        memory = _ended([_join(db, "--concurrency", "40") for _ in range(4)])
        took = time.monotonic() - began
    run = "WHERE id >> 40 > 1"
    first = postgres.fetch(db, f"SELECT min(sent_at) FROM batchjob.request {run}") - at
    head = (
        f"{rows:,} rows, {done:,} done before, 4 workers: first request after {first:.1f} s, the rest in {took:.0f} s,"
    )
    return [f"{head} {memory:.0f} MB the largest; status {looked:.2f} s   {_load()}", *_told(db, run)]


FILLED = """
SET search_path = batchjob;
UPDATE job SET rows = {rows}, frontier = {done}, state = 'stopped';
INSERT INTO input (id, line, key, text)
SELECT 1::bigint << 40 | n, n + 1, n::text, 'ticket ' || n || ': my card has not arrived and I was charged twice'
FROM generate_series({first}, {rows}) AS n;
INSERT INTO row (id, state, request_id, task_id, attempts, paid, label, source, matched)
SELECT 1::bigint << 40 | n, 'done', 1::bigint << 40 | n, 1, 1, 1, 'billing', 'model', 'exact'
FROM generate_series({first}, {done}) AS n;
INSERT INTO request (id, task_id, client_key, body_digest, rows, purpose, model, sent_at, ended_at, outcome, status,
    input_tokens, output_tokens)
SELECT 1::bigint << 40 | n, 1, 'bj-0123456789abcdef-' || n, n, '[' || n || ']', 'label', 'm', 1.7e9, 1.7e9, 'answered',
    200, 120, 2
FROM generate_series({first}, {done}) AS n;
INSERT INTO label_cache (id, code, label, off_list, job_id, at)
SELECT hashint8extended(n, 1), n, 'billing', false, 1, 1700000000 FROM generate_series({first}, {done}) AS n;
INSERT INTO asked (job_id, id, code, row_id)
SELECT 1, hashint8extended(n, 1), n, 1::bigint << 40 | n FROM generate_series({first}, {done}) AS n;
INSERT INTO tally (job_id, run_id, kind, name, n)
VALUES (1, 0, 'row', 'pending', {rows} - {done}), (1, 0, 'row', 'done', {done} - {first} + 1),
    (1, 0, 'request', 'sent', {done} - {first} + 1), (1, 0, 'request', 'answered', {done} - {first} + 1),
    (1, 0, 'label', 'billing', {done} - {first} + 1), (1, 0, 'source', 'model', {done} - {first} + 1),
    (1, 0, 'matched', 'exact', {done} - {first} + 1)
ON CONFLICT (job_id, run_id, kind, name) DO UPDATE SET n = tally.n + excluded.n;
"""


def _told(db: str, which: str = "") -> list[str]:
    """How fast each tenth of the requests went, and what the tables take."""
    tenths = ", ".join(f"{n / 10}" for n in range(11))
    ends = postgres.fetch(
        db, f"SELECT percentile_disc(ARRAY[{tenths}]) WITHIN GROUP (ORDER BY ended_at) FROM batchjob.request {which}"
    )
    requests = postgres.fetch(db, f"SELECT count(*) FROM batchjob.request {which}")
    paces = [requests / 10 / (after - before) for before, after in itertools.pairwise(ends)]
    rows = postgres.fetch(db, "SELECT sum(rows) FROM batchjob.job")
    sizes = "SELECT string_agg(relname || ' ' || pg_total_relation_size(oid) / {}::bigint, ', ' ORDER BY relname)"
    sizes += " FROM pg_class WHERE relnamespace = 'batchjob'::regnamespace AND relkind = 'r'"
    sizes += " AND pg_total_relation_size(oid) > 1000000"
    return [
        f"  rows/s in each tenth: {', '.join(f'{one:,.0f}' for one in paces)}",
        f"  bytes a row: {postgres.fetch(db, sizes.format(rows))}",
    ]


def _load() -> str:
    return f"load {os.getloadavg()[0]:.1f}"


def demo(folder: Path) -> None:
    """Four workers on one job, and what status says of them."""
    db = postgres.new_database()
    with endpoint("1-2") as url:
        path = make_input(folder / "in.csv", 2_000)
        first = subprocess.Popen(_start(path, db, url, "--concurrency", "16"))
        _wait_for_job(db, first)
        others = [subprocess.Popen([BATCHJOB, "work", "--db", db, "--quiet"]) for _ in range(3)]
        while len(_asked(db)["workers"]) < 4:
            time.sleep(0.2)
        _status(db)
        others[0].kill()
        print(f"worker {others[0].pid} is killed; the others count what it had out, and go on", flush=True)
        for process in (first, *others):
            process.wait()
        _status(db)


def _status(db: str) -> None:
    subprocess.run([BATCHJOB, "status", "--db", db], check=False)
    print(flush=True)


def main() -> None:
    """Measure, or show."""
    if postgres.WHY_NOT:
        raise SystemExit(postgres.WHY_NOT)
    with tempfile.TemporaryDirectory(prefix="batchjob-workers-") as name:
        folder = Path(name)
        if "demo" in sys.argv:
            demo(folder)
        elif "large" in sys.argv:
            write_result("workers-large", [*whole(folder), *nearly_done(folder)])
        else:
            write_result("workers", [*by_workers(folder), *without_latency(folder), *on_a_quota(folder)])


if __name__ == "__main__":
    main()
