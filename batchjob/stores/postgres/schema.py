"""The tables in a database: are they there, of which version, and bring them up to date.

They lie in a schema of their own, so that a database may hold other things as well.
"""

from __future__ import annotations

from asyncpg import exceptions as pg

from batchjob.errors import StoreError
from batchjob.stores.postgres.line import Connection, shown, translate
from batchjob.stores.postgres.scripts import migrations, read

OLDEST = 140000
"""PostgreSQL 14, the oldest that is tended."""
WHAT = (
    "SELECT version(), current_setting('server_version_num')::int, to_regclass('batchjob.meta')::text,"
    " to_regnamespace('batchjob')::text"
)
FOR_WRITING = (
    "SELECT current_setting('server_encoding'), pg_is_in_recovery(), current_setting('transaction_read_only')::boolean"
)
MAKING = 0x626A6F62
"""The advisory lock under which tables are made, for the transaction alone."""


async def version_of(db: Connection, url: str) -> int:
    """The version of the tables, 0 where there are none.

    Raises:
        StoreError: they are of a newer batchjob, or this is no server that can hold them.
    """
    said, number, meta, ours = await db.fetchrow(WHAT)
    if "cockroach" in said.lower() or not said.startswith("PostgreSQL"):
        raise StoreError(
            f"{shown(url)} is no PostgreSQL ({said.split(',')[0][:60]}), and batchjob is sure of nothing else there: "
            f"give one with --db"
        )
    if number < OLDEST:
        raise StoreError(f"{shown(url)} is PostgreSQL {number // 10000}: batchjob needs {OLDEST // 10000} or newer")
    if meta is None:
        if ours is not None:
            raise StoreError(
                f"{shown(url)} has a schema `batchjob` of another program. Give another database with --db"
            )
        return 0
    # A name is looked up as of now, a row as of the snapshot: of tables just made this transaction sees no row yet.
    version: int = await db.fetchval("SELECT version FROM batchjob.meta") or 0
    if version > len(migrations()):
        raise StoreError(
            f"{shown(url)} was written by a newer batchjob (schema {version}; this one knows {len(migrations())}). "
            f"Upgrade with: pip install --upgrade batchjob"
        )
    return version


async def migrate(db: Connection, url: str) -> None:
    """Bring the tables up to the newest version, in the caller's transaction; of two who try, one waits.

    Raises:
        StoreError: they are of a newer batchjob, or this is no database to write to.
    """
    version = await version_of(db, url)
    encoding, standby, read_only = await db.fetchrow(FOR_WRITING)
    if standby:
        raise StoreError(f"{shown(url)} is a standby, which is only read: give the server that it follows")
    if read_only:
        raise StoreError(
            f"{shown(url)} is only read (default_transaction_read_only is on for this server, database or user): "
            f"give one that may be written to"
        )
    if version == len(migrations()):
        return
    if encoding != "UTF8":
        raise StoreError(
            f"{shown(url)} has the encoding {encoding}, which cannot hold every text. Make another database: "
            f"createdb --encoding UTF8 --template template0 NAME"
        )
    try:
        await db.execute(f"SELECT pg_advisory_xact_lock({MAKING})")
        done = await version_of(db, url)
        for number, file in enumerate(migrations()[done:], start=done + 1):
            await db.execute(read(file))
            await db.execute(f"UPDATE batchjob.meta SET version = {number}")
    except pg.PostgresError as error:
        raise translate(error, url) from error
