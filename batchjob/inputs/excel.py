"""Spreadsheets (.xlsx, .xlsb, .xls, .ods), with the `excel` extra: the first sheet, its rows as JSON Lines.

Empty lines stand for rows that hold nothing, so that a line is a row of the sheet. The sheet is in memory while it is
read: no more than a million rows can be in one.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec

from batchjob.errors import BatchjobError, InputError
from batchjob.inputs import jsonl
from batchjob.inputs.beginning import SAMPLE_RECORDS, Parsed, Record, check_lines_above, trimmed
from batchjob.inputs.header import check_is_header, made_names, names_of
from batchjob.inputs.reader import ByteStream, StreamReader, Wanted
from batchjob.inputs.stream import WholeFile
from batchjob.model import Layout

BATCH_ROWS = 1000
EXACT = 2.0**53
"""Up to here a spreadsheet's numbers, which are all floats, have every integer."""


class ExcelStream(WholeFile):
    """The rows of a spreadsheet as JSON Lines.

    Raises:
        InputError: it is no spreadsheet, cannot be read, or python-calamine is not installed.
    """

    def __init__(self, path: str) -> None:
        if path == "-":
            raise InputError("a spreadsheet cannot be read from stdin; save it to a file")
        super().__init__(path)
        self.columns: list[str] = []  # and
        self.first = 0  # the place of the first row below the header; both are set when they are known
        self.sheet, self.others = _first_sheet(path)

    def rows(self) -> Iterator[list[Any]]:
        """Every row of the sheet from its first line on; what is empty is ""."""
        above, _ = self.sheet.start or (0, 0)
        yield from ([""] for _ in range(above))
        yield from self.sheet.iter_rows()

    def blocks(self) -> Iterator[bytes]:
        """A line for each row."""
        encode = msgspec.json.Encoder(enc_hook=str).encode
        rows = self.rows()
        yield b"\n" * sum(1 for _ in islice(rows, self.first))
        while batch := list(islice(rows, BATCH_ROWS)):
            objects = [dict(zip(self.columns, map(_value, row), strict=False)) for row in batch]
            lines = [encode(one) if any(map(_holds, row)) else b"" for one, row in zip(objects, batch, strict=True)]
            yield b"\n".join([*lines, b""])


def open_stream(path: str, encoding: str) -> ExcelStream:
    """The rows of the file at this path; spreadsheets have their own encoding."""
    return ExcelStream(path)


def open_reader(stream: ByteStream, wanted: Wanted) -> StreamReader:
    """A reader of this stream, its header checked.

    Raises:
        InputError: it is empty, or its header is unusable.
        SettingError: what is the header must be said.
    """
    assert isinstance(stream, ExcelStream)
    try:
        return _reader_of(stream, wanted)
    except BatchjobError as error:  # the rows may be on another sheet
        more = f"; {stream.others} (put the one you mean first, or save it as CSV)" if stream.others else ""
        raise type(error)(f"{error}{more}", then=error.then) from None


def _reader_of(stream: ExcelStream, wanted: Wanted) -> StreamReader:
    layout = wanted.layout or Layout("", "none", wanted.skip_lines, wanted.header_row is not False)
    records = _squared(
        [
            Record(line, list(map(_shown, row)))
            for line, row in enumerate(islice(stream.rows(), SAMPLE_RECORDS), 1)
            if line > layout.skip_lines and any(map(_holds, row))
        ]
    )
    if not records:
        raise InputError(f"{stream.name}: its first sheet, {stream.sheet.name!r}, is empty; it needs a header and rows")
    said = [stream.others] if stream.others else []
    if wanted.layout is None and wanted.header_row is None:
        check_lines_above(stream.name, [Parsed(layout, records, "")], wanted)
    first = records[0].fields
    stream.columns = names_of(first, stream.name) if layout.header_row else made_names(len(first))
    stream.first = records[0].line if layout.header_row else layout.skip_lines
    if wanted.layout is None and wanted.header_row is None:
        said += check_is_header(stream.name, stream.columns, [record.fields for record in records[1:]], wanted)
    return jsonl.reader_of(stream, wanted, stream.columns, only_is_text=True, layout=layout, said=tuple(said))


def _squared(records: list[Record]) -> list[Record]:
    """The rows of a sheet, which are all as wide as the sheet, as a file would have them: those above the first one
    that fills the table without the cells they lack.
    """
    widths = [len(trimmed(record.fields)) for record in records]
    widest = max(widths, default=0)
    first = widths.index(widest) if records else 0
    return [
        Record(record.line, record.fields[: widest if at >= first else width])
        for at, (record, width) in enumerate(zip(records, widths, strict=True))
    ]


def _first_sheet(path: str) -> tuple[Any, str]:
    """The first sheet, and a word about the others, if there are any."""
    try:
        from python_calamine import CalamineError, CalamineWorkbook, ZipError
    except ImportError:
        raise InputError("spreadsheets need python-calamine; install it with: pip install 'batchjob[excel]'") from None
    try:
        book = CalamineWorkbook.from_path(path)
        names = book.sheet_names
        if not names:
            raise InputError(f"{path} has no sheet")
        sheet = book.get_sheet_by_index(0)
    except (CalamineError, ZipError, OSError, ValueError) as error:
        raise InputError(
            f"{path} is no spreadsheet that can be read ({error}); save it as .xlsx without a password, or as CSV"
        ) from None
    more = f"only its first sheet, {names[0]!r}, is read; there is also: {', '.join(map(repr, names[1:]))}"
    return sheet, more if len(names) > 1 else ""


def _holds(cell: Any) -> bool:
    return bool(cell != "")


def _value(cell: Any) -> Any:
    """A cell as JSON has it: an integer without a point, a date without a time that is none."""
    if isinstance(cell, float):
        return int(cell) if cell.is_integer() and abs(cell) < EXACT else cell
    if isinstance(cell, datetime):
        return cell.isoformat(" ")
    return None if cell == "" else cell


def _shown(cell: Any) -> str:
    value = _value(cell)
    return "" if value is None else str(value)
