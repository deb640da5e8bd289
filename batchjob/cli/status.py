"""batchjob status: how a job stands, asked from any process at any time."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click

from batchjob.cli.options import database, db_option, job_argument
from batchjob.cli.show import columns, db_flag, show_document, show_lines
from batchjob.ports import StoreReader
from batchjob.stores import open_reader
from batchjob.views.lines import folded
from batchjob.views.next_steps import next_command
from batchjob.views.status import Status, status_of
from batchjob.views.summary import summary_lines


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
            _show(status_of(reader.snapshot(name)), reader, as_json=as_json)
        elif as_json:
            for status in _statuses(reader, name, interval):
                show_document(status, compact=True)
        elif columns():
            _repaint(_statuses(reader, name, interval), reader)
        else:
            for count, status in enumerate(_statuses(reader, name, interval)):
                show_lines([*([""] if count else []), *_lines(status, reader)])
    return 0


def _statuses(reader: StoreReader, name: str, interval: float) -> Iterator[Status]:
    """How the job stands at each interval, the last time when it is no longer running."""
    while True:
        status = status_of(reader.snapshot(name))
        yield status
        if not status.busy:
            return
        time.sleep(interval)


def _show(status: Status, reader: StoreReader, *, as_json: bool) -> None:
    if as_json:
        show_document(status)
    else:
        show_lines(_lines(status, reader))


def _lines(status: Status, reader: StoreReader) -> list[str]:
    return summary_lines(status, seconds=None, next_command=next_command(status, db_flag(reader.url)))


def _repaint(statuses: Iterator[Status], reader: StoreReader) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    # The last picture stays; one that is higher than the terminal would leave its upper part behind at each repaint.
    with Live(console=Console(), auto_refresh=False, vertical_overflow="crop") as live:
        for status in statuses:
            live.update(Text("\n".join(folded(_lines(status, reader), columns()))), refresh=True)
        live.vertical_overflow = "visible"
