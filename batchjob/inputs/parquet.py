"""Parquet, with the `parquet` extra.

The file is turned into JSON Lines and read as such: what positions and digests count in is then defined by its rows,
and does not depend on how they are compressed. What JSON has no type for goes there and back as text, exactly: see
batchjob.tables.arrow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from batchjob.errors import InputError
from batchjob.inputs import jsonl
from batchjob.inputs.reader import ByteStream, StreamReader, Wanted
from batchjob.inputs.stream import WholeFile

BATCH_ROWS = 1000


class ParquetStream(WholeFile):
    """The rows of a Parquet file as JSON Lines.

    Raises:
        InputError: it is no Parquet file, cannot be read, or pyarrow is not installed.
    """

    def __init__(self, path: str) -> None:
        if path == "-":
            raise InputError("Parquet cannot be read from stdin, its index is at the end; save it to a file")
        super().__init__(path)
        self.schema = self._open().schema_arrow

    def blocks(self) -> Iterator[bytes]:
        """JSON Lines of some rows each."""
        from batchjob.tables.arrow import json_values

        encoder = msgspec.json.Encoder(enc_hook=str)
        names = self.schema.names
        try:
            for batch in self._open().iter_batches(batch_size=BATCH_ROWS):
                columns = [json_values(array, field) for array, field in zip(batch.columns, self.schema, strict=True)]
                rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
                if lines := encoder.encode_lines(rows):
                    yield lines
        except (OSError, ValueError, NotImplementedError) as error:
            raise InputError(f"{self.name} cannot be read on: {error}; write it anew") from None

    def _open(self) -> Any:
        try:
            from pyarrow import parquet
        except ImportError:
            raise InputError("Parquet needs pyarrow; install it with: pip install 'batchjob[parquet]'") from None
        try:
            return parquet.ParquetFile(self.path)
        except (OSError, ValueError) as error:  # pyarrow's own errors are kinds of these
            raise InputError(f"{self.name} is not a Parquet file that can be read: {error}") from None


def open_stream(path: str, encoding: str) -> ParquetStream:
    """The rows of the file at this path; Parquet has its own encoding."""
    return ParquetStream(path)


def open_reader(stream: ByteStream, wanted: Wanted) -> StreamReader:
    """A reader of this stream; its columns are those of the schema."""
    from batchjob.tables.arrow import packed_schema

    assert isinstance(stream, ParquetStream)
    return jsonl.reader_of(stream, wanted, list(stream.schema.names), schema=packed_schema(stream.schema))
