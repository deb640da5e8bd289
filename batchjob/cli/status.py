"""batchjob status: how a job stands, asked from any process at any time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import click

from batchjob.cli.options import database, db_flag, db_option, job_argument
from batchjob.cli.screen import Screen, moves_cursor, resizes
from batchjob.cli.show import show_document, show_lines
from batchjob.corrections.standing import Corrections, by_hand
from batchjob.ports import StoreReader
from batchjob.settings.config import JobConfig, settings_of
from batchjob.stores import open_reader
from batchjob.views.next_steps import next_command
from batchjob.views.status import Status, status_of
from batchjob.views.summary import summary_lines, watch_lines


@click.command("status")
@job_argument
@db_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with stable keys")
@click.option("--watch", is_flag=True, help="Again and again, until the job is no longer running")
@click.option(
    "--interval",
    type=click.FloatRange(min=0.1, max=86400),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="Between two looks of --watch",
)
def command(job: str | None, db: str | None, as_json: bool, watch: bool, interval: float) -> int:
    """Say how JOB (the latest, if not named) stands. It may be running; nothing is written."""
    with open_reader(database(db)) as reader:
        # The name, so that a job begun meanwhile does not take its place under --watch.
        name = reader.job(job).name if job else reader.latest().name
        corrections = Corrections(reader.url)
        if not watch:
            _show(_look(reader, name, corrections), as_json=as_json)
        elif as_json:
            for look in _looks(reader, name, corrections, interval):
                show_document(look.status, compact=True)
        elif moves_cursor(sys.stdout):
            with resizes() as sleep:
                _repaint(_looks(reader, name, corrections, interval, sleep), Screen(sys.stdout))
        else:
            for count, look in enumerate(_looks(reader, name, corrections, interval)):
                show_lines([*([""] if count else []), *_lines(look)])
    return 0


class Look(NamedTuple):
    """How the job stands, and what it goes by."""

    status: Status
    config: JobConfig


def _look(reader: StoreReader, name: str, corrections: Corrections) -> Look:
    snapshot = reader.snapshot(name)
    return Look(status_of(snapshot, by_hand(corrections.of(snapshot.job.uid))), settings_of(snapshot.job))


def _looks(
    reader: StoreReader,
    name: str,
    corrections: Corrections,
    interval: float,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Look]:
    """How the job stands at each interval, the last time when it is no longer running."""
    while True:
        look = _look(reader, name, corrections)
        yield look
        if not look.status.busy:
            return
        sleep(interval)


def _show(look: Look, *, as_json: bool) -> None:
    if as_json:
        show_document(look.status)
    else:
        show_lines(_lines(look))


def _lines(look: Look) -> list[str]:
    typed = next_command(look.status, look.config, db_flag())
    return summary_lines(look.status, seconds=None, next_command=typed)


def _repaint(looks: Iterator[Look], screen: Screen) -> None:
    """Paint each look over the one before; the last one stays, whole."""
    try:
        for look in looks:
            if look.status.busy:
                screen.paint(watch_lines(look.status, columns=screen.columns, lines=screen.lines - 1))
            else:
                screen.clear()
                show_lines(_lines(look))
    finally:
        screen.leave()
