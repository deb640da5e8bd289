"""Tests of the tests: each defect of tests/defects.py is put into a copy of the package, and a test must turn red.

    python tests/mutations.py [PART OF A NAME...]

Exits with 1 where a defect goes unnoticed or cannot be put in, or where the tests are red without any.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from defects import DEFECTS, copied, why_not

COPIED = ("batchjob", "migrations", "tests", "examples", "docs", "pyproject.toml", "README.md")
LONGEST_SECONDS = 300.0


def red_tests(folder: Path, tests: tuple[str, ...]) -> tuple[list[str], str]:
    """The tests that fail on this copy, each with what it said, and the last line of pytest."""
    asked = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--tb=no", "-rfE", "--no-header", *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "NO_SHRINK": "1", "COLUMNS": "250"}
    process = subprocess.Popen(
        asked, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        said, _ = process.communicate(timeout=LONGEST_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        said, _ = process.communicate()
        return [], f"no end within {LONGEST_SECONDS:g} s"
    lines = said.strip().splitlines() or [""]
    red = [line for line in lines if re.match(r"(FAILED|ERROR) ", line)]
    if process.returncode not in (0, 1):  # not "some failed" but "nothing was run"
        return [], f"pytest ended with {process.returncode}: {lines[-1]}"
    return [line.split(" ", 1)[1] for line in red], lines[-1]


def main(wanted: list[str]) -> int:
    """Try them; the exit code."""
    chosen = [one for one in DEFECTS if one.tests and (not wanted or any(part in one.name for part in wanted))]
    gone = [f"{one.name}: {why}" for one in chosen if (why := why_not(one))]
    if gone or not chosen:
        print("\n".join(["cannot be put in any more:", *gone] if gone else ["no defect has this in its name"]))
        return 1
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="batchjob-mutations-") as temporary:
        whole = copied(Path(temporary) / "whole", COPIED, None)
        tests = tuple(sorted({test for one in chosen for test in one.tests}))
        red, last = red_tests(whole, tests)
        print(f"{'without a defect':<72} {last}", flush=True)
        if red or "passed" not in last:
            print("\n".join(["red already:", *red]))
            return 1
        for number, one in enumerate(chosen):
            began = time.monotonic()
            folder = copied(Path(temporary) / str(number), COPIED, one)
            red, last = red_tests(folder, one.tests)
            unnoticed += not red
            verdict = f"red: {len(red)}" if red else "NOT NOTICED"
            print(f"{one.name:<72} {verdict:<12} {time.monotonic() - began:4.0f} s  {last}", flush=True)
            for test in red:
                print(f"    {test}", flush=True)
            shutil.rmtree(folder)
    print(f"{len(chosen)} defects, {unnoticed} not noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
