"""Records as values; columns by name. What batchjob would not have written is an error here, and nowhere behind it."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from batchjob.errors import JobError, StoreError
from batchjob.model import InputSource, Job
from batchjob.money.cost import KnownPrice
from batchjob.providers.dialect import Learned
from batchjob.settings.config import settings_of
from batchjob.states import JobState, State
from batchjob.stores.ids import MOST_JOBS

LATEST = 253_402_300_799.0
"""The end of the year 9999 in epoch seconds."""
MOST = 2**60
MOST_NAMED = 10
"""Jobs in a message."""
BEGIN = ("start", "INPUT")
"""What to type where there is no job."""

_COLUMNS = (
    "job.id, job.uid, job.name, job.source, job.settings, job.prices, task.digest, job.state, job.reason,"
    " job.reason_kind, job.created_at, job.rows, job.position, job.digest, job.ingested, {moved_to}"
)


def select_jobs(rest: str, *, more: str = "", schema: str = "", moved_to: str = "job.moved_to") -> str:
    """A query of jobs for `job_from_record`; `more` columns come behind, `rest` is joins and conditions. `schema` is
    where the tables lie, with a dot.
    """
    columns = _COLUMNS.format(moved_to=moved_to)
    return f"SELECT {columns}{more} FROM {schema}job AS job JOIN {schema}task AS task ON task.id = job.task_id {rest}"


@contextlib.contextmanager
def as_written(what: str) -> Iterator[None]:
    """Around what is read of a database.

    Raises:
        StoreError: it cannot be what batchjob wrote.
    """
    try:
        yield
    except (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise StoreError(
            f"the database holds {what} that batchjob did not write ({error}). It is damaged, or was changed by"
            f" something else: restore a backup, or begin anew with another --db"
        ) from error


def moment(at: float | None) -> float:
    """A time as it is kept, or a ValueError; None is the beginning."""
    if not 0.0 <= (at or 0.0) <= LATEST:
        raise ValueError(f"a time of {at}")
    return at or 0.0


def counters(tally: Mapping[str, Mapping[str, int]]) -> None:
    """See that counters, by kind and name, can be what was counted, or raise a ValueError."""
    for state in tally.get("row", {}):
        State(state)
    for counted in tally.values():
        if counted and not 0 <= min(counted.values()) <= max(counted.values()) <= MOST:
            raise ValueError("a count below 0, or of more than there can be")


def facts_learned(stored: Mapping[str, str]) -> dict[str, bytes]:
    """What an endpoint taught, by model."""
    with as_written("facts about an endpoint"):
        for said in stored.values():
            msgspec.json.decode(said, type=Learned)
    return {model: said.encode() for model, said in stored.items()}


def job_from_record(record: tuple[Any, ...]) -> Job:
    """A record of `select_jobs` as a Job; all that is JSON in it can be read."""
    with as_written("a job"):
        job = _job(record)
        settings_of(job)
        msgspec.json.decode(job.prices, type=dict[str, KnownPrice])
        if not 1 <= job.id <= MOST_JOBS or not 0 <= job.rows <= MOST or not 0 <= job.position <= MOST:
            raise ValueError("a number that is none of a job")
        moment(job.created_at)
    return job


def _job(record: tuple[Any, ...]) -> Job:
    id_, uid, name, source, settings, prices, task, state, reason, kind, created, *read = record
    rows, position, digest, ingested, moved_to = read
    return Job(
        id=id_,
        uid=uid,
        name=name,
        source=msgspec.json.decode(source, type=InputSource),
        settings=settings.encode(),
        prices=prices.encode(),
        task_digest=task,
        state=JobState(state) if moved_to is None else JobState.MOVED,
        reason=reason if moved_to is None else f"it goes on in {moved_to}",
        reason_kind=kind,
        created_at=created,
        rows=rows,
        position=position,
        digest=digest,
        ingested=bool(ingested),
        moved_to=moved_to,
    )


def only_unfinished(names: Sequence[str]) -> str:
    """The only job of those that are not finished, in the order in which they began.

    Raises:
        JobError: there is none, or there are several.
    """
    if not names:
        raise JobError("no job is unfinished. Failed rows go out again with: retry JOB", then=("jobs",))
    if len(names) > 1:
        raise JobError(f"{len(names)} jobs are unfinished ({', '.join(names[:MOST_NAMED])}): say which one")
    return names[0]


def no_job(name: str, names: Sequence[str], place: str = "this database") -> JobError:
    """There is no job of this name; `names` are those that there are, the latest first."""
    if not names:
        return JobError(f"there are no jobs in {place} yet", then=BEGIN)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}?" if near else f"The latest is {names[0]!r}."
    return JobError(f"no job is named {name!r}. {hint}", then=("jobs",))
