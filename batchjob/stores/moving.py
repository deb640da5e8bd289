"""A job that moves from one store to another: which ways there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from batchjob.errors import JobError, SettingError
from batchjob.files import real_path
from batchjob.model import Job
from batchjob.records import Correction


def check_way(here: str, there: str) -> None:
    """See that a job can go that way.

    Raises:
        SettingError: it cannot, and what can be done.
    """
    if "://" in here:
        raise SettingError("a job moves from a file to PostgreSQL, and not back: name the file with --db")
    if there.partition("://")[0] not in ("postgresql", "postgres"):
        raise SettingError(
            "--to is the database a job moves to: postgresql://USER@HOST/DATABASE. Into another file goes a copy of "
            "this one, or a new job"
        )


def refuse_moved(job: Job) -> None:
    """See that a job goes on here.

    Raises:
        JobError: it was moved to another database, which knows what was paid since.
    """
    if job.moved_to is not None:
        raise JobError(
            f"job {job.name!r} was moved to {job.moved_to}, and goes on there. Is it not there, because the move was"
            f" broken off? Then the same move again finishes it",
            then=("resume", job.name, "--db", job.moved_to),
        )


async def carry(here: str, there: str, name: str, said: Callable[[str], Sequence[Correction]]) -> bool:
    """Bring a job to another store, and mark the one that is left; this process has the right to write to `here`.

    Args:
        said: what people said of the rows of a job with this uid; asked for just before the end.

    Returns:
        False: it was there already, and all is as it was.

    Raises:
        JobError: it does not go there; the text says why.
        StoreError: it is not there, or nobody knows whether it is; the text says which.
    """
    from batchjob.stores import postgres
    from batchjob.stores.sqlite.leaving import Leaving

    postgres.check_installed()
    from batchjob.stores.postgres.arriving import arrive

    leaving = Leaving(Path(real_path(here)), name)
    try:
        return await arrive(there, leaving, said)
    finally:
        leaving.close()
