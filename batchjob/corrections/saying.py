"""A person says what the label of a row is: checked, and put into the log."""

from __future__ import annotations

import difflib
import getpass
import os
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from batchjob.corrections.standing import Corrections
from batchjob.errors import SettingError
from batchjob.model import Job, Value
from batchjob.ports import StoreReader
from batchjob.records import Correction, ExportRow
from batchjob.settings.config import JobConfig, settings_of
from batchjob.settings.tables import Field
from batchjob.stores.moving import refuse_moved
from batchjob.task.fields.answers import field_values
from batchjob.task.fields.kinds import Kind, kind_of
from batchjob.task.fields.looked_at import looked_at, one_of
from batchjob.task.fields.values import several_said, value_text

_PLACE = re.compile("#[0-9]{1,18}")
"""#N, for the row at a place."""
SHOWN_LABELS = 20


class Said(Value, frozen=True):
    """A row by its number, and the label that a person gives it; None: what was said last is taken back."""

    row: int
    label: str | None
    field: str | None = None  # which answer it is, of a job with several a text; None: the label


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
        JobError: there is no such row, or the job goes on in another database.
        SettingError: it is no label of the job, or no value of the field, or there is nothing to take back.
        StoreError: it cannot be stored.
    """
    refuse_moved(job)
    config = settings_of(job)
    standing, who = corrections.of(job.uid), user()
    made: dict[tuple[int, str | None], Correction] = {}
    for one in said:
        meant = meant_by(config, one.field)
        label = None if one.label is None else meant(one.label)
        own = own_text(reader.row(job, one.row).row, one.field)
        of_row = standing[one.row].said if one.row in standing else {}
        before = made.get((one.row, one.field)) or of_row.get(one.field)
        if label is None and before is None:
            what = one.field or f"row {one.row:,}"
            raise SettingError(f"{what} was not corrected, so there is nothing to take back")
        was = own if before is None else before.label
        made[one.row, one.field] = Correction(at, who, job.uid, one.row, label, was, own, why, one.field)
    if made:
        corrections.log.add(list(made.values()))
    return list(made.values())


def own_text(row: ExportRow, field: str | None) -> str | None:
    """What the job itself gave: a row's label, or the value of a field as an export writes it."""
    if field is None:
        return row.label
    value = field_values(row.label, row.answer).get(field)
    return None if value is None else value_text(value)


def meant_by(config: JobConfig, field: str | None) -> Callable[[str], str]:
    """What makes of a person's word the label of the job, or the value of its field, that is meant.

    Raises:
        SettingError: the job has fields and none is named, or none of this name. What is given back raises one, too,
            where the word means nothing.
    """
    labels, _ = looked_at(config, field)
    found = next((one for one in config.fields if one.name == field), None)
    if found is None or kind_of(found).one_label:
        return partial(meant, labels=labels, what="this job" if found is None else f"field {found.name}")
    return partial(_value, kind_of(found))


def _value(kind: Kind, given: str) -> str:
    """The value of a field, as it is stored."""
    field, said = kind.field, given.strip()
    found = kind.read(several_said(field.labels, said) if field.kind == "several" else said)
    if found is None:
        raise SettingError(f"{given!r} is no value of field {field.name}: it is {kind.wanted}{_labels_of(field)}")
    return value_text(found.value)


def _labels_of(field: Field) -> str:
    return f", with commas between: {', '.join(field.labels[:SHOWN_LABELS])}" if field.labels else ""


def meant(given: str, labels: Sequence[str], what: str = "this job") -> str:
    """The label that is meant, in capitals or not, or as tables write it.

    Raises:
        SettingError: it is none; the text names the nearest.
    """
    given = given.strip()
    if given in labels:
        return given
    alike = [label for label in labels if label.casefold() == given.casefold()]
    if len(alike) == 1:
        return alike[0]
    if label := one_of(labels)(given):
        return label
    near = difflib.get_close_matches(given, labels, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(labels[:SHOWN_LABELS])}"
    raise SettingError(f"{given!r} is no label of {what}: {hint}")


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
