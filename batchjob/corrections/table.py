"""Corrections in a file: an export in which a person has put other labels, or a table of ids and labels."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from batchjob.corrections.saying import Said, meant, numbered
from batchjob.corrections.standing import Corrections
from batchjob.errors import InputError, SettingError
from batchjob.inputs.said import said_of_ids
from batchjob.model import Job
from batchjob.ports import StoreReader
from batchjob.settings.config import JobConfig

LABEL = "label"


class Read(NamedTuple):
    """What a file says: other labels than its rows have now, and how many rows stay as they are."""

    said: list[Said]
    unchanged: int


def said_in_file(reader: StoreReader, corrections: Corrections, job: Job, path: str) -> Read:
    """The rows of a file whose label is another one than they have; a row without a label says nothing.

    Raises:
        InputError: it cannot be read, or says two things of one id, or what is no label; the text names the line.
        SettingError: it has an id that no row, or more than one, has.
    """
    labels = msgspec.json.decode(job.settings, type=JobConfig).labels
    given: dict[str, str] = {}
    _, rows_of_file = said_of_ids(path, id_column=job.source.id_column, columns=[LABEL])
    for line, key, value in rows_of_file:
        if not value:
            continue
        try:
            label = meant(value, labels)
        except SettingError as error:
            raise InputError(f"{path}, line {line:,}: {error}") from None
        if given.setdefault(key, label) != label:
            raise InputError(f"{path}, line {line:,}: id {key} has label {given[key]!r} above and {label!r} here")
    rows, standing = numbered(reader, job, given), corrections.of(job.uid)
    said = []
    for key, label in given.items():
        number = rows[key]
        now = standing[number].label if number in standing else reader.row(job, number).row.label
        if now != label:
            said.append(Said(number, label))
    return Read(said, len(given) - len(said))
