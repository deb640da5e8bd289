"""Records of the job table as values; columns by name."""

from __future__ import annotations

import difflib
import sqlite3
from typing import Any

import msgspec

from batchjob.errors import JobError
from batchjob.model import InputSource, Job
from batchjob.states import JobState

_COLUMNS = (
    "job.id, job.uid, job.name, job.source, job.settings, job.prices, task.digest, job.state, job.reason,"
    " job.reason_kind, job.created_at, job.rows, job.position, job.digest, job.ingested"
)
JOB_COLUMNS = _COLUMNS.count(",") + 1


def select_jobs(rest: str, *, more: str = "") -> str:
    """A query of jobs for `job_from_record`; `more` columns come behind, `rest` is joins and conditions."""
    return f"SELECT {_COLUMNS}{more} FROM job JOIN task ON task.id = job.task_id {rest}"


def job_from_record(record: tuple[Any, ...]) -> Job:
    """A record of `select_jobs` as a Job."""
    id_, uid, name, source, settings, prices, task, state, reason, kind, created, *read = record
    rows, position, digest, ingested = read
    return Job(
        id=id_,
        uid=uid,
        name=name,
        source=msgspec.json.decode(source, type=InputSource),
        settings=settings.encode(),
        prices=prices.encode(),
        task_digest=task,
        state=JobState(state),
        reason=reason,
        reason_kind=kind,
        created_at=created,
        rows=rows,
        position=position,
        digest=digest,
        ingested=bool(ingested),
    )


def find_job(db: sqlite3.Connection, name: str) -> Job:
    """The job of this name.

    Raises:
        JobError: there is none; the text names the nearest.
    """
    record = db.execute(select_jobs("WHERE job.name = ?"), (name,)).fetchone()
    if record is not None:
        return job_from_record(record)
    names = [known for (known,) in db.execute("SELECT name FROM job ORDER BY id DESC LIMIT 1000")]
    if not names:
        raise JobError("there are no jobs in this database yet: begin one with batchjob start INPUT")
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}?" if near else f"The latest is {names[0]!r}."
    raise JobError(f"no job is named {name!r}. {hint} batchjob jobs lists them")
