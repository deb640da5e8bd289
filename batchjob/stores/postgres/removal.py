"""A job deleted with all that belongs to it."""

from __future__ import annotations

from batchjob.stores import ids
from batchjob.stores.postgres.line import Connection

OF_JOB = (
    "DELETE FROM batchjob.notice WHERE job_id = $1",
    "DELETE FROM batchjob.tally WHERE job_id = $1",
    "DELETE FROM batchjob.asked WHERE job_id = $1",
    "DELETE FROM batchjob.lease WHERE job_id = $1",
    "DELETE FROM batchjob.run WHERE job_id = $1",
    # Its number is given to no other job, but nobody knows its name any more.
    "UPDATE batchjob.label_cache SET job_id = 0 WHERE job_id = $1",
    "DELETE FROM batchjob.job WHERE id = $1",
)
NOBODYS = (
    "DELETE FROM batchjob.task"
    " WHERE id NOT IN (SELECT task_id FROM batchjob.job UNION SELECT task_id FROM batchjob.run)"
)


async def remove_job(db: Connection, job_id: int) -> None:
    """Delete a job, in the caller's transaction."""
    for run in await db.fetch("SELECT id FROM batchjob.run WHERE job_id = $1", job_id):
        first, last = ids.request_range(run["id"])
        for table in ("request", "intent"):
            await db.execute(f"DELETE FROM batchjob.{table} WHERE id BETWEEN $1 AND $2", first, last)
    first, last = ids.row_range(job_id)
    for table, column in (("flight", "row_id"), ("row", "id"), ("input", "id")):
        await db.execute(f"DELETE FROM batchjob.{table} WHERE {column} > $1 AND {column} <= $2", first, last)
    for query in OF_JOB:
        await db.execute(query, job_id)
    await db.execute(NOBODYS)
