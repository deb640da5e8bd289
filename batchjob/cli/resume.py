"""batchjob resume: continue the unfinished rows of a job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from batchjob.cli.options import database, db_option, given, job_argument, run_options
from batchjob.cli.run import Plan, run
from batchjob.cli.start import rest_of, settings_of
from batchjob.config import SANDBOX_URL, JobConfig, check, merge
from batchjob.errors import JobError
from batchjob.inputs import open_input
from batchjob.model import Chunk, Job
from batchjob.outputs import open_output
from batchjob.stores.sqlite.reader import StoreReader


@click.command("resume")
@job_argument
@db_option
@click.option("--base-url", metavar="URL", help="The same endpoint under another address")
@run_options
def command(job: str | None, db: str | None, **flags: Any) -> int:
    """Continue the unfinished rows of JOB (which may be left out when only one job is unfinished).

    Completed rows are never sent again. Settings are those of the last run, but for the options given here; --limit
    holds for one run only.
    """
    path = database(db)
    with StoreReader(path) as reader:
        found = reader.job(job) if job else reader.latest(unfinished=True)
    config = settings_for(found, flags)
    return run(Plan(path, found.name, config, _rest_of_input(found), found.rows))


def settings_for(job: Job, flags: dict[str, Any]) -> JobConfig:
    """The settings of a job's next run: those of the last one, but for what is given now."""
    before = msgspec.to_builtins(settings_of(job))
    before.pop("limit", None)
    if flags.get("base_url"):
        before["sandbox"] = flags["base_url"] == SANDBOX_URL
    settings = check(merge(before, given(flags)))
    if settings.output:
        open_output(settings.output, None)
    return settings


def _rest_of_input(job: Job) -> Iterator[Chunk] | None:
    source = job.source
    if job.ingested:
        return None
    if source.path == "-":
        raise JobError(
            f"job {job.name!r} was reading stdin and has {job.rows:,} rows of it: pipe the same input again, "
            f"with the same options, into: batchjob start - --name {job.name}"
        )
    if not Path(source.path).exists():
        raise JobError(
            f"the input of job {job.name!r}, {source.path}, is gone and was not read to its end: put it back"
        )
    reader = open_input(
        source.path,
        format=source.format,
        encoding=source.encoding,
        id_column=source.id_column,
        text_column=source.text_column,
    )
    return rest_of(reader, job)
