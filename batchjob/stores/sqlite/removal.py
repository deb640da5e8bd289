"""A job deleted with all that belongs to it, so that its texts are not in the file any more."""

from __future__ import annotations

import sqlite3

from batchjob.stores import ids
from batchjob.stores.sqlite.group import QUERIES

OF_ROWS = ("remove_row", "remove_input")
OF_JOB = ("remove_notice", "remove_tally", "remove_run", "disown_cache", "disown_inbox", "remove_job", "remove_tasks")


def remove_job(db: sqlite3.Connection, job_id: int) -> None:
    """Delete a job, in the caller's transaction; what is deleted is overwritten with zeros (connections.py)."""
    for (run_id,) in db.execute("SELECT id FROM run WHERE job_id = ?", (job_id,)).fetchall():
        first, last = ids.request_range(run_id)
        for query in ("remove_requests", "remove_intents"):
            db.execute(QUERIES[query], {"first": first, "last": last})
    first, last = ids.row_range(job_id)
    for query in OF_ROWS:
        db.execute(QUERIES[query], {"first": first, "last": last})
    for query in OF_JOB:
        db.execute(QUERIES[query], {"job": job_id})


def flush_deleted(db: sqlite3.Connection) -> bool:
    """Write the zeros into the file itself; whether no reader kept that from being done."""
    busy: int = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return not busy
