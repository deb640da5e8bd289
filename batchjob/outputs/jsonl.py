"""JSON Lines: an object for each row, its keys those of the header that the row has, in that order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import BinaryIO

import msgspec

from batchjob.tables.values import ABSENT, Kinds, json_text

BATCH_ROWS = 1000


def write_jsonl(
    file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[object]], kinds: Kinds | None = None
) -> int:
    """Write an object a row; their number. A value is written as it came in, and None is null."""
    encoder = msgspec.json.Encoder(enc_hook=str)
    remaining = iter(rows)
    count = 0
    while batch := list(islice(remaining, BATCH_ROWS)):
        file.write(json_text(encoder.encode_lines([_object(header, row) for row in batch])))
        count += len(batch)
    return count


def _object(header: Sequence[str], row: Sequence[object]) -> dict[str, object]:
    whole = dict(zip(header, row, strict=True))
    if ABSENT in row:
        return {name: value for name, value in whole.items() if value is not ABSENT}
    return whole
