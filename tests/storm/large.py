"""`make storm-large`: a job of ROWS rows (ten million) over a hundredth as many texts, killed as it reads and labels.

Made to be run alone: it takes minutes, some gigabytes of disk, and says what it needed.
"""

from __future__ import annotations

import csv
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storm.harness import BATCHJOB, EXAMPLES, Plan, Sandbox, wait_for
from storm.oracle import TALLIES, Bill

pytestmark = [pytest.mark.storm, pytest.mark.timeout(6 * 3600)]

ROWS = int(os.environ.get("ROWS", "10000000"))
TEXTS = max(ROWS // 100, 1)
READING_KILLS = (0.05, 0.3, 0.6)
"""Shares of the input that is read when the process is killed,"""
LABELLING_KILLS = (0.2, 0.5, 0.8)
"""and of the rows that have their label."""
MOST_MEGABYTES = 600
"""Of memory, however many rows: an interpreter with its libraries has 60 of them."""
LONGEST_RUN_SECONDS = 3 * 3600.0


def text_of(number: int, examples: list[str]) -> str:
    """A short text; row after row another, and each again after TEXTS rows, every other time in capitals."""
    n = number % TEXTS
    text = f"{n}: {examples[n % len(examples)][:40].strip()}"
    return text.upper() if number // TEXTS % 2 else text


def rows(examples: list[str]) -> Iterator[tuple[str, str]]:
    """(id, text) of the input."""
    return ((f"R{number}", text_of(number, examples)) for number in range(ROWS))


class Job:
    """The job in its folder, run by the installed command."""

    def __init__(self, folder: Path, url: str) -> None:
        self.database = folder / "job.db"
        self._folder = folder
        task = ("--labels-file", str(EXAMPLES / "labels.txt"), "--base-url", url, "--model", "m", "--rpm", "0")
        self._command = ("start", "in.csv", *task, "--concurrency", "40", "--quiet", "--db", str(self.database))
        self.peak_kilobytes = 0

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """A command; without words, the job."""
        return subprocess.Popen([BATCHJOB, *(arguments or self._command)], cwd=self._folder, stdin=subprocess.DEVNULL)

    def ended(self, process: subprocess.Popen[bytes]) -> int:
        """Its exit code; its memory is remembered."""
        _, status, usage = os.wait4(process.pid, 0)
        self.peak_kilobytes = max(self.peak_kilobytes, usage.ru_maxrss)
        process.returncode = os.waitstatus_to_exitcode(status)
        return process.returncode

    def counted(self, question: str) -> int:
        """One number out of the database; 0 while there is none."""
        try:
            with sqlite3.connect(f"{self.database.resolve().as_uri()}?mode=ro", uri=True) as db:
                return int(db.execute(question).fetchone()[0] or 0)
        except sqlite3.OperationalError:
            return 0

    def read(self) -> int:
        """Rows in the work table."""
        return self.counted("SELECT rows FROM job")

    def done(self) -> int:
        """Rows that have a label, by the counter."""
        return self.counted("SELECT n FROM tally WHERE kind = 'row' AND name = 'done'")

    def killed_at(self, reached: Callable[[], bool]) -> bool:
        """A run that is killed when so much is reached; False where it ended before."""
        process = self.begin()
        wait_for(lambda: _over(process) or reached(), seconds=LONGEST_RUN_SECONDS)
        process.send_signal(signal.SIGKILL)
        return self.ended(process) == -signal.SIGKILL


def _over(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process has ended; it is not reaped, or its memory would not be known."""
    time.sleep(0.1)
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def megabytes(path: Path) -> float:
    """A file's size."""
    return path.stat().st_size / 2**20


def see_export(path: Path, labels: dict[str, str | None], examples: list[str]) -> None:
    """Every row of the input once, in order, with the label that its text was given."""
    with path.open(newline="", encoding="utf-8") as file:
        for expected, row in itertools.zip_longest(rows(examples), csv.DictReader(file)):
            assert row is not None
            assert (row["id"], row["text"]) == expected
            assert row["state"] == "done"
            assert row["label"] == labels[row["text"].upper()], row["id"]


def see_bills(bills: list[Bill], printed: int) -> dict[str, str | None]:
    """Each text was billed once, but for those that may have been billed twice, and said so; its label."""
    billed = [bill for bill in bills if bill.billed]
    labels = {text.upper(): label for bill in billed for text, label in bill.labels.items()}
    assert len(labels) == TEXTS
    assert len(billed) <= TEXTS + printed
    return labels


def test_a_large_job_that_is_killed_has_every_row_once_and_pays_every_text_once(tmp_path: Path) -> None:
    with (EXAMPLES / "tickets.csv").open(newline="", encoding="utf-8") as file:
        examples = [row["text"] for row in csv.DictReader(file)]
    with (tmp_path / "in.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(itertools.chain([("id", "text")], rows(examples)))
    endpoint = Sandbox(tmp_path, Plan(1, "resend", 0, ".csv", 40, (0.0, 0.0), ()))
    try:
        job, began = Job(tmp_path, endpoint.url), time.monotonic()
        kills = sum(job.killed_at(lambda share=share: job.read() >= share * ROWS) for share in READING_KILLS)
        kills += sum(job.killed_at(lambda share=share: job.done() >= share * ROWS) for share in LABELLING_KILLS)
        assert job.ended(job.begin()) == 0
        seconds = time.monotonic() - began
        assert job.ended(job.begin("export", "-o", "out.csv", "--db", str(job.database))) == 0
        asked = [BATCHJOB, "status", "--json", "--db", str(job.database)]
        status = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)
        bills = endpoint.bills()
    finally:
        endpoint.close()
    printed = status["paid_twice_at_most"]
    peak, size = job.peak_kilobytes / 1024, megabytes(job.database)
    print(f"{ROWS:,} rows, {TEXTS:,} texts, {kills} kills, {seconds:.0f} s, {ROWS / seconds:,.0f} rows/s")
    print(f"bills {sum(bill.billed for bill in bills):,}, paid twice at most {printed}, peak memory {peak:.0f} MB")
    each, read = size * 2**20 / ROWS, megabytes(tmp_path / "in.csv")
    print(f"input {read:,.0f} MB, database {size:,.0f} MB: {each:.0f} bytes a row")
    see_export(tmp_path / "out.csv", see_bills(bills, printed), examples)
    assert status["rows"] == {**dict.fromkeys(status["rows"], 0), "total": ROWS, "done": ROWS}
    see_counters(job.database)
    assert kills >= 3
    assert peak < MOST_MEGABYTES


def see_counters(database: Path) -> None:
    """They say what there is."""
    with sqlite3.connect(database) as db:
        for kind, question in TALLIES.items():
            told = dict(db.execute("SELECT name, n FROM tally WHERE kind = ? AND n <> 0", (kind,)))
            counted = dict(db.execute(question))
            of_outcomes = {name: n for name, n in told.items() if name not in ("sent", "resent", "resent_as_new")}
            assert of_outcomes == counted, kind
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
