"""The work table in SQLite: one connection writes, one transaction a group, flushed before it counts.

A whole transaction is one call to aiosqlite's thread. So it is never cancelled in the middle, nobody else's statement
gets into it, and a group of rows costs one hand-over between threads, not one a statement.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from typing import TypeVar

import msgspec

from batchjob import failpoints
from batchjob.model import (
    Ending,
    InputSource,
    Job,
    Key,
    Page,
    Remembered,
    Run,
    TaskRecord,
    Unheard,
    Write,
)
from batchjob.ports import Control, Drawn
from batchjob.states import JobState, Outcome, State
from batchjob.stores import ids
from batchjob.stores.alone import Alone
from batchjob.stores.counters import Counters
from batchjob.stores.counting import counted_of
from batchjob.stores.pages import unheard
from batchjob.stores.records import job_from_record, select_jobs
from batchjob.stores.sqlite import connections, files, removal, schema
from batchjob.stores.sqlite.finding import find_job
from batchjob.stores.sqlite.group import QUERIES, Group, apply_or_fail, count_up
from batchjob.stores.sqlite.lock import WriterLock, refuse_working
from batchjob.stores.sqlite.memory import Memory, learned
from batchjob.stores.sqlite.pages import Pages
from batchjob.stores.writes import Counted, Tally

T = TypeVar("T")
GO_ON = Control()  # only one process works on a database, so there is never anybody who could stop it
BEATS_A_CHECKPOINT = 30
"""Seconds: who copies the file without its log misses no more than is labelled in them."""

_encode = msgspec.json.encode


class SqliteStore(Alone, Counters):
    """See ports.Store. `create_job` or `choose` sets the job, `begin_run` the run."""

    def __init__(self, connection: connections.Writer, path: Path, lock: WriterLock) -> None:
        self._connection = connection
        self._path = path
        self._lock = lock
        self._inode = path.stat().st_ino
        self._job_id, self._job = 0, ""
        self._run_id = self._task_id = 0
        self._counted: Counted | None = None
        self._pages: Pages | None = None
        self._memory = Memory()
        self._beats = 0

    # ------------------------------------------------------------ transactions

    async def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._connection.call(work)
        except sqlite3.Error as error:
            raise schema.translate(error, self._path) from error

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction; on disk when it returns, and nothing of it is there when it raises."""

        def transaction(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            return result

        return await self._read(transaction)

    async def commit(self, writes: Sequence[Write]) -> Control:
        """See ports.Store.commit."""
        group = Group(writes, job_id=self._job_id, task_id=self._task_id, run_id=self._run_id, counted=self._counted)

        def work(db: sqlite3.Connection) -> None:
            if failpoints.armed is None:
                group.apply(db)
            else:
                apply_or_fail(group, writes, db)
            if group.remembered:
                self._memory.committed(db, group.remembered, self._job_id, self._job)

        await self._read(work)
        if group.beats:
            files.check_in_place(self._path, self._inode)
            self._lock.keep()
            self._beats += 1
            if self._beats % BEATS_A_CHECKPOINT == 0:
                await self._read(lambda db: db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone())
        return GO_ON

    def free_reserve(self) -> None:
        """See ports.Store.free_reserve."""
        files.free_reserve(self._path)

    # ------------------------------------------------------------ jobs

    async def create_job(
        self, *, uid: str, name: str, source: InputSource, settings: bytes, task: TaskRecord, at: float
    ) -> None:
        """See ports.Store.create_job."""
        values = {
            "uid": uid,
            "name": name,
            "digest": task.digest,
            "input_path": source.place,
            "source": _encode(source).decode(),
            "settings": settings.decode(),
            "at": at,
        }

        def work(db: sqlite3.Connection) -> int:
            _add_task(db, task)
            return db.execute(QUERIES["add_job"], values).lastrowid or 0

        self._job_id = await self._write(work)
        self._name(name)

    async def choose(self, name: str) -> None:
        """See ports.Store.choose."""
        job = await self._read(lambda db: find_job(db, name))
        self._job_id = job.id
        self._name(name)

    def _name(self, job: str) -> None:
        self._job = job
        self._lock.name(job)

    async def job(self) -> Job:
        """See ports.Store.job."""
        return await self._read(lambda db: self._own_job(db))

    def _own_job(self, db: sqlite3.Connection) -> Job:
        return job_from_record(db.execute(select_jobs("WHERE job.id = ?"), (self._job_id,)).fetchone())

    async def set_settings(self, settings: bytes) -> None:
        """See ports.Store.set_settings."""
        await self._set("set_settings", settings=settings.decode())

    async def set_source(self, source: InputSource) -> None:
        """See ports.Store.set_source."""
        await self._set("set_source", source=_encode(source).decode(), input_path=source.place)

    async def set_prices(self, prices: bytes) -> None:
        """See ports.Store.set_prices."""
        await self._set("set_prices", prices=prices.decode())

    async def _set(self, query: str, **values: str) -> None:
        await self._write(lambda db: db.execute(QUERIES[query], {**values, "job": self._job_id}))

    async def _tally(self, kind: str) -> dict[str, int]:
        query = "SELECT name, n FROM tally WHERE job_id = ? AND kind = ?"
        return await self._read(lambda db: dict(db.execute(query, (self._job_id, kind)).fetchall()))

    # ------------------------------------------------------------ a run

    async def begin_run(self, task: TaskRecord, *, fresh: bool, up_to: int | None, at: float) -> Run:
        """See ports.Store.begin_run."""

        def work(db: sqlite3.Connection) -> int:
            state = JobState.RUNNING if self._own_job(db).ingested else JobState.INGESTING
            db.execute(QUERIES["set_state"], {"state": state, "reason": "", "kind": "", "at": at, "job": self._job_id})
            self._task_id = _add_task(db, task)
            self._counted = counted_of(task)
            values = {"job": self._job_id, "digest": task.digest, "pid": os.getpid(), "at": at}
            return db.execute(QUERIES["add_run"], values).lastrowid or 0

        self._run_id = await self._write(work)
        await self._read(self._memory.open)
        run = await self._begun(self._run_id, fresh=fresh, shared=False)
        self._pages = Pages(self._job_id, run=self._run_id, fresh=fresh, up_to=up_to)
        return run

    async def end_run(self, ending: Ending, *, at: float) -> None:
        """See ports.Store.end_run."""

        def work(db: sqlite3.Connection) -> None:
            why = {"state": ending.state, "reason": ending.reason, "kind": ending.kind}
            db.execute(QUERIES["set_state"], {**why, "at": at, "job": self._job_id})
            db.execute(QUERIES["end_run"], {"at": at, "run": self._run_id})

        await self._write(work)
        await self._connection.call(self._memory.rest)

    async def draw(self, limit: int | None, *, held: int = 0, need: int = 0, want: int = 0) -> Drawn:
        """See ports.Store.draw. Nobody else draws, so it is all that is left."""
        query = "SELECT total(n) FROM tally WHERE job_id = ? AND kind = 'cost' AND name IN ('answered', 'lost')"
        spent = await self._read(lambda db: int(db.execute(query, (self._job_id,)).fetchone()[0]))
        return Drawn(spent, None if limit is None else limit - spent)

    async def wanted(self) -> int:
        """See ports.Store.wanted."""
        pages = self._pages
        assert pages is not None, "begin_run comes first"
        return (await self.counts())[State.PENDING] if pages.wants_all else await self._read(pages.wanted)

    async def next_page(self, limit: int) -> Page | None:
        """See ports.Store.next_page."""
        pages = self._pages
        assert pages is not None, "begin_run comes first"
        return await self._read(lambda db: pages.next(db, limit))

    async def unheard_rows(self, *, after: int, limit: int) -> list[Unheard]:
        """See ports.Store.unheard_rows."""
        values = {"job": self._job_id, "run": self._run_id, "after": after, "limit": limit}
        return await self._read(lambda db: unheard(db.execute(QUERIES["unheard_rows"], values)))

    async def cached_labels(self, keys: Sequence[Key]) -> dict[Key, Remembered]:
        """See ports.Store.cached_labels."""
        return await self._read(lambda db: self._memory.look_up(db, keys))

    async def learned(self, base_url: str) -> dict[str, bytes]:
        """See ports.Store.learned."""
        return await self._read(lambda db: learned(db, base_url))

    async def learn(self, base_url: str, model: str, facts: bytes, *, at: float) -> None:
        """See ports.Store.learn."""
        values = {"base_url": base_url, "model": model, "facts": facts.decode(), "at": at}
        await self._write(lambda db: db.execute(QUERIES["learn"], values))

    async def remove(self) -> bool:
        """See ports.Store.remove."""
        await self._write(lambda db: removal.remove_job(db, self._job_id))
        return await self._read(removal.flush_deleted)

    async def forget_labels(self, *, before: float | None, but: Sequence[Key] = ()) -> int:
        """See ports.Store.forget_labels."""
        await self._read(self._memory.open)
        older = {"before": inf if before is None else before, "but": _encode([id_ for id_, _ in but]).decode()}

        def work(db: sqlite3.Connection) -> int:
            count: int = db.execute(QUERIES["count_older"], older).fetchone()[0]
            db.execute(QUERIES["forget_older"], older)
            return count

        return await self._write(work)

    # ------------------------------------------------------------ after a crash, and put back

    async def recover(self, *, hold: bool, at: float) -> int:
        """See ports.Store.recover."""
        found = await self._write(lambda db: self._recover(db, hold=hold, at=at))
        await self._read(lambda _: failpoints.reach("recover.after_commit", sqlite3.OperationalError))
        return found

    def _recover(self, db: sqlite3.Connection, *, hold: bool, at: float) -> int:
        own = {"job": self._job_id, "run": self._run_id}
        tally: Tally = Counter()
        requests = db.execute(QUERIES["dead_requests"], own).fetchall()
        db.execute(QUERIES["end_dead_runs"], own)
        if hold:
            first, last = ids.row_range(self._job_id)
            held = db.execute(QUERIES["hold_lost_rows"], {"first": first, "last": last}).rowcount
            tally.update({("row", State.PENDING): -held, ("row", State.UNCONFIRMED): held})
            tally["error", "unconfirmed"] += held
        if requests:
            state = State.UNCONFIRMED if hold else State.PENDING
            error = "the process died while this request was out"
            lost = {"rows": _encode(requests).decode(), "job": self._job_id, "at": at, "error": error}
            left = db.execute(QUERIES["in_flight_rows"], lost).fetchall()
            rows = {"rows": _encode(left).decode(), "state": state, "error": error}
            _expect(db.execute(QUERIES["recover_rows"], rows), len(left), "recover_rows")
            failpoints.reach("recover.after_rows", sqlite3.OperationalError)
            _expect(db.execute(QUERIES["lose_requests"], lost), len(requests), "lose_requests")
            _expect(db.execute(QUERIES["forget_intents"], lost), len(requests), "forget_intents")
            tally.update({("row", State.IN_FLIGHT): -len(left), ("row", state): len(left)})
            tally.update({("request", "sent"): len(requests), ("request", Outcome.LOST): len(requests)})
            tally["cost", "lost"] += sum(cost for _, cost in requests)
            tally["error", "unconfirmed"] += len(left) if hold else 0
        count_up(db, self._job_id, tally)
        if requests:
            failpoints.reach("recover.before_commit", sqlite3.OperationalError)
        return len(requests)

    async def retry(self, kinds: Sequence[str], *, at: float, but: Sequence[int] = (), second: bool = False) -> int:
        """See ports.Store.retry."""
        first, last = ids.row_range(self._job_id)

        def work(db: sqlite3.Connection) -> int:
            tally: Tally = Counter()
            for kind in kinds:
                values = {"first": first, "last": last, "kind": kind, "but": _encode(but).decode(), "second": second}
                failed, held = db.execute(QUERIES["problems"], values).fetchone()
                changed = db.execute(QUERIES["retry"], values).rowcount
                tally["row", State.FAILED] -= int(failed)
                tally["row", State.UNCONFIRMED] -= int(held)
                tally["row", State.PENDING] += changed
                tally["error", kind] -= changed
            count_up(db, self._job_id, tally)
            if tally["row", State.PENDING]:
                reason = {"state": JobState.STOPPED, "reason": "failed rows were put back", "kind": "", "at": at}
                db.execute(QUERIES["set_state"], {**reason, "job": self._job_id})
            return tally["row", State.PENDING]

        return await self._write(work)

    async def close(self) -> None:
        """See ports.Store.close."""
        try:
            await self._read(lambda _: failpoints.reach("close.before_checkpoint", sqlite3.OperationalError))
        finally:
            await self._connection.close()
            failpoints.reach("close.after_checkpoint")
            self._lock.release()


async def open_store(path: Path, *, job: str) -> SqliteStore:
    """Open the database at a real path (absolute, no links) for writing, making or migrating it where needed.

    `job` is what other processes are told that ask for it meanwhile.

    Raises:
        JobBusy: another process is writing to it.
        SettingError: one of its files is a link, has a second name or is not batchjob's.
        StoreError: it cannot be used.
    """
    files.refuse_network_disk(path)
    files.check_own(path)
    lock = WriterLock(path, job)
    try:
        files.fill_reserve(path)
        connection = connections.Writer(lambda: connections.connect(path), 64)
        try:
            await connection
        except BaseException:
            connection.join()
            raise
        try:
            await connection.call(lambda db: refuse_working(path, lambda: db.execute(QUERIES["beating"]).fetchone()))
        except BaseException:
            await connection.close()
            raise
    except sqlite3.Error as error:
        lock.release()
        raise schema.translate(error, path) from error
    except BaseException:
        lock.release()
        raise
    return SqliteStore(connection, path, lock)


def _add_task(db: sqlite3.Connection, task: TaskRecord) -> int:
    """The id of a task, which is put in where it is not there."""
    values = {"digest": task.digest, "question": task.question, "settings": task.settings.decode()}
    db.execute(QUERIES["add_task"], values)
    found: int = db.execute("SELECT id FROM task WHERE digest = ?", (task.digest,)).fetchone()[0]
    return found


def _expect(cursor: sqlite3.Cursor, rows: int, query: str) -> None:
    """A transition that does not change the rows it should is a defect or a foreign hand: nothing of it is kept."""
    if cursor.rowcount != rows:
        raise sqlite3.IntegrityError(query)
