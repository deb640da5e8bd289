"""The work table in PostgreSQL, opened for writing. The order of things is in the functions of the migration.

A group of writes is one call in one transaction. It begins with the run's own step, a number that goes up by one: so
a run that was given up is refused, and a group whose answer was lost is known when it is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from batchjob import __version__
from batchjob.errors import JobBusy, JobError, StoreError
from batchjob.model import (
    Ending,
    Key,
    Page,
    Run,
    Settle,
    TaskRecord,
    Unheard,
    Write,
)
from batchjob.ports import SURE, Asking, Control, Drawn
from batchjob.states import State
from batchjob.stores import carried
from batchjob.stores.counting import counted_of
from batchjob.stores.pages import unheard
from batchjob.stores.postgres import pages, process, removal, schema, shared
from batchjob.stores.postgres.jobs import PgJobs, add_task, as_json, busy, changed
from batchjob.stores.postgres.line import Connection, Line, connect
from batchjob.stores.postgres.nul import restored, storable
from batchjob.stores.postgres.watch import Peer, Watch, clock, other_version
from batchjob.stores.writes import Counted, Sorted

T = TypeVar("T")
LOOK_SECONDS = 0.25
BEAT_SECONDS = 1.0
_encode = msgspec.json.encode


class PgStore(PgJobs):
    """See ports.Store. `create_job` or `choose` sets the job, `begin_run` the run."""

    def __init__(self, url: str, writing: Line, reading: Line, *, lease: float) -> None:
        super().__init__(url, writing, reading)
        self._lease = lease
        self._task_id = 0
        self._counted: Counted | None = None
        self._seq = 0
        self._stepped_at = 0.0
        self._hold = False
        self._sure_until = 0.0
        self._watch = Watch(lease)
        self._lost = 0  # requests of others that were given up since the last commit
        self._pages: pages.Pages | None = None
        self._beating: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ transactions

    async def commit(self, writes: Sequence[Write]) -> Control:
        """See ports.Store.commit."""
        group = Sorted(writes, job_id=self._job_id, task_id=self._task_id, run_id=self._run_id, counted=self._counted)
        given = {name: records for name, records in group.given.items() if records}
        rows = [(*one[:2], *map(storable, one[2:])) for one in given.pop("add_input", ())]
        given.pop("add_rows", None)
        told = await self._step(as_json(given), rows)
        lost, self._lost = self._lost, 0
        return told.control(lost)

    async def _step(self, given: str, rows: Sequence[tuple[Any, ...]] = ()) -> shared.Told:
        """The run's next step, with what it writes."""
        constants = self._run_id, self._job_id, self._task_id
        seq, began = 0, 0.0

        async def work(db: Connection) -> shared.Told:
            nonlocal seq, began
            seq, began = seq or self._seq + 1, clock()  # here, where it is this step's turn
            run, job, task = constants
            said = await db.fetchval("SELECT batchjob.commit_group($1, $2, $3, $4, $5)", run, seq, job, task, given)
            told = msgspec.json.decode(said, type=shared.Told)
            if rows and not told.again:
                await db.copy_records_to_table("input", schema_name="batchjob", columns=carried.INPUT, records=rows)
            return told

        async def turn() -> shared.Told:
            told = await self._writing.call(work)
            self._seq, self._stepped_at = seq, time.monotonic()
            self._sure_until = began + SURE * self._lease
            return told

        return await asyncio.shield(asyncio.ensure_future(turn()))

    def may_send(self) -> bool:
        """See ports.Store.may_send."""
        return clock() < self._sure_until

    def free_reserve(self) -> None:
        """See ports.Store.free_reserve. The server's disk is its own."""

    # ------------------------------------------------------------ a run

    async def begin_run(self, task: TaskRecord, *, fresh: bool, up_to: int | None, at: float) -> Run:
        """See ports.Store.begin_run."""
        token, own = secrets.token_hex(16), process.this()

        async def work(db: Connection) -> tuple[int, Any]:
            self._task_id = await add_task(db, task)
            await db.execute(shared.ADD_RUN, token, self._job_id, self._task_id, *own, __version__, at)
            made: int = await db.fetchval("SELECT id FROM batchjob.run WHERE token = $1", token)
            values = made, self._job_id, self._run_id, self._settings, self._joined, fresh, at
            return made, await db.fetchrow("SELECT * FROM batchjob.begin_run($1, $2, $3, $4, $5, $6, $7)", *values)

        await self._leave_run(at)
        self._counted = counted_of(task)
        (self._run_id, (fresh, refused, stop)), self._seq = await self._write(work), 0
        if refused is not None:
            raise busy(self._job) if refused == "busy" else changed(self._job)
        if stop is not None:
            reason = msgspec.json.decode(stop, type=Ending).reason
            raise JobError(f"job {self._job!r} was stopped for all workers: {reason}", then=("resume", self._job))
        run = await self._begun(self._run_id, fresh=fresh, shared=True)
        self._pages = pages.Pages(self._job_id, self._run_id, fresh, up_to)
        self._beating = asyncio.create_task(self._beat())
        return run

    async def _beat(self) -> None:
        """Each second a step, where the run takes none: while it waits for its last answers, it is alive too. And a
        look at the others.
        """
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            with contextlib.suppress(StoreError):  # the next group says so
                if time.monotonic() - self._stepped_at >= BEAT_SECONDS:
                    await self._step("{}")
                lost = await self._bury_dead()  # first, for a commit may tell of those before meanwhile
                self._lost += lost

    async def _bury_dead(self) -> int:
        """Settle what other runs left that are dead, or over; how many of their requests are lost."""
        dead, _ = self._watch.look(await self._peers())
        return await self._bury(dead)

    async def _peers(self) -> list[Peer]:
        """The other runs of the job that have not ended."""
        running = await self._read(lambda db: db.fetch(shared.RUNNING, self._job_id, self._run_id))
        return [Peer(*one) for one in running]

    async def _bury(self, dead: Sequence[Peer]) -> int:
        by, now = self._run_id, time.time()
        return await self._read(lambda db: shared.bury(db, self._job_id, dead, by, hold=self._hold, at=now))

    async def end_run(self, ending: Ending, *, at: float) -> None:
        """See ports.Store.end_run."""
        self._silence()
        await self._write(lambda db: shared.end(db, self._run_id, self._job_id, ending, at))

    async def _leave_run(self, at: float) -> None:
        """The run this store was in is over, if it was in one: what it has out is for `recover`."""
        self._silence()
        if self._run_id:
            await self._write(lambda db: db.execute(shared.LEAVE, self._run_id, at))

    def _silence(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None

    async def draw(self, limit: int | None, *, held: int = 0, need: int = 0, want: int = 0) -> Drawn:
        """See ports.Store.draw."""
        costs = await self._tally("cost")
        spent = costs.get("answered", 0) + costs.get("lost", 0)
        if limit is None:
            return Drawn(spent, None)
        query = "SELECT * FROM batchjob.draw($1, $2, $3, $4, $5, $6)"
        values = self._run_id, self._job_id, limit, held, need, want
        allowance, more = await self._write(lambda db: db.fetchrow(query, *values))
        return Drawn(spent, allowance, more)

    async def pause(self, seconds: float) -> None:
        """See ports.Store.pause."""
        await self._write(lambda db: db.execute(PAUSE, self._job_id, seconds))

    async def asking(self, texts: Sequence[Key]) -> dict[Key, Asking]:
        """See ports.Store.asking."""
        return await self._read(lambda db: shared.asking(db, self._job_id, texts))

    async def hear_late(self, settles: Sequence[Settle]) -> int:
        """See ports.Store.hear_late."""
        group = Sorted(settles, job_id=self._job_id, task_id=self._task_id, run_id=0, counted=self._counted)
        answers = [(over[0], over[4]) for over in group.given["settle_requests"]]
        given = {"complete": group.given["complete"], "remember": group.given["remember"], "settle_requests": answers}
        encoded = {name: as_json(records) for name, records in given.items()}
        return await self._write(lambda db: shared.hear_late(db, self._job_id, self._task_id, encoded, self._counted))

    async def wanted(self) -> int:
        """See ports.Store.wanted."""
        own = self._pages
        assert own is not None, "begin_run comes first"
        return (await self.counts())[State.PENDING] if own.wants_all else await self._read(own.wanted)

    async def next_page(self, limit: int) -> Page | None:
        """See ports.Store.next_page."""
        own = self._pages
        assert own is not None, "begin_run comes first"
        page, self._pages = await self._read(lambda db: own.next(db, limit))
        return page

    async def unheard_rows(self, *, after: int, limit: int) -> list[Unheard]:
        """See ports.Store.unheard_rows."""
        found = await self._read(lambda db: db.fetch(pages.UNHEARD, self._job_id, self._run_id, after, limit))
        return unheard(map(restored, found))

    async def remove(self) -> bool:
        """See ports.Store.remove. A server's old pages are its own to overwrite."""
        await self._alone()
        await self._leave_run(time.time())
        self._run_id = 0

        async def work(db: Connection) -> None:
            await self._see_free(db)
            await removal.remove_job(db, self._job_id)

        await self._write(work)
        return True

    # ------------------------------------------------------------ after a crash, and put back

    async def recover(self, *, hold: bool, at: float) -> int:
        """See ports.Store.recover."""
        self._hold = hold
        if self._joined:
            return await self._alone(but=__version__) + await self._bury_dead()
        lost = await self._alone()
        if hold:
            await self._write(lambda db: db.execute("SELECT batchjob.hold_lost($1)", self._job_id))
        return lost

    async def _alone(self, *, but: str = "") -> int:
        """See that no other process works on the job, `but` those of this version of batchjob, and settle what dead
        ones left; how many requests are lost.

        Raises:
            JobBusy: one is alive.
        """
        watch, lost = Watch(self._lease), 0
        while running := [peer for peer in await self._peers() if not but or other_version(peer.version, but)]:
            dead, moved = watch.look(running)
            for peer in moved:
                who = f"process {peer.pid} on {peer.host}"
                if but:
                    raise JobBusy(
                        f"{who} is working on job {self._job!r} with batchjob {peer.version}, and this is {but}: all "
                        f"workers need one version"
                    )
                raise JobBusy(
                    f"{who} is working on job {self._job!r}: stop it, wait for it, or help it", then=("work", self._job)
                )
            lost += await self._bury(dead)
            await asyncio.sleep(0.0 if dead else LOOK_SECONDS)
        return lost + await self._bury(())

    async def retry(self, kinds: Sequence[str], *, at: float, but: Sequence[int] = (), second: bool = False) -> int:
        """See ports.Store.retry."""

        async def work(db: Connection) -> int:
            await self._see_free(db)
            back = 0
            for kind in kinds:
                given = self._job_id, kind, but, second
                back += await db.fetchval("SELECT batchjob.put_back($1, $2, $3, $4)", *given)
            if back and await db.fetchval("SELECT batchjob.is_free(0, $1)", self._job_id):
                await db.execute(PUT_BACK, self._job_id, "failed rows were put back", at)
            return back

        return await self._write(work)

    async def close(self) -> None:
        """See ports.Store.close."""
        try:
            await self._leave_run(time.time())
        finally:
            await self._writing.close()
            await self._reading.close()


PUT_BACK = "UPDATE batchjob.job SET state = 'stopped', reason = $2, reason_kind = '', updated_at = $3 WHERE id = $1"
PAUSE = (
    "UPDATE batchjob.job SET paused_until = greatest(paused_until, clock_timestamp() + $2 * interval '1 second')"
    " WHERE id = $1"
)


async def open_store(url: str, *, lease: float) -> PgStore:
    """The work table in a database, opened for writing, its tables made or migrated where needed."""
    writing = Line(url, await connect(url))
    try:
        await writing.call(lambda db: schema.migrate(db, url))
        return PgStore(url, writing, Line(url, await connect(url)), lease=lease)
    except BaseException:
        await writing.close()
        raise
