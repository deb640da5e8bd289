"""What is left to read of a job's input, and whether it is the input the job began with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import msgspec

from batchjob.errors import InputChanged, JobError, SettingError
from batchjob.files import is_there
from batchjob.inputs import open_inputs, reopen_input
from batchjob.inputs.memory import Held, MemoryReader
from batchjob.inputs.reader import Wanted
from batchjob.model import Chunk, InputRow, InputSource, Job
from batchjob.ports import Reader
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.settings.config import JobConfig
from batchjob.task.asked import prompt_of

Input = Sequence[str] | Held
"""Paths, or rows in memory."""


class Rest(NamedTuple):
    """What is left to ingest, None where nothing is; and where the input lies now, if that is to be noted."""

    chunks: Iterator[Chunk] | None
    source: InputSource | None = None


def open_as_set(input: Input, config: JobConfig) -> Reader:
    """An input, opened as the settings say; see `inputs.open_inputs`."""
    if isinstance(input, Held):
        return _open_held(input, config)
    return open_inputs(
        input,
        format=config.format,
        encoding=config.encoding,
        id_column=config.id_column,
        text_column=config.text_column,
        delimiter=config.delimiter,
        skip_lines=config.skip_lines,
        header_row=config.header_row,
    )


def _open_held(held: Held, config: JobConfig) -> Reader:
    if config.format or config.delimiter or config.skip_lines or config.header_row is not None:
        raise SettingError(
            f"{held.name} is no file: leave out what says how one is read (format, delimiter and others)"
        )
    wanted = Wanted("jsonl", config.encoding, config.id_column, config.text_column)

    def decides(source: InputSource) -> list[str]:
        routed = [route.column for route in config.routes if route.column is not None]
        drawn = [config.gold] if config.draw_examples is not None and config.gold is not None else []
        return [*prompt_of(config, source).columns, *routed, *drawn]

    return MemoryReader(held, wanted, decides)


def rows_within(chunks: Iterable[Chunk], limit: int | None) -> Iterator[list[InputRow]]:
    """The rows of the chunks, up to the row with the number `limit`."""
    for chunk in chunks:
        if limit is not None and chunk.first_number + len(chunk.rows) > limit:
            yield chunk.rows[: max(limit - chunk.first_number + 1, 0)]
            return
        yield chunk.rows


def rest_of(reader: Reader, job: Job, *, append: bool = False) -> Rest:
    """What is left to ingest of a job's input.

    Args:
        append: also the rows by which it has grown since the job read it to its end.

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
        return Rest(None)
    chunks = reader.chunks(position=job.position, digest=job.digest, number=job.rows + 1, chunk_rows=CHUNK_ROWS)
    first = next(chunks)
    now = msgspec.structs.replace(reader.source, beside=job.source.beside)
    if not job.ingested or (append and first.rows):
        return Rest(chain((first,), chunks), now if append else None)
    if first.rows:
        raise InputChanged(
            f"{job.source.path} has grown since job {job.name!r} read it (first {job.position:,} bytes are the same). "
            f"To label the new rows too: add --append; to label it as a new job: add --new"
        )
    return Rest(None)


def rest_of_input(job: Job, moved: Sequence[str] = ()) -> Rest:
    """What is left to ingest of the input of a job that goes on, as it was opened then.

    Args:
        moved: where it lies now, if not where it was.

    Raises:
        InputError: it cannot be read, or is not the one the job began with.
        JobError: it is gone, or cannot be read once more.
    """
    source = job.source
    if source.sample and (moved or not job.ingested):
        raise JobError(f"job {job.name!r} has a few rows of its input for batchjob try: give that command again")
    if source.held and moved:
        raise JobError(f"the rows of job {job.name!r} come from a program and no file: leave --input out")
    if moved:
        if len(moved) != len(source.paths):
            raise SettingError(
                f"job {job.name!r} has {len(source.paths)} inputs: name all with --input, in their order"
            )
        reader = reopen_input(source, moved)
        if job.ingested:
            _check_same(reader, job)
        return Rest(rest_of(reader, job).chunks, msgspec.structs.replace(reader.source, beside=source.beside))
    if job.ingested:
        return Rest(None)
    if source.held:
        raise JobError(
            f"job {job.name!r} has {job.rows:,} rows of a list or frame that a program held: it goes on where that "
            f"calls batchjob.label again with the same rows and settings"
        )
    if source.path == "-":
        raise JobError(
            f"job {job.name!r} was reading stdin and has {job.rows:,} rows of it: pipe the same input again, "
            f"with the same options",
            then=("start", "-", "--name", job.name, "OPTIONS"),
        )
    if gone := next((path for path in source.paths if not is_there(path)), None):
        raise JobError(
            f"the input of job {job.name!r}, {gone}, is gone and was not read to its end: put it back, or if it was "
            f"moved say where it is",
            then=("resume", job.name, "--input", _here(gone)),
        )
    return rest_of(reopen_input(source, source.paths), job)


def _here(gone: str) -> str:
    """Where a file that is gone may be: here, under its name."""
    name = Path(gone).name
    return name if Path(name).is_file() else "PATH"


def _check_same(reader: Reader, job: Job) -> None:
    """See that an input that was read to its end begins with what was read, whatever its size and time say."""
    next(reader.chunks(position=job.position, digest=job.digest, number=job.rows + 1, chunk_rows=1))
