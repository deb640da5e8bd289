"""CSV and TSV: rows of text, each field in its column. How they are written is found out in beginning.py.

TSV is read without quoting, because that is how tab-separated files are written (IANA's text/tab-separated-values
knows no quotes): a text that begins with a quote and does not end with one would swallow the lines behind it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from operator import itemgetter
from typing import Any

import msgspec

from batchjob.errors import InputError
from batchjob.inputs.beginning import MAX_FIELD_CHARS, ODD_ESCAPE, csv_reader, look, odd_escape
from batchjob.inputs.lines import Lines
from batchjob.inputs.reader import ByteStream, StreamReader, Unreadable, Wanted, make_source, unreadable
from batchjob.inputs.stream import BadByte, Stream
from batchjob.inputs.swallowed import Swallowed
from batchjob.model import InputRow, InputSource, Layout, Notice

open_stream = Stream


def open_reader(stream: ByteStream, wanted: Wanted) -> StreamReader:
    """A reader of this stream, its header checked.

    Raises:
        InputError: it is empty, or its header is unusable; the message says why.
        SettingError: what is the header must be said.
    """
    found = look(stream, wanted)
    source = make_source(stream, wanted, found.columns, only_is_text=True, layout=found.layout, said=found.said)
    return StreamReader(source, stream, partial(_rows, source, found.layout, stream.name))


def _rows(
    source: InputSource, layout: Layout, name: str, lines: Lines, number: int, noticed: list[Notice]
) -> Iterator[InputRow]:
    """The rows behind a position; see `reader.RowsOf`."""
    at_start, first_line = lines.at_start, lines.line
    texts = _plain_escapes(lines, name) if layout.quoting == "backslash" else iter(lines)
    if at_start:
        first_line += sum(1 for _ in islice(texts, layout.skip_lines))
    records = _Records(csv_reader(texts, layout), lines, name, first_line, number)
    if at_start and layout.header_row:
        next((fields for fields in records if any(map(str.strip, fields or ()))), None)
    width = len(source.columns)
    make_row = _row_maker(source)
    swallowed = Swallowed(source, layout, noticed) if layout.quoting != "none" else None
    for fields in records:
        line, number = records.line, records.number
        if fields is None:
            yield make_row([""] * width, line, number, records.defect)
        elif len(fields) == width:
            if swallowed is not None and records.spans > 1:
                swallowed.look(fields, line, number)
            yield make_row(fields, line, number, None)
        elif not fields or (len(fields) == 1 and fields[0].isspace()):
            continue  # a blank line
        else:
            yield make_row(_fitted(fields, width), line, number, _ragged(fields, width, layout))
        records.number += 1


def _plain_escapes(lines: Lines, name: str) -> Iterator[str]:
    """The lines, up to one with a backslash that can mean two things."""
    for at, line in enumerate(lines, lines.line):
        if "\\" in line and ODD_ESCAPE.search(line):
            raise odd_escape(name, at, line)
        yield line


class _Records:
    """The fields of record after record; None for one that is lost, where `defect` says why.

    Attributes:
        line, spans: where the record begins, and how many lines it has.
        number: of its row; the caller counts on.
    """

    def __init__(self, reader: Any, lines: Lines, name: str, first_line: int, number: int) -> None:
        self.line, self.spans, self.number, self.defect = first_line, 0, number, ""
        self._reader, self._lines, self._name, self._first_line = reader, lines, name, first_line

    def __iter__(self) -> Iterator[list[str] | None]:
        reader, first_line = self._reader, self._first_line
        while True:
            before: int = reader.line_num
            self.line = first_line + before
            try:
                fields = next(reader, None)
            except csv.Error as error:
                self.defect = self._lost(error)
                yield None
                continue
            except (BadByte, InputError) as error:
                raise unreadable(self._name, error, self._lines.line, self.number, self.line) from None
            if fields is None:
                return
            self.spans = reader.line_num - before
            yield fields

    def _lost(self, error: csv.Error) -> str:
        """Why a row alone is lost.

        Raises:
            Unreadable: it is not this row alone.
        """
        if "new-line character" in str(error):
            return "unreadable_row: a carriage return stands outside of quotes; quote that text"
        row = f"row {self.number:,}, which begins on line {self.line:,}"
        last = self._first_line + self._reader.line_num - 1
        if "field limit" in str(error):
            most = f"{MAX_FIELD_CHARS >> 20} Mi characters"
            why = f"a field of {row}, is longer than {most}; is a quote there never closed?"
        elif self._lines.exhausted:
            why = f'the quote opened in {row}, is never closed; close it, or write it as ""'
        else:
            why = f'line {last:,}: text stands behind a closing quote, in {row}; write a quote inside of quotes as ""'
        raise Unreadable(self.line, InputError(f"{self._name}: {why}")) from None


def _fitted(fields: list[str], width: int) -> list[str]:
    return (fields + [""] * width)[:width]


def _ragged(fields: list[str], width: int, layout: Layout) -> str | None:
    if len(fields) > width and not any(fields[width:]):
        return None
    found = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
    hint = "a text must hold no tab and no line break"
    if layout.quoting != "none":
        hint = "quote the text if it holds the separator"
    return f"ragged_row: {found} where the header has {width}; {hint}"


MakeRow = Callable[[list[str], int, int, str | None], InputRow]


def _row_maker(source: InputSource) -> MakeRow:
    """The function (fields, line, number, defect) -> row for these columns.

    Indices are looked up here, once: it is called for every row of the input.
    """
    columns = source.columns
    text_at = columns.index(source.text_column)
    id_at = None if source.id_column is None else columns.index(source.id_column)
    others = [at for at in range(len(columns)) if at not in (text_at, id_at)]
    encode = msgspec.json.Encoder().encode
    # itemgetter gives a bare value for one index
    pick: Callable[[list[str]], Any] = (
        itemgetter(*others) if len(others) > 1 else lambda fields: [fields[at] for at in others]
    )

    def make_row(fields: list[str], line: int, number: int, defect: str | None) -> InputRow:
        key = str(number) if id_at is None else fields[id_at]
        return line, key, fields[text_at], encode(pick(fields)).decode() if others else None, defect

    return make_row
