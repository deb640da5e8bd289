"""A person says what the label of a row is: checked, and put into the log."""

from __future__ import annotations

import difflib
import getpass
import os
import re
from collections.abc import Iterable, Sequence

import msgspec

from batchjob.corrections import log
from batchjob.corrections.standing import Corrections
from batchjob.errors import SettingError
from batchjob.model import Job, Value
from batchjob.ports import StoreReader
from batchjob.records import Correction
from batchjob.settings.config import JobConfig
from batchjob.settings.fields import refuse_fields

_PLACE = re.compile("#[0-9]{1,18}")
"""#N, for the row at a place."""


class Said(Value, frozen=True):
    """A row by its number, and the label that a person gives it; None: what was said last is taken back."""

    row: int
    label: str | None


def user() -> str:
    """Who is at this machine, by the name of the login."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # nobody has this number
        return f"user {os.getuid()}"


def say(
    reader: StoreReader, corrections: Corrections, job: Job, said: Sequence[Said], *, why: str, at: float
) -> list[Correction]:
    """Store what a person says, all or nothing; the corrections as they were stored.

    Raises:
        JobError: there is no such row.
        SettingError: it is no label of the job, or there is nothing to take back.
        StoreError: it cannot be stored.
    """
    config = msgspec.json.decode(job.settings, type=JobConfig)
    refuse_fields(config, job.name, "a correction is of one label: correct its export instead")
    labels = config.labels
    standing, who = corrections.of(job.uid), user()
    made: dict[int, Correction] = {}
    for one in said:
        label = None if one.label is None else meant(one.label, labels)
        own = reader.row(job, one.row).row.label
        before = made.get(one.row) or (standing[one.row].last if one.row in standing else None)
        if label is None and before is None:
            raise SettingError(f"row {one.row:,} was not corrected, so there is nothing to take back")
        was = own if before is None else before.label
        made[one.row] = Correction(at, who, job.uid, one.row, label, was, own, why)
    if made:
        log.add(corrections.file, list(made.values()))
    return list(made.values())


def meant(given: str, labels: Sequence[str]) -> str:
    """The label of the job that is meant, in capitals or not.

    Raises:
        SettingError: it is none; the text names the nearest.
    """
    given = given.strip()
    if given in labels:
        return given
    alike = [label for label in labels if label.casefold() == given.casefold()]
    if len(alike) == 1:
        return alike[0]
    near = difflib.get_close_matches(given, labels, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(labels[:20])}"
    raise SettingError(f"{given!r} is no label of this job: {hint}")


def numbered(reader: StoreReader, job: Job, named: Iterable[str]) -> dict[str, int]:
    """The row that each name means: an id, or #N for the N-th row.

    Raises:
        SettingError: no row has the id, or several have.
    """
    names = dict.fromkeys(named)
    by_number = {name: int(name[1:]) for name in names if _PLACE.fullmatch(name)}
    found = reader.numbers(job, [name for name in names if name not in by_number])
    numbers: dict[str, int] = {}
    for name in names:
        rows = [by_number[name]] if name in by_number else found.get(name, [])
        if not rows:
            raise SettingError(f"no row of job {job.name!r} has the id {name!r}; for the row at a place give '#N'")
        if len(rows) > 1:
            some = " and ".join(f"'#{row}'" for row in rows[:2])
            raise SettingError(f"{len(rows)} rows have the id {name!r}: say which by its place, such as {some}")
        numbers[name] = rows[0]
    return numbers
