"""The values of fields as text and back: in a table, by a person, in the counters of a job."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from batchjob.settings.tables import Field
from batchjob.task.fields.kinds import KINDS

_BETWEEN = re.compile(r"[,;]")


def value_text(value: Any) -> str:
    """A value as an export writes it into a table."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def value_of(field: Field, text: str) -> Any:
    """The value that was so written."""
    return msgspec.json.decode(text) if KINDS[field.kind].as_json else text


def several_said(labels: Sequence[str], text: str) -> Any:
    """What a person wrote, trimmed, where several of these labels may stand: with `,` or `;` between, or as JSON."""
    if text.startswith("["):
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(text)
    said = [text] if text in labels else [label for one in _BETWEEN.split(text) if (label := one.strip())]
    return said or [text]  # blank, or signs alone, is no word for none: that is []


def several_written(labels: Sequence[str], chosen: Sequence[str]) -> str:
    """Chosen ones of these labels as several_said reads them: with commas between, where that can be read; else, and
    where none is chosen, as JSON.
    """
    if not chosen or any(map(_BETWEEN.search, labels)):
        return msgspec.json.encode(chosen).decode()
    return ", ".join(chosen)


def counters(fields: Sequence[Field], values: dict[str, Any]) -> list[str]:
    """What is counted of a row's values: `field: value` for each that is of a set. Numbers and texts have none."""
    found = []
    for field in fields:
        value = values.get(field.name)
        if KINDS[field.kind].in_set:
            found += [f"{field.name}: {one}" for one in (value if isinstance(value, list) else [value])]
    return found
