"""The work table in SQLite: one connection writes, one transaction a group, flushed before it counts.

A whole transaction is one call to aiosqlite's thread. So it is never cancelled in the middle, nobody else's statement
gets into it, and a group of rows pays for one hand-over between threads instead of one a statement.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import aiosqlite
import msgspec

from batchjob import failpoints
from batchjob.errors import StoreError
from batchjob.model import (
    AddRows,
    Beat,
    Claim,
    InputSource,
    Job,
    LostAs,
    Parcel,
    Remembered,
    Row,
    Run,
    Settle,
    Unheard,
    Write,
)
from batchjob.states import JobState, Outcome, State
from batchjob.stores.sqlite import schema
from batchjob.stores.sqlite.group import QUERIES, Group, Tally, count_up, prepare
from batchjob.stores.sqlite.lock import WriterLock
from batchjob.stores.sqlite.reader import SHIFT, find_job, id_range, job_from_record

T = TypeVar("T")
PAGE_BYTES = 4 * 1024 * 1024
"""Texts read ahead at once, at most; a page ends early behind a text that passes it."""
RESERVE_BYTES = 4 * 1024 * 1024
"""Kept in a file beside the database, and let go when the disk is full, for the answers that are in hand."""
_NUMBER = (1 << SHIFT) - 1

_encode = msgspec.json.encode


class _Writer(aiosqlite.Connection):
    """aiosqlite's connection, with one more verb."""

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run work on the connection's own thread; once begun it ends, whatever becomes of the caller."""
        result: T = await self._execute(work, self._conn)  # type: ignore[no-untyped-call]
        return result

    def join(self) -> None:
        """Wait for the thread of a connection that could not be opened: it would answer a loop that is closed."""
        self._thread.join()


class SqliteStore:
    """See ports.Store. Made by `open_store`; `job_id` is set by `create_job` or `choose`."""

    def __init__(self, connection: _Writer, path: Path, lock: WriterLock) -> None:
        self._connection = connection
        self._path = path
        self._lock = lock
        self._inode = path.stat().st_ino
        self._job_id = 0
        self._run_id = 0
        self._last_claim = 0

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

    async def commit(self, writes: Sequence[Write]) -> None:
        """See ports.Store.commit."""
        group = Group(writes, job_id=self._job_id, run_id=self._run_id)
        await self._read(group.apply if failpoints.armed is None else lambda db: _apply_or_fail(group, writes, db))
        if any(isinstance(write, Beat) for write in writes):
            self._check_in_place()

    def _check_in_place(self) -> None:
        """The file may be deleted or replaced under a run, which SQLite does not notice."""
        try:
            same = self._path.stat().st_ino == self._inode
        except FileNotFoundError:
            same = False
        if not same:
            raise StoreError(f"{self._path} was deleted or replaced while it was in use. Put it back and resume")

    def free_reserve(self) -> None:
        """Give back the disk space kept for this moment."""
        with contextlib.suppress(OSError):
            _reserve_path(self._path).unlink()

    # ------------------------------------------------------------ jobs and runs

    async def create_job(
        self, *, uid: str, name: str, source: InputSource, settings: bytes, task_digest: str, at: float
    ) -> None:
        """A new job, which this store works on from now on."""
        values = {
            "uid": uid,
            "name": name,
            "input_path": source.path,
            "source": _encode(source).decode(),
            "settings": settings.decode(),
            "task_digest": task_digest,
            "at": at,
        }
        self._job_id = await self._write(lambda db: db.execute(QUERIES["add_job"], values).lastrowid or 0)
        self._lock.name(name)

    async def choose(self, name: str) -> None:
        """Work on this job from now on."""
        job = await self._read(lambda db: find_job(db, name))
        self._job_id = job.id
        self._lock.name(name)

    async def job(self) -> Job:
        """The job as it stands."""
        return await self._read(
            lambda db: job_from_record(db.execute("SELECT * FROM job WHERE id = ?", (self._job_id,)).fetchone())
        )

    async def set_settings(self, settings: bytes) -> None:
        """What the job goes by from now on."""
        values = {"settings": settings.decode(), "job": self._job_id}
        await self._write(lambda db: db.execute(QUERIES["set_settings"], values))

    async def begin_run(self, *, at: float) -> Run:
        """See ports.Store.begin_run."""

        def work(db: sqlite3.Connection) -> Run:
            job = job_from_record(db.execute("SELECT * FROM job WHERE id = ?", (self._job_id,)).fetchone())
            state = JobState.RUNNING if job.ingested else JobState.INGESTING
            db.execute(QUERIES["set_state"], {"state": state, "reason": "", "at": at, "job": self._job_id})
            last = db.execute(QUERIES["last_request"]).fetchone()[0]
            values = {"job": self._job_id, "pid": os.getpid(), "at": at, "last": last}
            return Run(db.execute(QUERIES["add_run"], values).lastrowid or 0, last)

        run = await self._write(work)
        self._run_id, self._last_claim = run.id, run.last_request_id
        return run

    async def end_run(self, state: JobState, reason: str, *, at: float) -> None:
        """See ports.Store.end_run."""

        def work(db: sqlite3.Connection) -> None:
            db.execute(QUERIES["set_state"], {"state": state, "reason": reason, "at": at, "job": self._job_id})
            db.execute(QUERIES["end_run"], {"at": at, "run": self._run_id})

        await self._write(work)

    async def set_prices(self, prices: bytes) -> None:
        """What costs are reckoned at, for the reports (JSON)."""
        values = {"prices": prices.decode(), "job": self._job_id}
        await self._write(lambda db: db.execute(QUERIES["set_prices"], values))

    async def spent_picousd(self) -> int:
        """See ports.Store.spent_picousd."""
        query = "SELECT total(n) FROM tally WHERE job_id = ? AND kind = 'cost' AND name IN ('answered', 'lost')"
        return await self._read(lambda db: int(db.execute(query, (self._job_id,)).fetchone()[0]))

    async def cached_labels(self, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Remembered]:
        """See ports.Store.cached_labels."""
        given = {"keys": _encode(keys).decode()}

        def work(db: sqlite3.Connection) -> dict[tuple[int, int], Remembered]:
            return {
                (id_, code): Remembered((id_, code), label, bool(fallback), job_id, job)
                for id_, code, label, fallback, job_id, job in db.execute(QUERIES["cached_labels"], given)
            }

        return await self._read(work)

    async def forget_labels(self, *, before: float | None) -> int:
        """Take labels out of the cache, all or those remembered before a time; how many."""
        query, values = ("forget_all", {}) if before is None else ("forget_older", {"before": before})
        return await self._write(lambda db: db.execute(QUERIES[query], values).rowcount)

    async def counts(self) -> dict[str, int]:
        """See ports.Store.counts."""
        query = "SELECT name, n FROM tally WHERE job_id = ? AND kind = 'row'"
        found = await self._read(lambda db: dict(db.execute(query, (self._job_id,)).fetchall()))
        return {state: found.get(state, 0) for state in State}

    # ------------------------------------------------------------ rows

    async def fresh_rows(self, *, after: int, limit: int) -> list[Row]:
        """See ports.Store.fresh_rows."""
        base, last = id_range(self._job_id)
        values = {"after": base + after, "last": last, "limit": limit}

        def work(db: sqlite3.Connection) -> list[Row]:
            rows: list[Row] = []
            size = 0
            for id_, text, defect, rest in db.execute(QUERIES["fresh_rows"], values):
                rows.append(Row(id_ & _NUMBER, text, 0, 0, defect, rest))
                size += len(text)
                if size > PAGE_BYTES:
                    break
            return rows

        return await self._read(work)

    async def returned_parcels(
        self, *, after: tuple[int, int] | None, limit: int
    ) -> tuple[list[Parcel], tuple[int, int]]:
        """See ports.Store.returned_parcels."""

        def work(db: sqlite3.Connection) -> tuple[list[Parcel], tuple[int, int]]:
            sent = after is None or after[0] > 0
            page = self._returned(db, after or (0, _NUMBER), limit, last_claim=self._last_claim) if sent else None
            if page and page[0]:
                return page
            return self._returned(db, (0, 0) if sent or after is None else after, limit, last_claim=0)

        return await self._read(work)

    def _returned(
        self, db: sqlite3.Connection, after: tuple[int, int], limit: int, *, last_claim: int
    ) -> tuple[list[Parcel], tuple[int, int]]:
        base, _ = id_range(self._job_id)
        values = {
            "job": self._job_id,
            "claim": after[0],
            "after": base + after[1],
            "last_claim": last_claim,
            "limit": limit,
        }
        parcels: list[Parcel] = []
        last = after
        size = 0
        for claim, id_, text, attempts, paid, defect, rest, model, key, insisted in db.execute(
            QUERIES["returned_rows"], values
        ):
            row = Row(id_ & _NUMBER, text, attempts, paid, defect, rest, bool(insisted))
            if key and parcels and claim == last[0]:
                parcels[-1] = Parcel((*parcels[-1].rows, row), model, parcels[-1].lost)
            elif size > PAGE_BYTES:
                break
            else:
                parcels.append(Parcel((row,), model or "", LostAs(claim, key) if key else None))
            last = (claim, row.number)
            size += len(text)
        if parcels and parcels[-1].lost:  # a page's end must not part what goes out whole, under its key
            more = {**values, "claim": last[0], "after": base + last[1], "last_claim": last[0], "limit": -1}
            for _, id_, text, attempts, paid, defect, rest, *_ in db.execute(QUERIES["returned_rows"], more):
                last = (last[0], id_ & _NUMBER)
                row = Row(last[1], text, attempts, paid, defect, rest)
                parcels[-1] = Parcel((*parcels[-1].rows, row), parcels[-1].model, parcels[-1].lost)
        return parcels, last

    async def unheard_rows(self, *, after: int, limit: int) -> list[Unheard]:
        """See ports.Store.unheard_rows."""
        values = {"job": self._job_id, "after": after, "limit": limit}

        def work(db: sqlite3.Connection) -> list[Unheard]:
            rows: list[Unheard] = []
            size = 0
            for id_, text, model, job in db.execute(QUERIES["unheard_rows"], values):
                rows.append(Unheard(id_, id_ & _NUMBER, text, model, job))
                size += len(text)
                if size > PAGE_BYTES:
                    break
            return rows

        return await self._read(work)

    async def recover(self, *, hold: bool, at: float) -> int:
        """See ports.Store.recover."""
        first, last = id_range(self._job_id)
        state = State.UNCONFIRMED if hold else State.PENDING
        error = "the process died while this request was out"

        def work(db: sqlite3.Connection) -> int:
            requests = db.execute(QUERIES["dead_requests"], {"job": self._job_id}).fetchall()
            db.execute(QUERIES["end_dead_runs"], {"job": self._job_id})
            if hold:
                held = db.execute(QUERIES["hold_lost_rows"], {"job": self._job_id}).rowcount
                moved = {("row", State.PENDING): -held, ("row", state): held, ("error", "unconfirmed"): held}
                count_up(db, self._job_id, Counter(moved))
            if not requests:
                return 0
            left = db.execute(QUERIES["in_flight_rows"], {"first": first, "last": last}).fetchall()
            rows = {"rows": _encode(left).decode(), "state": state, "error": error}
            _expect(db.execute(QUERIES["recover_rows"], rows), len(left), "recover_rows")
            failpoints.reach("recover.after_rows", sqlite3.OperationalError)
            lost = {"rows": _encode(requests).decode(), "at": at, "error": error}
            _expect(db.execute(QUERIES["recover_requests"], lost), len(requests), "recover_requests")
            tally: Tally = Counter()
            tally["row", State.IN_FLIGHT] -= len(left)
            tally["row", state] += len(left)
            tally["request", "sent"] += len(requests)
            tally["request", Outcome.LOST] += len(requests)
            tally["cost", "lost"] += sum(cost for _, cost in requests)
            if hold:
                tally["error", "unconfirmed"] += len(left)
            count_up(db, self._job_id, tally)
            failpoints.reach("recover.before_commit", sqlite3.OperationalError)
            return len(requests)

        found = await self._write(work)
        await self._read(lambda _: failpoints.reach("recover.after_commit", sqlite3.OperationalError))
        return found

    async def retry(self, kinds: Sequence[str], *, at: float) -> int:
        """See ports.Store.retry."""

        def work(db: sqlite3.Connection) -> int:
            tally: Tally = Counter()
            for kind in kinds:
                failed, held = db.execute(
                    "SELECT total(state = 'failed'), total(state = 'unconfirmed') FROM row"
                    " WHERE id >> 40 = ? AND error_kind = ? AND state IN ('failed', 'unconfirmed')",
                    (self._job_id, kind),
                ).fetchone()
                changed = db.execute(QUERIES["retry"], {"job": self._job_id, "kind": kind}).rowcount
                tally["row", State.FAILED] -= int(failed)
                tally["row", State.UNCONFIRMED] -= int(held)
                tally["row", State.PENDING] += changed
                tally["error", kind] -= changed
            count_up(db, self._job_id, tally)
            if tally["row", State.PENDING]:
                reason = {"state": JobState.STOPPED, "reason": "failed rows were put back", "at": at}
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
    """Open the database at an absolute path for writing, making or migrating it where needed.

    `job` is what other processes are told that ask for it meanwhile.

    Raises:
        JobBusy: another process is writing to it.
        StoreError: it cannot be used.
    """
    if sqlite3.sqlite_version_info < (3, 38):
        raise StoreError(f"SQLite {sqlite3.sqlite_version} is too old: batchjob needs 3.38. Use a newer Python")
    refuse_network_disk(path)
    lock = WriterLock(path, job)

    def connect() -> sqlite3.Connection:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))  # before any text is in it
        connection = sqlite3.connect(path, isolation_level=None, timeout=10, check_same_thread=False)
        try:
            schema.check_ours(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute("PRAGMA temp_store = MEMORY")
            schema.migrate(connection, path)
            prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    try:
        _fill_reserve(path)
        connection = _Writer(connect, 64)
        try:
            await connection
        except BaseException:
            connection.join()
            raise
    except sqlite3.Error as error:
        lock.release()
        raise schema.translate(error, path) from error
    except BaseException:
        lock.release()
        raise
    return SqliteStore(connection, path, lock)


def refuse_network_disk(path: Path) -> None:
    """WAL keeps its index in shared memory, which machines on a network do not share.

    Raises:
        StoreError: the path lies on a network file system (as far as Linux tells).
    """
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, mount, type_, *_ = line.split(" ")
            mount = mount.replace("\\040", " ")
            if path.is_relative_to(mount) and len(mount) >= len(best):
                best, kind = mount, type_
    if kind in ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "glusterfs"):
        raise StoreError(f"{path} lies on a network file system ({kind}), where SQLite is not safe. Use a local --db")


def _reserve_path(path: Path) -> Path:
    return path.with_name(path.name + ".reserve")


def _fill_reserve(path: Path) -> None:
    """Keep some disk space; without room for it the job runs all the same."""
    reserve = _reserve_path(path)
    with contextlib.suppress(OSError):
        if reserve.exists() and reserve.stat().st_size >= RESERVE_BYTES:
            return
        file = os.open(reserve, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            os.posix_fallocate(file, 0, RESERVE_BYTES)
        except OSError:
            reserve.unlink()
        finally:
            os.close(file)


def _apply_or_fail(group: Group, writes: Sequence[Write], db: sqlite3.Connection) -> None:
    """Group.apply between its failpoints."""
    kinds = {"claims": Claim, "results": Settle, "input": AddRows}
    names = ["group", *(name for name, kind in kinds.items() if any(isinstance(write, kind) for write in writes))]
    for name in names:
        failpoints.reach(f"{name}.before_commit", sqlite3.OperationalError)
    group.apply(db)
    for name in names:
        failpoints.reach(f"{name}.after_commit", sqlite3.OperationalError)


def _expect(cursor: sqlite3.Cursor, rows: int, query: str) -> None:
    """A transition that does not change the rows it should is a defect or a foreign hand: nothing of it is kept."""
    if cursor.rowcount != rows:
        raise sqlite3.IntegrityError(query)
