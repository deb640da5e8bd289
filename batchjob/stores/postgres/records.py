"""What the store and its readers ask alike."""

from __future__ import annotations

from functools import partial

from batchjob.model import Job, Key, Remembered
from batchjob.stores import records
from batchjob.stores.postgres.line import Connection, shown
from batchjob.stores.postgres.nul import restored, without

select_jobs = partial(records.select_jobs, schema="batchjob.", moved_to="NULL::text")


async def find_job(db: Connection, name: str, url: str) -> Job:
    """The job of this name.

    Raises:
        JobError: there is none; the text names the nearest.
    """
    record = await db.fetchrow(select_jobs("WHERE job.name = $1"), without(name))
    if record is not None:
        return records.job_from_record(restored(record))
    known = await db.fetch("SELECT name FROM batchjob.job ORDER BY id DESC LIMIT 1000")
    raise records.no_job(name, [one["name"] for one in known], shown(url))


async def cached_labels(db: Connection, keys: list[Key]) -> dict[Key, Remembered]:
    """The labels remembered under these keys."""
    found = await db.fetch(
        "SELECT cache.id, cache.code, label, off_list, job_id, coalesce(job.name, '')"
        " FROM batchjob.label_cache AS cache LEFT JOIN batchjob.job AS job ON job.id = cache.job_id"
        " WHERE cache.id = ANY ($1)",
        [id_ for id_, _ in keys],
    )
    wanted = set(keys)
    return {
        (id_, code): Remembered((id_, code), label, off_list, job_id, job)
        for id_, code, label, off_list, job_id, job in map(restored, found)
        if (id_, code) in wanted
    }


async def learned(db: Connection, base_url: str) -> dict[str, bytes]:
    """What an endpoint taught, by model."""
    found = await db.fetch("SELECT model, facts FROM batchjob.learned WHERE base_url = $1 ORDER BY model", base_url)
    return records.facts_learned({one["model"]: one["facts"] for one in found})
