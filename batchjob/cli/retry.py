"""batchjob retry: put failed rows back and run only those."""

from __future__ import annotations

from typing import Any

import click

from batchjob.cli.options import database, db_option, job_argument, run_options
from batchjob.cli.resume import settings_for
from batchjob.cli.run import Plan, run
from batchjob.errors import JobError
from batchjob.stores.sqlite.reader import StoreReader

UNCONFIRMED = "unconfirmed"


@click.command("retry")
@job_argument
@db_option
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only rows that failed so (repeatable)")
@click.option("--base-url", metavar="URL", help="The same endpoint under another address")
@run_options
def command(job: str | None, db: str | None, kinds: tuple[str, ...], **flags: Any) -> int:
    """Put the failed rows of JOB (the latest, if not named) back and run only those.

    Rows whose answer was never seen may have been paid: they go out again only with --kind unconfirmed.
    """
    path = database(db)
    with StoreReader(path) as reader:
        snapshot = reader.snapshot(job)
    there = snapshot.tally.get("error", {})
    for kind in kinds:
        if kind not in there:
            known = ", ".join(there) or "none"
            raise JobError(f"no row of job {snapshot.job.name!r} failed with kind {kind!r}; there are: {known}")
    chosen = kinds or tuple(kind for kind in there if kind != UNCONFIRMED)
    if not chosen and UNCONFIRMED in there:
        raise JobError(
            f"no row of job {snapshot.job.name!r} failed, but {there[UNCONFIRMED]:,} are unconfirmed: they may have "
            f"been paid. To send them again: batchjob retry {snapshot.job.name} --kind unconfirmed"
        )
    return run(Plan(path, snapshot.job.name, settings_for(snapshot.job, flags), None, retry_kinds=chosen))
