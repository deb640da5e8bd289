"""What does a job of a million rows cost in memory and in waiting: ingestion, first label, resume, status, export?"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from statistics import mean

from benchmarks.common import BATCHJOB, endpoint, forget, make_input, middle, start_command, timed, write_result


def first_label_seconds(path: Path, db: Path, url: str) -> tuple[float, float, int]:
    """(seconds to the first label, rows ingested a second, peak kB) of a start; labelling is held at 60 a minute."""
    command = [*start_command(path, db, url), "--rpm", "60"]
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    first = ingested = 0.0
    while not ingested:
        time.sleep(0.02)
        if not db.exists():
            continue
        try:
            reader = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
            done = reader.execute("SELECT n FROM tally WHERE kind = 'row' AND name = 'done'").fetchone()
            read = reader.execute("SELECT ingested FROM job").fetchone()
            reader.close()
        except sqlite3.Error:
            continue
        if done and done[0] and not first:
            first = time.perf_counter() - began
        if read and read[0]:
            ingested = time.perf_counter() - began
    rows = sum(1 for _ in path.open()) - 1
    peak = int(
        next(line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if "VmHWM" in line).split()[
            1
        ]
    )
    while not first:
        time.sleep(0.02)
        reader = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
        if reader.execute("SELECT 1 FROM tally WHERE kind = 'row' AND name = 'done' AND n > 0").fetchone():
            first = time.perf_counter() - began
        reader.close()
    process.send_signal(signal.SIGINT)
    process.wait()
    return first, rows / ingested, peak


def rows_done(db: Path) -> int:
    reader = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    try:
        done = reader.execute("SELECT n FROM tally WHERE kind = 'row' AND name = 'done'").fetchone()
        return int(done[0]) if done else 0
    except sqlite3.Error:
        return 0
    finally:
        reader.close()


def run_but_for(left: int, rows: int, command: list[str], db: Path) -> tuple[float, int, list[float]]:
    """(seconds, peak kB, seconds of `status` halfway) of a start that is stopped with about so many rows left."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    status: list[float] = []
    while not db.exists() or (done := rows_done(db)) < rows - left:
        if db.exists() and done > rows // 2 and not status:
            status = [timed([BATCHJOB, "status", "--db", str(db)])[0] for _ in range(5)]
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return time.perf_counter() - began, usage.ru_maxrss, status


def first_request_seconds(command: list[str], url: str) -> float:
    """From the start of a command to the endpoint's next request; it is waited for to its end."""

    def count() -> int:
        return int(urllib.request.urlopen(url.replace("/v1", "/count")).read())

    before, began = count(), time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while count() == before:
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    process.wait()
    return seconds


def small_job(path: Path, db: Path, url: str) -> tuple[float, int]:
    """(seconds, peak kilobytes) of a job from nothing."""
    forget(db)
    return timed(start_command(path, db, url))


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    lines = []
    with tempfile.TemporaryDirectory() as name, endpoint() as url:
        folder = Path(name)
        big, small = make_input(folder / "big.csv", rows), make_input(folder / "small.csv", rows // 10)
        db = folder / "big.db"
        first, speed, _ = first_label_seconds(big, db, url)
        lines.append(f"first label {first:.2f} s after start; ingestion {speed:,.0f} rows/s, start-up included")
        forget(db)
        smaller = [small_job(small, folder / "small.db", url) for _ in range(2)]
        took, peak, status = run_but_for(1000, rows, start_command(big, db, url), db)
        smaller += [small_job(small, folder / "small.db", url) for _ in range(2)]
        took_small, peak_small = mean([took for took, _ in smaller]), max(peak for _, peak in smaller)
        left = rows - rows_done(db)
        resumed = first_request_seconds(start_command(big, db, url), url)
        lines.append(f"peak memory {peak / 1024:.0f} MB at {rows:,} rows, {peak_small / 1024:.0f} MB at {rows // 10:,}")
        lines.append(
            f"a row costs {took / rows * 1e6:.0f} us at {rows:,} rows,"
            f" {took_small / (rows // 10) * 1e6:.0f} us at {rows // 10:,} (mean of two jobs before and two behind it)"
        )
        lines.append(f"resume with {rows - left:,} rows done, {left:,} left: first request after {resumed:.2f} s")
        lines.append(f"status while it runs: {middle(status):.2f} s (median of 5)")
        for what, command in {
            "start of the finished job": start_command(big, db, url),
            "status": [BATCHJOB, "status", "--db", str(db)],
            "--help": [BATCHJOB, "--help"],
            "export to CSV": [BATCHJOB, "export", "--db", str(db), "-o", str(folder / "out.csv")],
        }.items():
            runs = [timed(command) for _ in range(5)]
            seconds, memory = middle([s for s, _ in runs]), max(m for _, m in runs)
            lines.append(f"{what}: {seconds:.2f} s (median of 5), peak {memory / 1024:.0f} MB")
    write_result("scale", lines)


if __name__ == "__main__":
    main()
