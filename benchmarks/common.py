"""What the benchmarks share: an endpoint in another process, inputs, and a result with its machine and command."""

from __future__ import annotations

import contextlib
import csv
import os
import platform
import shlex
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
BATCHJOB = str(Path(sys.executable).with_name("batchjob"))
LABELS = "billing,refund,shipping,account,other"


@contextlib.contextmanager
def endpoint(latency: str = "0-0", *more: str) -> Iterator[str]:
    """The URL of benchmarks.endpoint in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.endpoint", "--latency", latency, *more]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
        finally:
            process.terminate()


def make_input(path: Path, rows: int) -> Path:
    """A CSV of so many different short texts."""
    words = [
        "my",
        "card",
        "payment",
        "was",
        "declined",
        "twice",
        "today",
        "and",
        "the",
        "app",
        "shows",
        "a",
        "pending",
        "transfer",
        "please",
        "help",
        "me",
    ]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        for n in range(rows):
            start = n % len(words)
            writer.writerow([n + 1, " ".join(words[start:] + words[:start])[: 30 + n % 40] + f" {n}"])
    return path


def start_command(path: Path, db: Path, url: str, *more: str) -> list[str]:
    """batchjob start on this input with no limit but the machine."""
    common = ["--labels", LABELS, "--base-url", url, "--model", "m", "--rpm", "0", "--concurrency", "40", "--quiet"]
    return [BATCHJOB, "start", str(path), "--db", str(db), *common, *more]


def timed(command: list[str], env: dict[str, str] | None = None) -> tuple[float, int]:
    """(wall seconds, peak kilobytes) of a command that must succeed; the peak is its own or its largest child's."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{shlex.join(command)} ended with {process.returncode}: {said.decode()}")
    return seconds, usage.ru_maxrss


def forget(db: Path) -> None:
    """Remove a database with all that lies beside it."""
    for path in db.parent.glob(db.name + "*"):
        path.unlink()


def middle(numbers: list[float]) -> float:
    """The median."""
    return median(numbers)


def write_result(name: str, lines: list[str]) -> None:
    """Print a result and keep it beside its script, with what it was measured on."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=HERE)
    head = [
        f"command   python -m benchmarks.{name}",
        f"date      {time.strftime('%Y-%m-%d')}   commit {commit.stdout.strip() or 'unknown'}",
        f"machine   {os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()},"
        f" SQLite {sqlite3.sqlite_version}",
        "",
    ]
    text = "\n".join([*head, *lines]) + "\n"
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text(text)
    print(text)
