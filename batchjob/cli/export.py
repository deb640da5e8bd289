"""batchjob export: labels in input order, beside what the input had."""

from __future__ import annotations

import sys

import click

from batchjob.cli.options import database, db_option, job_argument
from batchjob.exports import export, export_requests
from batchjob.printable import neutral_cell, printable
from batchjob.stores import open_reader


@click.command("export")
@job_argument
@db_option
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to; - is stdout")
@click.option("--format", "format_", metavar="NAME", help="csv, tsv, jsonl or parquet  [default: by the suffix]")
@click.option("--details", is_flag=True, help="Also attempts, request ID, raw answer and tokens of each row")
@click.option("--spreadsheet", is_flag=True, help="Put ' before cells that a spreadsheet would run as a formula")
@click.option("--requests", is_flag=True, help="Instead of rows, every request sent: to check the bill against")
def command(
    job: str | None,
    db: str | None,
    output: str,
    format_: str | None,
    details: bool,
    spreadsheet: bool,
    requests: bool,
) -> int:
    """Write the labels of JOB (the latest, if not named) in input order.

    Each row of the input stands there once, with its other columns; where there is no label, state and error say why.
    """
    safe = printable if output == "-" and sys.stdout.isatty() else neutral_cell if spreadsheet else None
    with open_reader(database(db)) as reader:
        found = reader.job(job) if job else reader.latest()
        if requests:
            export_requests(reader, found, output, format=format_)
            return 0
        labelled, total = export(reader, found, output, format=format_, details=details, safe=safe)
    if labelled < total or not found.ingested:
        more = "" if found.ingested else " read so far"
        click.echo(f"{labelled:,} of {total:,} rows{more} have a label; the others say why not in `state`", err=True)
    return 0
