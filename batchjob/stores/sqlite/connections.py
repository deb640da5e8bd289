"""Connections to a database: the one that writes, and what each of them must be told."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import aiosqlite

from batchjob.files import is_there
from batchjob.stores.sqlite import schema
from batchjob.stores.sqlite.group import prepare

T = TypeVar("T")


class Writer(aiosqlite.Connection):
    """aiosqlite's connection, with one more verb."""

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work on the connection's own thread; once begun it ends, whatever becomes of the caller."""
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return result

    def join(self) -> None:
        """Wait for the thread of a connection that could not be opened: it would answer a loop that is closed."""
        self._thread.join()


def connect(path: Path) -> sqlite3.Connection:
    """Open a database for writing, and make or migrate it."""
    if not is_there(path):
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # before any text is in it
    connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
    try:
        schema.check_ours(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA fullfsync = ON")  # macOS: its fsync alone leaves the disk's own cache unwritten
        # Not just while a job is removed: what moves to another page leaves a copy behind. Debian's SQLite has it on.
        connection.execute("PRAGMA secure_delete = ON").fetchone()
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
        connection.execute("PRAGMA temp_store = MEMORY")
        schema.migrate(connection, path)
        prepare(connection)
    except BaseException:
        connection.close()
        raise
    return connection
