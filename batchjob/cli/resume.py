"""batchjob resume: continue the unfinished rows of a job."""

from __future__ import annotations

from typing import Any

import click

from batchjob.cli.options import GroupedCommand, GroupedOption, database, given, job_argument, setting_options
from batchjob.cli.run import run
from batchjob.jobs import plans


@click.command("resume", cls=GroupedCommand)
@job_argument
@click.option(
    "--input",
    "moved",
    multiple=True,
    metavar="PATH",
    help="Where the input lies now, if it was moved (repeatable)",
    cls=GroupedOption,
    group="run",
)
@setting_options("resume", base_url="The same endpoint under another address")
def command(job: str | None, db: str | None, moved: tuple[str, ...], api_key_command: str | None, **flags: Any) -> int:
    """Continue the unfinished rows of JOB (which may be left out when only one job is unfinished).

    Completed rows are never sent again. Settings are those of the last run, but for the options given here; --limit
    holds for one run only.
    """
    return run(plans.plan_resume(job, given(flags), db=database(db), moved=moved), api_key_command)
