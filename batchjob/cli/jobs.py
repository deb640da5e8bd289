"""batchjob jobs: what is in a database."""

from __future__ import annotations

import click

from batchjob.cli.options import database, db_option
from batchjob.cli.show import columns, db_flag, show_document, show_lines
from batchjob.stores.sqlite.reader import StoreReader
from batchjob.views.report import jobs_document, jobs_lines


@click.command("jobs")
@db_option
@click.option("--json", "as_json", is_flag=True, help="One JSON array, the oldest job first")
def command(db: str | None, as_json: bool) -> int:
    """List the jobs in this database, the oldest first."""
    with StoreReader(database(db)) as reader:
        document = jobs_document(reader.overview())
        flag = db_flag(reader.path)
    if as_json:
        show_document(document)
    else:
        show_lines(jobs_lines(document, flag, columns()))
    return 0
