"""JSON Lines: an object for each row, its keys those of the header, in that order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import BinaryIO

import msgspec

BATCH_ROWS = 1000


def write_jsonl(file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Write an object a row; their number. A cell keeps its type, and None is null."""
    encoder = msgspec.json.Encoder(enc_hook=str)
    remaining = iter(rows)
    count = 0
    while batch := list(islice(remaining, BATCH_ROWS)):
        file.write(encoder.encode_lines([dict(zip(header, row, strict=True)) for row in batch]))
        count += len(batch)
    return count
