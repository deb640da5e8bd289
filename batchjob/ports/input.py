"""The door to an input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from batchjob.model import Chunk, InputSource


class Reader(Protocol):
    """An input, opened and its header checked."""

    source: InputSource

    def chunks(self, *, position: int, digest: str, number: int, chunk_rows: int) -> Iterator[Chunk]:
        """The input's rows from a position on, a chunk at a time; the last chunk, perhaps empty, is `complete`.

        Position, digest and number are those of the last chunk stored (0, "" and 1 at the beginning): reading goes on
        behind it with `number` as the next row's number. Memory does not grow with the input.

        Raises:
            InputChanged: what stands before `position` is not what was read then.
            InputError: from here on the input cannot be read; what was yielded before stands.
        """
        ...
