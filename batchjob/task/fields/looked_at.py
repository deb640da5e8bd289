"""One answer of each row, where labels are judged: its label, or the value of a field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchjob.errors import SettingError
from batchjob.settings.config import JobConfig
from batchjob.task.fields.answers import field_values
from batchjob.task.fields.values import YES_NO

ValueOf = Callable[[str | None, str | None], str | None]
"""(label, answer) of a row -> what is judged of it; None where it has none."""


def looked_at(config: JobConfig, field: str | None) -> tuple[tuple[str, ...], ValueOf]:
    """The labels that there may be, and the one of each row.

    Raises:
        SettingError: the job has fields and none is named, or it has none of this name.
    """
    if not config.fields:
        if field is not None:
            raise SettingError(f"--field {field!r}: the job has one label for each row, and no fields")
        return config.labels, lambda label, answer: label
    names = ", ".join(one.name for one in config.fields)
    found = next((one for one in config.fields if one.name == field), None)
    if found is None:
        said = "the job has several answers for each row" if field is None else f"the job has no field {field!r}"
        raise SettingError(f"{said}: name one of them with --field: {names}")
    labels = YES_NO if found.kind == "yes_no" else found.labels
    return labels, lambda label, answer: _spelled(field_values(label, answer).get(found.name))


def _spelled(value: Any) -> str | None:
    """A value as a person writes it into a column: several labels with commas between."""
    if value is None:
        return None
    return ", ".join(value) if isinstance(value, list) else str(value)
