"""The input into the work table, a chunk a transaction, with the position in the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from batchjob import failpoints
from batchjob.group_commit import GroupCommit
from batchjob.model import AddRows, Chunk

CHUNK_ROWS = 2000
"""Small enough that labels waiting behind a chunk wait for milliseconds; larger ones were no faster."""


async def ingest(
    chunks: Iterator[Chunk],
    commits: GroupCommit,
    *,
    job_id: int,
    limit: int | None,
    stored: Callable[[Chunk], None],
    stopping: Callable[[], bool],
) -> None:
    """Read chunk after chunk in a thread and commit each; stops early at `limit` rows or when `stopping` says so.

    Raises:
        InputError: the input cannot be read on; what was read before is stored.
    """
    while not stopping():
        chunk = await asyncio.to_thread(next, chunks, None)
        if chunk is None:
            return
        await commits.submit(AddRows(job_id, chunk))
        stored(chunk)
        failpoints.reach("input.between_chunks")
        if limit is not None and chunk.first_number + len(chunk.rows) > limit:
            return
