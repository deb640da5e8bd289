"""What a person sees while a job runs: a live line in a terminal, sparse lines in a pipe."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from batchjob.logs import Logger
from batchjob.numbers import dollars, duration
from batchjob.run.online import Runner
from batchjob.views.outage import outage_words

TICK_SECONDS = 0.25
SPARSE_SECONDS = 30.0


def _line(runner: Runner) -> dict[str, Any]:
    """The figures worth a line, the same in a terminal and in a log."""
    progress, rate = runner.progress, runner.progress.rows_per_second
    figures: dict[str, Any] = {"rows": f"{progress.settled:,}/{progress.total:,}"}
    if rate and not runner.outage:
        figures["rows_per_second"] = round(rate, 1)
        figures["eta_seconds"] = round((progress.total - progress.settled) / rate)
    if runner.cost_usd is not None:
        figures["cost_usd"] = round(runner.cost_usd, 4)
    if progress.failed:
        figures["failed"] = progress.failed
    if runner.outage:
        figures["outage"] = outage_words(runner.outage)
    if runner.pacing:
        figures["pacing"] = runner.pacing
    return figures


async def show_progress(runner: Runner, log: Logger, *, quiet: bool) -> None:
    """Show it until cancelled. What is shown is never worth the job: a broken terminal is ignored."""
    if quiet:
        return
    if sys.stderr.isatty():
        await _live(runner)
    else:
        await _sparse(runner, log)


async def _sparse(runner: Runner, log: Logger) -> None:
    while True:
        await asyncio.sleep(SPARSE_SECONDS)
        log.info("rows_settled", **_line(runner))


async def _live(runner: Runner) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console(stderr=True)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            with contextlib.suppress(OSError):
                live.update(Text(_words(runner), no_wrap=True, overflow="ellipsis"), refresh=True)
            await asyncio.sleep(TICK_SECONDS)


def _words(runner: Runner) -> str:
    figures = _line(runner)
    words = [f"{figures['rows']} rows"]
    if "rows_per_second" in figures:
        words.append(f"{figures['rows_per_second']:,}/s")
        words.append(f"{duration(figures['eta_seconds'])} left")
    if "cost_usd" in figures:
        words.append(dollars(figures["cost_usd"]))
    if "failed" in figures:
        words.append(f"{figures['failed']:,} failed")
    words.append(f"{runner.in_flight} in flight")
    if "outage" in figures:
        words.append(figures["outage"])
    if "pacing" in figures:
        words.append(figures["pacing"])
    return "  ".join(words)
