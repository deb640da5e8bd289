"""batchjob jobs: what is in a database."""

from __future__ import annotations

import click

from batchjob.cli.options import database, db_flag, db_option
from batchjob.cli.show import columns, show_document, show_lines
from batchjob.stores import open_reader
from batchjob.views.jobs_table import jobs_lines, jobs_of


@click.command("jobs")
@db_option
@click.option("--all", "everything", is_flag=True, help="Also those that try made for a few rows")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, the oldest job first")
def command(db: str | None, everything: bool, as_json: bool) -> int:
    """List the jobs in this database, the oldest first."""
    with open_reader(database(db)) as reader:
        found = reader.overview()
        jobs = jobs_of([one for one in found if everything or not one.job.source.sample])
        flag = db_flag()
    if as_json:
        show_document(jobs)
    else:
        show_lines([*jobs_lines(jobs, flag, columns()), *_left_out(len(found) - len(jobs))])
    return 0


def _left_out(tries: int) -> list[str]:
    return [f"left out  {tries:,} of batchjob try: --all shows them"] if tries else []
