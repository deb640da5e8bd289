"""What is written of jobs in PostgreSQL outside of their runs: their settings, and what was learned and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from batchjob.errors import JobBusy
from batchjob.model import InputSource, Job, Key, Remembered, TaskRecord
from batchjob.stores.counters import Counters
from batchjob.stores.postgres import records
from batchjob.stores.postgres.line import Connection, Line
from batchjob.stores.postgres.nul import restored, without, without_in_json
from batchjob.stores.postgres.records import find_job, select_jobs
from batchjob.stores.records import job_from_record

T = TypeVar("T")


class PgJobs(Counters):
    """A part of ports.Store. `create_job` or `choose` sets the job."""

    def __init__(self, url: str, writing: Line, reading: Line) -> None:
        self._url, self._writing, self._reading = url, writing, reading
        self._job_id, self._job = 0, ""
        self._run_id = 0
        self._joined = False
        self._settings: str | None = None  # that this process goes by

    async def _read(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        return await self._reading.call(work)

    async def _write(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """One transaction; once begun it ends, whatever becomes of the caller."""
        return await asyncio.shield(asyncio.ensure_future(self._writing.call(work)))

    # ------------------------------------------------------------ jobs

    async def create_job(
        self, *, uid: str, name: str, source: InputSource, settings: bytes, task: TaskRecord, at: float
    ) -> None:
        """See ports.Store.create_job."""
        values = uid, name, without(source.place), as_json(source), without_in_json(settings), at

        async def work(db: Connection) -> int:
            task_id = await add_task(db, task)
            await db.execute(ADD_JOB, *values, task_id)
            made: int | None = await db.fetchval("SELECT id FROM batchjob.job WHERE uid = $1", uid)
            if made is None:
                raise JobBusy(f"another process has begun job {name!r} meanwhile: give the same command again")
            return made

        self._job_id, self._job, self._settings = await self._write(work), name, values[4]

    async def choose(self, name: str) -> None:
        """See ports.Store.choose."""
        self._job_id, self._job = (await self._read(lambda db: find_job(db, name, self._url))).id, name

    async def join(self, name: str, settings: bytes) -> None:
        """See ports.Store.join."""
        await self.choose(name)
        self._joined, self._settings = True, without_in_json(settings)

    async def job(self) -> Job:
        """See ports.Store.job."""
        record = await self._read(lambda db: db.fetchrow(select_jobs("WHERE job.id = $1"), self._job_id))
        return job_from_record(restored(record))

    async def set_settings(self, settings: bytes) -> None:
        """See ports.Store.set_settings. Some of those of a worker that joined are for its machine alone: they are not
        the job's.
        """
        if not self._joined:
            self._settings = without_in_json(settings)
            await self._set("settings = $2", self._settings)

    async def set_source(self, source: InputSource) -> None:
        """See ports.Store.set_source."""
        await self._set("source = $2, input_path = $3", as_json(source), without(source.place))

    async def set_prices(self, prices: bytes) -> None:
        """See ports.Store.set_prices."""
        await self._set("prices = $2", without_in_json(prices))

    async def _set(self, what: str, *values: str) -> None:
        async def work(db: Connection) -> None:
            await self._see_free(db)
            await db.execute(f"UPDATE batchjob.job SET {what} WHERE id = $1", self._job_id, *values)

        await self._write(work)

    async def _see_free(self, db: Connection) -> None:
        """See that no other run works on the job until the caller's transaction ends, where this store has none.

        Raises:
            JobBusy: there is one.
        """
        if not self._run_id and not await db.fetchval("SELECT batchjob.is_free(0, $1)", self._job_id):
            raise busy(self._job)

    async def _tally(self, kind: str) -> dict[str, int]:
        query = "SELECT name, sum(n)::bigint FROM batchjob.tally WHERE job_id = $1 AND kind = $2 GROUP BY name"
        return dict(map(restored, await self._read(lambda db: db.fetch(query, self._job_id, kind))))

    # ------------------------------------------------------------ what jobs share

    async def cached_labels(self, keys: Sequence[Key]) -> dict[Key, Remembered]:
        """See ports.Store.cached_labels."""
        return await self._read(lambda db: records.cached_labels(db, list(keys)))

    async def learned(self, base_url: str) -> dict[str, bytes]:
        """See ports.Store.learned."""
        return await self._read(lambda db: records.learned(db, base_url))

    async def learn(self, base_url: str, model: str, facts: bytes, *, at: float) -> None:
        """See ports.Store.learn."""
        await self._write(lambda db: db.execute(LEARN, base_url, model, facts.decode(), at))

    async def forget_labels(self, *, before: float | None, but: Sequence[Key] = ()) -> int:
        """See ports.Store.forget_labels."""
        kept = [id_ for id_, _ in but]

        async def work(db: Connection) -> int:
            counted: int = await db.fetchval(FORGET, float("inf") if before is None else before, kept)
            return counted

        return await self._write(work)


ADD_JOB = (
    "INSERT INTO batchjob.job (uid, name, input_path, source, settings, created_at, updated_at, state, task_id)"
    " VALUES ($1, $2, $3, $4, $5, $6, $6, 'stopped', $7) ON CONFLICT DO NOTHING"
)
LEARN = (
    "INSERT INTO batchjob.learned (base_url, model, facts, at) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (base_url, model) DO UPDATE SET facts = excluded.facts, at = excluded.at"
)
FORGET = (
    "WITH open AS (SELECT id FROM batchjob.job WHERE NOT ingested OR (SELECT sum(n) FROM batchjob.tally"
    " WHERE job_id = job.id AND kind = 'row' AND name IN ('pending', 'in_flight')) > 0"
    "), gone AS ("
    "DELETE FROM batchjob.label_cache WHERE at < $1::float8 AND job_id NOT IN (SELECT id FROM open)"
    " AND (off_list OR id <> ALL ($2::bigint[])) RETURNING loose)"
    " SELECT count(*) FROM gone WHERE NOT loose"
)


def busy(job: str) -> JobBusy:
    """Another process was quicker."""
    text = f"another process has begun to work on job {job!r} meanwhile: stop it, wait for it, or help it"
    return JobBusy(text, then=("work", job))


def changed(job: str) -> JobBusy:
    """Another process has made the job go by other settings since it was read."""
    return JobBusy(f"another process has changed the settings of job {job!r} meanwhile: give the same command again")


async def add_task(db: Connection, task: TaskRecord) -> int:
    """The id of a task, which is put in where it is not there."""
    await db.execute(
        "INSERT INTO batchjob.task (digest, question, settings) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING",
        task.digest,
        task.question,
        without_in_json(task.settings),
    )
    found: int = await db.fetchval("SELECT id FROM batchjob.task WHERE digest = $1", task.digest)
    return found


def as_json(value: Any) -> str:
    """A value as JSON that PostgreSQL can hold."""
    return without_in_json(msgspec.json.encode(value))
