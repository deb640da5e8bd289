"""A job that arrives from a file: copied in one transaction, so that none of it is here before all of it is.

A transaction that was broken off may still be on its way to its end at the server, and then nobody knows whether the
job will be here. Each takes the job's own lock, so the next one waits for that end and then sees it.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from asyncpg import exceptions as pg

from batchjob import failpoints
from batchjob.errors import JobError, StoreError
from batchjob.printable import without_passwords
from batchjob.records import Correction
from batchjob.stores import carried, ids
from batchjob.stores.postgres import schema
from batchjob.stores.postgres.corrections import add
from batchjob.stores.postgres.line import AWAY, Connection, connect, translate
from batchjob.stores.postgres.nul import storable, without, without_in_json
from batchjob.stores.sqlite.leaving import Leaving, Records

PAGE_ROWS = 5000
PAGE_BYTES = 4 * 1024 * 1024
_SHOWN = ("host", "port", "dbname", "user")
_SETTINGS = (
    "SELECT set_config('synchronous_commit', 'on', true), set_config('lock_timeout', '60s', true),"
    " set_config('idle_in_transaction_session_timeout', '60s', true)"
)
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))"
_ADD_TASK = "INSERT INTO batchjob.task (digest, question, settings) VALUES ($1, $2, $3) ON CONFLICT (digest) DO NOTHING"
_ADD_RUN = (
    "INSERT INTO batchjob.run (job_id, token, host, place, started, version, task_id, pid, started_at, updated_at,"
    " ended_at, rows_unwanted) VALUES ($1, $2, '', '', '', '', $3, $4, $5, $6, $7, $8) RETURNING id"
)
_LEARN = (
    "INSERT INTO batchjob.learned AS known (base_url, model, facts, at) VALUES ($1, $2, $3, $4)"
    " ON CONFLICT (base_url, model) DO UPDATE SET facts = excluded.facts, at = excluded.at WHERE known.at < excluded.at"
)
_LABELS = f"({', '.join(carried.LABEL)})"
_REMEMBER = (
    f"INSERT INTO batchjob.label_cache AS known {_LABELS} SELECT {', '.join(carried.LABEL)} FROM arriving"
    " ON CONFLICT (id) DO UPDATE SET code = excluded.code, label = excluded.label, off_list = excluded.off_list,"
    " job_id = excluded.job_id, at = excluded.at, loose = excluded.loose WHERE known.at < excluded.at"
)


def place_of(url: str) -> str:
    """The database that a URL means, without its password: what is kept of it, and said."""
    parts = urlsplit(without_passwords(url))
    query = urlencode([pair for pair in parse_qsl(parts.query) if pair[0] in _SHOWN], safe="/")
    return f"postgresql://{parts.netloc}{parts.path or '/'}" + (f"?{query}" if query else "")


def _are_one(place: str, other: str) -> bool:
    """Whether two places are one database, whoever logs in."""
    return urlsplit(place)._replace(netloc=_host(place)) == urlsplit(other)._replace(netloc=_host(other))


def _host(place: str) -> str:
    return urlsplit(place).netloc.rpartition("@")[2]


async def arrive(url: str, leaving: Leaving, said: Callable[[str], Sequence[Correction]]) -> bool:
    """Bring a job here, and mark the one that is left; False: it was here already.

    Raises:
        JobError: another job has its name here, or it went on in another place.
        StoreError: it is not here, and not marked; or, where the text says so, nobody knows yet.
    """
    place = place_of(url)
    if leaving.marked is not None and not _are_one(leaving.marked, place):
        raise JobError(f"job {leaving.name!r} was moved already: it goes on in {leaving.marked}")
    db = await connect(url)
    try:
        try:
            async with db.transaction():
                await schema.migrate(db, url)
            async with db.transaction():
                if await _is_here(db, leaving.uid):
                    if leaving.marked is None:
                        raise JobError(f"job {leaving.name!r} of {place} was made of this very job: it goes on there")
                    return False
                if leaving.marked is not None:
                    leaving.unmark()  # the move before never reached its end
                leaving.begin()
                await _copy(db, leaving)
                await add(db, said(leaving.uid))
                failpoints.reach("move.before_mark")
                leaving.mark(place)
                failpoints.reach("move.after_mark")
            failpoints.reach("move.after_commit")
            with contextlib.suppress(*AWAY, pg.PostgresError):  # pages are found by it, sooner than by autovacuum
                await db.execute("ANALYZE batchjob.input, batchjob.row, batchjob.request, batchjob.label_cache")
            return True
        except (*AWAY, pg.PostgresError) as error:
            await _settle(url, leaving, error)
            return True
        finally:
            leaving.undo()
    finally:
        db.terminate()


async def _is_here(db: Connection, uid: str) -> bool:
    """Whether the job is here, in the caller's transaction; no other move of it is on its way until that ends."""
    await db.execute(_SETTINGS)
    await db.execute(_LOCK, uid)
    found: bool = await db.fetchval("SELECT EXISTS (SELECT 1 FROM batchjob.job WHERE uid = $1)", uid)
    return found


async def _settle(url: str, leaving: Leaving, error: Exception) -> None:
    """After an error: nothing to do where nothing was marked, else see whether the job is here all the same.

    Raises:
        StoreError: it is not here; or nobody knows.
    """
    told = _translated(error, url)
    if leaving.marked is None:
        raise told from error
    try:
        db = await connect(url)
        try:
            async with db.transaction():
                here = await _is_here(db, leaving.uid)
        finally:
            db.terminate()
    except (*AWAY, pg.PostgresError, StoreError):
        raise StoreError(
            f"{told}. Whether job {leaving.name!r} is there cannot be known now, so it does not go on here: give the "
            f"same command again when the server is back"
        ) from error
    if not here:
        leaving.unmark()
        raise told from error


def _translated(error: Exception, url: str) -> StoreError:
    if isinstance(error, pg.LockNotAvailableError):
        return StoreError("a move of this job that was broken off is not over yet at the server: try again in a minute")
    return translate(error, url)


# ---------------------------------------------------------------- copying


class _Ids:
    """The ids that a job's records have here, by those they had."""

    def __init__(self, job_id: int) -> None:
        self.job_id = job_id
        self.tasks: dict[int, int] = {}
        self.runs: dict[int, int] = {}

    def row(self, id_: int) -> int:
        """Of a row."""
        return ids.moved(id_, self.job_id)

    def task(self, id_: int | None) -> int | None:
        """Of a task."""
        return None if id_ is None else self.tasks[id_]

    def request(self, id_: int | None) -> int | None:
        """Of a request; 0 is none, and stays."""
        return ids.moved(id_, self.runs[ids.owner_of(id_)]) if id_ else id_


async def _copy(db: Connection, leaving: Leaving) -> None:
    tasks = {}
    for id_, digest, question, settings in leaving.tasks():
        await db.execute(_ADD_TASK, digest, question, without_in_json(settings.encode()))
        tasks[id_] = await db.fetchval("SELECT id FROM batchjob.task WHERE digest = $1", digest)
    job = leaving.job()
    own = _Ids(await _add_job(db, job, tasks))
    own.tasks = tasks
    for id_, task, *more in leaving.runs():
        own.runs[id_] = await db.fetchval(_ADD_RUN, own.job_id, secrets.token_hex(16), tasks[task], *more)
    await _fill(db, "notice", ("job_id", *carried.NOTICE), ((own.job_id, *one) for one in leaving.notices()))
    rows = await _fill(db, "input", carried.INPUT, _changed(leaving.inputs(), carried.INPUT, {"id": own.row}))
    if rows != job["rows"]:
        raise StoreError(f"job {leaving.name!r} says that {job['rows']:,} rows were read and has {rows:,}: run doctor")
    await _copy_ledger(db, leaving, own)
    await _copy_labels(db, leaving, own)


async def _add_job(db: Connection, job: dict[str, Any], tasks: dict[int, int]) -> int:
    if await db.fetchval("SELECT EXISTS (SELECT 1 FROM batchjob.job WHERE name = $1)", without(job["name"])):
        raise JobError(
            f"there is another job named {job['name']!r} there: remove that one, or move to another database"
        )
    values = {name: storable(value) for name, value in job.items() if name != "id"}
    for name in ("source", "settings", "prices"):
        values[name] = without_in_json(job[name].encode())
    values.update(task_id=tasks[job["task_id"]], ingested=bool(job["ingested"]))
    numbered = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    query = f"INSERT INTO batchjob.job ({', '.join(values)}) VALUES ({numbered}) RETURNING id"
    made: int = await db.fetchval(query, *values.values())
    return made


async def _copy_ledger(db: Connection, leaving: Leaving, own: _Ids) -> None:
    of_row: dict[str, Callable[[Any], Any]] = {
        "id": own.row,
        "request_id": own.request,
        "task_id": own.task,
        "put_back": bool,
    }
    await _fill(db, "row", carried.ROW, _changed(leaving.rows(), carried.ROW, of_row))
    of_request = {"id": own.request, "repeats": own.request, "task_id": own.task}
    for run in own.runs:
        await _fill(db, "request", carried.REQUEST, _changed(leaving.requests(run), carried.REQUEST, of_request))
    counters = ((own.job_id, 0, kind, without(name), n) for kind, name, n in leaving.tally())
    await _fill(db, "tally", ("job_id", "run_id", *carried.TALLY), counters)


async def _copy_labels(db: Connection, leaving: Leaving, own: _Ids) -> None:
    for base_url, model, facts, at in leaving.learned():
        await db.execute(_LEARN, base_url, model, facts, at)
    await db.execute("CREATE TEMP TABLE arriving (LIKE batchjob.label_cache) ON COMMIT DROP")

    def of(job_id: int) -> int:
        return own.job_id if job_id == leaving.id else 0

    changed = _changed(leaving.labels(), carried.LABEL, {"job_id": of, "off_list": bool, "loose": bool})
    await _fill(db, "arriving", carried.LABEL, changed, schema_name=None)
    await db.execute(_REMEMBER)


def _changed(
    records: Records, columns: tuple[str, ...], changes: Mapping[str, Callable[[Any], Any]]
) -> Iterator[list[Any]]:
    """The records with some of their columns changed, and with texts as PostgreSQL can hold them."""
    changed = [(columns.index(name), change) for name, change in changes.items()]
    for record in records:
        values = list(map(storable, record))
        for at, change in changed:
            values[at] = change(values[at])
        yield values


async def _fill(
    db: Connection,
    table: str,
    columns: tuple[str, ...],
    records: Iterable[Any],
    *,
    schema_name: str | None = "batchjob",
) -> int:
    """Copy records into a table, a page at a time; how many."""
    filled, left = 0, iter(records)
    while page := list(_page(left)):
        await db.copy_records_to_table(table, schema_name=schema_name, columns=columns, records=page)
        failpoints.reach("move.after_page")
        filled += len(page)
    return filled


def _page(records: Iterator[Any]) -> Iterator[Any]:
    """The next of them, up to the one whose texts pass PAGE_BYTES."""
    size = 0
    for record in islice(records, PAGE_ROWS):
        yield record
        size += sum(len(value) for value in record if type(value) is str)
        if size > PAGE_BYTES:
            return
