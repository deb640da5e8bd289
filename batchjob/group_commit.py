"""Group commit: what queues while one flush runs goes into the next, all of it, with no timer.

One task owns the store's writing. A flush takes a third of a millisecond on a good disk and many on a bad one; either
way the number of rows that share it finds its own level.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from batchjob.errors import DiskFull
from batchjob.model import Settle, Write
from batchjob.ports import Store


class GroupCommit:
    """Collects writes and commits them in groups while `run` runs.

    An error of the store goes to `failed` and to everyone who waits, and nothing more is written, except after
    DiskFull: answers are still taken then, into the room that was kept for them, for they were paid.
    """

    def __init__(self, store: Store, *, failed: Callable[[BaseException], None]) -> None:
        self._store = store
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._queue: list[Write] = []
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._flushing: asyncio.Future[None] | None = None
        self._wake: asyncio.Future[None] | None = None
        self._closing = False
        self._error: BaseException | None = None

    def submit(self, write: Write) -> asyncio.Future[None]:
        """Queue a write; the future, shared with the others of its group, is done when it is on disk.

        Writes are carried out in the order of submission, except that a group's claims come after its results.
        """
        if self._error is not None and not (isinstance(self._error, DiskFull) and isinstance(write, Settle)):
            raise self._error
        self._queue.append(write)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        return self._done

    async def flushed(self) -> None:
        """Wait until all that was submitted so far is on disk."""
        if self._queue:
            await self._done
        elif self._flushing is not None:
            await self._flushing

    async def run(self) -> None:
        """Commit groups until closed and empty."""
        while self._queue or not self._closing:
            if not self._queue:
                self._wake = self._loop.create_future()
                await self._wake
                continue
            group, self._queue = self._queue, []
            done, self._done = self._done, self._loop.create_future()
            self._flushing = done
            try:
                await self._commit(group)
            except Exception as error:
                self._fail(error, done)
                if not isinstance(error, DiskFull):
                    self._fail(error, self._done)  # those who came while it failed
                    return
            else:
                if not done.done():  # whoever waited may have been cancelled, and the future with them
                    done.set_result(None)

    async def _commit(self, group: list[Write]) -> None:
        try:
            await self._store.commit(group)
        except DiskFull:
            if self._error is not None:
                raise  # there was no room even for the answers: they are in flight, and counted, when it resumes
            self._store.free_reserve()
            answers = [write for write in group if isinstance(write, Settle)]
            if answers:
                await self._store.commit(answers)
            raise

    def _fail(self, error: Exception, done: asyncio.Future[None]) -> None:
        if not done.done():
            done.set_exception(error)
            done.exception()  # nobody may be waiting, and that is no second error
        if self._error is None:
            self._error = error
            self._failed(error)

    def close(self) -> None:
        """What is queued is still committed; then `run` returns."""
        self._closing = True
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
