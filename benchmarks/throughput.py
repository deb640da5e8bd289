"""How much of the bare loop's speed is left with every label flushed to disk? In pairs, one after the other."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import HERE, endpoint, forget, make_input, middle, start_command, timed, write_result

PAIRS = 5


def bare_seconds(url: str, path: Path) -> float:
    """The bare loop's own time for its loop: reading the file and importing are left out."""
    command = [sys.executable, "-m", "benchmarks.bare_loop", url, str(path), "40"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent).stdout.split()[1])


def batchjob_seconds(url: str, path: Path, db: Path) -> float:
    """The whole command, less what it takes for a job of one row: start-up and exit."""
    forget(db)
    seconds, _ = timed(start_command(path, db, url))
    forget(db)
    idle, _ = timed(start_command(path, db, url, "--limit", "1"))
    return seconds - idle


def compare(url: str, folder: Path, rows: int) -> list[str]:
    path, db = make_input(folder / f"{rows}.csv", rows), folder / "bench.db"
    pairs = [(bare_seconds(url, path), batchjob_seconds(url, path, db)) for _ in range(PAIRS)]
    ratios = sorted(bare / ours for bare, ours in pairs)
    return [
        f"{rows:>9,} rows   bare loop {rows / middle([bare for bare, _ in pairs]):8,.0f} rows/s"
        f"   batchjob {rows / middle([ours for _, ours in pairs]):8,.0f} rows/s"
        f"   ratio median {middle(ratios):.2f} (min {ratios[0]:.2f}, max {ratios[-1]:.2f}, {PAIRS} pairs)"
    ]


def latency_share(folder: Path) -> list[str]:
    """With 50-100 ms of latency the ideal is concurrency over mean latency, as a bare client sees it."""
    rows = 10_000
    path, db = make_input(folder / "latency.csv", rows), folder / "latency.db"
    with endpoint("0.05-0.1") as url:
        latency = mean_latency(url)
        speed = middle([rows / batchjob_seconds(url, path, db) for _ in range(PAIRS)])
    nominal, seen = 100 * speed * 0.075 / 40, 100 * speed * latency / 40
    return [
        f"50-100 ms of latency, concurrency 40: {speed:.0f} rows/s (median of {PAIRS} runs),"
        f" {nominal:.1f} % of 40 / 75 ms, {seen:.1f} % of 40 / {1000 * latency:.1f} ms, the mean a bare client sees"
    ]


def mean_latency(url: str) -> float:
    """Seconds to an answer, with 40 requests in flight."""
    command = [sys.executable, "-m", "benchmarks.load", url, "12000", "1"]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent).stdout.split()[1])


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [10_000, 100_000]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lines = []
        with endpoint() as url:
            for rows in sizes:
                lines += compare(url, folder, rows)
        lines += latency_share(folder)
    write_result("throughput", lines)


if __name__ == "__main__":
    main()
