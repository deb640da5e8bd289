"""How a CSV or TSV file is written, by its beginning: the separator, its quotes, and which line is the header.

Nothing is guessed that the whole beginning does not agree with. What could be read in two ways is refused, with the
option that decides it.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import Any, Literal, NamedTuple

from batchjob.errors import InputError, SettingError
from batchjob.inputs.header import check_is_header, made_names, names_of
from batchjob.inputs.reader import ByteStream, Wanted, bad_byte_error, column_meant, default_text
from batchjob.inputs.stream import BadByte
from batchjob.model import Layout
from batchjob.numbers import counted

MAX_FIELD_CHARS = 1 << 28
"""The longest field. The csv module's default, 131,072 characters, is exceeded by real texts."""

SAMPLE_BYTES = 1 << 18
SAMPLE_RECORDS = 1000
LEAST_BELOW = 2
"""Records that must agree before lines above them are taken for no part of the table."""

CARRIAGE_RETURNS = "carriage_returns"

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
SPELLED = {"\t": "tab"}  # as --delimiter takes it
ODD_ESCAPE = re.compile(r'(?<!\\)(?:\\\\)*\\[^"\\\r\n]')
"""A backslash that writers do not agree about: \\n is a line break to some and two characters to others."""

_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?\r?\n?', re.IGNORECASE)


class Found(NamedTuple):
    """What the beginning says."""

    layout: Layout
    columns: list[str]
    said: tuple[str, ...]  # what a person should know of it


class Record(NamedTuple):
    """The fields of a row, and the line it begins on."""

    line: int
    fields: list[str]


class Parsed(NamedTuple):
    """The beginning, read in one way."""

    layout: Layout
    records: list[Record]
    fault: str  # why it cannot be so, "" where it can


def csv_reader(lines: Iterator[str], layout: Layout) -> Any:
    """A reader of these lines, the header among them. Strict: what stands behind a closing quote is an error."""
    csv.field_size_limit(MAX_FIELD_CHARS)
    if layout.quoting == "none":
        return csv.reader(lines, delimiter=layout.delimiter, quoting=csv.QUOTE_NONE)
    if layout.quoting == "backslash":
        return csv.reader(lines, delimiter=layout.delimiter, doublequote=False, escapechar="\\", strict=True)
    return csv.reader(lines, delimiter=layout.delimiter, strict=True)


def delimiter_meant(given: str | None) -> str | None:
    """The character that --delimiter names.

    Raises:
        SettingError: it is none, or cannot be one.
    """
    if given is None:
        return None
    meant = {"tab": "\t", "\\t": "\t"}.get(given.lower(), given)
    if len(meant) != 1 or meant in '"\r\n\\' or meant.isalnum():
        raise SettingError(f"--delimiter {given!r} is no separator: give one character such as ; or |, or tab")
    return meant


def look(stream: ByteStream, wanted: Wanted) -> Found:
    """How the input is written, and its columns.

    Raises:
        InputError: it is empty, or its header cannot be read.
        SettingError: what is the header must be said.
    """
    lines, whole = _beginning(stream)
    if wanted.layout is not None:
        parsed = _parsed(lines, whole, wanted.layout)
        return Found(wanted.layout, _columns(parsed, stream.name), ())
    ways = _Ways(lines, whole, wanted, stream.name)
    parsed = ways.chosen()
    if wanted.header_row is None:
        check_lines_above(stream.name, chain((parsed,), ways.all()), wanted)
    columns = _columns(parsed, stream.name)
    said = [*ways.said]
    if wanted.header_row is None:
        said += check_is_header(stream.name, columns, [record.fields for record in parsed.records[1:]], wanted)
    return Found(parsed.layout, columns, tuple(said))


def _columns(parsed: Parsed, name: str) -> list[str]:
    if not parsed.records:
        if parsed.fault == CARRIAGE_RETURNS:
            raise InputError(
                f'{name}: its lines end with a bare carriage return ("\\r"), as on old Macs;'
                f" convert it with: tr '\\r' '\\n' < {name} > converted"
            )
        if parsed.fault:
            raise InputError(f"{name}: the header cannot be read ({parsed.fault}); check its quotes")
        raise InputError(f"{name} is empty; it needs a header line and rows below it")
    first = parsed.records[0].fields
    return names_of(first, name) if parsed.layout.header_row else made_names(len(first))


# ---------------------------------------------------------------- the beginning


def _beginning(stream: ByteStream) -> tuple[list[str], bool]:
    """The first lines, and whether they are all. Of a pipe no more is waited for than the header and a row."""
    data, whole = bytearray(), True
    try:
        for block in stream.peek():
            data += block
            if len(data) >= SAMPLE_BYTES or (stream.size is None and data.count(b"\n") > 1):
                whole = False
                break
    except BadByte as bad:
        whole = False
        if b"\n" not in data:
            raise bad_byte_error(stream.name, bad, "line 1, the header") from None
    except InputError:
        whole = False
        if b"\n" not in data:
            raise
    if not whole:
        del data[data.rfind(b"\n") + 1 or len(data) :]
    return _decoded(bytes(data), stream.name, whole)


def _decoded(data: bytes, name: str, whole: bool) -> tuple[list[str], bool]:
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        kept = data[: data.rfind(b"\n", 0, error.start) + 1]
        if not kept.strip():
            bad = BadByte(error.start, f"byte 0x{data[error.start]:02x}", "utf-8")
            raise bad_byte_error(name, bad, f"line {line}, the header") from None
        text, whole = kept.decode(), False
    return io.StringIO(text, newline="\n").readlines(), whole


def _parsed(lines: Sequence[str], whole: bool, layout: Layout) -> Parsed:
    records: list[Record] = []
    reader = csv_reader(iter(lines[layout.skip_lines :]), layout)
    while len(records) < SAMPLE_RECORDS:
        line = layout.skip_lines + reader.line_num + 1
        try:
            fields = next(reader, None)
        except csv.Error as error:
            if records and _is_stray(error):
                continue  # it costs only its row
            return Parsed(layout, records, _fault(error, records, whole))
        if fields is None:
            break
        if any(map(str.strip, fields)):
            records.append(Record(line, fields))
    return Parsed(layout, records, "")


def _is_stray(error: csv.Error) -> bool:
    """Whether it is a carriage return outside of quotes."""
    return "new-line character" in str(error)


def _fault(error: csv.Error, records: list[Record], whole: bool) -> str:
    if _is_stray(error):
        return CARRIAGE_RETURNS
    if "unexpected end of data" in str(error):  # at the end of the beginning, a row may be cut
        return "a quote in it is never closed" if whole or not records else ""
    return str(error)


# ---------------------------------------------------------------- the ways to read it


class _Ways:
    """The ways in which the beginning may be read, and which one it agrees with."""

    def __init__(self, lines: list[str], whole: bool, wanted: Wanted, name: str) -> None:
        self.said: list[str] = []
        self._lines, self._whole, self._wanted, self._name = lines, whole, wanted, name
        self._skip = wanted.skip_lines
        self._delimiter = delimiter_meant(wanted.delimiter)
        sep = _SEP_LINE.fullmatch(lines[self._skip]) if self._skip < len(lines) else None
        if sep is not None:
            self._skip += 1
            self._delimiter = self._delimiter or sep[1]
        self.parsed = cache(self._parsed)

    def _parsed(self, delimiter: str, quoting: Literal["doubled", "backslash", "none"]) -> Parsed:
        layout = Layout(delimiter, quoting, self._skip, self._wanted.header_row is not False)
        return _parsed(self._lines, self._whole, layout)

    def _read_with(self, delimiter: str) -> Parsed:
        """As it would be read with this separator: its quotes as the beginning has them."""
        if delimiter == "\t" and self._wanted.format == "tsv" and self._delimiter is None:
            plain, quoted = self.parsed("\t", "none"), self.parsed("\t", "doubled")
            return quoted if _agrees(quoted) and (not _agrees(plain) or _is_quoted(plain)) else plain
        doubled = self.parsed(delimiter, "doubled")
        if _agrees(doubled) or not any("\\" in line for line in self._lines):
            return doubled
        escaped = self.parsed(delimiter, "backslash")
        return escaped if _agrees(escaped) else doubled

    def chosen(self) -> Parsed:
        """The way the beginning agrees with, else the one that its name tells."""
        usual = "\t" if self._wanted.format == "tsv" else ","
        if self._delimiter is not None:
            return self._told(self._read_with(self._delimiter))
        first = self._read_with(usual)
        if _agrees(first) and len(first.records[0].fields) > 1:
            return self._told(first)
        if first.records and first.records[0].fields == [self._wanted.text_column]:
            return first
        others = [self._read_with(other) for other in SEPARATORS if other != usual]
        agreeing = [other for other in others if _agrees(other) and len(other.records[0].fields) > 1]
        if len(agreeing) == 1:
            separator = agreeing[0].layout.delimiter
            self.said.append(f"its fields are separated by {SEPARATORS[separator]}")
            return self._told(agreeing[0])
        self._check_alone(first, agreeing)
        return self._told(first)

    def _told(self, parsed: Parsed) -> Parsed:
        """Say what is unusual about the quotes.

        Raises:
            InputError: backslashes stand there that can mean two things.
        """
        if parsed.layout.quoting == "backslash":
            at = next((at for at, line in enumerate(self._lines, 1) if ODD_ESCAPE.search(line)), None)
            if at is not None:
                raise odd_escape(self._name, at, self._lines[at - 1])
            self.said.append("a quote inside of quotes is written with a backslash")
        elif parsed.layout.quoting == "doubled" and self._wanted.format == "tsv":
            self.said.append("its fields are quoted as in CSV")
        return parsed

    def _check_alone(self, first: Parsed, agreeing: list[Parsed]) -> None:
        """Refuse a lone column that may be several: it would be labelled as if the whole line were the text."""
        if not first.records or len(first.records[0].fields) != 1:
            return
        header = first.records[0].fields[0].strip()
        options = " or ".join(
            f"--delimiter {SPELLED.get(way.layout.delimiter, repr(way.layout.delimiter))}" for way in agreeing
        )
        titled = self._wanted.header_row is None and any(map(_below, self.all()))  # then that is said
        for separator, plural in SEPARATORS.items():
            if separator in header and separator != first.layout.delimiter and (agreeing or not titled):
                option = options or f"--delimiter {SPELLED.get(separator, repr(separator))}, with which such rows fail"
                raise InputError(
                    f"{self._name}: the header {header!r} looks separated by {plural}, but"
                    f" {_odd_row(self._read_with(separator))}; mend the rows, give {option}, or take the whole lines"
                    f" with --text-column '{header}'"
                )

    def all(self) -> Iterator[Parsed]:
        """Every way there is."""
        return (self._read_with(separator) for separator in SEPARATORS)


def check_lines_above(name: str, ways: Iterable[Parsed], wanted: Wanted) -> None:
    """See that no lines stand above the header. The first way is the one that was chosen.

    Raises:
        SettingError: some seem to.
    """
    for place, way in enumerate(ways):
        if not place and not _is_in_doubt(way, wanted):
            return
        if at := _below(way):
            first, header = way.records[0], way.records[at]
            raise SettingError(
                f"{name}: line {first.line} has {_counted(first.fields)}, and line {header.line} and all below have"
                f" {len(trimmed(header.fields))}: if line {header.line} is the header, add --skip-lines"
                f" {header.line - 1}; if line {first.line} is, add --header-row; if there is none, add --no-header-row"
            )


def _is_in_doubt(parsed: Parsed, wanted: Wanted) -> bool:
    """Whether the first row may be no header: rows do not agree with it, or it has one field, and none is the text."""
    records = parsed.records
    if not records or (_agrees(parsed) and len(trimmed(records[0].fields)) > 1):
        return False
    names = list(map(str.strip, records[0].fields))
    return not (default_text(names) or (wanted.text_column and column_meant(wanted.text_column, names)))


def odd_escape(name: str, line: int, text: str) -> InputError:
    """The InputError for a backslash that can mean two things."""
    found = ODD_ESCAPE.search(text)
    return InputError(
        f"{name}: line {line:,} holds {found[0] if found else ''!r}, where quotes are written with a backslash: some"
        f" programs mean one character by it, others two; write the file anew with doubled quotes"
    )


def trimmed(fields: list[str]) -> list[str]:
    """Without the empty fields at the end that spreadsheets leave."""
    end = len(fields)
    while end > 1 and not fields[end - 1].strip():
        end -= 1
    return fields[:end]


def _counted(fields: list[str]) -> str:
    count = len(trimmed(fields))
    return "1 field" if count == 1 else f"{count} fields"


def _fits(fields: list[str], width: int) -> bool:
    return len(fields) == width or (len(fields) > width and not any(fields[width:]))


def _agrees(parsed: Parsed) -> bool:
    """Whether every record has the fields of the first."""
    if parsed.fault or not parsed.records:
        return False
    width = len(trimmed(parsed.records[0].fields))
    return all(_fits(record.fields, width) for record in parsed.records)


def _odd_row(parsed: Parsed) -> str:
    """Which row is the first that has other fields than the header."""
    width = len(trimmed(parsed.records[0].fields)) if parsed.records else 0
    for record in parsed.records:
        if not _fits(record.fields, width):
            return f"line {record.line} has {counted(len(record.fields), 'field')} and the header {width}"
    return "not every row below is"


def _below(parsed: Parsed) -> int:
    """The place of the first record from which on all agree, where there are narrower ones above it; else 0."""
    records = parsed.records
    if parsed.fault or len(records) <= LEAST_BELOW:
        return 0
    width = len(trimmed(records[-1].fields))
    at = len(records)
    while at and (len(trimmed(records[at - 1].fields)) == width or _fits(records[at - 1].fields, width)):
        at -= 1
    above = all(len(trimmed(record.fields)) < width for record in records[:at])
    if at and width > 1 and above and len(records) - at >= LEAST_BELOW:
        return at
    return _below_padded(records)


def _below_padded(records: list[Record]) -> int:
    """The same where the lines above are filled with empty cells, as spreadsheets save them: the place of the first
    record that has a name in each column.
    """
    widths = [len(trimmed(record.fields)) for record in records]
    width = max(widths)
    at = widths.index(width)
    fit = all(_fits(record.fields, width) for record in records[at:])
    named = all(map(str.strip, records[at].fields[:width]))
    return at if at and width > 1 and fit and named and len(records) - at >= LEAST_BELOW else 0


def _is_quoted(plain: Parsed) -> bool:
    """Whether the quotes in fields that were read without quoting are those of CSV: they stand around whole fields
    alone, those inside are doubled, and there are some inside, or around the names in the header.
    """
    fields = [field for record in plain.records for field in record.fields if '"' in field]
    if not all(len(field) > 1 and field[0] == field[-1] == '"' and not _lone_quote(field[1:-1]) for field in fields):
        return False
    return any('""' in field[1:-1] for field in fields) or any('"' in field for field in plain.records[0].fields)


def _lone_quote(text: str) -> bool:
    return '"' in text.replace('""', "")
