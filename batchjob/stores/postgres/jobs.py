"""What is written of jobs in PostgreSQL outside of their runs: their settings, and what was learned and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import msgspec

from batchjob.model import InputSource, Job, Key, Remembered, TaskRecord
from batchjob.states import State
from batchjob.stores.postgres import records
from batchjob.stores.postgres.line import Connection, Line
from batchjob.stores.postgres.nul import restored, without, without_in_json
from batchjob.stores.postgres.records import find_job, select_jobs
from batchjob.stores.records import job_from_record

T = TypeVar("T")


class PgJobs:
    """A part of ports.Store. `create_job` or `choose` sets the job."""

    def __init__(self, url: str, writing: Line, reading: Line) -> None:
        self._url, self._writing, self._reading = url, writing, reading
        self._job_id, self._job = 0, ""

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
            made: int = await db.fetchval("SELECT id FROM batchjob.job WHERE uid = $1", uid)
            return made

        self._job_id, self._job = await self._write(work), name

    async def choose(self, name: str) -> None:
        """See ports.Store.choose."""
        self._job_id, self._job = (await self._read(lambda db: find_job(db, name, self._url))).id, name

    async def join(self, name: str) -> None:
        """See ports.Store.join."""
        await self.choose(name)
        self._joined = True

    async def job(self) -> Job:
        """See ports.Store.job."""
        record = await self._read(lambda db: db.fetchrow(select_jobs("WHERE job.id = $1"), self._job_id))
        return job_from_record(restored(record))

    async def set_settings(self, settings: bytes) -> None:
        """See ports.Store.set_settings."""
        await self._set("settings = $2", without_in_json(settings))

    async def set_source(self, source: InputSource) -> None:
        """See ports.Store.set_source."""
        await self._set("source = $2, input_path = $3", as_json(source), without(source.place))

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
    " VALUES ($1, $2, $3, $4, $5, $6, $6, 'stopped', $7) ON CONFLICT (uid) DO NOTHING"
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
