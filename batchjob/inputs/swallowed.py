"""A quote that should not be there swallows the rows up to the next one: a field whose lines would be rows.

It may be right all the same, so it is told and not refused.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence

from batchjob.inputs.beginning import csv_reader
from batchjob.model import InputSource, Layout, Notice

MOST_TOLD = 10

_DIGITS = re.compile(r"\d+")
_LETTERS = re.compile(r"[^\W\d_]+")


class Swallowed:
    """Looks at records of many lines, and tells of those that seem to hold others."""

    def __init__(self, source: InputSource, layout: Layout, noticed: list[Notice]) -> None:
        self._source, self._layout, self._noticed = source, layout, noticed
        self._told = 0

    def look(self, fields: Sequence[str], line: int, number: int) -> None:
        """Tell of a record, if its lines would themselves be rows."""
        if self._told > MOST_TOLD:
            return
        for at, field in enumerate(fields):
            if "\n" in field and (count := self._rows_in(fields, at)):
                self._told += 1
                more = "" if self._told <= MOST_TOLD else "; others behind it are not told"
                sentence = (
                    f"row {number:,} (line {line:,}): {self._source.columns[at]!r} holds {count:,} lines that look like"
                    f" rows; is a quote on line {line:,} too many?{more}"
                )
                self._noticed.append(Notice("warning", sentence))

    def _rows_in(self, fields: Sequence[str], at: int) -> int:
        """How many lines of a field would be rows; 0 where not all would.

        The quote that opens it would be a letter of the first row, so that row ends on the first line; the quote that
        closes it would be one of the last row, which begins on the last line.
        """
        width = len(fields)
        first, *between, last = fields[at].split("\n")
        lines = [self._fields(line) for line in (first, *between, last)]
        widths = [width - at, *(width for _ in between), at + 1]
        if list(map(len, lines)) != widths:
            return 0
        for column in range(width):
            # The first line has the columns from this one on, the last those up to it.
            there = [line[column] for line in lines[1:-1]]
            there.append(lines[0][column - at] if column > at else lines[-1][column])
            if column != at and _alike(fields[column], there):
                return len(lines) - 1
        return 0

    def _fields(self, line: str) -> list[str]:
        try:
            return next(csv_reader(iter([line.rstrip("\r")]), self._layout), [])
        except csv.Error:
            return []


def _alike(own: str, others: Sequence[str]) -> bool:
    """Whether the values in another column are of one form: 7 and 12, T-001 and T-17, de and fr."""
    return bool(own) and set(map(_form, others)) == {_form(own)}


def _form(value: str) -> str:
    return _LETTERS.sub("a", _DIGITS.sub("9", value))
