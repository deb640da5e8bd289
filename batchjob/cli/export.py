"""batchjob export: labels in input order, beside what the input had."""

from __future__ import annotations

import sys

import click

from batchjob.cli.options import database, db_option, job_argument
from batchjob.errors import SettingError
from batchjob.jobs.exports import ONLY, Exported, export, export_requests
from batchjob.model import Job
from batchjob.numbers import counted
from batchjob.outputs import FORMATS
from batchjob.printable import printable
from batchjob.stores import open_reader
from batchjob.views.export import column_names


@click.command("export")
@job_argument
@db_option
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to; - is stdout")
@click.option("--format", "format_", metavar="NAME", help=f"{', '.join(FORMATS)}  [default: by the suffix]")
@click.option("--only", metavar="WHICH", help=f"Only these rows: {', '.join(ONLY)} or a kind of error")
@click.option("--columns", metavar="A,B,C", help="Only these columns, in this order")
@click.option("--all", "everything", is_flag=True, help="Also rows that were only read, behind a --limit")
@click.option("--details", is_flag=True, help="Also attempts, request ID, raw answer and tokens of each row")
@click.option("--spreadsheet", is_flag=True, help="CSV that Excel opens right: formulas harmless, 007 kept")
@click.option("--requests", is_flag=True, help="Instead of rows, every request sent: to check the bill against")
def command(
    job: str | None,
    db: str | None,
    output: str,
    format_: str | None,
    only: str | None,
    columns: str | None,
    everything: bool,
    details: bool,
    spreadsheet: bool,
    requests: bool,
) -> int:
    """Write the labels of JOB (the latest, if not named) in input order.

    Each row of the input stands there once, with its other columns; where there is no label, state and error say why.
    """
    if requests and (only or columns or everything or details or spreadsheet):
        raise SettingError("--requests writes requests and no rows: leave the options that choose rows or columns out")
    safe = printable if output == "-" and sys.stdout.isatty() else None
    with open_reader(database(db)) as reader:
        found = reader.job(job) if job else reader.latest()
        if requests:
            export_requests(reader, found, output, format=format_)
            return 0
        ended = export(
            reader,
            found,
            output,
            format=format_,
            details=details,
            only=only,
            columns=None if columns is None else column_names(columns),
            everything=everything,
            spreadsheet=spreadsheet,
            safe=safe,
        )
    _tell(found, ended, only)
    return 0


def _tell(job: Job, ended: Exported, only: str | None) -> None:
    if only is not None:
        click.echo(f"{counted(ended.rows, 'row')} {only}", err=True)
    elif ended.labelled < ended.rows or not job.ingested:
        more = "" if job.ingested else " read so far"
        told = f"{ended.labelled:,} of {ended.rows:,} rows{more} have a label; the others say why not in `state`"
        click.echo(told, err=True)
    if ended.left_out:
        click.echo(f"left out: {counted(ended.left_out, 'row')} behind the --limit; --all has them", err=True)
