"""batchjob start: ingest and run; the same command again goes on with the same job."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from batchjob.cli.estimate import first_chunk, paid_again, show_plan
from batchjob.cli.options import GroupedCommand, database, db_flag, given, json_option, setting_options
from batchjob.cli.request import show_request
from batchjob.cli.run import run, say
from batchjob.endpoints.key import require_key
from batchjob.errors import SettingError
from batchjob.files import is_file
from batchjob.jobs import plans
from batchjob.jobs.drawing import with_examples
from batchjob.jobs.plans import Plan
from batchjob.model import Job
from batchjob.settings.config import JobConfig
from batchjob.settings.jobfile import (
    DEFAULT_CONFIG,
    KEY_COMMAND,
    ON_END,
    PROGRAMS,
    Read,
    read_job_toml,
    resolve_files,
    with_environment,
)
from batchjob.task.asked import prompt_of
from batchjob.views.request import LIST_APPENDED


@click.command("start", cls=GroupedCommand)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@json_option
@setting_options("start")
def command(
    inputs: tuple[str, ...],
    db: str | None,
    config: str | None,
    new: bool,
    append: bool,
    dry_run: bool,
    show_prompt: bool,
    api_key_command: str | None,
    on_end: str | None,
    as_json: bool,
    **flags: Any,
) -> int:
    """Ingest INPUT and label it; the same command again resumes that job.

    INPUT is a .csv, .tsv or .jsonl file, each also .gz, or - for stdin; several with the same columns become one job. A
    job needs labels, and an endpoint and its model or --sandbox; each option but --append, --config, --dry-run, --new
    and --show-prompt is also a key of job.toml.
    """
    if as_json and (dry_run or show_prompt):
        raise SettingError("--json is for the summary of a run: profile --json says what one would take")
    gathered = gather_settings(config, flags)
    settings = plans.complete(with_gold_typed(gathered.settings, flags))
    if gathered.where:
        say(f"settings from {gathered.where}", quiet=settings.quiet)
    path = database(db, configured=gathered.db)
    if show_prompt:
        return show_request(inputs, with_examples(settings, inputs), path)
    key_command, on_end = api_key_command or gathered.key_command, on_end or gathered.on_end
    if not dry_run and not key_command:  # a command is asked once, when all else is right
        require_key(settings)
    plan = plans.plan_start(inputs, settings, db=path, new=new, append=append, beside=gathered.files)
    say(*(f"{inputs[0]}: {said}" for said in plan.source.said if not isinstance(plan.job, Job)), quiet=settings.quiet)
    if dry_run:
        return show_plan(plan, _what_changed(plan))
    if plan.refusal:
        raise plan.refusal
    return run(_told(plan, new=new), key_command, on_end=on_end, as_json=as_json)


def _told(plan: Plan, *, new: bool) -> Plan:
    """The plan, when a person has been told what of it they may not expect."""
    quiet = plan.config.quiet
    if prompt_of(plan.config, plan.source).appends_labels:
        say(LIST_APPENDED, quiet=quiet)
    if isinstance(plan.job, Job):
        say(f"going on with job {plan.name}", quiet=quiet)
    elif moved := None if new else plans.moved_from(plan):
        say(_moved(moved, plan))
    elif plan.changed and plan.before is not None:
        before = plan.before.rows
        first, plan = first_chunk(plan)
        say(*_what_changed(plan), f"  {paid_again(plan, first, before)}")
    return plan


class Gathered(NamedTuple):
    """The settings of flags, job.toml and environment, whether or not they are enough to label with."""

    settings: JobConfig
    where: str  # the job.toml they come from, if nobody named it
    db: str | None  # that stands in it
    files: tuple[str, ...]  # all that they were read from
    key_command: str | None = None  # that stands in a file which was named
    on_end: str | None = None  # likewise


def gather_settings(config: str | None, flags: dict[str, Any]) -> Gathered:
    """What is set."""
    file = Path(config) if config else DEFAULT_CONFIG if is_file(DEFAULT_CONFIG) else None
    written = read_job_toml(file) if file else Read({}, ())
    for name in PROGRAMS:
        if written.settings.get(name) and not config:
            raise SettingError(
                f"{file}: {name} would run a program, so it does not count in a file that nobody named: "
                f"give --config {file}, or --{name.replace('_', '-')}"
            )
    typed = resolve_files(given(flags), base=Path(), origin="command line")
    merged = with_environment(written.settings, typed.settings)
    where = str(file) if file and not config else ""
    key_command, on_end = (written.settings.get(name) for name in (KEY_COMMAND, ON_END))
    return Gathered(merged, where, written.settings.get("db"), written.files + typed.files, key_command, on_end)


def with_gold_typed(settings: JobConfig, flags: dict[str, Any]) -> JobConfig:
    """The settings without a column of gold that stands in job.toml for try, and nothing is drawn from."""
    idle = settings.draw_examples is None and flags.get("gold") is None
    return msgspec.structs.replace(settings, gold=None) if idle else settings


def _moved(before: Job, plan: Plan) -> str:
    files = " ".join(f"--input {shlex.quote(path)}" for path in plan.source.paths)
    return (
        f"a new job. Job {before.name} had files of these names and this size at {before.source.path}, which is gone: "
        f"if they were moved, stop this one and type: batchjob resume {before.name} {files} {db_flag()}".rstrip()
    )


def _what_changed(plan: Plan) -> list[str]:
    """What a new job of a known input has that the last one had not."""
    if not plan.changed or plan.before is None:
        return []
    lines = [f"a new job, because job {plan.before.name} of this input has other settings:"]
    return [*lines, *(f"  {name}: {_short(old)} -> {_short(new)}" for name, (old, new) in plan.changed.items())]


def _short(value: Any) -> str:
    """A setting in few words; of a table its name."""
    if isinstance(value, dict):
        text = ", ".join(f"{name}={_short(inner)}" for name, inner in value.items())
    elif isinstance(value, list | tuple):
        text = ", ".join(str(getattr(one, "name", getattr(one, "text", one))) for one in value)
    else:
        text = "none" if value is None else str(value)
    text = text or "none"
    return text if len(text) <= 60 else text[:57] + "..."
