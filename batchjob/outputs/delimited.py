"""CSV and TSV: UTF-8, lines end with "\\n". CSV has quotes where they are needed, TSV has none."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, BinaryIO, Literal

from batchjob.errors import BatchjobError
from batchjob.tables.values import Kinds, cell

BATCH_ROWS = 1000

AS_THEY_ARE = frozenset((str, int, float, type(None)))
"""Types the csv module writes as wanted; None becomes an empty field."""

BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}".encode()
"""Without it Excel takes a file for one in the encoding of the machine."""

Rows = Iterable[Sequence[object]]
Lines = Callable[[Sequence[Sequence[object]], int], bytes]


def write_csv(file: BinaryIO, header: Sequence[str], rows: Rows, kinds: Kinds | None = None) -> int:
    """Write comma-separated rows; their number."""
    return _write(file, header, rows, _csv_lines)


def write_spreadsheet(file: BinaryIO, header: Sequence[str], rows: Rows, kinds: Kinds | None = None) -> int:
    """The same for a program that people look at tables with.

    Each field is quoted: one that splits at semicolons would run what stands behind one.
    """
    file.write(BYTE_ORDER_MARK)
    return _write(file, header, rows, _quoted_lines)


def write_tsv(file: BinaryIO, header: Sequence[str], rows: Rows, kinds: Kinds | None = None) -> int:
    """Write tab-separated rows; their number.

    Raises:
        BatchjobError: a value holds a tab or a line break, for which TSV has no room.
    """
    return _write(file, header, rows, _tsv_lines(header))


def _write(file: BinaryIO, header: Sequence[str], rows: Rows, lines: Lines) -> int:
    file.write(lines([header], 0))
    remaining = iter(rows)
    count = 0
    while batch := list(islice(remaining, BATCH_ROWS)):
        file.write(lines([_plain(row) for row in batch], count + 1))
        count += len(batch)
    return count


def _plain(row: Sequence[object]) -> Sequence[object]:
    """The row with its JSON values as text."""
    return row if AS_THEY_ARE.issuperset(map(type, row)) else list(map(cell, row))


def _csv_lines(rows: Sequence[Sequence[object]], first: int) -> bytes:
    return _quoted(rows, csv.QUOTE_MINIMAL)


def _quoted_lines(rows: Sequence[Sequence[object]], first: int) -> bytes:
    return _quoted(rows, csv.QUOTE_ALL)


def _quoted(rows: Sequence[Sequence[object]], quoting: Literal[0, 1]) -> bytes:
    text = _format(rows, quoting, "\n")
    if "\r" in text:
        # Before Python 3.13 the csv module quotes a carriage return only if it is part of its line end, and an
        # unquoted one ends the line for most readers.
        text = "".join(_format([row], quoting, "\r\n")[:-2] + "\n" for row in rows)
    # A half of a surrogate pair, which UTF-8 cannot hold, must not cost the other rows.
    return text.encode("utf-8", "replace")


def _format(rows: Iterable[Sequence[Any]], quoting: Literal[0, 1], line_end: str) -> str:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, quoting=quoting, lineterminator=line_end).writerows(rows)
    return buffer.getvalue()


def _tsv_lines(header: Sequence[str]) -> Lines:
    def lines(rows: Sequence[Sequence[object]], first: int) -> bytes:
        text = "".join(["\t".join(["" if value is None else str(value) for value in row]) + "\n" for row in rows])
        tabs = len(rows) * (len(header) - 1)
        if text.count("\t") != tabs or text.count("\n") != len(rows) or "\r" in text:
            raise _no_room(header, rows, first)
        return text.encode("utf-8", "replace")

    return lines


def _no_room(header: Sequence[str], rows: Sequence[Sequence[object]], first: int) -> BatchjobError:
    for number, row in enumerate(rows, first):
        for name, value in zip(header, row, strict=True):
            if isinstance(value, str) and any(char in value for char in "\t\n\r"):
                where = f"row {number:,}, column {name!r}" if number else f"the column {name!r}"
                return BatchjobError(
                    f"{where} holds a tab or a line break, which TSV cannot hold: export as .jsonl, or as .csv"
                )
    raise AssertionError("a tab or a line break stands where no value has one")
