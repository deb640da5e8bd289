"""The columns of a row besides its text, as the work table holds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from batchjob.model import InputSource, Row
from batchjob.tables.values import Raw, cell

IN_ORDER = ("csv", "tsv")
"""Formats of tables in text: a row's other columns are texts in the order of the header. Those of other formats stand
by name, as JSON values.
"""


def columns_of(source: InputSource, row: Row) -> dict[str, Any]:
    """A row's other columns by name, its id too."""
    values: dict[str, Any] = {}
    if row.rest is not None and row.rest[0] == "{":
        values = msgspec.json.decode(row.rest, type=dict[str, Raw])
    elif row.rest is not None:
        others = [name for name in source.columns if name not in (source.id_column, source.text_column)]
        values = dict(zip(others, msgspec.json.decode(row.rest), strict=False))
    if source.id_column is not None:
        values[source.id_column] = row.key
    return values


def as_text(value: Any) -> str:
    """A column's value as the file shows it: true, 5, JSON; an empty cell, null or a missing one as nothing."""
    shown = cell(value)
    return "" if shown is None else str(shown)


def values_of(source: InputSource, row: Row, names: Sequence[str]) -> tuple[str, ...]:
    """What a row has in these columns."""
    values = columns_of(source, row)
    return tuple([as_text(values.get(name)) for name in names])


def column_reader(source: InputSource, name: str) -> Callable[[str, str | None], str]:
    """(key, rest) -> what a row has in one column, as `values_of` has it: made once for many rows.

    Args:
        name: any column but the text's.
    """
    if name == source.id_column:
        return lambda key, rest: key
    others = [column for column in source.columns if column not in (source.id_column, source.text_column)]
    at = others.index(name) if name in others else None
    array, object_ = msgspec.json.Decoder(list[Any]).decode, msgspec.json.Decoder(dict[str, Raw]).decode

    def value(key: str, rest: str | None) -> str:
        if rest is None:
            return ""
        if rest[0] == "{":
            return as_text(object_(rest).get(name))
        values = array(rest)
        return as_text(values[at]) if at is not None and at < len(values) else ""

    return value
