"""batchjob retry: put failed rows back and run only those."""

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
from batchjob.numbers import counted
from batchjob.settings.jobfile import resolve_files


@click.command("retry", cls=GroupedCommand)
@job_argument
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Only rows that failed so (repeatable)",
    cls=GroupedOption,
    group="run",
)
@json_option
@setting_options("retry", base_url="The same endpoint under another address")
def command(
    job: str | None,
    db: str | None,
    kinds: tuple[str, ...],
    api_key_command: str | None,
    on_end: str | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Put the failed rows of JOB (the latest, if not named) back and run only those.

    Rows whose answer was never seen may have been paid: they go out again only with --kind unconfirmed. Other labels,
    another model, prompt or fallback hold for these rows alone; answers that are kept are read again first.
    """
    changes = resolve_files(given(flags), base=Path(), origin="command line").settings
    plan = plans.plan_retry(job, changes, db=database(db), kinds=kinds)
    if not plan.retry_kinds:
        say(_nothing_failed(plan), quiet=plan.config.quiet)
    return run(plan, api_key_command, on_end=on_end, as_json=as_json)


def _nothing_failed(plan: plans.Plan) -> str:
    if plan.left:
        return (
            f"no row of job {plan.name} failed; of {counted(plan.left, 'row')} without a label, those that a run "
            "before took up are asked"
        )
    return f"there is nothing to retry: no row of job {plan.name} failed"
