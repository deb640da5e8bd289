"""batchjob report: a job as one file to hand over."""

from __future__ import annotations

import click

from batchjob.cli.options import database, db_option, job_argument
from batchjob.jobs.reports import write_report
from batchjob.stores import open_reader


@click.command("report")
@job_argument
@db_option
@click.option("-o", "--output", required=True, metavar="FILE", help="A .html or .md file; - is HTML to stdout")
@click.option("--by", metavar="COLUMN", help="Also labels by the values of this column of the input")
@click.option("--gold", metavar="COLUMN", help="Column with the right labels: accuracy, and what is confused")
@click.option("--field", metavar="NAME", help="Which answer these are about, of a job with several for each row")
@click.option("--no-texts", is_flag=True, help="Without any text of the input")
def command(
    job: str | None,
    db: str | None,
    output: str,
    by: str | None,
    gold: str | None,
    field: str | None,
    no_texts: bool,
) -> int:
    """Write what JOB (the latest, if not named) did as one file: labels, accuracy, errors, cost and settings.

    The file needs nothing else and runs no script. It holds a few texts of each label, unless told otherwise.
    """
    with open_reader(database(db)) as reader:
        found = reader.job(job) if job else reader.latest()
        write_report(reader, found, output, by=by, gold=gold, field=field, texts=not no_texts)
    if output != "-":
        click.echo(f"the report of job {found.name} is in {output}", err=True)
    return 0
