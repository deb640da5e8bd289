"""One answer of each row, where labels are judged: its label, or a field's value; and what a person wrote of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any
from unicodedata import normalize

from batchjob.errors import SettingError
from batchjob.settings.config import JobConfig
from batchjob.settings.tables import Field
from batchjob.task.fields.answers import field_values
from batchjob.task.fields.kinds import kind_of
from batchjob.task.fields.values import several_said, several_written

ValueOf = Callable[[str | None, str | None], str | None]
"""(label, answer) of a row -> what is judged of it; None where it has none."""
_WHOLE = re.compile(r"(-?\d+)\.0+", re.ASCII)
Written = Callable[[str], str | None]
"""What a person wrote of a row, trimmed -> that as ValueOf gives it; None where it is none that there may be."""


def looked_at(config: JobConfig, field: str | None) -> tuple[tuple[str, ...], ValueOf]:
    """The labels that there may be, and the one of each row.

    Raises:
        SettingError: the job has fields and none is named, or it has none of this name.
    """
    found = _field(config, field)
    if found is None:
        return config.labels, lambda label, answer: label
    return kind_of(found).labels, lambda label, answer: _spelled(found, field_values(label, answer).get(found.name))


def written(config: JobConfig, field: str | None) -> Written:
    """How what a person wrote is read: labels letter for letter, in any form of Unicode, but for 1.0 where 1 is one, as
    tables write a column with gaps; numbers by their value; several labels in any order, as JSON or with commas.

    Raises:
        SettingError: as looked_at.
    """
    found = _field(config, field)
    if found is None or kind_of(found).one_label:
        return one_of(looked_at(config, field)[0])
    if found.kind == "several":
        return lambda text: _spelled(found, _several(found.labels, text))
    kind = kind_of(found)

    def read(text: str) -> str | None:
        value = kind.read(text)
        return None if value is None else _spelled(found, value.value)

    return read


def one_of(labels: Sequence[str]) -> Written:
    """How one of these labels is read."""
    known = {normalize("NFC", label): label for label in labels}

    def read(text: str) -> str | None:
        text = normalize("NFC", text)
        number = _WHOLE.fullmatch(text)
        return known.get(text) or (known.get(number[1]) if number else None)

    return read


def _field(config: JobConfig, named: str | None) -> Field | None:
    """The field of this name; None of a job with one label."""
    if not config.fields:
        if named is not None:
            raise SettingError(f"--field {named!r}: the job has one label for each row, and no fields")
        return None
    names = ", ".join(one.name for one in config.fields)
    found = next((one for one in config.fields if one.name == named), None)
    if found is None:
        said = "the job has several answers for each row" if named is None else f"the job has no field {named!r}"
        raise SettingError(f"{said}: name one of them with --field: {names}")
    return found


def _spelled(field: Field, value: Any) -> str | None:
    """A value as a person writes it into a column: several labels with commas between, and none as []."""
    if isinstance(value, list):
        return several_written(field.labels, value)
    return None if value is None else str(value)


def _several(labels: Sequence[str], text: str) -> list[str] | None:
    said = several_said(labels, text)
    if not isinstance(said, list) or any(one not in labels for one in said):
        return None
    return [label for label in labels if label in said]
