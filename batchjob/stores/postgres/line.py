"""Connections to PostgreSQL, and what its errors mean.

Each piece of work is one transaction. So a connection pooler in transaction mode may stand between (PgBouncer): no
session state is relied upon and no prepared statement outlives its transaction.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import asyncpg
from asyncpg import exceptions as pg

from batchjob.errors import DiskFull, GivenUp, StoreError
from batchjob.printable import without_passwords

T = TypeVar("T")
Connection = Any
"""asyncpg's, which has no types."""

CONNECT_SECONDS = 10.0
PATIENCE_SECONDS = 600.0
"""How long a server may be away in the middle of work: a restart or a fail-over takes less."""
LONGEST_WAIT = 2.0

AWAY = (
    pg.PostgresConnectionError,
    pg.InterfaceError,
    pg.InternalClientError,
    pg.OperatorInterventionError,
    pg.TooManyConnectionsError,
    pg.ReadOnlySQLTransactionError,
    pg.IdleInTransactionSessionTimeoutError,
    pg.SerializationError,
    pg.DeadlockDetectedError,
    OSError,
    TimeoutError,
)
"""The server, or the way to it, is not there now, or asks to try again. A reader that was the writer before a
fail-over is among them."""


def shown(url: str) -> str:
    """The URL as it may be printed: without its password."""
    return without_passwords(url).split("?")[0]


async def connect(url: str) -> Connection:
    """A connection.

    Raises:
        StoreError: there is none, and why.
    """
    try:
        return await _connect(url)
    except (*AWAY, pg.PostgresError, ValueError) as error:
        raise StoreError(f"{shown(url)} cannot be reached: {_why(error, url)}") from None


async def _connect(url: str) -> Connection:
    return await asyncpg.connect(
        url, statement_cache_size=0, timeout=CONNECT_SECONDS, server_settings={"application_name": "batchjob"}
    )


def _why(error: BaseException, url: str) -> str:
    if isinstance(error, pg.InvalidAuthorizationSpecificationError):
        said = _said(error, url)
        return f"the server refuses this user ({said}). A password is read from PGPASSWORD, ~/.pgpass or the URL"
    if isinstance(error, pg.InvalidCatalogNameError):
        return f"{_said(error, url)}. Make it first: createdb {urlsplit(url).path.lstrip('/')}"
    if isinstance(error, TimeoutError):
        return f"no answer within {CONNECT_SECONDS:.0f} s"
    return _said(error, url)


def _said(error: BaseException, url: str) -> str:
    """The words of an error, without the password of the URL."""
    words = getattr(error, "message", None) or str(error) or type(error).__name__  # without DETAIL, which shows texts
    if "connection_lost" in words:
        words = "the connection was closed"
    password = _password(url)
    return without_passwords(words.replace(password, "***") if password else words)


def _password(url: str) -> str:
    try:
        return urlsplit(url).password or ""
    except ValueError:
        return ""


def translate(error: BaseException, url: str) -> StoreError:
    """What an error of PostgreSQL means to a user. Every one is translated here and nowhere else."""
    place, state, words = shown(url), getattr(error, "sqlstate", "") or "", _said(error, url)
    if state == "BJ001":
        return GivenUp(f"{place}: other workers gave this one up, for it was silent too long. Nothing was written")
    if isinstance(error, pg.DiskFullError):
        return DiskFull(f"the disk of {place} is full. Make room and resume: every committed label is kept")
    if state == "BJ002" or isinstance(error, pg.IntegrityConstraintViolationError):
        return StoreError(
            f"{place}: {words} found rows that were not in the state it expects: something else has changed the "
            f"database. Nothing was written; resume reads it anew"
        )
    if isinstance(error, pg.InsufficientPrivilegeError):
        if "for database" in words:
            return StoreError(f"{place}: {words}, so no tables can be made: GRANT CREATE ON DATABASE ... TO this user")
        return StoreError(
            f"{place}: {words}. The tables are another user's: GRANT that role to this one. To read, USAGE on the "
            f"schema batchjob and SELECT on its tables are enough"
        )
    if isinstance(error, AWAY):
        return StoreError(f"{place} is away: {words}")
    return StoreError(f"{place}: PostgreSQL says: {words}")


class Line:
    """A connection that is made anew where it was lost; one piece of work at a time, in the order they came.

    Args:
        patience: seconds for which a server may be away in the middle of work.
        transaction: of what kind each is, where not of the usual.
    """

    def __init__(
        self, url: str, connection: Connection, *, patience: float = PATIENCE_SECONDS, **transaction: Any
    ) -> None:
        self.url, self._patience, self._transaction = url, patience, transaction
        self._connection: Connection | None = connection
        self._turn = asyncio.Lock()

    async def call(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Carry out work in a transaction, again from its beginning where the server was away.

        The answer to a COMMIT may be lost: work must be such that a second time does no harm.

        Raises:
            StoreError: it was not done. Where the server stayed away, the last try may have been.
        """
        async with self._turn:
            until, wait = time.monotonic() + self._patience, 0.05
            while True:
                try:
                    return await self._once(work)
                except AWAY as error:
                    if time.monotonic() > until:
                        raise translate(error, self.url) from error
                except pg.PostgresError as error:
                    raise translate(error, self.url) from error
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    async def _once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        if self._connection is None or self._connection.is_closed():
            self._connection = await _connect(self.url)
        try:
            async with self._connection.transaction(**self._transaction):
                return await work(self._connection)
        except (*AWAY, asyncio.CancelledError):
            self._connection.terminate()  # what is still on its way there belongs to nobody
            self._connection = None
            raise

    async def close(self) -> None:
        """Close it."""
        async with self._turn:
            if self._connection is not None:
                self._connection.terminate()
                self._connection = None
