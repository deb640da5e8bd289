"""A run in a terminal: the process is tuned, progress is shown, signals are handled, and a summary ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from types import FrameType
from typing import TextIO, cast

import click
import msgspec

from batchjob.cli.options import db_flag
from batchjob.cli.process import room_for_connections, stopping_signals
from batchjob.cli.progress import show_progress
from batchjob.cli.screen import Above, Screen, colours, moves_cursor
from batchjob.cli.show import columns, show_document
from batchjob.endpoints.key import require_key
from batchjob.errors import BatchjobError, InputError, SettingError, StoreError
from batchjob.jobs import run as runs
from batchjob.jobs.plans import Plan
from batchjob.jobs.run import Attend, Ended
from batchjob.logs import Logger, make_logger
from batchjob.model import Ending
from batchjob.printable import without_passwords
from batchjob.run.online import Runner
from batchjob.settings.config import JobConfig
from batchjob.states import JobState
from batchjob.stores import open_reader
from batchjob.views.lines import folded
from batchjob.views.next_steps import next_command
from batchjob.views.status import Status, status_of
from batchjob.views.summary import summary_lines, trouble_lines

SWITCH_SECONDS = 0.0002
"""How long the event loop's thread keeps Python's lock when the store's thread wants it. At Python's 5 ms the store
learned of the next group only when the loop had gone through all that was ready."""
WAKE_SECONDS = 0.2
"""How often the main thread is woken out of a system call to see whether a signal came. One that arrives just before
the call, or that the kernel gives to another thread, does not end the call."""


def run(plan: Plan, key_command: str | None = None, *, on_end: str | None = None, as_json: bool = False) -> int:
    """Carry out a plan; the exit code. The summary goes to stderr, or as a document to stdout."""
    if as_json and plan.config.output == "-":
        raise SettingError("--json: stdout gets the labels (--output -): name a file for them")
    key = require_key(plan.config, key_command)
    try:
        ended, log = carry_out(plan, key, key_command)
    except (InputError, StoreError) as error:
        if on_end:
            _tell_end(on_end, plan, key, error.exit_code)
        raise
    _summarize(plan, ended, log.bind(job=plan.name), as_json=as_json)
    if on_end:
        _tell_end(on_end, plan, key, ended.ending.exit_code, ended.seconds)
    return ended.ending.exit_code


def _tell_end(command: str, plan: Plan, key: str | None, exit_code: int, seconds: float | None = None) -> None:
    from batchjob.cli.on_end import tell_end

    with contextlib.suppress(BatchjobError):  # a database that cannot be read was told of
        with open_reader(plan.db) as reader:
            status = status_of(reader.snapshot(plan.name))
        if trouble := tell_end(command, plan, status, key, exit_code=exit_code, seconds=seconds):
            say(f"batchjob: {trouble}")


def carry_out(plan: Plan, key: str | None, key_command: str | None) -> tuple[Ended, Logger]:
    """Carry out a plan, attended by who sits at the terminal; how it ended, and what logs for it."""
    config = plan.config
    gc.freeze()
    sys.setswitchinterval(SWITCH_SECONDS)
    screen = Screen(sys.stderr) if moves_cursor(sys.stderr) and not config.quiet else None
    log = make_logger(
        format=config.log_format,
        file=config.log_file,
        quiet=config.quiet,
        terminal=None if screen is None else cast(TextIO, Above(screen, sys.stderr)),
        coloured=colours(sys.stderr),
    )
    with asyncio.Runner(loop_factory=runs.loop_factory()) as loop:
        attend, most = _attended_by(log, screen, config), _most_in_flight(config)
        ended = loop.run(runs.run(plan, key=key, log=log, key_command=key_command, attend=attend, most_in_flight=most))
    return ended, log


def _most_in_flight(config: JobConfig) -> int:
    """How many requests may be in flight by the limit of open files."""
    ends = runs.ends_of(config)
    return max(room_for_connections(ends * config.concurrency) // ends, 1)


def _attended_by(log: Logger, screen: Screen | None, config: JobConfig) -> Attend:
    """Progress on the terminal, and signals."""

    @contextlib.asynccontextmanager
    async def attend(runner: Runner) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        shown = show_progress(runner, log, screen, as_json=config.log_format == "json") if not config.quiet else None
        showing = [] if shown is None else [asyncio.create_task(shown)]
        # Not the loop's own: what keeps the loop from its turn must not keep a second signal from ending it.
        heard = _Signals(loop, runner, screen)
        before = {number: signal.signal(number, heard) for number in stopping_signals()}
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, lambda number, frame: None)
        signal.setitimer(signal.ITIMER_REAL, WAKE_SECONDS, WAKE_SECONDS)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)
            for task in showing:
                task.cancel()
            await asyncio.gather(*showing, return_exceptions=True)

    return attend


class _Signals:
    """The first signal stops in peace, the second at once: what is in flight then is known and counted on resume."""

    def __init__(self, loop: asyncio.AbstractEventLoop, runner: Runner, screen: Screen | None) -> None:
        self._loop, self._runner, self._screen = loop, runner, screen
        self._heard = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and self._heard:
            return  # of a terminal that is closed the kernel tells, and its shell once more: nobody is in a hurry
        if self._heard or self._runner.stopping:
            with contextlib.suppress(Exception):  # it may have come in the middle of a line
                self._say(b"batchjob: left at once; resume settles what was in flight\n")
            os._exit(130)
        self._heard = True
        self._loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        with contextlib.suppress(OSError):
            self._say(b"batchjob: stopping: waiting for the requests in flight (once more to leave at once)\n")
        self._runner.stop(Ending(JobState.STOPPED, "interrupted", 130))

    def _say(self, line: bytes) -> None:
        if self._screen is not None:
            self._screen.clear()
        before = b"\n" if self._screen is None and sys.stderr.isatty() else b""  # behind the ^C that a terminal shows
        os.write(2, before + line)


def _summarize(plan: Plan, ended: Ended, log: Logger, *, as_json: bool) -> None:
    ending, seconds, requests, not_sent = ended
    with open_reader(plan.db) as reader:
        status = status_of(reader.snapshot(plan.name))
    what_next = _what_next(status, plan, ending)
    of_run = {"exit_code": ending.exit_code, "seconds": round(seconds, 3), "requests": requests, "not_sent": not_sent}
    if plan.config.log_format == "json":
        log.info("run_ended", **of_run, status=msgspec.to_builtins(status))
    if as_json:
        show_document({**msgspec.to_builtins(status), "run": {**of_run, "next": what_next}})
    elif plan.config.log_format == "json":
        return
    elif not plan.config.quiet:
        say(*summary_lines(status, seconds=seconds, next_command=what_next, requests=(requests, not_sent)))
    elif ending.exit_code not in (0, 130):
        say(*trouble_lines(status, what_next))


def _what_next(status: Status, plan: Plan, ending: Ending) -> str:
    if status.state == JobState.FINISHED and plan.config.output and ending.exit_code == 0:
        place = "on stdout" if plan.config.output == "-" else f"in {without_passwords(plan.config.output)}"
        return f"the labels are {place}"
    return next_command(status, plan.config, db_flag())


def say(*lines: str, quiet: bool = False) -> None:
    """Lines for a person, to stderr, unless they want none; nobody reading them is no error."""
    if quiet:
        return
    with contextlib.suppress(OSError):
        for line in folded(lines, columns(sys.stderr)):
            click.echo(line, err=True)
        sys.stderr.flush()
