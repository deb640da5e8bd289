"""Group commit: what queues while one flush runs goes into the next ones, with no timer.

One task owns the store's writing. A flush takes a third of a millisecond on a good disk and many on a bad one; either
way the number of rows that share it finds its own level.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from batchjob.errors import DiskFull
from batchjob.model import Claim, Settle, Write
from batchjob.ports import Store


class _Group:
    """Writes of one transaction, and the future of those who wait for it."""

    __slots__ = ("claims", "done", "writes")

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.writes: list[Write] = []
        self.claims = 0
        self.done = done


class GroupCommit:
    """Collects writes and commits them in groups while `run` runs.

    A group has at most `most_claims` claims. With half as many as there are workers, one half of them is out while the
    other's group is flushed; without a limit all of them gather in one group, and event loop and disk take turns.

    An error of the store goes to `failed` and to everyone who waits, and nothing more is written, except after
    DiskFull: answers are still taken then, into the room that was kept for them, for they were paid.
    """

    def __init__(self, store: Store, *, most_claims: int, failed: Callable[[BaseException], None]) -> None:
        self._store = store
        self._most_claims = most_claims
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Group] = deque()
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
        if not self._queue or self._queue[-1].claims >= self._most_claims:
            self._queue.append(_Group(self._loop.create_future()))
        group = self._queue[-1]
        group.writes.append(write)
        group.claims += isinstance(write, Claim)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
        return group.done

    async def flushed(self) -> None:
        """Wait until all that was submitted so far is on disk."""
        if self._queue:
            await self._queue[-1].done
        elif self._flushing is not None:
            await self._flushing

    async def run(self) -> None:
        """Commit groups until closed and empty."""
        while self._queue or not self._closing:
            if not self._queue:
                self._wake = self._loop.create_future()
                await self._wake
                continue
            group = self._queue.popleft()
            done = self._flushing = group.done
            try:
                await self._commit(group.writes)
            except Exception as error:
                self._fail(error, done)
                if not isinstance(error, DiskFull):
                    for later in self._queue:  # those who came while it failed
                        self._fail(error, later.done)
                    return
            else:
                if not done.done():  # whoever waited may have been cancelled, and the future with them
                    done.set_result(None)

    async def _commit(self, group: list[Write]) -> None:
        try:
            await self._store.commit(group)
        except DiskFull:
            self._store.free_reserve()
            answers = [write for write in group if isinstance(write, Settle)]
            if answers:  # without room even for them they are in flight, and counted, when the job resumes
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
