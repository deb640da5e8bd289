"""What all formats share: choosing the columns, and reading rows in chunks that can be resumed."""

from __future__ import annotations

import difflib
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from batchjob.errors import InputError, NoColumn
from batchjob.inputs.lines import Lines, Place
from batchjob.inputs.stream import BadByte
from batchjob.model import Chunk, InputRow, InputSource, Layout, Notice
from batchjob.tables.values import same_name

CHUNK_BYTES = 1 << 24
"""A chunk ends early where its rows take this much of the input (16 MiB): memory is to depend on no text's length."""

DEFAULT_ID = "id"
DEFAULT_TEXTS = ("text", "body")
SHOWN_COLUMNS = 30  # in a message


class ByteStream(Protocol):
    """The bytes an input's positions and digests count in: UTF-8, in lines."""

    path: str  # absolute, or "-" for stdin
    name: str  # as messages call it
    size: int | None
    mtime_ns: int | None

    def peek(self) -> Iterator[bytes]:
        """Blocks from the beginning, which `blocks` will hand out again."""
        ...

    def blocks(self) -> Iterator[bytes]:
        """All blocks, from the beginning."""
        ...


class Wanted(msgspec.Struct, frozen=True):
    """What the user said about an input; None is left to the defaults."""

    format: str
    encoding: str
    id_column: str | None
    text_column: str | None
    delimiter: str | None = None
    skip_lines: int = 0
    header_row: bool | None = None
    layout: Layout | None = None  # as it was read before: nothing is found out anew


RowsOf = Callable[[Lines, int, list[Notice]], Iterator[InputRow]]
"""A format's rows: from these lines on, the next row having this number. At the start a header comes first. It asks
for no line beyond those of the row it yields, and adds what it notices to the list."""


class Unreadable(Exception):
    """From a row on the input cannot be read; `line` is where that row begins."""

    def __init__(self, line: int, error: InputError) -> None:
        super().__init__(line, error)
        self.line = line
        self.error = error


class StreamReader:
    """A `ports.Reader` of rows that stand in lines."""

    def __init__(self, source: InputSource, stream: ByteStream, rows_of: RowsOf) -> None:
        self.source = source
        self._stream = stream
        self._rows_of = rows_of

    def lines(self, place: Place | None = None) -> Lines:
        """The lines from the beginning; `place` is where the file before this one ended, if there is one."""
        return Lines(self._stream.blocks(), name=self._stream.name, place=place)

    def chunks(self, *, position: int, digest: str, number: int, chunk_rows: int) -> Iterator[Chunk]:
        """The rows from a position on; see `ports.Reader`. Chunks of long texts have fewer rows than `chunk_rows`."""
        lines = self.lines()
        try:
            lines.skip(position, digest)
        except BadByte as bad:
            raise bad_byte_error(self._stream.name, bad) from None
        yield from self.chunks_from(lines, number, chunk_rows)

    def chunks_from(self, lines: Lines, number: int, chunk_rows: int) -> Iterator[Chunk]:
        """The rows that these lines have."""
        noticed: list[Notice] = []
        rows = self._rows_of(lines, number, noticed)
        complete, failure = False, None
        while not complete:
            batch, complete, failure = self._batch(rows, lines, number, chunk_rows)
            if failure and not batch:
                raise failure.error
            position, digest = lines.mark(failure.line if failure else None)
            yield Chunk(number, batch, position, digest, complete, tuple(noticed))
            noticed.clear()
            number += len(batch)
            if failure:
                raise failure.error

    def _batch(
        self, rows: Iterator[InputRow], lines: Lines, number: int, chunk_rows: int
    ) -> tuple[list[InputRow], bool, Unreadable | None]:
        """The next rows, whether they were the last, and why no more can be read."""
        batch: list[InputRow] = []
        far_enough = lines.position + CHUNK_BYTES
        try:
            for row in rows:
                batch.append(row)
                if len(batch) >= chunk_rows or lines.position > far_enough:
                    return batch, False, None
        except Unreadable as failure:
            return batch, False, failure
        except (BadByte, InputError) as error:
            return batch, False, unreadable(self._stream.name, error, lines.line, number + len(batch))
        return batch, True, None


def unreadable(name: str, error: BadByte | InputError, at: int, number: int, begins: int | None = None) -> Unreadable:
    """What stops the reading at a line, in the row with this number, which begins there or before."""
    if isinstance(error, BadByte):
        error = bad_byte_error(name, error, f"line {at:,}, row {number:,}")
    return Unreadable(begins or at, error)


def bad_byte_error(name: str, bad: BadByte, where: str = "") -> InputError:
    """The InputError for a byte that is not in the input's encoding."""
    place = f"at offset {bad.position:,}" + (f" ({where})" if where else "")
    guess = "utf-8" if bad.encoding != "utf-8" else "cp1252"
    return InputError(
        f"{name}: {bad.what} {place} is not {bad.encoding}; give the encoding it was saved in,"
        f" for example --encoding {guess}"
    )


# ---------------------------------------------------------------- columns


def make_source(
    stream: ByteStream, wanted: Wanted, columns: Sequence[str], *, only_is_text: bool, **more: Any
) -> InputSource:
    """The input's description, its id and text column chosen.

    Args:
        only_is_text: where there is but one column, it is the text.
        more: other fields of the source.

    Raises:
        InputError: a column is not there, or none is named like a text; the message lists the columns.
    """
    check_names(columns, stream.name)
    id_column = _chosen(stream.name, columns, "--id-column", wanted.id_column)
    text_column = _chosen(stream.name, columns, "--text-column", wanted.text_column) or default_text(columns)
    if text_column is None and only_is_text and len(columns) == 1:
        text_column = columns[0]
    if text_column is None:
        raise InputError(
            f"{stream.name} has no column {' or '.join(DEFAULT_TEXTS)}; {_listed(columns)}."
            f" Say --text-column {_near(DEFAULT_TEXTS[0], columns) or 'NAME'}"
        )
    return InputSource(
        path=stream.path,
        format=wanted.format,
        encoding=wanted.encoding,
        columns=tuple(columns),
        id_column=id_column or (DEFAULT_ID if DEFAULT_ID in columns else None),
        text_column=text_column,
        size=stream.size,
        mtime_ns=stream.mtime_ns,
        **more,
    )


def default_text(columns: Sequence[str]) -> str | None:
    """The column that is taken for the text where none is named."""
    return next((name for name in DEFAULT_TEXTS if name in columns), None)


def column_meant(named: str, columns: Sequence[str]) -> str | None:
    """The column of this name, however its accents are written."""
    if named in columns:
        return named
    return next((column for column in columns if same_name(column) == same_name(named)), None)


def check_names(columns: Sequence[str], name: str) -> None:
    """See that no two columns have one name: the values of one would be lost.

    Raises:
        InputError: two have.
    """
    seen: set[str] = set()
    for column in map(same_name, columns):
        if column in seen:
            raise InputError(f"{name}: two columns are named {column!r}; give each its own name in the header")
        seen.add(column)


def _chosen(name: str, columns: Sequence[str], option: str, wanted: str | None) -> str | None:
    if wanted is None:
        return None
    if (found := column_meant(wanted, columns)) is None:
        near = _near(wanted, columns)
        hint = f"Did you mean {option} {near}?" if near else f"Name one with {option} NAME"
        raise NoColumn(f"{name} has no column {wanted!r}; {_listed(columns)}. {hint}")
    return found


def _near(wanted: str, columns: Sequence[str]) -> str:
    """A column whose name differs in case, spaces or a letter or two, ready to paste; "" if there is none."""
    folded = {same_name(column).casefold().strip(): column for column in columns}
    near = difflib.get_close_matches(same_name(wanted).casefold().strip(), folded, n=1, cutoff=0.75)
    return shlex.quote(folded[near[0]]) if near else ""


def _listed(columns: Sequence[str]) -> str:
    if not columns:
        return "it has no columns"
    return f"its columns are: {', '.join(columns[:SHOWN_COLUMNS])}" + (", ..." if len(columns) > SHOWN_COLUMNS else "")
