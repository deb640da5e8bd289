"""Rows that a program holds in memory, as an input. They are known by what is asked about them, and lie in no file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec

from batchjob.errors import InputError
from batchjob.inputs.jsonl import read_object, row_maker
from batchjob.inputs.reader import Wanted, make_source
from batchjob.model import Chunk, InputRow, InputSource


class Held(NamedTuple):
    """A table in memory. `row` gives that of an index, by column; a value is what JSON or `plain` can write."""

    name: str  # as messages call it
    columns: tuple[str, ...]
    length: int
    row: Callable[[int], dict[str, Any]]
    plain: Callable[[Any], Any] = str  # what JSON has no type for -> what is written for it


class _Nowhere(NamedTuple):
    """What `make_source` asks of a stream."""

    name: str
    path: str = "-"
    size: None = None
    mtime_ns: None = None


class MemoryReader:
    """A `ports.Reader` of rows in memory. Its positions count rows.

    Args:
        decides: the columns that the label of a row depends on. With others in the rest, it is the same input: a
            column of labels may have been put there meanwhile.

    Raises:
        InputError: it lacks a column.
    """

    def __init__(self, held: Held, wanted: Wanted, decides: Callable[[InputSource], Sequence[str]]) -> None:
        source = make_source(_Nowhere(held.name), wanted, held.columns, only_is_text=True)  # type: ignore[arg-type]
        self._held, self._encode = held, msgspec.json.Encoder(enc_hook=held.plain).encode
        self.source = msgspec.structs.replace(source, held=self._digest(source, decides(source)))

    def _digest(self, source: InputSource, others: Sequence[str]) -> str:
        """SHA-256 of the texts, the ids and the other columns that decide."""
        own = [name for name in (source.id_column, source.text_column) if name is not None]
        row, columns = self._held.row, [*own, *sorted({*others} & {*self._held.columns} - {*own})]
        digest = hashlib.sha256(self._encode([source.id_column, columns]))
        for at in range(self._held.length):
            found = row(at)
            digest.update(self._written([found.get(name) for name in columns], at + 1))
        return digest.hexdigest()

    def chunks(self, *, position: int, digest: str, number: int, chunk_rows: int) -> Iterator[Chunk]:
        """The rows from a position on; see `ports.Reader`. What stands before is the same, by the input's digest."""
        row, make_row, last = self._held.row, row_maker(self.source), self._held.length
        while True:
            end = min(position + chunk_rows, last)
            rows = [self._row(row(at), at + 1, make_row) for at in range(position, end)]
            yield Chunk(position + 1, rows, end, self.source.held, end == last)
            if end == last:
                return
            position = end

    def _row(self, found: dict[str, Any], number: int, make_row: Callable[..., InputRow]) -> InputRow:
        return make_row(read_object(self._written(found, number).decode()), number, number)

    def _written(self, value: Any, number: int) -> bytes:
        """What a row holds, as JSON.

        Raises:
            InputError: it cannot be written so.
        """
        try:
            return self._encode(value)
        except UnicodeEncodeError:  # half of a surrogate pair, which `read_object` knows
            return json.dumps(value, default=self._held.plain).encode()
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise InputError(f"{self._held.name}, row {number:,}: {error}") from None
