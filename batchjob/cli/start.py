"""batchjob start: ingest and run; the same command again goes on with the same job."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import chain, count
from pathlib import Path
from typing import Any

import click
import msgspec

from batchjob.cli.estimate import paid_again, show_plan
from batchjob.cli.key import require_key
from batchjob.cli.options import DEFAULT_CONFIG, database, db_option, given, run_options, task_options
from batchjob.cli.run import NewJob, Plan, run, say
from batchjob.config import (
    BASE_URL_VARIABLES,
    SANDBOX_URL,
    JobConfig,
    changed_settings,
    check,
    merge,
    read_job_toml,
    resolve_files,
    task_digest,
)
from batchjob.errors import InputChanged, JobError
from batchjob.inputs import open_input
from batchjob.model import Chunk, Job
from batchjob.outputs import open_output
from batchjob.ports import Reader
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.stores.sqlite.reader import StoreReader, holds_jobs
from batchjob.task.routes import check_rules


@click.command("start")
@click.argument("input", metavar="INPUT")
@db_option
@click.option("--config", metavar="FILE", help="Settings; a flag wins over it  [default job.toml, if there is one]")
@click.option("--name", metavar="NAME", help="Of the job  [default: by INPUT]")
@click.option("--new", is_flag=True, help="A new job, even if this input is labelled already")
@click.option("--dry-run", is_flag=True, help="Say what would be done and what it would cost; send and write nothing")
@task_options
@click.option("--sandbox/--no-sandbox", default=None, help="Run against the built-in endpoint; no key needed")
@run_options
def command(input: str, db: str | None, config: str | None, new: bool, dry_run: bool, **flags: Any) -> int:
    """Ingest INPUT and label it; the same command again resumes that job.

    INPUT is a .csv, .tsv or .jsonl file, each also .gz, or - for stdin.
    """
    settings, where, written = read_settings(config, flags)
    check_rules(settings)
    path = database(db, configured=written)
    if where:
        say(f"settings from {where}")
    if not dry_run:
        require_key(settings.base_url, settings.api_key_env)
    if settings.output:
        open_output(settings.output, None)
    reader = open_input(
        input,
        format=settings.format,
        encoding=settings.encoding,
        id_column=settings.id_column,
        text_column=settings.text_column,
    )
    known = _jobs_of(path, reader.source.path)
    job = None if new else next((job for job in known if job.task_digest == task_digest(settings)), None)
    if settings.name and (job is None or job.name != settings.name):
        job = _named(path, settings, reader, new=new)
    if job is not None:
        chunks = rest_of(reader, job)
        if dry_run:
            return show_plan(path, settings, reader.source, job, chunks, [])
        say(f"going on with job {job.name}")
        return run(Plan(path, job.name, settings, chunks, job.rows))
    # The first chunk is read before anything is made, so that a bad input leaves nothing.
    chunks = reader.chunks(position=0, digest="", number=1, chunk_rows=CHUNK_ROWS)
    first = next(chunks)
    changed = _what_changed(known[0], settings) if known and not new else []
    made = NewJob(_free_name(path, settings, reader.source.path), reader.source)
    if dry_run:
        return show_plan(path, settings, reader.source, made.name, chain((first,), chunks), changed)
    if changed:
        say(*changed, f"  {paid_again(path, settings, reader.source, first, known[0].rows)}")
    return run(Plan(path, made, settings, chain((first,), chunks)))


def read_settings(config: str | None, flags: dict[str, Any]) -> tuple[JobConfig, str, str | None]:
    """The settings of flags, job.toml and environment; the file they came from, if any; its `db`, if any."""
    settings, where, db = gather_settings(config, flags)
    return check(settings), where, db


def gather_settings(config: str | None, flags: dict[str, Any]) -> tuple[JobConfig, str, str | None]:
    """The same, whether or not they are enough to label with."""
    file = Path(config) if config else DEFAULT_CONFIG if DEFAULT_CONFIG.is_file() else None
    written = read_job_toml(file) if file else {}
    environment = next(({"base_url": url} for name in BASE_URL_VARIABLES if (url := os.environ.get(name))), {})
    typed = resolve_files(given(flags), base=Path(), origin="command line")
    merged = merge(environment, written, typed)
    if merged.sandbox:
        merged = msgspec.structs.replace(merged, base_url=SANDBOX_URL, model=merged.model or "sandbox")
    return merged, str(file) if file and not config else "", written.get("db")


def _jobs_of(path: Path, input_path: str) -> list[Job]:
    if not holds_jobs(path):
        return []
    with StoreReader(path) as reader:
        return reader.by_input(input_path)


def _named(path: Path, settings: JobConfig, reader: Reader, *, new: bool) -> Job | None:
    """The job of the given name, where there is one and this is it.

    Raises:
        JobError: the name is taken by another job.
    """
    if not holds_jobs(path):
        return None
    with StoreReader(path) as store:
        found = next((job for job in store.jobs() if job.name == settings.name), None)
    if found is None:
        return None
    if new:
        raise JobError(f"there is a job named {found.name!r} already: give the new one another --name")
    if found.source.path != reader.source.path:
        raise JobError(f"job {found.name!r} has another input, {found.source.path}: give this one another --name")
    if found.task_digest != task_digest(settings):
        changed = ", ".join(changed_settings(settings_of(found), settings))
        raise JobError(f"job {found.name!r} has other settings ({changed}): give this one another --name")
    return found


def settings_of(job: Job) -> JobConfig:
    """The settings a job was started with."""
    return msgspec.json.decode(job.settings, type=JobConfig)


def rest_of(reader: Reader, job: Job) -> Iterator[Chunk] | None:
    """What is left to ingest of a job's input, None where nothing is.

    Raises:
        InputChanged: the input is not the one the job began with.
    """
    same = (reader.source.size, reader.source.mtime_ns) == (job.source.size, job.source.mtime_ns)
    if job.ingested and same and reader.source.size is not None:
        return None
    chunks = reader.chunks(position=job.position, digest=job.digest, number=job.rows + 1, chunk_rows=CHUNK_ROWS)
    first = next(chunks)
    if not job.ingested:
        return chain((first,), chunks)
    if first.rows:
        raise InputChanged(
            f"{job.source.path} has grown since job {job.name!r} read it (first {job.position:,} bytes are the same). "
            f"To label it as a new job: add --new"
        )
    return None


def _free_name(path: Path, settings: JobConfig, input_path: str) -> str:
    """The name asked for, or one made of the input's, with a number where that is taken."""
    if settings.name:
        return settings.name
    stem = "stdin" if input_path == "-" else Path(input_path).name.split(".")[0]
    stem = re.sub(r"[^\w-]+", "-", stem).strip("-") or "job"
    if not holds_jobs(path):
        return stem
    with StoreReader(path) as store:
        taken = store.names()
    return next(name for name in chain((stem,), (f"{stem}-{n}" for n in count(2))) if name not in taken)


def _what_changed(last: Job, settings: JobConfig) -> list[str]:
    """What a new job of a known input has that the last one had not."""
    lines = [f"a new job, because this input was last labelled (job {last.name}) with other settings:"]
    for name, (old, new) in changed_settings(settings_of(last), settings).items():
        lines.append(f"  {name}: {_short(old)} -> {_short(new)}")
    return lines


def _short(value: object) -> str:
    text = ", ".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."
