"""batchjob start: ingest and run; the same command again goes on with the same job."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click
import msgspec

from batchjob import jobs
from batchjob.cli.estimate import first_chunk, paid_again, show_plan
from batchjob.cli.options import DEFAULT_CONFIG, GroupedCommand, database, given, setting_options
from batchjob.cli.request import show_request
from batchjob.cli.run import run, say
from batchjob.endpoints.key import require_key
from batchjob.jobs import Plan
from batchjob.model import Job
from batchjob.settings.config import BASE_URL_VARIABLES, SANDBOX_URL, JobConfig, merge
from batchjob.settings.jobfile import read_job_toml, resolve_files
from batchjob.task.prompt import prompt_of
from batchjob.views.request import LIST_APPENDED


@click.command("start", cls=GroupedCommand)
@click.argument("input", metavar="INPUT")
@setting_options("start")
def command(
    input: str, db: str | None, config: str | None, new: bool, dry_run: bool, show_prompt: bool, **flags: Any
) -> int:
    """Ingest INPUT and label it; the same command again resumes that job.

    INPUT is a .csv, .tsv or .jsonl file, each also .gz, or - for stdin. A job needs labels, and an endpoint and its
    model or --sandbox; each option but --config, --dry-run, --new and --show-prompt is also a key of job.toml.
    """
    settings, where, written = gather_settings(config, flags)
    jobs.complete(settings)
    if where:
        say(f"settings from {where}")
    if show_prompt:
        return show_request(input, settings)
    if not dry_run:
        require_key(settings.base_url, settings.api_key_env)
    plan = jobs.plan_start(input, settings, db=database(db, configured=written), new=new)
    if dry_run:
        return show_plan(plan, _what_changed(plan))
    if prompt_of(plan.config, plan.source).appends_labels:
        say(LIST_APPENDED)
    if isinstance(plan.job, Job):
        say(f"going on with job {plan.name}")
    elif plan.changed and plan.before is not None:
        before = plan.before.rows
        first, plan = first_chunk(plan)
        say(*_what_changed(plan), f"  {paid_again(plan, first, before)}")
    return run(plan)


def gather_settings(config: str | None, flags: dict[str, Any]) -> tuple[JobConfig, str, str | None]:
    """The settings of flags, job.toml and environment, whether or not they are enough to label with; the file they came
    from, if it was not named; its `db`, if any.
    """
    file = Path(config) if config else DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
    written = read_job_toml(file) if file else {}
    environment = next(({"base_url": url} for name in BASE_URL_VARIABLES if (url := os.environ.get(name))), {})
    typed = resolve_files(given(flags), base=Path(), origin="command line")
    merged = merge(environment, written, typed)
    if merged.sandbox:
        merged = msgspec.structs.replace(merged, base_url=SANDBOX_URL, model=merged.model or "sandbox")
    return merged, str(file) if file and not config else "", written.get("db")


def _what_changed(plan: Plan) -> list[str]:
    """What a new job of a known input has that the last one had not."""
    if not plan.changed or plan.before is None:
        return []
    lines = [f"a new job, because this input was last labelled (job {plan.before.name}) with other settings:"]
    return [*lines, *(f"  {name}: {_short(old)} -> {_short(new)}" for name, (old, new) in plan.changed.items())]


def _short(value: object) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
