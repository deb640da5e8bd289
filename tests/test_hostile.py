"""Inputs and surroundings that nobody chooses: the job ends in one sentence, or with every other row labelled."""

from __future__ import annotations

import asyncio
import csv
import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from batchjob.errors import JobBusy
from batchjob.stores.sqlite.lock import refuse_working
from tests.faults.server import Exchange, FaultServer, well
from tests.waiting import is_under_way, until

if TYPE_CHECKING:
    from tests.conftest import BatchJob

TASK = ("--labels", "age,card,pin", "--model", "m", "--rpm", "0")
LARGE = 50 * 1024 * 1024
RULE = '[[rules]]\nname = "all"\nlabel = "age"\npattern = "."\n'
"""Labels every row, and so fills a database in a moment."""
BACK = 86400.0
CLOCK_SET_BACK = f"import time; real = time.time; time.time = lambda: real() - {BACK}"


class Measured(NamedTuple):
    """A command that has ended, and the most memory it had."""

    code: int
    out: str
    err: str
    megabytes: float


def measured(batchjob: BatchJob, *arguments: str) -> Measured:
    """Run a command and measure it."""
    said = batchjob.folder / "said.err"
    with said.open("wb") as err:
        process = batchjob.begin(*arguments, stderr=err)
        assert process.stdout is not None
        out = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    return Measured(process.returncode, out, said.read_text(), usage.ru_maxrss / 1024)


def exported(path: Path) -> list[dict[str, Any]]:
    """The rows of an export."""
    csv.field_size_limit(2 * LARGE)
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def begin_patched(batchjob: BatchJob, code: str, *arguments: str) -> subprocess.Popen[str]:
    """A command after this code."""
    script = f"{code}\nfrom batchjob.cli import main; main()"
    asked = [str(Path(batchjob.command).with_name("python")), "-c", script, *arguments]
    more: dict[str, Any] = {"cwd": batchjob.folder, "env": batchjob.environment}
    return subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def rate(status: str) -> dict[str, float | None]:
    return json.loads(status)["rate"]  # type: ignore[no-any-return]


def clock_set_back(batchjob: BatchJob, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A command for which it is the day before, to its end."""
    process = begin_patched(batchjob, CLOCK_SET_BACK, *arguments)
    out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


# ---------------------------------------------------------------- texts


@pytest.mark.storm  # six seconds
def test_a_text_of_fifty_megabytes_fails_alone_and_memory_is_a_few_times_that(batchjob: BatchJob, sandbox: Any) -> None:
    with (batchjob.folder / "in.csv").open("w") as file:
        file.write("id,text\n1,change my pin\n2,")
        for _ in range(LARGE // 2**20):
            file.write("a text " * (2**20 // 7))
        file.write("\n3,age limit\n4,new card\n")
    url = sandbox()
    assert measured(batchjob, "profile", "in.csv").megabytes < 25 * LARGE / 2**20
    ran = measured(batchjob, "start", "in.csv", "--base-url", url, *TASK)
    assert ran.code == 4, ran.err
    assert "1 too_long: shorten the text" in ran.err
    assert ran.megabytes < 20 * LARGE / 2**20
    took = measured(batchjob, "export", "-o", "out.csv")
    assert took.megabytes < 10 * LARGE / 2**20
    assert measured(batchjob, "errors").megabytes < 120
    rows = exported(batchjob.folder / "out.csv")
    assert [row["label"] for row in rows] == ["pin", "", "age", "card"]
    assert len(rows[1]["text"]) > 0.99 * LARGE


def test_json_deeper_than_any_stack_fails_alone_from_file_to_export(batchjob: BatchJob) -> None:
    deep, allowed = ("[" * depth + "]" * depth for depth in (100_000, 399))
    lines = [
        '{"text": "change my pin"}',
        f'{{"text": "age limit", "x": {deep}}}',
        f'{{"text": {deep}}}',
        deep,
        '{"text": "a \\ud800 card", "x": "\\udfff\\u0000"}',
        f'{{"text": "pin", "x": {allowed}, "y": "{"[" * 500}"}}',
        f'{{"text": "pin", "x": [{allowed}]}}',
    ]
    (batchjob.folder / "in.jsonl").write_text("\n".join(lines))
    assert batchjob("start", "in.jsonl", "--sandbox", *TASK).code == 4
    batchjob("export", "-o", "out.jsonl")
    rows = [json.loads(line) for line in (batchjob.folder / "out.jsonl").read_text().splitlines()]
    assert [row["label"] for row in rows] == ["pin", None, None, None, "card", "pin", None]
    assert [(row["error"] or "")[:8] for row in rows] == [*("", "bad_json", "bad_json", "bad_json", "", "", "bad_json")]
    assert rows[4]["text"] == "a \ufffd card"


# ---------------------------------------------------------------- readers


def many_rows(batchjob: BatchJob, rows: int) -> None:
    """A finished job of so many rows."""
    (batchjob.folder / "job.toml").write_text(RULE)
    (batchjob.folder / "in.csv").write_text("text\n" + "".join(f"ticket {n} {'.' * 50}\n" for n in range(rows)))
    assert batchjob("start", "in.csv", "--sandbox", *TASK).code == 0


def test_an_export_that_nobody_reads_does_not_keep_the_log_from_being_reset(batchjob: BatchJob) -> None:
    many_rows(batchjob, 12_000)
    process = batchjob.begin("export", "-o", "-")
    assert process.stdout is not None
    process.stdout.read(1)  # of the header
    time.sleep(0.3)  # it waits for its reader by now, in the middle of the rows
    with sqlite3.connect(batchjob.folder / "batchjob.db") as db:
        db.execute("CREATE TABLE foreign_hand (x)")
        assert db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone() == (0, 0, 0)
    db.close()
    assert process.poll() is None
    rest = process.stdout.read()
    assert process.wait(timeout=20) == 0
    assert rest.count("\n") == 12_001


def test_an_export_that_is_read_for_one_line_ends_quietly(batchjob: BatchJob) -> None:
    many_rows(batchjob, 12_000)
    for more in ("", " --requests", " --format jsonl", " --details"):
        read = f"({batchjob.command} export -o -{more}; echo $? >&2) | head -n 1"
        ended = subprocess.run(
            read, shell=True, cwd=batchjob.folder, env=batchjob.environment, capture_output=True, text=True
        )
        assert ended.stderr.strip() == "0", more


# ---------------------------------------------------------------- a foreign hand


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TRIGGER foreign_hand AFTER UPDATE ON row BEGIN DELETE FROM input; END",
        "ALTER TABLE tally ADD COLUMN foreign_hand INTEGER",
        "DROP INDEX row_problem",
    ],
)
def test_a_database_with_a_trigger_or_a_changed_table_is_left_alone(batchjob: BatchJob, statement: str) -> None:
    many_rows(batchjob, 3)
    with sqlite3.connect(batchjob.folder / "batchjob.db") as db:
        db.execute(statement)
    db.close()
    for command in (("status",), ("resume",), ("export", "-o", "-")):
        ended = batchjob(*command)
        assert ended.code == 1
        assert "has other tables than this version of batchjob makes, so it is left alone" in ended.err


# ---------------------------------------------------------------- several at once

PATIENT = """
import pathlib, batchjob.stores.sqlite.lock as lock
lock.TRIES = 300
taken = lock.WriterLock._taken
def told(self):
    mine = taken(self)
    if not mine:
        pathlib.Path("waits").touch()
    return mine
lock.WriterLock._taken = told
"""
"""Waits nine seconds for its turn, and makes a file that says so."""


def test_six_starts_at_the_same_instant_pay_every_row_once(batchjob: BatchJob, sandbox: Any) -> None:
    ledger = batchjob.folder / "ledger.jsonl"
    (batchjob.folder / "in.csv").write_text("text\n" + "".join(f"my card {n}\n" for n in range(60)))
    start = ("start", "in.csv", "--base-url", sandbox("--ledger", str(ledger), "--latency", "0.02"), *TASK)
    racing = [batchjob.begin(*start) for _ in range(6)]
    said = [(process.communicate(timeout=50)[1], process.returncode) for process in racing]
    assert [err for err, code in said if code not in (0, 1)] == []
    refusals = [err.splitlines()[-1] for err, code in said if code == 1]
    assert [line for line in refusals if not line.startswith(("batchjob: ", "next ")) or "UNIQUE" in line] == []
    assert batchjob(*start).code == 0
    assert len(json.loads(batchjob("jobs", "--json").out)) == 1
    billed = [row["text"] for line in ledger.read_text().splitlines() for row in json.loads(line)["rows"]]
    assert len(billed) == len(set(billed)) == 60


def test_a_job_that_another_process_makes_meanwhile_is_not_made_twice(batchjob: BatchJob, sandbox: Any) -> None:
    (batchjob.folder / "in.csv").write_text("text\nmy card\n")
    start = ("start", "in.csv", "--base-url", sandbox(), *TASK)
    assert batchjob(*start, "--db", "made.db").code == 0
    with (batchjob.folder / "batchjob.db.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        late = begin_patched(batchjob, PATIENT, *start)
        assert late.stderr is not None
        until((batchjob.folder / "waits").exists)  # it has seen that there is no job
        (batchjob.folder / "made.db").rename(batchjob.folder / "batchjob.db")
    _, err = late.communicate(timeout=20)
    assert late.returncode == 1
    assert err == "batchjob: another process has begun job 'in' meanwhile: give the same command again\n"
    assert batchjob(*start).code == 0
    assert len(json.loads(batchjob("jobs", "--json").out)) == 1


# ---------------------------------------------------------------- the clock


def test_with_the_clock_set_back_the_latest_job_is_still_the_one_that_ran_last(
    batchjob: BatchJob, sandbox: Any
) -> None:
    for name in ("first", "second"):
        (batchjob.folder / f"{name}.csv").write_text(f"text\n{name} card\n")
    start = ("--base-url", sandbox(), *TASK)
    assert batchjob("start", "first.csv", *start).code == 0
    assert clock_set_back(batchjob, "start", "second.csv", *start).returncode == 0
    assert json.loads(batchjob("status", "--json").out)["job"] == "second"
    assert "second card" in batchjob("export", "-o", "-").out
    assert clock_set_back(batchjob, "start", "first.csv", *start, "--no-cache").returncode == 0
    assert json.loads(batchjob("status", "--json").out)["job"] == "first"


def test_with_the_clock_set_back_no_age_rate_or_time_left_is_below_zero(batchjob: BatchJob, sandbox: Any) -> None:
    (batchjob.folder / "in.csv").write_text("text\n" + "".join(f"my card {n}\n" for n in range(1000)))
    start = ("start", "in.csv", "--base-url", sandbox("--latency", "0.05"), *TASK, "--concurrency")
    process = batchjob.begin(*start, "2")
    until(lambda: is_under_way(batchjob) and rate(batchjob("status", "--json").out)["rows_per_second"] is not None)
    assert all(
        value is None or value >= 0 for value in rate(clock_set_back(batchjob, "status", "--json").stdout).values()
    )
    process.kill()
    process.communicate()
    assert clock_set_back(batchjob, *start, "40").returncode == 0
    assert clock_set_back(batchjob, "cache", "prune", "--older-than", "1h").returncode == 0
    assert "in: 1,000, 0 min old" in clock_set_back(batchjob, "cache", "stats").stdout


# ---------------------------------------------------------------- what keeps the program busy

STUCK = {
    "python": "while True: pass",
    "a pattern": "import re; re.search('(a|aa)+$', 'a' * 60 + '!')",
    "the system": "import time; time.sleep(100)",
}


@pytest.mark.parametrize("what", STUCK)
def test_a_second_signal_leaves_at_once_whatever_the_program_is_busy_with(batchjob: BatchJob, what: str) -> None:
    (batchjob.folder / "in.csv").write_text("text\na\n")
    code = f"""
from batchjob.run import online
def busy(self, now):
    print("busy", flush=True)
    {STUCK[what]}
online.Supply.next_parcel = busy
"""
    process = begin_patched(batchjob, code, "start", "in.csv", "--labels", "x", "--sandbox")
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "busy\n"
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)  # while the first may still be pending, so it can go to another thread
        _, said = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "left at once" in said


def test_signals_that_the_kernel_gives_to_another_thread_are_heard(batchjob: BatchJob) -> None:
    (batchjob.folder / "in.csv").write_text("text\na\n")
    code = """
import signal, threading, time
from batchjob.run import online
def send_to_itself():
    for number in (signal.SIGINT, signal.SIGTERM):
        time.sleep(0.3)  # the main thread is in its system call by now
        signal.pthread_kill(threading.get_ident(), number)
def busy(self, now):
    threading.Thread(target=send_to_itself).start()
    time.sleep(100)
online.Supply.next_parcel = busy
"""
    process = begin_patched(batchjob, code, "start", "in.csv", "--labels", "x", "--sandbox")
    try:
        _, said = process.communicate(timeout=15)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "left at once" in said


def test_a_lock_file_that_is_removed_is_noticed_by_both_sides(batchjob: BatchJob) -> None:
    """The second process leaves, the first goes on under a new lock, and no row is sent twice."""

    async def slow(x: Exchange) -> None:
        await asyncio.sleep(0.1)
        await well(x)

    (batchjob.folder / "in.csv").write_text("text\n" + "".join(f"row {n}\n" for n in range(1, 81)))
    with FaultServer(slow).running() as server:
        flags = ("--rpm", "0", "--labels", "alpha,beta", "--concurrency", "2", "--model", "m")
        first = batchjob.begin("start", "in.csv", "--base-url", server.url, *flags)
        try:
            while len(server.requests) < 12:
                time.sleep(0.01)
            (batchjob.folder / "batchjob.db.lock").unlink()
            second = batchjob("resume")
            assert second.code == 1
            assert f"process {first.pid} is working" in second.err
            _, said = first.communicate(timeout=30)
        finally:
            first.kill()
    assert first.returncode == 0, said
    assert (batchjob.folder / "batchjob.db.lock").exists()
    assert sorted(x.row for x in server.requests) == list(range(1, 81))


def test_a_run_whose_signs_of_life_go_on_is_seen_without_its_lock(tmp_path: Path) -> None:
    """So it is found also by one that comes before the first has a new lock."""
    beats = iter(range(10**6))

    def beating() -> tuple[int, float]:
        return os.getppid(), time.time() + next(beats) / 1000

    with pytest.raises(JobBusy, match=f"its lock file was removed, but process {os.getppid()} is working"):
        refuse_working(tmp_path / "batchjob.db", beating)
    ended = subprocess.Popen(["true"])
    ended.wait()
    for silent in (None, (ended.pid, time.time()), (os.getppid(), time.time() - 60), (os.getpid(), time.time())):
        refuse_working(tmp_path / "batchjob.db", lambda at=silent: at)  # type: ignore[misc]
