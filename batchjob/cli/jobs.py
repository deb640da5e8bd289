"""batchjob jobs: what is in a database."""

from __future__ import annotations

import click

from batchjob.cli.options import database, db_flag, db_option
from batchjob.cli.show import columns, show_document, show_lines
from batchjob.stores import open_reader
from batchjob.views.jobs_table import jobs_lines, jobs_of


@click.command("jobs")
@db_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array, the oldest job first")
def command(db: str | None, as_json: bool) -> int:
    """List the jobs in this database, the oldest first."""
    with open_reader(database(db)) as reader:
        jobs = jobs_of(reader.overview())
        flag = db_flag()
    if as_json:
        show_document(jobs)
    else:
        show_lines(jobs_lines(jobs, flag, columns()))
    return 0
