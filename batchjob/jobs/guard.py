"""Before anything is written: which files a command writes, and which it and others need. See files.keep_apart."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import chain, repeat
from pathlib import Path

from batchjob.errors import BatchjobError
from batchjob.files import Named, Target, check_settings_apart, check_utf8, is_file, keep_apart
from batchjob.model import InputSource, Job
from batchjob.ports import StoreReader
from batchjob.settings.config import JobConfig
from batchjob.settings.jobfile import DEFAULT_CONFIG
from batchjob.stores import files_of, holds_jobs, open_reader


def check_run(db: str, config: JobConfig, inputs: Sequence[str], beside: Sequence[str]) -> None:
    """A run is about to begin.

    Args:
        inputs: paths, "-" is stdin.
        beside: the other files that its settings are read from.

    Raises:
        SettingError: it would write over a file that is needed, or reads its input as settings.
    """
    targets = [Target("--db", file.path, database=True) for file in _database(db)]
    if config.output:
        targets.append(Target("--output", config.output, replaced=True))
    if config.log_file:
        targets.append(Target("--log-file", config.log_file))
    own = [*_inputs(inputs), *_beside(beside)]
    check_utf8([*targets, *own])
    check_settings_apart(_inputs(inputs), _beside(beside))
    keep_apart(targets, own)  # first, for the database may turn out to be one of them
    keep_apart(targets, [*own, *_unread(db)])


def check_export(reader: StoreReader, job: Job, what: str, output: str) -> None:
    """A job is about to be exported.

    Raises:
        SettingError: a file that is needed would be replaced.
    """
    needed = [*_database(reader.url), *_of_source(job.source), *_unread_in(reader), *_settings_here()]
    keep_apart([Target(what, output, replaced=True)], needed)


def check_written(target: Target, db: str) -> None:
    """A file is about to be written that has to do with no job.

    Raises:
        SettingError: it belongs to the database here, or is an input of its jobs.
    """
    needed = [*_database(db)]
    with contextlib.suppress(BatchjobError):  # what is no database has no jobs
        if holds_jobs(db):
            with open_reader(db) as reader:
                needed += [file for job in reader.jobs() for file in _of_source(job.source)]
    keep_apart([target], needed)


def _database(db: str) -> list[Named]:
    said = chain(("the database",), repeat("the database's own"))
    return [Named(what, file) for what, file in zip(said, files_of(db), strict=False)]


def _inputs(paths: Sequence[str]) -> list[Named]:
    return [Named("the input", path) for path in paths]


def _beside(paths: Sequence[str]) -> list[Named]:
    return [Named("the settings' file", path) for path in paths]


def _of_source(source: InputSource) -> list[Named]:
    # What was piped in is gone, and stdin is another file now.
    return [*_inputs([path for path in source.paths if path != "-"]), *_beside(source.beside)]


def _settings_here() -> list[Named]:
    return _beside([str(DEFAULT_CONFIG)] if is_file(DEFAULT_CONFIG) else [])


def _unread(db: str) -> Iterator[Named]:
    """The inputs that other jobs in the database still have to read."""
    if holds_jobs(db):
        with open_reader(db) as reader:
            yield from _unread_in(reader)


def _unread_in(reader: StoreReader) -> Iterator[Named]:
    for job in reader.unread():
        for path in job.source.paths:
            if path != "-":
                yield Named(f"the input of job {job.name!r}", str(Path(path)))
