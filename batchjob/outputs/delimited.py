"""CSV and TSV: UTF-8, lines end with "\\n", quotes where needed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any, BinaryIO

import msgspec

BATCH_ROWS = 1000

AS_THEY_ARE = frozenset((str, int, float, type(None)))
"""Types the csv module writes as wanted; None becomes an empty field."""

Rows = Iterable[Sequence[object]]

_encode = msgspec.json.Encoder(enc_hook=str).encode


def write_csv(file: BinaryIO, header: Sequence[str], rows: Rows) -> int:
    """Write comma-separated rows; their number."""
    return _write(file, header, rows, ",")


def write_tsv(file: BinaryIO, header: Sequence[str], rows: Rows) -> int:
    """Write tab-separated rows; their number.

    Quoted like CSV: without quotes a text with a tab or a line break could not be told apart from two.
    """
    return _write(file, header, rows, "\t")


def _write(file: BinaryIO, header: Sequence[str], rows: Rows, delimiter: str) -> int:
    file.write(_lines([header], delimiter))
    remaining = iter(rows)
    count = 0
    while batch := list(islice(remaining, BATCH_ROWS)):
        file.write(_lines([_plain(row) for row in batch], delimiter))
        count += len(batch)
    return count


def _plain(row: Sequence[object]) -> Sequence[object]:
    """The row with its other JSON values (true, arrays, objects) as JSON text."""
    if AS_THEY_ARE.issuperset(map(type, row)):
        return row
    return [cell if type(cell) in AS_THEY_ARE else _encode(cell).decode() for cell in row]


def _lines(rows: Sequence[Sequence[object]], delimiter: str) -> bytes:
    text = _format(rows, delimiter, "\n")
    if "\r" in text:
        # Before Python 3.13 the csv module quotes a carriage return only if it is part of its line end, and an
        # unquoted one ends the line for most readers.
        text = "".join(_format([row], delimiter, "\r\n")[:-2] + "\n" for row in rows)
    # A half of a surrogate pair, which UTF-8 cannot hold, must not cost the other rows.
    return text.encode("utf-8", "replace")


def _format(rows: Iterable[Sequence[Any]], delimiter: str, line_end: str) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    return buffer.getvalue()
