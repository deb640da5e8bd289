"""The work table in PostgreSQL, opened for writing. The order of things is in the functions of the migration.

A group of writes is one call in one transaction. It begins with the run's own step, a number that goes up by one: so
a run that was given up is refused, and a group whose answer was lost is known when it is sent again.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec

from batchjob import __version__
from batchjob.errors import JobBusy, StoreError
from batchjob.model import (
    Control,
    Ending,
    InputSource,
    Job,
    Key,
    Page,
    Remembered,
    Row,
    Run,
    TaskRecord,
    Unheard,
    Write,
)
from batchjob.states import JobState, Outcome, Source, State
from batchjob.stores import ids
from batchjob.stores.counting import counted_of
from batchjob.stores.postgres import pages, process, records, removal, schema
from batchjob.stores.postgres.line import Connection, Line, connect
from batchjob.stores.postgres.nul import restored, without, without_in_json
from batchjob.stores.postgres.records import find_job, select_jobs
from batchjob.stores.postgres.watch import LEASE_SECONDS, Peer, Watch
from batchjob.stores.records import job_from_record
from batchjob.stores.writes import Counted, Sorted

T = TypeVar("T")
GO_ON = Control()
LOOK_SECONDS = 0.25
BEAT_SECONDS = 1.0
_encode = msgspec.json.encode
_LOST = "the process died while this request was out"
_INPUT = ("id", "line", "key", "text", "rest", "defect")


class PgStore:
    """See ports.Store. `create_job` or `choose` sets the job, `begin_run` the run."""

    def __init__(self, url: str, writing: Line, reading: Line, *, lease: float = LEASE_SECONDS) -> None:
        self._url, self._lease = url, lease
        self._writing, self._reading = writing, reading
        self._job_id = self._run_id = self._task_id = 0
        self._job = ""
        self._counted: Counted | None = None
        self._seq = 0
        self._stepped_at = 0.0
        self._pages: pages.Pages | None = None
        self._beating: asyncio.Task[None] | None = None

    # ------------------------------------------------------------ transactions

    async def _read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        return await self._reading.call(work)

    async def _write(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """One transaction; once begun it ends, whatever becomes of the caller."""
        return await asyncio.shield(asyncio.ensure_future(self._writing.call(work)))

    async def commit(self, writes: Sequence[Write]) -> Control:
        """See ports.Store.commit."""
        group = Sorted(writes, job_id=self._job_id, task_id=self._task_id, run_id=self._run_id, counted=self._counted)
        given = {name: records for name, records in group.given.items() if records}
        rows = [(*one[:2], *map(_storable, one[2:])) for one in given.pop("add_input", ())]
        given.pop("add_rows", None)
        await self._step(_json(given), rows)
        return GO_ON

    async def _step(self, given: str, rows: Sequence[tuple[Any, ...]] = ()) -> None:
        """The run's next step, with what it writes."""
        constants = self._run_id, self._job_id, self._task_id
        seq = 0

        async def work(db: Connection) -> None:
            nonlocal seq
            seq = seq or self._seq + 1  # here, where it is this step's turn
            run, job, task = constants
            again = await db.fetchval("SELECT batchjob.commit_group($1, $2, $3, $4, $5)", run, seq, job, task, given)
            if rows and not again:
                await db.copy_records_to_table("input", schema_name="batchjob", columns=_INPUT, records=rows)

        async def turn() -> None:
            await self._writing.call(work)
            self._seq = seq
            self._stepped_at = time.monotonic()

        await asyncio.shield(asyncio.ensure_future(turn()))

    def free_reserve(self) -> None:
        """See ports.Store.free_reserve. The server's disk is its own."""

    # ------------------------------------------------------------ jobs

    async def create_job(
        self, *, uid: str, name: str, source: InputSource, settings: bytes, task: TaskRecord, at: float
    ) -> None:
        """See ports.Store.create_job."""
        values = uid, name, without(source.place), _json(source), without_in_json(settings), at

        async def work(db: Connection) -> int:
            task_id = await _add_task(db, task)
            await db.execute(ADD_JOB, *values, task_id)
            made: int = await db.fetchval("SELECT id FROM batchjob.job WHERE uid = $1", uid)
            return made

        self._job_id, self._job = await self._write(work), name

    async def choose(self, name: str) -> None:
        """See ports.Store.choose."""
        self._job_id, self._job = (await self._read(lambda db: find_job(db, name, self._url))).id, name

    async def job(self) -> Job:
        """See ports.Store.job."""
        record = await self._read(lambda db: db.fetchrow(select_jobs("WHERE job.id = $1"), self._job_id))
        return job_from_record(restored(record))

    async def set_settings(self, settings: bytes) -> None:
        """See ports.Store.set_settings."""
        await self._set("settings = $2", without_in_json(settings))

    async def set_source(self, source: InputSource) -> None:
        """See ports.Store.set_source."""
        await self._set("source = $2, input_path = $3", _json(source), without(source.place))

    async def set_prices(self, prices: bytes) -> None:
        """See ports.Store.set_prices."""
        await self._set("prices = $2", without_in_json(prices))

    async def _set(self, what: str, *values: str) -> None:
        await self._write(lambda db: db.execute(f"UPDATE batchjob.job SET {what} WHERE id = $1", self._job_id, *values))

    async def counts(self) -> dict[str, int]:
        """See ports.Store.counts."""
        found = await self._tally("row")
        return {state: found.get(state, 0) for state in State}

    async def failures(self) -> dict[str, int]:
        """See ports.Store.failures."""
        return {kind: n for kind, n in (await self._tally("error")).items() if n}

    async def _tally(self, kind: str) -> dict[str, int]:
        query = "SELECT name, sum(n)::bigint FROM batchjob.tally WHERE job_id = $1 AND kind = $2 GROUP BY name"
        return dict(map(restored, await self._read(lambda db: db.fetch(query, self._job_id, kind))))

    # ------------------------------------------------------------ a run

    async def begin_run(self, task: TaskRecord, *, fresh: bool, up_to: int | None, at: float) -> Run:
        """See ports.Store.begin_run."""
        token, own = secrets.token_hex(16), process.this()
        ingested = (await self.job()).ingested

        async def work(db: Connection) -> int:
            state = JobState.RUNNING if ingested else JobState.INGESTING
            await db.execute(SET_STATE, self._job_id, state, "", "", at)
            self._task_id = await _add_task(db, task)
            self._counted = counted_of(task)
            await db.execute(ADD_RUN, token, self._job_id, self._task_id, *own, __version__, at)
            made: int = await db.fetchval("SELECT id FROM batchjob.run WHERE token = $1", token)
            return made

        await self._leave_run(at)
        self._run_id, self._seq = await self._write(work), 0
        requests = await self._tally("request")
        heard = requests.get(Outcome.ANSWERED, 0) + requests.get(Outcome.REJECTED, 0) > 0
        labelled = bool((await self._tally("source")).get(Source.MODEL))
        run = Run(self._run_id, ids.first_request_id(self._run_id), heard, labelled)
        self._pages = pages.Pages(self._job_id, before=run.first_request_id, fresh=fresh, up_to=up_to)
        self._beating = asyncio.create_task(self._beat())
        return run

    async def _beat(self) -> None:
        """A step each second where the run takes none: while it waits for its last answers, it is alive too."""
        with contextlib.suppress(StoreError):  # the next group says so
            while True:
                await asyncio.sleep(BEAT_SECONDS)
                if time.monotonic() - self._stepped_at >= BEAT_SECONDS:
                    await self._step("{}")

    async def end_run(self, ending: Ending, *, at: float) -> None:
        """See ports.Store.end_run."""

        async def work(db: Connection) -> None:
            await db.execute(SET_STATE, self._job_id, ending.state, without(ending.reason), ending.kind, at)
            await db.execute(END_RUN, self._run_id, at)

        self._silence()
        await self._write(work)

    async def _leave_run(self, at: float) -> None:
        """The run this store was in is over, if it was in one: what it has out is for `recover`."""
        self._silence()
        if self._run_id:
            await self._write(lambda db: db.execute(END_RUN, self._run_id, at))

    def _silence(self) -> None:
        if self._beating is not None:
            self._beating.cancel()
            self._beating = None

    async def draw(self, limit: int | None) -> tuple[int, int | None]:
        """See ports.Store.draw."""
        costs = await self._tally("cost")
        spent = costs.get("answered", 0) + costs.get("lost", 0)
        return spent, None if limit is None else limit - spent

    async def wanted(self) -> int:
        """See ports.Store.wanted."""
        own = self._pages
        assert own is not None, "begin_run comes first"
        return (await self.counts())[State.PENDING] if own.wants_all else await self._read(own.wanted)

    async def next_page(self, limit: int) -> Page | None:
        """See ports.Store.next_page."""
        own = self._pages
        assert own is not None, "begin_run comes first"
        return await self._read(lambda db: own.next(db, limit))

    async def unheard_rows(self, *, after: int, limit: int) -> list[Unheard]:
        """See ports.Store.unheard_rows."""
        found = await self._read(lambda db: db.fetch(pages.UNHEARD, self._job_id, self._run_id, after, limit))
        rows: list[Unheard] = []
        size = 0
        for id_, text, rest, key, first, model, job in map(restored, found):
            rows.append(Unheard(id_, Row(ids.number_of(id_), text, rest=rest, key=key, first=first), model, job))
            size += len(text)
            if size > pages.PAGE_BYTES:
                break
        return rows

    async def cached_labels(self, keys: Sequence[Key]) -> dict[Key, Remembered]:
        """See ports.Store.cached_labels."""
        return await self._read(lambda db: records.cached_labels(db, list(keys)))

    async def learned(self, base_url: str) -> dict[str, bytes]:
        """See ports.Store.learned."""
        return await self._read(lambda db: records.learned(db, base_url))

    async def learn(self, base_url: str, model: str, facts: bytes, *, at: float) -> None:
        """See ports.Store.learn."""
        await self._write(lambda db: db.execute(LEARN, base_url, model, facts.decode(), at))

    async def remove(self) -> bool:
        """See ports.Store.remove. A server's old pages are its own to overwrite."""
        await self._alone()
        await self._leave_run(time.time())
        await self._write(lambda db: removal.remove_job(db, self._job_id))
        self._run_id = 0
        return True

    async def forget_labels(self, *, before: float | None) -> int:
        """See ports.Store.forget_labels."""

        async def work(db: Connection) -> int:
            counted: int = await db.fetchval(FORGET, float("inf") if before is None else before)
            return counted

        return await self._write(work)

    # ------------------------------------------------------------ after a crash, and put back

    async def recover(self, *, hold: bool, at: float) -> int:
        """See ports.Store.recover."""
        await self._alone()
        values = self._job_id, self._run_id, hold, at, _LOST

        async def work(db: Connection) -> int:
            lost: int = await db.fetchval("SELECT batchjob.lose_left($1, $2, $3, $4, $5)", *values)
            return lost

        return await self._write(work)

    async def _alone(self) -> None:
        """See that no other process works on the job, and give up those that are dead.

        Raises:
            JobBusy: one is alive.
        """
        watch = Watch(self._lease)
        while running := await self._read(lambda db: db.fetch(RUNNING, self._job_id, self._run_id)):
            dead, moved = watch.look([Peer(*one) for one in running])
            for peer in moved:
                who = f"process {peer.pid} on {peer.host}"
                raise JobBusy(f"{who} is working on job {self._job!r}: stop it, or wait for it")
            for peer in dead:
                await self._write(partial(_give_up, peer=peer, by=self._run_id))
            await asyncio.sleep(0.0 if dead else LOOK_SECONDS)

    async def retry(self, kinds: Sequence[str], *, at: float, but: Sequence[int] = ()) -> int:
        """See ports.Store.retry."""

        async def work(db: Connection) -> int:
            back = 0
            for kind in kinds:
                given = self._job_id, self._run_id, kind, but
                back += await db.fetchval("SELECT batchjob.put_back($1, $2, $3, $4)", *given)
            if back:
                await db.execute(SET_STATE, self._job_id, JobState.STOPPED, "failed rows were put back", "", at)
            return back

        return await self._write(work)

    async def close(self) -> None:
        """See ports.Store.close."""
        try:
            await self._leave_run(time.time())
        finally:
            await self._writing.close()
            await self._reading.close()


ADD_JOB = (
    "INSERT INTO batchjob.job (uid, name, input_path, source, settings, created_at, updated_at, state, task_id)"
    " VALUES ($1, $2, $3, $4, $5, $6, $6, 'stopped', $7) ON CONFLICT (uid) DO NOTHING"
)
ADD_RUN = (
    "INSERT INTO batchjob.run (token, job_id, task_id, host, place, pid, started, version, started_at, updated_at)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT (token) DO NOTHING"
)
END_RUN = (
    "UPDATE batchjob.run SET updated_at = $2, pacing = '', outage = NULL, rows_per_second = NULL, ended_at = $2"
    " WHERE id = $1 AND ended_at IS NULL"
)
RUNNING = (
    "SELECT id, seq, host, place, pid, started FROM batchjob.run WHERE job_id = $1 AND id <> $2 AND ended_at IS NULL"
)
SET_STATE = "UPDATE batchjob.job SET state = $2, reason = $3, reason_kind = $4, updated_at = $5 WHERE id = $1"
LEARN = (
    "INSERT INTO batchjob.learned (base_url, model, facts, at) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (base_url, model) DO UPDATE SET facts = excluded.facts, at = excluded.at"
)
FORGET = (
    "WITH open AS (SELECT id FROM batchjob.job WHERE NOT ingested OR (SELECT sum(n) FROM batchjob.tally"
    " WHERE job_id = job.id AND kind = 'row' AND name IN ('pending', 'in_flight')) > 0"
    "), gone AS ("
    "DELETE FROM batchjob.label_cache WHERE at < $1::float8 AND job_id NOT IN (SELECT id FROM open) RETURNING loose)"
    " SELECT count(*) FROM gone WHERE NOT loose"
)


async def open_store(url: str, *, job: str) -> PgStore:
    """The work table in a database, opened for writing, its tables made or migrated where needed."""
    writing = Line(url, await connect(url))
    try:
        await writing.call(lambda db: schema.migrate(db, url))
        return PgStore(url, writing, Line(url, await connect(url)))
    except BaseException:
        await writing.close()
        raise


async def _give_up(db: Connection, *, peer: Peer, by: int) -> None:
    await db.fetchval("SELECT batchjob.give_up($1, $2, $3, $4)", peer.id, peer.seq, by, time.time())


async def _add_task(db: Connection, task: TaskRecord) -> int:
    """The id of a task, which is put in where it is not there."""
    await db.execute(
        "INSERT INTO batchjob.task (digest, question, settings) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING",
        task.digest,
        task.question,
        without_in_json(task.settings),
    )
    found: int = await db.fetchval("SELECT id FROM batchjob.task WHERE digest = $1", task.digest)
    return found


def _json(value: Any) -> str:
    return without_in_json(_encode(value))


def _storable(value: Any) -> Any:
    return without(value) if type(value) is str else value
