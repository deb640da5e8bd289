"""The work table in SQLite. What a process that only reads does not need is imported when it is asked for."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from batchjob.errors import JobError, StoreError
from batchjob.files import is_file, real_path
from batchjob.model import Ending
from batchjob.ports import Store, StoreCheck, StoreReader

NEEDED = (3, 38, 0)
"""The oldest SQLite: STRICT tables came with 3.37, the operator ->> with 3.38."""


def _check_version() -> None:
    if sqlite3.sqlite_version_info < NEEDED:
        needed = ".".join(map(str, NEEDED[:2]))
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: batchjob needs {needed}. Use a newer Python")


async def open_store(url: str, *, job: str, lease: float) -> Store:
    """See stores.open_store. A lock says who is alive."""
    from batchjob.stores.sqlite import store

    _check_version()
    return await store.open_store(Path(real_path(url)), job=job)


def open_reader(url: str) -> StoreReader:
    """See stores.open_reader."""
    from batchjob.stores.sqlite.reader import SqliteReader

    _check_version()
    return SqliteReader(Path(real_path(url)))


def open_check(url: str) -> StoreCheck:
    """See stores.open_check."""
    from batchjob.stores.sqlite.check import SqliteCheck

    _check_version()
    return SqliteCheck(Path(real_path(url)))


def writer_of(url: str) -> dict[str, Any] | None:
    """See stores.writer_of."""
    from batchjob.stores.sqlite import lock

    return lock.writer_of(Path(real_path(url)))


def stop(url: str, job: str, ending: Ending) -> int:
    """See stores.stop. Its one process is on this machine, and the user's own to end.

    Raises:
        JobError: which process that is.
    """
    writer = writer_of(url)
    if writer is None or writer.get("job") != job:
        return 0
    pid = writer["pid"]
    raise JobError(f"job {job!r} is run by process {pid} of this machine: stop it with Ctrl-C, or: kill {pid}")


def exists(url: str) -> bool:
    """Whether there is a file at all."""
    return is_file(url)


def files_of(url: str) -> list[str]:
    """See stores.files_of."""
    from batchjob.stores.sqlite.files import side_files

    real = Path(real_path(url))
    return [str(real), *map(str, side_files(real))]
