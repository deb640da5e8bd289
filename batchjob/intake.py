"""What is left to read of a job's input, and whether it is the input the job began with."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from batchjob.errors import InputChanged, JobError
from batchjob.inputs import open_input, reopen_input
from batchjob.model import Chunk, Job
from batchjob.ports import Reader
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.settings.config import JobConfig


def open_as_set(path: str, config: JobConfig) -> Reader:
    """An input, opened as the settings say; see `inputs.open_input`."""
    return open_input(
        path,
        format=config.format,
        encoding=config.encoding,
        id_column=config.id_column,
        text_column=config.text_column,
        delimiter=config.delimiter,
        skip_lines=config.skip_lines,
        header_row=config.header_row,
    )


def rest_of(reader: Reader, job: Job) -> Iterator[Chunk] | None:
    """What is left to ingest of a job's input, None where nothing is.

    Raises:
        InputChanged: the input is not the one the job began with.
        JobError: the job names its rows by another column, or was read in another way.
    """
    if reader.source.id_column != job.source.id_column:
        raise JobError(
            f"job {job.name!r} knows its rows by {job.source.id_column or 'their number'}, not by "
            f"{reader.source.id_column or 'their number'}: to label them anew add --new"
        )
    if reader.source.layout != job.source.layout:
        raise JobError(
            f"job {job.name!r} was read with another --delimiter, --skip-lines or header row: give what was given then,"
            f" or to label the rows anew add --new"
        )
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


def rest_of_input(job: Job) -> Iterator[Chunk] | None:
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
    return rest_of(reopen_input(source, source.path), job)
