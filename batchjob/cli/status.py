"""batchjob status: how a job stands, asked from any process at any time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from batchjob.cli.options import database, db_option, job_argument
from batchjob.cli.show import columns, db_flag, show_document, show_lines
from batchjob.states import JobState
from batchjob.stores.sqlite.reader import StoreReader
from batchjob.views.report import folded, next_command, status_document, summary_lines

BUSY = (JobState.INGESTING, JobState.RUNNING)


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
    with StoreReader(database(db)) as reader:
        # The name, so that a job begun meanwhile does not take its place under --watch.
        name = reader.job(job).name if job else reader.latest().name
        if not watch:
            _show(_document(reader, name), reader, as_json=as_json)
        elif as_json:
            for document in _documents(reader, name, interval):
                show_document(document, compact=True)
        elif columns():
            _repaint(lambda: _documents(reader, name, interval), reader)
        else:
            for count, document in enumerate(_documents(reader, name, interval)):
                show_lines([*([""] if count else []), *_lines(document, reader)])
    return 0


def _document(reader: StoreReader, name: str) -> dict[str, Any]:
    return status_document(reader.snapshot(name))


def _documents(reader: StoreReader, name: str, interval: float) -> Iterator[dict[str, Any]]:
    """How the job stands at each interval, the last time when it is no longer running."""
    while True:
        document = _document(reader, name)
        yield document
        if document["state"] not in BUSY:
            return
        time.sleep(interval)


def _show(document: dict[str, Any], reader: StoreReader, *, as_json: bool) -> None:
    if as_json:
        show_document(document)
    else:
        show_lines(_lines(document, reader))


def _lines(document: dict[str, Any], reader: StoreReader) -> list[str]:
    return summary_lines(document, seconds=None, next_command=next_command(document, db_flag(reader.path)))


def _repaint(documents: Callable[[], Iterator[dict[str, Any]]], reader: StoreReader) -> None:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    # The last picture stays; one that is higher than the terminal would leave its upper part behind at each repaint.
    with Live(console=Console(), auto_refresh=False, vertical_overflow="crop") as live:
        for document in documents():
            live.update(Text("\n".join(folded(_lines(document, reader), columns()))), refresh=True)
        live.vertical_overflow = "visible"
