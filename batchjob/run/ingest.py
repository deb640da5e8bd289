"""The input into the work table, a chunk a transaction, with the position in the same transaction."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator

from batchjob import failpoints
from batchjob.model import AddRows, Chunk
from batchjob.run.group_commit import GroupCommit

CHUNK_ROWS = 2000
"""Small enough that labels wait only milliseconds behind a chunk; larger ones were no faster."""


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
        chunk = await _next_chunk(chunks)
        if chunk is None:
            return
        await commits.submit(AddRows(job_id, chunk))
        stored(chunk)
        failpoints.reach("input.between_chunks")
        if limit is not None and chunk.first_number + len(chunk.rows) > limit:
            return


async def _next_chunk(chunks: Iterator[Chunk]) -> Chunk | None:
    """The next chunk, read in a thread that the process does not wait for: a pipe may stay silent for ever."""
    loop = asyncio.get_running_loop()
    read: asyncio.Future[Chunk | None] = loop.create_future()

    def tell(chunk: Chunk | None, error: Exception | None) -> None:
        if read.cancelled():
            return
        if error is None:
            read.set_result(chunk)
        else:
            read.set_exception(error)

    def work() -> None:
        chunk, raised = None, None
        try:
            chunk = next(chunks, None)
        except Exception as error:
            raised = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, chunk, raised)

    threading.Thread(target=work, name="ingest", daemon=True).start()
    return await read
