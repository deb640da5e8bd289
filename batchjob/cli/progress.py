"""What a person sees while a job runs: live lines in a terminal, sparse lines in a pipe or a dumb terminal."""

from __future__ import annotations

import asyncio
import time

from batchjob.cli.screen import Screen
from batchjob.jobs.run import figures
from batchjob.logs import Logger
from batchjob.run.online import Runner
from batchjob.views.live import live_figures, live_lines, live_sentence

TICK_SECONDS = 0.25
SPARSE_SECONDS, SPARSEST_SECONDS = 30.0, 600.0
"""Between two lines in a pipe at first, and after some hours: a night fits on a page."""


async def show_progress(runner: Runner, log: Logger, screen: Screen | None, *, as_json: bool) -> None:
    """Show it until cancelled; without a screen, in the log. What is shown is never worth the job."""
    began = time.monotonic()
    if screen is None:
        await _sparse(runner, log, began, as_json=as_json)
    else:
        await _live(runner, screen, began)


async def _sparse(runner: Runner, log: Logger, began: float, *, as_json: bool) -> None:
    pause = SPARSE_SECONDS
    while True:
        await asyncio.sleep(pause)
        pause = min(2 * pause, SPARSEST_SECONDS)
        live = figures(runner, began)
        if as_json:
            log.info("progress", **live_figures(live))
        else:
            log.info(live_sentence(live))


async def _live(runner: Runner, screen: Screen, began: float) -> None:
    try:
        while True:
            screen.paint(live_lines(figures(runner, began), screen.columns))
            await asyncio.sleep(TICK_SECONDS)
    finally:
        screen.clear()
