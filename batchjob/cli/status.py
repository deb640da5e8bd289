"""batchjob status: how a job stands, asked from any process at any time."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator

import click

from batchjob.cli.options import database, db_flag, db_option, job_argument
from batchjob.cli.screen import Screen, moves_cursor, resizes
from batchjob.cli.show import show_document, show_lines
from batchjob.ports import StoreReader
from batchjob.records import Snapshot
from batchjob.stores import open_reader
from batchjob.views.next_steps import next_command
from batchjob.views.status import settings_of, status_of
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
        if not watch:
            _show(reader.snapshot(name), as_json=as_json)
        elif as_json:
            for snapshot in _looks(reader, name, interval):
                show_document(status_of(snapshot), compact=True)
        elif moves_cursor(sys.stdout):
            with resizes() as sleep:
                _repaint(_looks(reader, name, interval, sleep), Screen(sys.stdout))
        else:
            for count, snapshot in enumerate(_looks(reader, name, interval)):
                show_lines([*([""] if count else []), *_lines(snapshot)])
    return 0


def _looks(
    reader: StoreReader, name: str, interval: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[Snapshot]:
    """How the job stands at each interval, the last time when it is no longer running."""
    while True:
        snapshot = reader.snapshot(name)
        yield snapshot
        if not status_of(snapshot).busy:
            return
        sleep(interval)


def _show(snapshot: Snapshot, *, as_json: bool) -> None:
    if as_json:
        show_document(status_of(snapshot))
    else:
        show_lines(_lines(snapshot))


def _lines(snapshot: Snapshot) -> list[str]:
    status = status_of(snapshot)
    typed = next_command(status, settings_of(snapshot), db_flag())
    return summary_lines(status, seconds=None, next_command=typed)


def _repaint(looks: Iterator[Snapshot], screen: Screen) -> None:
    """Paint each look over the one before; the last one stays, whole."""
    try:
        for snapshot in looks:
            status = status_of(snapshot)
            if status.busy:
                screen.paint(watch_lines(status, columns=screen.columns, lines=screen.lines - 1))
            else:
                screen.clear()
                show_lines(_lines(snapshot))
    finally:
        screen.leave()
