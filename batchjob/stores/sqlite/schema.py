"""The database file: is it ours, which version is it, and bring it up to date.

Migrations are numbered .sql files, each applied in one transaction with the number it leads to.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from batchjob import failpoints
from batchjob.errors import CommitUnknown, DiskFull, StoreError
from batchjob.stores.ids import expand
from batchjob.stores.sqlite.files import no_room

APPLICATION_ID = 0x626A6F62  # "bjob"
_PACKAGED = Path(__file__).resolve().parents[2] / "migrations" / "sqlite"
_CHECKOUT = Path(__file__).resolve().parents[3] / "migrations" / "sqlite"


def migrations() -> list[Path]:
    """The migration files in order: inside the package when installed, beside it in a checkout."""
    folder = _PACKAGED if _PACKAGED.is_dir() else _CHECKOUT
    return sorted(folder.glob("[0-9]*.sql"))


def check_ours(connection: sqlite3.Connection, path: Path) -> int:
    """The schema version of a database, 0 for a new one.

    Raises:
        StoreError: it is another program's, or of a newer batchjob.
    """
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    application: int = connection.execute("PRAGMA application_id").fetchone()[0]
    empty = not connection.execute("SELECT 1 FROM sqlite_schema LIMIT 1").fetchall()
    if empty and application in (0, APPLICATION_ID):
        return 0
    if application != APPLICATION_ID:
        raise StoreError(f"{path} is a database of another program. Give a file of batchjob's own with --db")
    known = len(migrations())
    if version > known:
        raise StoreError(
            f"{path} was written by a newer batchjob (schema {version}; this one knows {known}). "
            f"Upgrade with: pip install --upgrade batchjob"
        )
    _check_tables(connection, path, version)
    return version


def _check_tables(connection: sqlite3.Connection, path: Path, version: int) -> None:
    """See that tables, indexes and views are ours, letter for letter, and that no trigger changes what we write.

    Raises:
        StoreError: they are not, as in a database of a version that was never released, or one made to deceive.
    """
    query = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
    theirs, ours = connection.execute(query).fetchall(), _tables(version)
    found = {name: sql for _, name, _, sql in theirs}
    meddles = any(
        kind == "trigger" or (kind == "index" and table in ours and name not in ours) for kind, name, table, _ in theirs
    )
    if meddles or any(found.get(name) != sql for name, sql in ours.items()):
        raise StoreError(
            f"{path} has other tables than this version of batchjob makes, so it is left alone. Export its labels with "
            f"the version that made it, or begin anew with another --db"
        )


@cache
def _tables(version: int) -> dict[str, str]:
    """What the migrations make: name -> SQL."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    try:
        for file in migrations()[:version]:
            for statement in _statements(expand(file.read_text(encoding="utf-8"))):
                connection.execute(statement)
        return dict(connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL").fetchall())
    finally:
        connection.close()


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring a database up to the newest schema; a connection in autocommit mode."""
    version = check_ours(connection, path)
    for number, file in enumerate(migrations(), start=1):
        if number <= version:
            continue
        connection.execute("BEGIN EXCLUSIVE")
        try:
            for statement in _statements(expand(file.read_text(encoding="utf-8"))):
                connection.execute(statement)
                failpoints.reach("migration.after_statement", sqlite3.OperationalError)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version = {number}")
            failpoints.reach("migration.before_commit", sqlite3.OperationalError)
            connection.execute("COMMIT")
            failpoints.reach("migration.after_commit", sqlite3.OperationalError)
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _statements(script: str) -> Iterator[str]:
    """The statements of a script, one by one: executescript() would commit the transaction around it."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def named_queries(file: Path) -> dict[str, str]:
    """The queries of a .sql file by the name in the `-- name:` line before each."""
    queries: dict[str, str] = {}
    for block in expand(file.read_text(encoding="utf-8")).split("-- name:")[1:]:
        name, _, body = block.partition("\n")
        queries[name.strip()] = body.partition("\n-- ------")[0].strip().removesuffix(";")
    return queries


def translate(error: sqlite3.Error, path: Path) -> StoreError:
    """What an error of SQLite means to a user. Every one is translated here and nowhere else."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, sqlite3.IntegrityError):
        return StoreError(
            f"{path}: {error} found rows that were not in the state it expects: something else has changed the "
            f"database. Nothing was written; resume reads it anew"
        )
    grows = getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)
    if code == sqlite3.SQLITE_FULL or (grows and no_room(path)):
        full = f"{path} cannot grow: a quota, ulimit -f or the disk is full" if grows else f"the disk of {path} is full"
        return DiskFull(f"{full}. Make room and resume: every committed label is kept")
    if code == sqlite3.SQLITE_IOERR:
        return CommitUnknown(f"the disk of {path} reported an error ({error}). Check it, then resume")
    if code == sqlite3.SQLITE_NOTADB:
        return StoreError(f"{path} is not a database of batchjob's: it is no SQLite file. Give another with --db")
    if code == sqlite3.SQLITE_CORRUPT:
        return damaged(path, str(error))
    if code == sqlite3.SQLITE_INTERRUPT:
        return damaged(path, "a short question takes it longer than it can")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return StoreError(f"{path} cannot be written: it, or its folder, is read-only")
    if code == sqlite3.SQLITE_CANTOPEN:
        return StoreError(_not_opened(path))
    if code == sqlite3.SQLITE_BUSY:
        return StoreError(f"{path} is locked by another program. Close it and try again")
    if "Could not decode" in str(error):
        return damaged(path, "a text that is no UTF-8")
    return StoreError(f"{path}: SQLite says: {error}")


def _not_opened(path: Path) -> str:
    if path.exists() and not os.access(path, os.R_OK):
        return f"{path} may not be read by this user; allow it with: chmod u+rw {shlex.quote(str(path))}"
    return f"{path} cannot be opened: check that its folder exists and may be written"


def damaged(path: Path, why: str) -> StoreError:
    """What is said of a database that cannot be as batchjob left it."""
    return StoreError(f"{path} is damaged ({why}). {way_out(str(path))}")


def way_out(path: str) -> str:
    """What to do about a database file that is damaged."""
    return f"Restore a backup, or save what is left: sqlite3 {shlex.quote(path)} .recover > saved.sql"
