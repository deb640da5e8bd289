"""batchjob resume: continue the unfinished rows of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from batchjob.cli.options import (
    GroupedCommand,
    GroupedOption,
    database,
    given,
    job_argument,
    json_option,
    setting_options,
)
from batchjob.cli.run import run, say
from batchjob.jobs import plans
from batchjob.settings.jobfile import resolve_files


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
@json_option
@setting_options("resume", base_url="The same endpoint under another address")
def command(
    job: str | None,
    db: str | None,
    moved: tuple[str, ...],
    api_key_command: str | None,
    on_end: str | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Continue the unfinished rows of JOB (which may be left out when only one job is unfinished).

    Completed rows are never sent again. Settings are those of the last run, but for the options given here; --limit
    holds for one run only. What is asked otherwise (--model, say) is asked so of the rows that have no label yet.
    """
    changes = resolve_files(given(flags), base=Path(), origin="command line").settings
    plan = plans.plan_resume(job, changes, db=database(db), moved=moved)
    if plan.changed:
        say(f"rows that have a label keep it; the others are asked with other settings: {', '.join(plan.changed)}")
    return run(plan, api_key_command, on_end=on_end, as_json=as_json)
