"""A job that moves from one store to another: which ways there are."""

from __future__ import annotations

from pathlib import Path

from batchjob.errors import SettingError
from batchjob.files import real_path


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


async def carry(here: str, there: str, name: str) -> bool:
    """Bring a job to another store, and mark the one that is left; this process has the right to write to `here`.

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
        return await arrive(there, leaving)
    finally:
        leaving.close()
