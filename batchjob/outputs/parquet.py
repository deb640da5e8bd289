"""Parquet, with the `parquet` extra. All columns are strings: the type of a column is not known before its last row."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import BinaryIO

import msgspec

from batchjob.errors import BatchjobError

try:
    import pyarrow
    from pyarrow import parquet
except ImportError:
    raise BatchjobError("Parquet needs pyarrow; install it with: pip install 'batchjob[parquet]'") from None

ROW_GROUP_ROWS = 50_000

_encode = msgspec.json.Encoder(enc_hook=str).encode


def write_parquet(file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write the rows; their number. What is no string is written as JSON text, None as null."""
    schema = pyarrow.schema([(name, pyarrow.string()) for name in header])
    remaining = iter(rows)
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        while batch := [list(map(_text, row)) for row in islice(remaining, ROW_GROUP_ROWS)]:
            columns = [pyarrow.array(column, pyarrow.string()) for column in zip(*batch, strict=True)]
            writer.write_table(pyarrow.Table.from_arrays(columns, schema=schema))
            count += len(batch)
    return count


def _text(cell: object) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    return _encode(cell).decode()
