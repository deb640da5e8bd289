"""What all formats share: choosing the columns, and reading rows in chunks that can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from batchjob.errors import InputError
from batchjob.inputs.lines import Lines
from batchjob.inputs.stream import BadByte
from batchjob.model import Chunk, InputRow, InputSource

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


RowsOf = Callable[[Lines, int], Iterator[InputRow]]
"""A format's rows: from these lines on, the next row having this number. At position 0 a header comes first. It asks
for no line beyond those of the row it yields."""


class StreamReader:
    """A `ports.Reader` of rows that stand in lines."""

    def __init__(self, source: InputSource, stream: ByteStream, rows_of: RowsOf) -> None:
        self.source = source
        self._stream = stream
        self._rows_of = rows_of

    def chunks(self, *, position: int, digest: str, number: int, chunk_rows: int) -> Iterator[Chunk]:
        """The rows from a position on; see `ports.Reader`. Chunks of long texts have fewer rows than `chunk_rows`."""
        lines = Lines(self._stream.blocks(), name=self._stream.name)
        lines.skip(position, digest)
        rows = self._rows_of(lines, number)
        complete = False
        while not complete:
            batch, complete = self._batch(rows, lines, number, chunk_rows)
            position, digest = lines.mark()
            yield Chunk(first_number=number, rows=batch, position=position, digest=digest, complete=complete)
            number += len(batch)

    def _batch(
        self, rows: Iterator[InputRow], lines: Lines, number: int, chunk_rows: int
    ) -> tuple[list[InputRow], bool]:
        """The next rows, and whether they were the last."""
        batch: list[InputRow] = []
        far_enough = lines.position + CHUNK_BYTES
        try:
            for row in rows:
                batch.append(row)
                if len(batch) >= chunk_rows or lines.position > far_enough:
                    return batch, False
        except BadByte as bad:
            where = f"line {lines.line:,}, row {number + len(batch):,}"
            raise bad_byte_error(self._stream.name, bad, where) from None
        return batch, True


def bad_byte_error(name: str, bad: BadByte, where: str = "") -> InputError:
    """The InputError for a byte that is not in the input's encoding."""
    place = f"at offset {bad.position:,}" + (f" ({where})" if where else "")
    guess = "utf-8" if bad.encoding != "utf-8" else "cp1252"
    return InputError(
        f"{name}: {bad.what} {place} is not {bad.encoding}; give the encoding it was saved in,"
        f" for example --encoding {guess}"
    )


def make_source(stream: ByteStream, wanted: Wanted, columns: Sequence[str], *, only_is_text: bool) -> InputSource:
    """The input's description, its id and text column chosen.

    Raises:
        InputError: a column is not there, or none is named like a text; the message lists the columns.
    """
    named = ", ".join(columns[:SHOWN_COLUMNS]) + (", ..." if len(columns) > SHOWN_COLUMNS else "")
    has = f"its columns are: {named}" if columns else "it has no columns"
    for option, column in (("--id-column", wanted.id_column), ("--text-column", wanted.text_column)):
        if column is not None and column not in columns:
            raise InputError(f"{stream.name} has no column {column!r}; {has}. Name one with {option} NAME")
    text = wanted.text_column or next((name for name in DEFAULT_TEXTS if name in columns), None)
    if text is None and only_is_text and len(columns) == 1:
        text = columns[0]
    if text is None:
        raise InputError(f"{stream.name} has no column {' or '.join(DEFAULT_TEXTS)}; {has}. Say --text-column NAME")
    return InputSource(
        path=stream.path,
        format=wanted.format,
        encoding=wanted.encoding,
        columns=tuple(columns),
        id_column=wanted.id_column or (DEFAULT_ID if DEFAULT_ID in columns else None),
        text_column=text,
        size=stream.size,
        mtime_ns=stream.mtime_ns,
    )
