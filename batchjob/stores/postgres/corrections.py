"""What people say of rows, in a table: any process adds to it, and none of them has to be the one that writes a job."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from asyncpg import exceptions as pg

from batchjob.records import Correction, News
from batchjob.stores.postgres.line import AWAY, Connection, connect, translate
from batchjob.stores.postgres.nul import restored, storable
from batchjob.stores.postgres.reader import wait_for

T = TypeVar("T")


class CorrectionTable:
    """See ports.CorrectionLog. Each use has a connection of its own: corrections are few."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._end: int | None = None

    def add(self, corrections: Sequence[Correction]) -> None:
        """See ports.CorrectionLog.add."""

        async def added(db: Connection) -> None:
            await db.execute("SET LOCAL lock_timeout = '30s'")
            await add(db, corrections)

        self._do(added)

    def news(self) -> News:
        """See ports.CorrectionLog.news."""
        beyond = self._end or 0
        found = self._do(lambda db: db.fetch(BEHIND, beyond))
        anew, self._end = self._end is None, found[-1][0] if found else beyond
        return News([Correction(*restored(record)[1:]) for record in found], anew)

    def forget(self, job: str) -> int:
        """See ports.CorrectionLog.forget."""
        done: str = self._do(lambda db: db.execute("DELETE FROM batchjob.correction WHERE job = $1", job))
        return int(done.split()[-1])

    def _do(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        return wait_for(self._done(work))

    async def _done(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        db = await connect(self._url)
        try:
            async with db.transaction():
                return await work(db)
        except (*AWAY, pg.PostgresError) as error:
            raise translate(error, self._url) from error
        finally:
            db.terminate()


async def add(db: Connection, corrections: Sequence[Correction]) -> None:
    """Keep corrections in this order, in the caller's transaction."""
    records = [tuple(map(storable, (getattr(one, name) for name in NAMES))) for one in corrections]
    # One after the other, so that a reader never sees a number behind which a smaller one still comes.
    await db.execute("LOCK TABLE batchjob.correction IN SHARE ROW EXCLUSIVE MODE")
    await db.executemany(ADD, records)


NAMES = Correction.__struct_fields__
COLUMNS = 'at, who, job, "row", label, before, model, why, field'
ADD = f"INSERT INTO batchjob.correction ({COLUMNS}) VALUES ({', '.join(f'${n + 1}' for n in range(len(NAMES)))})"
BEHIND = f"SELECT id, {COLUMNS} FROM batchjob.correction WHERE id > $1 ORDER BY id"
