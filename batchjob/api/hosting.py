"""A run in a thread of its own, beside whatever loop the caller has. The caller's thread waits, and hears Ctrl-C.

Python raises Ctrl-C in the main thread as KeyboardInterrupt, so no signal is handled here. The first one stops as the
command does: what is in flight is awaited and committed. The second one leaves at once: what was out is then known as
lost, as after a crash, and the next run of the job settles it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, TextIO, cast

from batchjob.api.shown import Lines, Shown, line_of
from batchjob.files import SPARE_FILES
from batchjob.jobs import run as runs
from batchjob.jobs.plans import Plan
from batchjob.jobs.run import Ended
from batchjob.logs import Logger, make_logger, open_log
from batchjob.model import Ending
from batchjob.run.online import Runner
from batchjob.settings.config import JobConfig
from batchjob.states import JobState
from batchjob.views.live import Live

TICK_SECONDS = 0.25
LEAVE_SECONDS = 3.0
"""How long somebody who leaves at once waits for the database to be closed: milliseconds, unless the disk hangs."""
INTERRUPTED = Ending(JobState.STOPPED, "interrupted", 130)


class _Host:
    """A run, as two threads share it. `done` is set when it is over; then it has `ended`, or an `error`."""

    def __init__(self, plan: Plan, key: str | None, key_command: str | None, log: Logger) -> None:
        self.done = threading.Event()
        self.live: Live | None = None
        self.ended: Ended | None = None
        self.error: BaseException | None = None
        self._plan, self._key, self._key_command, self._log = plan, key, key_command, log
        self._stopping = self._leaving = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._runner: Runner | None = None

    # ------------------------------------------------------------ in the run's thread

    def work(self) -> None:
        """Carry out the plan."""
        try:
            with asyncio.Runner(loop_factory=runs.loop_factory()) as loop:
                self.ended = loop.run(self._carry_out())
        except BaseException as error:
            self.error = error
        finally:
            self.done.set()

    async def _carry_out(self) -> Ended:
        self._task, self._loop = asyncio.current_task(), asyncio.get_running_loop()
        if self._leaving:
            raise asyncio.CancelledError
        return await runs.run(
            self._plan,
            key=self._key,
            log=self._log,
            key_command=self._key_command,
            attend=self._attend,
            most_in_flight=_most_in_flight(self._plan.config),
        )

    @contextlib.asynccontextmanager
    async def _attend(self, runner: Runner) -> AsyncIterator[None]:
        self._runner = runner
        if self._stopping:
            runner.stop(INTERRUPTED)
        watching = asyncio.create_task(self._watch(runner))
        try:
            yield
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _watch(self, runner: Runner) -> None:
        began = time.monotonic()
        while True:
            self.live = runs.figures(runner, began)
            await asyncio.sleep(TICK_SECONDS)

    def _stop(self) -> None:
        if self._runner is not None:
            self._runner.stop(INTERRUPTED)

    def _leave(self) -> None:
        if self._task is not None:
            self._task.cancel()

    # ------------------------------------------------------------ in the caller's thread

    def stop(self) -> None:
        """Send nothing more; what is in flight is awaited and committed."""
        self._stopping = True
        self._tell(self._stop)

    def leave(self) -> None:
        """Await nothing."""
        self._leaving = True
        self._tell(self._leave)

    def _tell(self, told: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: it is over
            if self._loop is not None:
                self._loop.call_soon_threadsafe(told)


def host(plan: Plan, *, key: str | None, key_command: str | None, shown: Shown) -> Ended:
    """Carry out a plan, attended by the caller.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped it; what was answered is kept.
        BatchjobError: it could not begin, or the input or the database failed in the middle.
    """
    lines, config = Lines(), plan.config
    with open_log(config.log_file) if config.log_file else contextlib.nullcontext() as file:
        log = make_logger(format=config.log_format, file=file, quiet=True, terminal=cast(TextIO, lines))
        hosted = _Host(plan, key, key_command, log)
        _attend(hosted, shown, lines)
    shown.say(lines.taken())
    if isinstance(hosted.error, asyncio.CancelledError) or (hosted.ended and hosted.ended.ending.exit_code == 130):
        raise KeyboardInterrupt
    if hosted.error is not None:
        raise hosted.error
    assert hosted.ended is not None
    return hosted.ended


def _attend(hosted: _Host, shown: Shown, lines: Lines) -> None:
    """Begin it, and wait until it is over; whoever leaves before takes it along."""
    thread = threading.Thread(target=hosted.work, name="batchjob", daemon=True)
    try:
        thread.start()
        _wait(hosted, shown, lines)
    except BaseException:
        hosted.leave()
        hosted.done.wait(LEAVE_SECONDS)
        raise


def _wait(hosted: _Host, shown: Shown, lines: Lines) -> None:
    """Show a run until it is over. The second Ctrl-C goes to the caller of this."""
    try:
        _show(hosted, shown, lines)
    except KeyboardInterrupt:
        hosted.stop()
        shown.say(["batchjob: stopping: waiting for the requests in flight (once more to leave at once)"])
        _show(hosted, shown, lines)


def _show(hosted: _Host, shown: Shown, lines: Lines) -> None:
    while not hosted.done.wait(TICK_SECONDS):
        with contextlib.suppress(Exception):  # what is shown is never worth the job
            shown.say(lines.taken())
            if hosted.live is not None:
                shown.paint(line_of(hosted.live))


def _most_in_flight(config: JobConfig) -> int | None:
    """How many requests may be in flight by the limit of open files, which is the caller's and stays as it is."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return None
    open_now = 0
    with contextlib.suppress(OSError):  # where the system does not list them
        open_now = len(list(Path("/dev/fd").iterdir()))
    return max((soft - open_now - SPARE_FILES) // runs.ends_of(config), 1)
