"""Work tables, by URL. A path is a SQLite file; another kind is a folder here, a line in STORES, and its migrations.

Each is a module with these functions, imported when it is asked for:

    open_store(url, job, lease) -> ports.Store           for writing
    open_reader(url) -> ports.StoreReader         for reading
    open_check(url) -> ports.StoreCheck           for doctor
    writer_of(url) -> dict | None                 who is writing
    stop(url, job, ending) -> int                 end a job for all who work on it
    exists(url) -> bool                           whether there is anything at all, also an empty file
    files_of(url) -> list[str]                    the files it lies in
    correction_table(url) -> ports.CorrectionLog  what people say of rows, of a store that lies in no files
"""

from __future__ import annotations

import importlib
import re
from typing import Any

from batchjob.errors import NoJobs, SettingError
from batchjob.files import real_path
from batchjob.model import Ending
from batchjob.ports import CorrectionLog, Store, StoreCheck, StoreReader

STORES = {
    "sqlite": "batchjob.stores.sqlite",
    "postgresql": "batchjob.stores.postgres",
    "postgres": "batchjob.stores.postgres",
}
"""The scheme of a URL and the module behind it; what has no scheme is the path of a SQLite file."""

_NO_FILE = re.compile(r"\A\s*postgres(?:ql)?(?:\+\w+)?:|\bpassword\s*=", re.IGNORECASE)


def _module(url: str) -> Any:
    scheme, mark, _ = url.partition("://")
    name = scheme if mark else "sqlite"
    if name not in STORES:
        raise SettingError(f"db begins with {scheme}://, which is no store this version knows: give the path of a file")
    return importlib.import_module(STORES[name])


async def open_store(url: str, *, job: str, lease: float = 60.0) -> Store:
    """The work table at this URL, opened for writing, made or migrated where needed.

    Args:
        job: what other processes are told that ask for it meanwhile.
        lease: seconds without a sign of life after which another run of the job is taken for dead, where it is on
            another machine.

    Raises:
        JobBusy: another process is writing to it.
        SettingError: one of its files is a link, has a second name or is not batchjob's.
        StoreError: it cannot be used.
    """
    store: Store = await _module(url).open_store(url, job=job, lease=lease)
    return store


def open_reader(url: str) -> StoreReader:
    """The work table at this URL, opened for reading.

    Raises:
        JobError: there is none.
        StoreError: it is not batchjob's, newer than this program, or cannot be read.
    """
    reader: StoreReader = _module(url).open_reader(url)
    return reader


def open_check(url: str) -> StoreCheck:
    """The work table at this URL, opened to be checked; raises as `open_reader` does."""
    check: StoreCheck = _module(url).open_check(url)
    return check


def writer_of(url: str) -> dict[str, Any] | None:
    """Who is writing to it now ({"pid", "job", "since"}, as far as known), or None where nobody is."""
    writer: dict[str, Any] | None = _module(url).writer_of(url)
    return writer


def stop(url: str, job: str, ending: Ending) -> int:
    """Tell all who work on a job to stop, and that it ends so; how many they are."""
    told: int = _module(url).stop(url, job, ending)
    return told


def files_of(url: str) -> list[str]:
    """The files it lies in, the main one first, there or not; none where it lies in no files."""
    files: list[str] = _module(url).files_of(url)
    return files


def correction_table(url: str) -> CorrectionLog:
    """Where a store that lies in no files keeps what people say of rows."""
    table: CorrectionLog = _module(url).correction_table(url)
    return table


def absolute(named: str) -> str:
    """A store as it is opened: a URL as it is, a path absolute, with links resolved: the lock lies beside it, and one
    database must not have two.

    Raises:
        SettingError: it is PostgreSQL's, in another form than a URL's.
    """
    if "://" in named:
        return named
    if _NO_FILE.search(named):
        raise SettingError(
            "db is no path of a file, and is not shown, for it may hold a password: the address of a database in"
            " PostgreSQL is postgresql://user@host:5432/name"
        )
    return real_path(named)


def holds_jobs(url: str) -> bool:
    """Whether there is a work table with tables: a process that died early may have left an empty one.

    Raises:
        StoreError: it is not batchjob's, or cannot be read.
    """
    module = _module(url)
    if not module.exists(url):
        return False
    try:
        with module.open_reader(url):
            return True
    except NoJobs:
        return False
