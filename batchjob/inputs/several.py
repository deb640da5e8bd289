"""Several files as one input: the rows of one after those of the other, with a column that says of which.

Positions and digests count in all their bytes, one file behind the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath

import msgspec

from batchjob.errors import InputError
from batchjob.inputs.lines import Place
from batchjob.inputs.reader import StreamReader, bad_byte_error
from batchjob.inputs.stream import BadByte
from batchjob.model import Chunk, InputRow, InputSource
from batchjob.task.columns import IN_ORDER

FILE_COLUMN = "file"

_encode = msgspec.json.Encoder().encode


class SeveralReader:
    """A `ports.Reader` of files that have the same columns.

    Raises:
        InputError: they have not, or differ in how they are written.
    """

    def __init__(self, readers: Sequence[StreamReader]) -> None:
        for reader in readers:
            _check_alike(readers[0].source, reader.source)
        self._readers = readers
        self._names = file_names([reader.source.path for reader in readers])
        self.source = _together([reader.source for reader in readers])

    def chunks(self, *, position: int, digest: str, number: int, chunk_rows: int) -> Iterator[Chunk]:
        """The rows from a position on; see `ports.Reader`. A chunk ends with a file."""
        place = Place()
        *_, last = self._readers
        for reader, name in zip(self._readers, self._names, strict=True):
            lines = reader.lines(place)
            if position:
                lines.pass_over(position)
                place = lines.place()
                if place.position < position and reader is not last:
                    continue
                try:
                    lines.check(position, digest)
                except BadByte as bad:
                    raise bad_byte_error(reader.source.path, bad) from None
                position = 0
            add = _adder(name, self.source)
            for chunk in reader.chunks_from(lines, number, chunk_rows):
                rows = [add(row) for row in chunk.rows]
                yield msgspec.structs.replace(chunk, rows=rows, complete=chunk.complete and reader is last)
                number += len(rows)
            place = lines.place()


def file_names(paths: Sequence[str]) -> list[str]:
    """What the rows call the files: their names or, where those are the same, how they are told apart. A folder that
    is moved as a whole changes nothing.
    """
    names = [PurePath(path).name for path in paths]
    if len(set(names)) == len(names):
        return names
    common = os.path.commonpath(paths)
    return [str(PurePath(path).relative_to(common)) for path in paths]


def _check_alike(first: InputSource, other: InputSource) -> None:
    if first.format != other.format:
        raise InputError(f"{other.path} is {other.format} and {first.path} is {first.format}: label them as two jobs")
    if first.format != "jsonl" and first.columns != other.columns:
        raise InputError(
            f"{other.path} has the columns {', '.join(other.columns)}, and {first.path} has {', '.join(first.columns)}:"
            f" give them the same header, or label them as two jobs"
        )
    if (first.layout, first.schema) != (other.layout, other.schema):
        what = "types" if first.schema else "separator or header"
        raise InputError(
            f"{other.path} has another {what} than {first.path}: make them alike, or label them as two jobs"
        )


def _together(sources: Sequence[InputSource]) -> InputSource:
    first, *others = sources
    columns = list(dict.fromkeys(column for source in sources for column in source.columns))
    name = FILE_COLUMN
    while name in columns:
        name = f"input_{name}"
    return msgspec.structs.replace(
        first,
        more=tuple(source.path for source in others),
        columns=(*columns, name),
        file_column=name,
        id_column=next((source.id_column for source in sources if source.id_column), None),
        size=sum(source.size or 0 for source in sources),
        mtime_ns=sum(source.mtime_ns or 0 for source in sources),
        said=tuple(dict.fromkeys(said for source in sources for said in source.said)),
    )


def _adder(name: str, source: InputSource) -> Callable[[InputRow], InputRow]:
    """The function that adds the file's name to a row's other columns."""
    value = _encode(name).decode()
    if source.format in IN_ORDER:

        def add(row: InputRow) -> InputRow:
            line, key, text, rest, defect = row
            return line, key, text, f"[{value}]" if rest is None else f"{rest[:-1]},{value}]", defect

        return add
    # First, so that a key of this name in the object, which nobody could know of before, is not lost.
    pair = f"{_encode(source.file_column).decode()}:{value}"

    def add_pair(row: InputRow) -> InputRow:
        line, key, text, rest, defect = row
        return line, key, text, f"{{{pair}}}" if rest is None else f"{{{pair},{rest[1:]}", defect

    return add_pair
