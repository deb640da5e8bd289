"""Parquet, with the `parquet` extra. A column has the type that it had in a Parquet input, or the one its values have.

What type the values of JSON have is known when the last one was seen. So those columns go as text into a file without
a name first, and into the right one with their types.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO

import msgspec

from batchjob.errors import BatchjobError
from batchjob.tables.values import ABSENT, MARK, Kinds, Raw, cell, unmarked

try:
    import pyarrow
    from pyarrow import compute, parquet

    from batchjob.tables import arrow
except ImportError:
    raise BatchjobError("Parquet needs pyarrow; install it with: pip install 'batchjob[parquet]'") from None

ROW_GROUP_ROWS = 20_000
EXACT = 1 << 53
"""Up to here a float has every integer."""
MOST_DIGITS = 17
"""Of a number that a float holds as it is written."""

_decode, _encode = msgspec.json.decode, msgspec.json.encode


def write_parquet(
    file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[object]], kinds: Kinds | None = None
) -> int:
    """Write the rows; their number. Without kinds all columns are text, and None is null."""
    columns = [_column(at, name, kinds) for at, name in enumerate(header)]
    if not any(isinstance(column, _Json) for column in columns):
        return _write(file, columns, _tables(columns, rows))
    with tempfile.TemporaryFile() as spool:
        count = _write(spool, columns, _tables(columns, rows))
        spool.seek(0)
        groups = parquet.ParquetFile(spool)
        tables = (groups.read_row_group(at) for at in range(groups.num_row_groups))
        final = [column.final() for column in columns]
        _write(file, final, ([new.typed(array) for new, array in zip(final, table, strict=True)] for table in tables))
    return count


def _tables(columns: Sequence[_Column], rows: Iterable[Sequence[object]]) -> Iterator[list[Any]]:
    remaining = iter(rows)
    while batch := list(islice(remaining, ROW_GROUP_ROWS)):
        yield [column.array(values) for column, values in zip(columns, zip(*batch, strict=True), strict=True)]


def _write(file: BinaryIO, columns: Sequence[_Column], tables: Iterable[list[Any]]) -> int:
    schema = pyarrow.schema([column.field for column in columns])
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for arrays in tables:
            table = pyarrow.Table.from_arrays(arrays, schema=schema)
            writer.write_table(table)
            count += table.num_rows
    return count


class _Column:
    """A column whose type is known: text, if it is not another."""

    def __init__(self, field: Any) -> None:
        self.field = field

    def array(self, values: Sequence[object]) -> Any:
        """An array of these cells."""
        return pyarrow.array([_text(value) for value in values], self.field.type)

    def final(self) -> _Column:
        """The column when all cells were seen."""
        return self

    def typed(self, texts: Any) -> Any:
        """What stands in the spool, as it is in the end."""
        return texts


class _Integers(_Column):
    def array(self, values: Sequence[object]) -> Any:
        return pyarrow.array(values, self.field.type)


class _Typed(_Column):
    """A column of a Parquet input, with the type it had there."""

    def array(self, values: Sequence[object]) -> Any:
        found = [unmarked(_decode(value) if isinstance(value, Raw) else value) for value in values]
        found = [None if value is ABSENT else value for value in found]
        try:
            return arrow.restored(found, self.field.type)
        except arrow.NOT_RESTORED as error:
            raise BatchjobError(
                f"column {self.field.name!r} does not fit the type {self.field.type} of the input ({error}): export as"
                f" .jsonl"
            ) from None


class _Json(_Column):
    """A column of JSON values: as text at first, with what is needed to know its type in the end."""

    def __init__(self, name: str) -> None:
        super().__init__(pyarrow.field(name, pyarrow.string()))
        self._kinds: set[str] = set()
        self._least, self._most, self._digits = 0, 0, 0

    def array(self, values: Sequence[object]) -> Any:
        types = set(map(type, values))
        if Raw in types:
            return pyarrow.array([self._raw(value) for value in values], pyarrow.string())
        self._kinds |= {_KINDS_OF[kind] for kind in types} - {"null"}
        if int in types:
            integers = [value for value in values if type(value) is int]
            self._least, self._most = min(self._least, *integers), max(self._most, *integers)
        return pyarrow.array(list(map(_text, values)), pyarrow.string())

    def _raw(self, value: object) -> str | None:
        """The same for a value that must be looked at as it stands there, or is beside one."""
        if not isinstance(value, Raw):
            self._kinds |= {_KINDS_OF[type(value)]} - {"null"}
            value = Raw(_encode(value)) if isinstance(value, int | float) else value
        if not isinstance(value, Raw):
            return _text(value)
        raw = bytes(value)
        kind = _KINDS.get(raw[:1], "number")
        if kind == "number":
            return self._number(raw.decode())
        if kind == "text" and raw.startswith(_MARKED):
            self._kinds.add("float")
            return str(_decode(raw))
        self._kinds |= {kind} - {"null"}
        return _text(value)

    def _number(self, text: str) -> str:
        if text.lstrip("-").isdecimal():
            self._kinds.add("integer")
            self._least, self._most = min(self._least, int(text)), max(self._most, int(text))
        else:
            self._kinds.add("float")
            digits = len(text.lower().partition("e")[0].replace(".", "").lstrip("-0"))
            self._digits = max(self._digits, digits if abs(float(text)) < float("inf") else MOST_DIGITS + 1)
        return text

    def final(self) -> _Column:
        name = self.field.name
        if self._kinds == {"json"}:
            return _Column(pyarrow.field(name, pyarrow.string(), metadata=arrow.JSON_TEXT))
        return _Final(pyarrow.field(name, self._type()))

    def _type(self) -> Any:
        if self._kinds == {"boolean"}:
            return pyarrow.bool_()
        if self._kinds == {"integer"} and self._least >= -(1 << 63) and self._most < 1 << 63:
            return pyarrow.int64()
        if self._kinds == {"integer"} and self._least >= 0 and self._most < 1 << 64:
            return pyarrow.uint64()
        exact = self._least >= -EXACT and self._most <= EXACT and self._digits <= MOST_DIGITS
        if "float" in self._kinds and self._kinds <= {"integer", "float"} and exact:
            return pyarrow.float64()
        return pyarrow.string()


class _Final(_Column):
    """A column of the spool with its type."""

    def typed(self, texts: Any) -> Any:
        is_special = compute.starts_with(texts, MARK)
        if self.field.type == pyarrow.float64():
            return compute.cast(compute.utf8_ltrim(texts, MARK), self.field.type)
        return compute.cast(compute.if_else(is_special, None, texts), self.field.type)


_MARKED = f'"{MARK}'.encode()
_KINDS_OF: dict[type, str] = {
    str: "text",
    bool: "boolean",
    int: "integer",
    float: "float",
    list: "json",
    dict: "json",
    type(None): "null",
    type(ABSENT): "null",
}
_KINDS = {b'"': "text", b"n": "null", b"t": "boolean", b"f": "boolean", b"[": "json", b"{": "json"}


def _column(at: int, name: str, kinds: Kinds | None) -> _Column:
    kind = kinds.kinds[at] if kinds else "text"
    if kind == "json":
        return _Json(name)
    if kind == "integer":
        return _Integers(pyarrow.field(name, pyarrow.int64()))
    if kind == "typed" and kinds is not None:
        field = arrow.unpacked_schema(kinds.schema).field(kinds.origins[at])
        if arrow.is_json_text(field):
            return _Column(field.with_name(name))
        type_ = field.type if arrow.can_restore(field.type) else arrow.plain_type(field.type)
        if arrow.can_restore(type_):
            return _Typed(pyarrow.field(name, type_))
    return _Column(pyarrow.field(name, pyarrow.string()))


def _text(value: object) -> str | None:
    found = cell(value)
    return found if found is None or isinstance(found, str) else str(found)
