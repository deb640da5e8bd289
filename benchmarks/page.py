"""Is the local page as quick on a large job that runs, does its memory stay flat, and what does it cost the job?

python -m benchmarks.page [ROWS] [PAIRS] [ROWS_OF_A_PAIR]
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.common import BATCHJOB, endpoint, forget, make_input, middle, start_command, write_result
from benchmarks.scale import rows_done

LOOKS = 40
EVERY = 2.0
"""Seconds between two looks of an open page at a running job."""
NOWHERE = "this stands in no text"


class Page:
    """A page that is served by a process, asked as a browser would."""

    def __init__(self, db: Path) -> None:
        command = [BATCHJOB, "view", "--db", str(db), "--no-open"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        address = self.process.stdout.readline().strip()
        with urllib.request.urlopen(address) as answer:
            self._cookie = answer.headers["Set-Cookie"].split(";")[0]
        self._root = address.split("/?")[0]

    def first(self, path: str, **query: object) -> float:
        """Seconds until the answer begins; it is read to its end."""
        request = urllib.request.Request(f"{self._root}{path}?{urlencode(query)}", headers={"Cookie": self._cookie})
        began = time.perf_counter()
        with urllib.request.urlopen(request) as answer:
            answer.read(1)
            took = time.perf_counter() - began
            while answer.read(1 << 20):
                pass
        return took

    @property
    def megabytes(self) -> float:
        """What it has in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024

    def close(self) -> float:
        """End it; the processor seconds it took."""
        self.process.send_signal(signal.SIGINT)
        return _ended(self.process)


@contextlib.contextmanager
def open_page(db: Path) -> Iterator[Page]:
    """A page that somebody has open on a job: it looks again and again."""
    while not db.exists() or not rows_done(db):
        time.sleep(0.05)
    page, over = Page(db), threading.Event()

    def look() -> None:
        for look in itertools.count():
            if over.wait(EVERY):
                return
            page.first("/api/job", job="in")
            if look % 5 == 0:
                page.first("/api/pace", job="in")

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield page
    finally:
        over.set()
        looking.join()


def _ended(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> float:
    """Wait for a process; the seconds of processor that it took."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return usage.ru_utime + usage.ru_stime


def views(page: Page, job: str, rows: int) -> dict[str, list[float]]:
    """Seconds until each view began to answer."""
    middle_row = rows // 2
    asked: dict[str, tuple[str, dict[str, object]]] = {
        "jobs": ("/api/jobs", {}),
        "the job": ("/api/job", {"job": job}),
        "its pace over time": ("/api/pace", {"job": job}),
        "its prompt": ("/api/prompt", {"job": job}),
        "rows": ("/api/rows", {"job": job}),
        "rows behind the middle": ("/api/rows", {"job": job, "after": middle_row}),
        "the last rows": ("/api/rows", {"job": job, "last": ""}),
        "rows with a label": ("/api/rows", {"job": job, "label": "other", "after": middle_row}),
        "failed rows": ("/api/rows", {"job": job, "state": "failed"}),
        "a search, its first piece": ("/api/rows", {"job": job, "q": NOWHERE}),
        "a row's story": ("/api/row", {"job": job, "number": middle_row // 2}),
        "review": ("/api/review", {"job": job}),
        "the random sample": ("/api/review/rows", {"job": job, "queue": "sample"}),
    }
    return {what: [page.first(path, **query) for _ in range(LOOKS)] for what, (path, query) in asked.items()}


def large(folder: Path, url: str, rows: int) -> list[str]:
    """A job of so many rows, looked at while it runs."""
    db = folder / "large.db"
    make_input(folder / "in.csv", rows)
    command = start_command(folder / "in.csv", db, url)
    job = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    while not db.exists() or rows_done(db) < rows // 10:
        time.sleep(0.1)
    page = Page(db)
    page.first("/api/jobs")
    before = page.megabytes
    found, running = views(page, "in", rows), [job.poll() is None]
    done = rows_done(db)
    after = page.megabytes
    began, at = time.perf_counter(), 0
    while at < rows:  # as the page goes on, a piece after the other
        page.first("/api/rows", job="in", q=NOWHERE, after=at)
        at += 20_000
    searched = time.perf_counter() - began
    running.append(job.poll() is None)
    page.first("/download", job="in", format="csv")
    last = page.megabytes
    if job.poll() is None:
        job.send_signal(signal.SIGINT)
        job.wait()
    page.close()
    forget(db)
    lines = [f"a job of {rows:,} rows that runs ({done:,} labelled; running at the end of the looks: {running[0]})"]
    lines += [
        f"{what:<26} begins to answer after {1000 * middle(took):.0f} ms, at worst {1000 * max(took):.0f} ms"
        for what, took in found.items()
    ]
    lines.append(f"a search through all texts took {searched:.1f} s (the job still ran: {running[1]})")
    looks = sum(map(len, found.values()))
    lines.append(f"memory {before:.0f} MB, {after:.0f} MB behind {looks} looks, {last:.0f} MB behind a CSV of all rows")
    return lines


def cost(path: Path, db: Path, url: str, *, looked_at: bool) -> tuple[float, float]:
    """Processor seconds of a job from nothing, and of the page that is open meanwhile."""
    forget(db)
    job = subprocess.Popen(start_command(path, db, url), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if not looked_at:
        return _ended(job), 0.0
    with open_page(db) as page:
        took = _ended(job)
    return took, page.close()


def pairs(folder: Path, url: str, count: int, rows: int) -> list[str]:
    """Jobs with the page open and without, side by side; which one begins changes."""
    path, db = make_input(folder / "in.csv", rows), folder / "pair.db"
    cost(path, db, url, looked_at=False)
    both: list[tuple[float, float]] = []
    pages = []
    for n in range(count):
        order = (False, True) if n % 2 else (True, False)
        took = {looked_at: cost(path, db, url, looked_at=looked_at) for looked_at in order}
        both.append((took[False][0], took[True][0]))
        pages.append(took[True][1])
    ratios = sorted(with_page / alone for alone, with_page in both)
    each = [1e6 * middle([pair[which] for pair in both]) / rows for which in (0, 1)]
    return [
        "",
        f"{count} pairs of jobs of {rows:,} rows, with the page open on it (a look every {EVERY:.0f} s) and without:",
        f"processor time a row {each[0]:.1f} us without, {each[1]:.1f} us with it (medians)",
        f"with / without: {middle(ratios):.3f} (median), {ratios[0]:.3f} to {ratios[-1]:.3f}",
        f"the page's own process took {middle(pages):.2f} s of processor a job (median), its start included",
    ]


def main() -> None:
    rows, count, of_a_pair = [*map(int, sys.argv[1:]), *(1_000_000, 9, 100_000)[len(sys.argv) - 1 :]]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as name, endpoint() as url:
        lines = [*large(Path(name), url, rows), *pairs(Path(name), url, count, of_a_pair)]
    write_result("page", [f"load      {load:.1f} at its beginning", "", *lines])


if __name__ == "__main__":
    main()
