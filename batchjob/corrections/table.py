"""Corrections in a file: an export in which a person has put other labels, or a table of ids and labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from batchjob.corrections.saying import Said, meant_by, numbered, own_text
from batchjob.corrections.standing import Corrections
from batchjob.errors import InputError, NoColumn, SettingError
from batchjob.inputs.said import said_of_ids
from batchjob.model import Job
from batchjob.ports import StoreReader
from batchjob.settings.config import JobConfig, settings_of

LABEL = "label"


class Read(NamedTuple):
    """What a file says: other labels than its rows have now, and how many stay as they are."""

    said: list[Said]
    unchanged: int


def said_in_file(reader: StoreReader, corrections: Corrections, job: Job, path: str, field: str | None = None) -> Read:
    """What a file says that is not so now; a cell without anything says nothing.

    Args:
        field: the only one that is looked at, of a job with several answers a text; None: all that the file has.

    Raises:
        InputError: it cannot be read, or says two things of one id, or what is no label; the text names the line.
        SettingError: it has an id that no row, or more than one, has, or there is no such field.
    """
    config, standing = settings_of(job), corrections.of(job.uid)
    said, unchanged = [], 0
    for name, given in _columns(config, job, path, field):
        rows = numbered(reader, job, given)
        for key, label in given.items():
            number = rows[key]
            now = standing[number].text(name) if number in standing else None
            if (now or own_text(reader.row(job, number).row, name)) == label:
                unchanged += 1
            else:
                said.append(Said(number, label, name))
    return Read(said, unchanged)


def _columns(config: JobConfig, job: Job, path: str, field: str | None) -> Iterator[tuple[str | None, dict[str, str]]]:
    """What the file says in its column of labels, or in those that are called as fields are: id -> label."""
    if not config.fields or field is not None:
        yield field, _given(config, job, path, field)
        return
    met, missing = 0, None
    for one in config.fields:
        try:
            given = _given(config, job, path, one.name)
        except NoColumn as error:
            missing = error
        else:
            met += 1
            yield one.name, given
    if not met and missing is not None:
        raise missing


def _given(config: JobConfig, job: Job, path: str, field: str | None) -> dict[str, str]:
    meant = meant_by(config, field)
    given: dict[str, str] = {}
    _, rows_of_file = said_of_ids(path, id_column=job.source.id_column, columns=[field or LABEL])
    for line, key, value in rows_of_file:
        if not value:
            continue
        try:
            label = meant(value)
        except SettingError as error:
            raise InputError(f"{path}, line {line:,}: {error}") from None
        if given.setdefault(key, label) != label:
            raise InputError(
                f"{path}, line {line:,}: id {key} has {field or LABEL} {given[key]!r} above and {label!r} here"
            )
    return given
