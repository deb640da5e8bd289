"""CSV and TSV.

TSV is read without quoting, because that is how tab-separated files are written (IANA's text/tab-separated-values
knows no quotes): a text that begins with a quote and does not end with one would swallow the lines behind it.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from typing import Any, Literal

import msgspec

from batchjob.errors import InputError
from batchjob.inputs.lines import Lines
from batchjob.inputs.reader import ByteStream, StreamReader, Wanted, bad_byte_error, make_source
from batchjob.inputs.stream import BadByte, Stream
from batchjob.model import InputRow, InputSource

MAX_FIELD_CHARS = 1 << 28
"""The longest field. The csv module's default, 131,072 characters, is exceeded by real texts."""

OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class Dialect(msgspec.Struct, frozen=True):
    """How a format separates its fields."""

    delimiter: str
    quoted: bool
    hint: str  # for a row with too many or too few fields


DIALECTS = {
    "csv": Dialect(",", True, "quote the text if it holds the separator"),
    "tsv": Dialect("\t", False, "a text must hold no tab and no line break"),
}

open_stream = Stream


def open_reader(stream: ByteStream, wanted: Wanted) -> StreamReader:
    """A reader of this stream, its header checked.

    Raises:
        InputError: it is empty, or its header is unusable; the message says why.
    """
    dialect = DIALECTS[wanted.format]
    lines = Lines(stream.peek(), name=stream.name)
    try:
        header = _read_header(_csv_reader(lines, dialect), lines, stream.name)
    except BadByte as bad:
        raise bad_byte_error(stream.name, bad, f"line {lines.line}, the header") from None
    columns = _checked(header, stream.name)
    _check_separator(columns, stream.name, wanted)
    source = make_source(stream, wanted, columns, only_is_text=True)
    return StreamReader(source, stream, partial(_rows, source, stream.name))


def _csv_reader(lines: Lines, dialect: Dialect) -> Any:
    csv.field_size_limit(MAX_FIELD_CHARS)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE
    return csv.reader(lines, delimiter=dialect.delimiter, quoting=quoting)


def _read_header(reader: Any, lines: Lines, name: str) -> list[str]:
    """The first record that is not blank."""
    try:
        for fields in reader:
            if lines.exhausted:
                raise InputError(f"{name}: a quote in the header, on line {lines.line}, is never closed; close it")
            if any(map(str.strip, fields)):
                return list(map(str.strip, fields))
    except csv.Error as error:
        if "new-line character" in str(error):
            raise InputError(
                f'{name}: its lines end with a bare carriage return ("\\r"), as on old Macs;'
                f" convert it with: tr '\\r' '\\n' < {name} > converted"
            ) from None
        raise InputError(f"{name}: the header cannot be read ({error}); check its quotes") from None
    raise InputError(f"{name} is empty; it needs a header line and rows below it")


def _checked(header: list[str], name: str) -> list[str]:
    """The names of the columns. Nameless ones at the end, as spreadsheets leave them, are dropped."""
    columns = list(header)
    while not columns[-1]:
        columns.pop()
    if any("\0" in column for column in columns):
        raise InputError(f"{name}: the header holds zero bytes; if it is UTF-16, give --encoding utf-16-le (or -be)")
    for column in columns:
        if columns.count(column) > 1:
            raise InputError(f"{name}: two columns are named {column!r}; give each its own name in the header")
    return columns


def _check_separator(columns: list[str], name: str, wanted: Wanted) -> None:
    """Refuse a lone column that is several: it would be labelled as if the whole line were the text."""
    if len(columns) != 1 or columns[0] == wanted.text_column:
        return
    for separator, plural in OTHER_SEPARATORS.items():
        if separator in columns[0]:
            raise InputError(
                f"{name}: the header {columns[0]!r} looks separated by {plural}, not as {wanted.format};"
                f" convert it, give the right --format, or take the whole lines with --text-column '{columns[0]}'"
            )


def _rows(source: InputSource, name: str, lines: Lines, number: int) -> Iterator[InputRow]:
    """The rows behind a position; see `reader.RowsOf`."""
    dialect = DIALECTS[source.format]
    first_line = lines.line
    reader = _csv_reader(lines, dialect)
    if lines.position == 0:
        _read_header(reader, lines, name)
    width = len(source.columns)
    make_row = _row_maker(source)
    while True:
        line = first_line + reader.line_num
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield _unreadable_row(error, line, number, width, make_row, name)
            number += 1
            continue
        if fields is None:
            return
        if lines.exhausted:
            raise InputError(
                f"{name}: the quote opened in row {number:,}, which begins on line {line:,}, is never closed;"
                ' close it, or write it as ""'
            )
        if len(fields) == width:
            yield make_row(fields, line, number, None)
        elif any(map(str.strip, fields)) or len(fields) > 1:
            yield make_row(_fitted(fields, width), line, number, _ragged(fields, width, dialect))
        else:
            continue  # a blank line
        number += 1


def _fitted(fields: list[str], width: int) -> list[str]:
    return (fields + [""] * width)[:width]


def _ragged(fields: list[str], width: int, dialect: Dialect) -> str | None:
    if len(fields) > width and not any(fields[width:]):
        return None
    found = "1 field" if len(fields) == 1 else f"{len(fields)} fields"
    return f"ragged_row: {found} where the header has {width}; {dialect.hint}"


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


def _unreadable_row(error: csv.Error, line: int, number: int, width: int, make_row: MakeRow, name: str) -> InputRow:
    """A row the csv module gave up on, as a row that fails alone; its fields are lost.

    Raises:
        InputError: a field is longer than the limit, so it is not this row alone.
    """
    if "field limit" in str(error):
        raise InputError(
            f"{name}: a field of row {number:,}, which begins on line {line:,}, is longer than"
            f" {MAX_FIELD_CHARS >> 20} Mi characters; is a quote there never closed?"
        ) from None
    reason = "a carriage return stands outside of quotes" if "new-line character" in str(error) else str(error)
    return make_row([""] * width, line, number, f"unreadable_row: {reason}; quote that text")
