"""Group commit: what queues while one flush runs goes into the next ones, with no timer.

A flush takes a third of a millisecond on a good disk and many on a bad one; either way the number of rows that share
it finds its own level.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from batchjob.errors import DiskFull, GivenUp, StoreError
from batchjob.model import Claim, Settle, Write
from batchjob.ports import Control, Store

GROUPS_OUT = 2
"""Groups that may be with the store at once: a full one waits there for its turn, so that the store goes from one to
the next without waiting for the event loop, which may be busy for as long as a flush takes."""


TAKES_ANSWERS = (DiskFull, GivenUp)
"""After these the store takes answers and nothing else."""


class _Group:
    """Writes of one transaction, and the future of those who wait for it."""

    __slots__ = ("claims", "done", "writes")

    def __init__(self, done: asyncio.Future[None]) -> None:
        self.writes: list[Write] = []
        self.claims = 0
        self.done = done


class GroupCommit:
    """Collects writes and commits them in groups, one after the other, while `run` runs.

    A group has at most `most_claims` claims. With half as many as there are workers, one half of them is out while the
    other's group is flushed; without a limit all of them gather in one group, and event loop and disk take turns.

    What the store says with a commit goes to `told`. An error of the store goes to `failed` and to everyone who waits,
    and nothing more is handed to the store, except answers, because they were paid: after DiskFull into the room that
    was kept for them, and after GivenUp as late ones.
    """

    def __init__(
        self,
        store: Store,
        *,
        most_claims: int,
        failed: Callable[[BaseException], None],
        told: Callable[[Control], None],
    ) -> None:
        self._store = store
        self._most_claims = most_claims
        self._failed = failed
        self._told = told
        self._loop = asyncio.get_running_loop()
        self._queue: deque[_Group] = deque()
        self._out = 0  # groups that are with the store
        self._latest: asyncio.Future[None] | None = None  # of them
        self._waiting: list[asyncio.Future[None]] = []
        self._closing = False
        self._error: BaseException | None = None

    def submit(self, write: Write) -> asyncio.Future[None]:
        """Queue a write; the future, shared with the others of its group, is done when it is on disk.

        Writes are carried out in the order of submission, except that a group's claims come after its results.
        """
        if self._error is not None and not (isinstance(self._error, TAKES_ANSWERS) and isinstance(write, Settle)):
            raise self._error
        if not self._queue or self._queue[-1].claims >= self._most_claims:
            self._queue.append(_Group(self._loop.create_future()))
        group = self._queue[-1]
        group.writes.append(write)
        group.claims += isinstance(write, Claim)
        if self._waiting and (not self._out or group.claims >= self._most_claims):
            self._wake()
        return group.done

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for lane in waiting:
            if not lane.done():
                lane.set_result(None)

    async def flushed(self) -> None:
        """Wait until all that was submitted so far is on disk."""
        if self._queue:
            await self._queue[-1].done
        elif self._latest is not None:
            await self._latest

    async def run(self) -> None:
        """Commit groups until closed and empty."""
        await asyncio.gather(*[self._lane() for _ in range(GROUPS_OUT)])

    async def _lane(self) -> None:
        while self._queue or not self._closing:
            if not self._queue or (self._out and self._queue[0].claims < self._most_claims):
                lane = self._loop.create_future()
                self._waiting.append(lane)
                await lane
                continue
            group = self._queue.popleft()
            before, self._latest = self._latest, group.done
            self._out += 1
            try:
                await self._commit(group.writes, before)
            except Exception as error:
                self._fail(error, group.done)
                if not isinstance(error, TAKES_ANSWERS):
                    for later in self._queue:  # those who came while it failed
                        self._fail(error, later.done)
                    self._queue.clear()
            else:
                if not group.done.done():  # whoever waited may have been cancelled, and the future with them
                    group.done.set_result(None)
            self._out -= 1
            if self._closing:
                self._wake()

    async def _commit(self, group: list[Write], before: asyncio.Future[None] | None) -> None:
        """Carry it out, or only its answers if the disk was found full. Groups report in their order how that went: the
        one before may have failed too, and then it gives the reason.
        """
        failed: StoreError | None = None
        tried = self._error is None
        if tried:
            try:
                self._told(await self._store.commit(group))
            except StoreError as error:
                failed = error
        if before is not None and not before.done():
            await asyncio.wait([before])
        reason = self._error or failed
        if reason is None or (tried and failed is None):
            return
        answers = [write for write in group if isinstance(write, Settle)]
        if isinstance(reason, GivenUp) and answers:
            await self._store.hear_late(answers)
        elif isinstance(reason, DiskFull):
            self._store.free_reserve()
            if answers:  # without room even for them they are in flight, and counted, when the job resumes
                await self._store.commit(answers)
        raise reason

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
        self._wake()
