"""How do others fare with the same job? All in one run, one after the other in every round, on one endpoint.

python -m benchmarks.peers [--rounds N] [--envs FOLDER] [--lock FILE] makes a virtual environment for each peer at the
first run (PyPI is asked, a few hundred MB), and says by name which could not be installed or did not finish its job.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.common import HERE, LABELS, endpoint, make_input, middle, start_command, timed, write_result

CONCURRENCY = 40
LATENCY, IDEAL = "0.05-0.1", CONCURRENCY / 0.075
RESUMED = 10_000
MARK = "installed.txt"
PROMPT = "Classify the text. Answer with one of these labels and nothing else: " + LABELS.replace(",", ", ")


@dataclass(frozen=True)
class Tool:
    """One way to do the job. rows and slow_rows: how many it gets without and with latency."""

    name: str
    needs: str
    keeps: str
    rows: int
    late_rows: int
    command: Callable[[Path, str, Path, Path], list[str]]
    """(its Python, URL, input, folder for what it keeps) -> the command."""


def bare_loop(python: Path, url: str, path: Path, folder: Path) -> list[str]:
    return [sys.executable, str(HERE / "bare_loop.py"), url, str(path), str(CONCURRENCY)]


def batchjob(python: Path, url: str, path: Path, folder: Path) -> list[str]:
    return start_command(path, folder / "bench.db", url)


def flexllm(python: Path, url: str, path: Path, folder: Path) -> list[str]:
    files = [str(path.with_suffix(".jsonl")), "-o", str(folder / "out.jsonl"), "--user-field", "text"]
    model = ["--model", "m", "--base-url", url, "--api-key", "x", "--concurrency", str(CONCURRENCY)]
    asked = ["--system", PROMPT, "--temperature", "0", "--max-tokens", "56"]
    return [str(python.with_name("flexllm")), "batch", *files, *model, *asked]


def flexllm_lean(python: Path, url: str, path: Path, folder: Path) -> list[str]:
    lean = ["--no-track-cost", "--no-return-usage", "--save-input", "false"]
    return [*flexllm(python, url, path, folder), *lean]


def script(name: str) -> Callable[[Path, str, Path, Path], list[str]]:
    """The command of a script in peer_scripts/."""

    def command(python: Path, url: str, path: Path, folder: Path) -> list[str]:
        job = HERE / "peer_scripts" / f"{name}_job.py"
        return [str(python), str(job), url, str(path), str(folder), str(CONCURRENCY), PROMPT]

    return command


TOOLS = [
    Tool("bare loop", "", "nothing", 10_000, 5_000, bare_loop),
    Tool("batchjob", "", "SQLite, synced to disk", 10_000, 5_000, batchjob),
    Tool("flexllm", "flexllm==0.17.10", "JSONL, flushed each second", 10_000, 5_000, flexllm),
    Tool("flexllm, lean", "flexllm==0.17.10", "the same without input and usage", 10_000, 5_000, flexllm_lean),
    Tool(
        "async-batch-llm",
        "async-batch-llm[openai]==0.28.0",
        "JSONL, flushed each row",
        2_000,
        2_000,
        script("async_batch_llm"),
    ),
    Tool("litellm", "litellm==1.106.2", "nothing", 2_000, 2_000, script("litellm")),
    Tool("curator", "bespokelabs-curator==0.1.31", "JSONL, closed each row", 2_000, 2_000, script("curator")),
]


def package(tool: Tool) -> str:
    """The name of a peer's package, without extras and version."""
    return tool.needs.split("=")[0].split("[")[0]


def install(needs: str, folder: Path) -> str:
    """Make a virtual environment with this in it; "" or why it cannot be had."""
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", needs],
    ):
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode:
            said = [line for line in (run.stdout + run.stderr).splitlines() if line.strip()]
            errors = [line for line in said if line.startswith("ERROR")] or said
            return errors[-1] if errors else f"pip ended with {run.returncode}"
    (folder / MARK).write_text(needs)
    return ""


@contextlib.contextmanager
def held(path: str | None) -> Iterator[None]:
    """A lock on a file, so that those who share the machine and take it too (flock FILE COMMAND) stay out meanwhile."""
    if path is None:
        yield
        return
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def answered(url: str) -> int:
    """The requests the endpoint has answered so far."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/count") as reply:
        return int(reply.read())


@dataclass
class Bench:
    """Runs of tools: inputs, environments, and who had to be left out."""

    folder: Path
    envs: Path
    left_out: dict[str, str]

    def input(self, rows: int) -> Path:
        """A CSV of so many rows, with the same rows as JSONL beside it."""
        path = self.folder / f"{rows}.csv"
        if not path.exists():
            with make_input(path, rows).open(newline="") as file, path.with_suffix(".jsonl").open("w") as out:
                out.writelines(json.dumps(row) + "\n" for row in csv.DictReader(file))
        return path

    def environ(self) -> dict[str, str]:
        """No settings of this user's, no telemetry, no internet."""
        said = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
        quiet = ("DO_NOT_TRACK", "HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "CURATOR_DISABLE_RICH_DISPLAY")
        off = {"TELEMETRY_ENABLED": "false", "LITELLM_TELEMETRY": "False", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        return {**said, **off, **dict.fromkeys(quiet, "1"), "HOME": str(self.folder), "OPENAI_API_KEY": "x"}

    def leave_out(self, tool: Tool, reason: str) -> None:
        self.left_out[tool.name] = reason
        print(f"{tool.name} is left out: {reason}", file=sys.stderr)

    def run(self, tool: Tool, url: str, rows: int, again: bool = False) -> tuple[float, float] | None:
        """(seconds, peak MB) of the whole command, from nothing or again on what it kept; None if it is out."""
        if tool.name in self.left_out:
            return None
        kept = self.folder / "kept" / tool.name
        if not again:
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir(parents=True)
        python = self.envs / package(tool) / "bin" / "python"
        before, due = answered(url), 0 if again else rows
        try:
            seconds, peak = timed(tool.command(python, url, self.input(rows), kept), env=self.environ())
        except SystemExit as failure:
            self.leave_out(tool, str(failure).strip().splitlines()[-1])
            return None
        sent = answered(url) - before
        if not due <= sent <= due + 5:
            self.leave_out(tool, f"sent {sent} requests for {due} rows")
            return None
        return seconds, peak / 1024


def ceiling(url: str) -> list[str]:
    """What the endpoint can do, by a loop that does next to nothing else."""
    speeds = {}
    for in_flight in (1, 16):
        command = [sys.executable, "-m", "benchmarks.load", url, "40000", str(in_flight)]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True, cwd=HERE.parent) for _ in range(3)]
        speeds[in_flight] = middle([float(run.stdout.split()[0]) for run in runs])
    return [
        f"endpoint alone, raw sockets, {CONCURRENCY} connections: {speeds[1]:,.0f} requests/s one at a time on each,"
        f" {speeds[16]:,.0f} with 16 under way on each (medians of 3)"
    ]


def spread(numbers: list[float], digits: int = 2) -> str:
    return f"{middle(numbers):.{digits}f} ({min(numbers):.{digits}f}-{max(numbers):.{digits}f})"


def speed(bench: Bench, rounds: int, lock: str | None) -> tuple[list[str], dict[str, float]]:
    """The first table, and the seconds each tool takes for a job of one row."""
    starts, wholes, peaks = defaultdict(list), defaultdict(list), defaultdict(list)
    lines: list[str] = []
    with endpoint() as url:
        for n in range(rounds):
            with held(lock):
                lines += ceiling(url) if n == 0 else []
                for tool in TOOLS:
                    one, all_rows = bench.run(tool, url, 1), bench.run(tool, url, tool.rows)
                    if one and all_rows:
                        starts[tool.name].append(one[0])
                        wholes[tool.name].append(all_rows[0])
                        peaks[tool.name].append(all_rows[1])
            print(f"round {n + 1} of {rounds}", file=sys.stderr)
    idle = {name: middle(seconds) for name, seconds in starts.items() if name not in bench.left_out}
    rates = {
        tool.name: [tool.rows / (whole - idle[tool.name]) for whole in wholes[tool.name]]
        for tool in TOOLS
        if tool.name in idle
    }
    lines += [
        "",
        f"no latency, {rounds} rounds: medians (lowest-highest); rows/s is the whole command less a job of one row",
        f"{'':16}{'rows':>7}{'rows/s':>9}   {'of the bare loop':19}{'peak MB':>8}{'start s':>9}   keeps",
    ]
    for tool in TOOLS:
        if tool.name in rates:
            ratios = [ours / bare for ours, bare in zip(rates[tool.name], rates["bare loop"], strict=True)]
            lines.append(
                f"{tool.name:16}{tool.rows:>7,}{middle(rates[tool.name]):>9,.0f}   {spread(ratios, 3):19}"
                f"{max(peaks[tool.name]):>8.0f}{idle[tool.name]:>9.2f}   {tool.keeps}"
            )
    for tool in TOOLS:
        if tool.name in rates and tool.name.startswith("flexllm"):
            times = [ours / theirs for ours, theirs in zip(rates["batchjob"], rates[tool.name], strict=True)]
            lines.append(f"batchjob is {spread(times)} times as fast as {tool.name}")
    return lines, idle


def late(bench: Bench, idle: dict[str, float], lock: str | None, rounds: int = 3) -> list[str]:
    """With latency: how much of what so many requests at once allow?"""
    shares = defaultdict(list)
    with endpoint(LATENCY) as url:
        for _ in range(rounds):
            with held(lock):
                for tool in TOOLS:
                    if tool.name in idle and (ran := bench.run(tool, url, tool.late_rows)):
                        shares[tool.name].append(100 * tool.late_rows / (ran[0] - idle[tool.name]) / IDEAL)
    lines = ["", f"50-100 ms of latency: % of the ideal {IDEAL:.0f} rows/s, {rounds} rounds: median (lowest-highest)"]
    return lines + [
        f"{tool.name:16}{tool.late_rows:>7,}   {spread(shares[tool.name], 1)}" for tool in TOOLS if shares[tool.name]
    ]


def restart(bench: Bench, lock: str | None) -> list[str]:
    """The same command again when all rows are labelled: nothing may be sent."""
    lines = ["", f"a finished job of {RESUMED:,} rows started again: seconds (median of 3), peak MB"]
    with held(lock), endpoint() as url:
        for tool in TOOLS:
            if tool.keeps == "nothing":
                continue
            bench.run(tool, url, RESUMED)
            runs = [bench.run(tool, url, RESUMED, again=True) for _ in range(3)]
            if all(runs):
                lines.append(f"{tool.name:16}{middle([r[0] for r in runs]):>7.2f}{max(r[1] for r in runs):>8.0f}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--envs", type=Path, default=HERE.parent / "out" / "peers")
    parser.add_argument("--lock", help="a file to lock for each round, where others share the machine")
    options = parser.parse_args()
    left_out = {}
    for name, needs in {package(tool): tool.needs for tool in TOOLS if tool.needs}.items():
        folder = options.envs / name
        if (folder / MARK).exists() and (folder / MARK).read_text() == needs:
            continue
        print(f"installing {needs} into {folder}", file=sys.stderr)
        with held(options.lock):
            reason = install(needs, folder)
        if reason:
            left_out.update({tool.name: f"not installed: {reason}" for tool in TOOLS if package(tool) == name})
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), options.envs, left_out)
        lines, idle = speed(bench, options.rounds, options.lock)
        lines += late(bench, idle, options.lock)
        lines += restart(bench, options.lock)
    versions = ", ".join(dict.fromkeys(tool.needs for tool in TOOLS if tool.needs))
    lines = [f"concurrency {CONCURRENCY}, five labels; {versions}", *lines, ""]
    lines += [f"left out: {name}: {reason}" for name, reason in bench.left_out.items()] or ["left out: nobody"]
    lines.append(f"{(time.monotonic() - began) / 60:.0f} minutes in all")
    write_result("peers", lines)


if __name__ == "__main__":
    main()
