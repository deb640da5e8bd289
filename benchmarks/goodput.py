"""How fast is a job where an endpoint stumbles? Real jobs, against what a perfect scheduler could do.

python -m benchmarks.goodput [PART]: the whole, or a part of the rows. The perfect scheduler is reckoned in virtual
time: it has every request in flight at every moment, and each refused row waits for what it was told. Beside it
stands the same job without faults in the same run, because a loaded machine is slower than any arithmetic.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.common import BATCHJOB, endpoint, forget, make_input, start_command, write_result
from tests.pace.simulator import World, perfect_seconds


class Place(NamedTuple):
    """A latency and how many are in flight."""

    seconds: float
    in_flight: int
    rows: int
    target: float
    mix_target: float


PLACES = (Place(0.015, 40, 100_000, 0.85, 0.6), Place(0.5, 100, 10_000, 0.9, 0.8))
SHARES = (0.01, 0.02, 0.05)


def run(place: Place, rows: int, share: float, told: bool, mix: bool, folder: Path) -> tuple[float, int]:
    """Seconds from the first request to the last answer, by the job's own list; rows that failed for no reason."""
    more = ["--refuse", str(share), *(["--retry-after", "1"] if told else []), *(["--mix"] if mix else [])]
    path, db = make_input(folder / "in.csv", rows), folder / "job.db"
    with endpoint(f"{place.seconds}-{place.seconds}", *more) as url:
        command = start_command(path, db, url, "--concurrency", str(place.in_flight))
        code = subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode
    if code not in (0, 4):
        raise SystemExit(f"exit code {code}")
    out = folder / "requests.jsonl"
    subprocess.run([BATCHJOB, "export", "--db", str(db), "--requests", "-o", str(out)], check=True)
    first, last = float("inf"), 0.0
    for line in out.open():
        request = json.loads(line)
        first, last = min(first, request["sent_at"]), max(last, request["ended_at"])
    errors = json.loads(subprocess.check_output([BATCHJOB, "errors", "--db", str(db), "--json"]))
    lost = sum(kind["rows"] for kind in errors["kinds"] if kind["kind"] != "empty_answer")
    forget(db)
    out.unlink()
    return last - first, lost


def measured(place: Place, rows: int, folder: Path) -> list[str]:
    """A line for each fault at a place."""
    world = World(latency=place.seconds, refusal=0.001, concurrency=place.in_flight, rows=rows)
    clean, _ = run(place, rows, 0.0, False, False, folder)
    ideal = perfect_seconds(world)
    lines = [
        f"{place.seconds * 1000:.0f} ms, {place.in_flight} in flight, {rows:,} rows: perfect {ideal:.1f} s, without"
        f" faults {clean:.1f} s ({ideal / clean:.2f})"
    ]
    for share, mix in [*((share, False) for share in SHARES), (0.05, True)]:
        for told in (False, True):
            seconds, lost = run(place, rows, share, told, mix, folder)
            ideal = perfect_seconds(World(**{**world.__dict__, "chance": share, "told": told, "mix": mix}))
            lines.append(
                f"  {'mix, ' if mix else ''}{share:.0%} 429s, Retry-After {'1' if told else 'none':4}"
                f" {seconds:6.1f} s   {ideal / seconds:.2f} of perfect"
                f"   {clean / seconds:.2f} of the job without faults"
                f"   (target {place.mix_target if mix else place.target})"
                f"   rows failed {lost}   load {os.getloadavg()[0]:.1f}"
            )
            print(lines[-1], flush=True)
    return lines


def main() -> None:
    part = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    with tempfile.TemporaryDirectory() as name:
        lines = [line for place in PLACES for line in measured(place, int(place.rows * part), Path(name))]
    write_result("goodput", lines)


if __name__ == "__main__":
    main()
