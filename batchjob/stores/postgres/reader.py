"""Reading a work table in PostgreSQL: short read-only transactions, from any process at any time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar

import msgspec

from batchjob.errors import NoJobs
from batchjob.model import OF_SAMPLE, InputRow, Job, Key, Notice, Outage, Remembered
from batchjob.providers.dialect import place_of
from batchjob.records import (
    CacheShare,
    Disagreements,
    Found,
    FoundRequests,
    Problem,
    RowDetail,
    RowFilter,
    Sent,
    Snapshot,
    Worker,
)
from batchjob.settings.config import settings_of
from batchjob.stores import ids
from batchjob.stores.looking import KEYS_AT_ONCE
from batchjob.stores.postgres import finding, process, records, schema
from batchjob.stores.postgres.finding import ASKED, EXPORT_ROWS, OF_KIND, ONLY, REQUESTS
from batchjob.stores.postgres.line import Connection, Line, connect, shown
from batchjob.stores.postgres.nul import restored, without
from batchjob.stores.postgres.records import find_job, select_jobs
from batchjob.stores.records import BEGIN, as_written, counters, job_from_record, moment, no_job, only_unfinished

T = TypeVar("T")
PAGE_ROWS = 5000
"""Rows of one read: a transaction that lasts keeps the server from clearing up behind the workers."""
PATIENCE_SECONDS = 10.0
"""A server that restarts is back by then."""
SILENT_SECONDS = 60.0
"""Of a run that is not shown as alive any more."""

_loop: asyncio.AbstractEventLoop | None = None
_starting = threading.Lock()


def wait_for(work: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives, waited for on a thread of its own: readers are asked from inside event loops, too."""
    global _loop
    with _starting:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(target=_loop.run_forever, name="postgres", daemon=True).start()
    return asyncio.run_coroutine_threadsafe(work, _loop).result()


class PgReader:
    """See ports.StoreReader.

    Raises:
        NoJobs: there are no tables.
        StoreError: it is not batchjob's, newer than this program, or cannot be read.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        reading: dict[str, Any] = {"isolation": "repeatable_read", "readonly": True}  # all of one instant
        self._line = Line(url, wait_for(connect(url)), patience=PATIENCE_SECONDS, **reading)
        try:
            if self._ask(lambda db: schema.version_of(db, url)) == 0:
                raise NoJobs(f"{shown(url)} holds no jobs yet", then=BEGIN)
        except BaseException:
            self.close()
            raise

    @property
    def url(self) -> str:
        """See ports.StoreReader.url."""
        return self._url

    def close(self) -> None:
        """Close the connection."""
        wait_for(self._line.close())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------ questions

    def _ask(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """What some queries give, all of one instant."""
        return wait_for(self._line.call(work))

    def _all(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self._ask(lambda db: _fetch(db, query, *values))

    # ------------------------------------------------------------ jobs

    def job(self, name: str) -> Job:
        """See ports.StoreReader.job."""
        return self._ask(lambda db: find_job(db, name, self._url))

    def jobs(self) -> list[Job]:
        """See ports.StoreReader.jobs."""
        return self._jobs("ORDER BY job.id")

    def _jobs(self, rest: str, *values: Any) -> list[Job]:
        return [job_from_record(record) for record in self._all(select_jobs(rest), *values)]

    def names(self) -> set[str]:
        """See ports.StoreReader.names."""
        return {name for (name,) in self._all("SELECT name FROM batchjob.job")}

    def latest(self, *, unfinished: bool = False) -> Job:
        """See ports.StoreReader.latest."""
        if not unfinished:
            if found := self._jobs(LATEST):
                return found[0]
            raise no_job("", (), shown(self._url))
        return self.job(only_unfinished([name for (name,) in self._all(UNFINISHED)]))

    def by_input(self, place: str) -> list[Job]:
        """See ports.StoreReader.by_input."""
        of_place = "WHERE md5(job.input_path) = md5($1) AND job.input_path = $1 ORDER BY job.id DESC"
        return self._jobs(of_place, without(place))

    def unread(self) -> list[Job]:
        """See ports.StoreReader.unread."""
        return self._jobs("WHERE NOT job.ingested")

    def snapshot(self, name: str | None = None) -> Snapshot:
        """See ports.StoreReader.snapshot."""
        job_name = self.latest().name if name is None else name
        return self._ask(lambda db: self._snapshot(db, job_name))

    async def _snapshot(self, db: Connection, name: str) -> Snapshot:
        job = await find_job(db, name, self._url)
        tally: dict[str, dict[str, int]] = {}
        for kind, what, n in await _fetch(db, TALLY, job.id):
            tally.setdefault(kind, {})[what] = n
        runs = [_Run(*record) for record in await _fetch(db, RUNS, job.id)]
        updated = (await _fetch(db, "SELECT updated_at FROM batchjob.job WHERE id = $1", job.id))[0][0]
        notices = await _fetch(db, NOTICES, job.id)
        facts = await records.learned(db, place_of(settings_of(job)))
        examples = {
            kind: Problem(*(await _fetch(db, PROBLEMS, kind, *ids.row_range(job.id), 1))[0])
            for kind in tally.get("error", {})
        }
        alive = [run for run in runs if run.alive]
        started, beat = (runs[0].started_at, runs[0].updated_at) if runs else (None, updated)
        with as_written("counters, times or an outage"):
            counters(tally)
            outages = [msgspec.json.decode(run.outage, type=Outage) for run in alive if run.outage]
        rates = [run.rows_per_second for run in alive if run.rows_per_second is not None]
        return Snapshot(
            job=job,
            alive=bool(alive),
            tally=tally,
            examples=examples,
            warnings=tuple(what for kind, what in notices if kind == "warning"),
            learned=facts,
            started_at=started,
            updated_at=max(moment(updated), moment(beat)),
            rows_per_second=sum(rates) if rates else None,
            pacing=alive[0].pacing if alive else "",
            rows_unwanted=min((run.rows_unwanted for run in alive), default=0),
            outage=outages[0] if outages else None,
            writer_pid=alive[0].pid if alive else None,
            workers=tuple(run.worker for run in reversed(alive)),
        )

    def overview(self) -> list[Snapshot]:
        """See ports.StoreReader.overview."""
        rows: dict[int, dict[str, int]] = {}
        for job_id, state, n in self._all(ROWS_BY_JOB):
            rows.setdefault(job_id, {})[state] = n
        runs: dict[int, list[_Run]] = {}
        for job_id, *run in self._all(LATEST_RUNS):
            runs.setdefault(job_id, []).append(_Run(*run))
        overview = []
        for *record, updated in self._all(select_jobs("ORDER BY job.id", more=", job.updated_at")):
            job = job_from_record(tuple(record))
            own = runs.get(job.id, [])
            overview.append(
                Snapshot(
                    job=job,
                    alive=any(run.alive for run in own),
                    tally={"row": rows.get(job.id, {})},
                    examples={},
                    started_at=own[0].started_at if own else None,
                    updated_at=max([updated, *(run.updated_at for run in own)]),
                    rows_per_second=None,
                    pacing="",
                    writer_pid=None,
                )
            )
        return overview

    def problems(self, job: Job, kind: str, limit: int) -> list[Problem]:
        """See ports.StoreReader.problems."""
        return [Problem(*record) for record in self._all(PROBLEMS, kind, *ids.row_range(job.id), limit)]

    def noticed(self, job: Job) -> list[Notice]:
        """See ports.StoreReader.noticed."""
        return [Notice(*record) for record in self._all(NOTICES, job.id)]

    # ------------------------------------------------------------ rows

    def export_rows(self, job: Job, *, only: str | None = None, asked: int | None = None) -> Iterator[tuple[Any, ...]]:
        """See ports.StoreReader.export_rows."""
        last, end = ids.row_range(job.id)
        which, more = "", list[Any]()
        if only is not None:
            of_kind = OF_KIND.format(kind="$4")
            which = f" AND {ONLY.get(only, of_kind)}"
            more += [] if only in ONLY else [only]
        if asked is not None:
            more.append(ids.row_id(job.id, asked))
            which += f" AND {ASKED.format(asked=f'${3 + len(more)}')}"
        query = EXPORT_ROWS.format(which=which)
        while True:
            page = self._all(query, last, end, PAGE_ROWS, *more)
            yield from page
            if len(page) < PAGE_ROWS:
                return
            last = ids.row_id(job.id, page[-1][0])

    def find_rows(
        self, job: Job, wanted: RowFilter, *, beyond: int, limit: int, most: int, backwards: bool = False
    ) -> Found:
        """See ports.StoreReader.find_rows."""
        find = partial(finding.find_rows, job=job, wanted=wanted)
        return self._ask(partial(find, beyond=beyond, limit=limit, most=most, backwards=backwards))

    def row(self, job: Job, number: int) -> RowDetail:
        """See ports.StoreReader.row."""
        return self._ask(lambda db: finding.row(db, job, number))

    def rows(self, job: Job, numbers: Collection[int]) -> list[tuple[Any, ...]]:
        """See ports.StoreReader.rows."""
        return self._ask(lambda db: finding.rows(db, job, numbers))

    def disagreements(self, job: Job, *, beyond: int, most: int) -> Disagreements:
        """See ports.StoreReader.disagreements."""
        return self._ask(lambda db: finding.disagreements(db, job, beyond=beyond, most=most))

    def numbers(self, job: Job, keys: Collection[str]) -> dict[str, list[int]]:
        """See ports.StoreReader.numbers."""
        found: dict[str, list[int]] = {}
        given = list(keys)
        for first in range(0, job.rows, KEYS_AT_ONCE):
            for key, number in self._ask(partial(finding.keyed_rows, job=job, keys=given, first=first)):
                found.setdefault(key, []).append(number)
        return found

    def row_requests(self, job: Job, number: int, *, beyond: int, most: int) -> FoundRequests:
        """See ports.StoreReader.row_requests."""
        return self._ask(lambda db: finding.row_requests(db, job, number, beyond=beyond, most=most))

    def sent(self, job: Job, *, points: int) -> list[list[Sent]]:
        """See ports.StoreReader.sent."""
        return self._ask(lambda db: finding.sent(db, job, points=points))

    def unfinished_rows(self, job: Job) -> Iterator[list[tuple[int, InputRow]]]:
        """See ports.StoreReader.unfinished_rows."""
        first, _ = ids.row_range(job.id)
        for after in range(first, first + job.rows, PAGE_ROWS):
            page = self._all(UNFINISHED_ROWS, after, after + PAGE_ROWS)
            yield [(number, (line, key, text, rest, defect)) for number, line, key, text, rest, defect in page]

    def requests(self, job: Job) -> Iterator[tuple[Any, ...]]:
        """See ports.StoreReader.requests."""
        for (run_id,) in self._all("SELECT id FROM batchjob.run WHERE job_id = $1 ORDER BY id", job.id):
            last, end = ids.request_range(run_id)
            while True:
                page = self._all(REQUESTS, last, end, PAGE_ROWS)
                yield from page
                if len(page) < PAGE_ROWS:
                    break
                last = page[-1][0]

    # ------------------------------------------------------------ labels remembered

    def cached_labels(self, keys: Sequence[Key]) -> dict[Key, Remembered]:
        """See ports.StoreReader.cached_labels."""
        return self._ask(lambda db: records.cached_labels(db, list(keys)))

    def remembers_labels(self) -> bool:
        """See ports.StoreReader.remembers_labels."""
        return bool(self._all("SELECT 1 FROM batchjob.label_cache LIMIT 1"))

    def learned(self, base_url: str) -> dict[str, bytes]:
        """See ports.StoreReader.learned."""
        return self._ask(lambda db: records.learned(db, base_url))

    def cache_by_job(self) -> list[CacheShare]:
        """See ports.StoreReader.cache_by_job."""
        return [CacheShare(*record) for record in self._all(CACHE_BY_JOB)]


async def _fetch(db: Connection, query: str, *values: Any) -> list[tuple[Any, ...]]:
    return [restored(record) for record in await db.fetch(query, *values)]


class _Run(NamedTuple):
    """A run as it is shown."""

    started_at: float
    updated_at: float
    ended_at: float | None
    silent: float  # seconds since its last step, by the server's clock
    host: str
    place: str
    started: str
    pid: int
    rows_per_second: float | None
    pacing: str
    outage: str | None
    rows_unwanted: int

    @property
    def worker(self) -> Worker:
        """It, as it is shown."""
        doing = "nothing is answered" if self.outage else self.pacing
        return Worker(self.host, self.pid, self.started_at, self.rows_per_second, doing, max(self.silent, 0.0))

    @property
    def alive(self) -> bool:
        """Whether it has not ended and took a step lately: to be shown, and for nothing else."""
        gone = process.is_gone(self.place, self.pid, self.started)
        return self.ended_at is None and not gone and self.silent < SILENT_SECONDS


WHOLE = f"strpos(job.input_path, chr({ord(OF_SAMPLE)})) = 0"
"""Of jobs that are no tries of a few rows."""
LATEST = (
    "WHERE job.id = (SELECT run.job_id FROM batchjob.run JOIN batchjob.job AS job ON job.id = run.job_id"
    f" WHERE {WHOLE} ORDER BY run.id DESC LIMIT 1)"
    f" OR (job.id = (SELECT max(job.id) FROM batchjob.job AS job WHERE {WHOLE})"
    " AND NOT EXISTS (SELECT 1 FROM batchjob.run WHERE run.job_id = job.id))"
    " ORDER BY job.updated_at DESC, job.id DESC LIMIT 1"
)
UNFINISHED = (
    f"SELECT name FROM batchjob.job AS job WHERE {WHOLE} AND (NOT ingested OR (SELECT sum(n) FROM batchjob.tally"
    " WHERE job_id = job.id AND kind = 'row' AND tally.name IN ('pending', 'in_flight')) > 0) ORDER BY id"
)
TALLY = (
    "SELECT kind, name, sum(n)::bigint AS n FROM batchjob.tally WHERE job_id = $1 GROUP BY kind, name"
    " HAVING sum(n) <> 0 ORDER BY n DESC, name"
)
ROWS_BY_JOB = "SELECT job_id, name, sum(n)::bigint FROM batchjob.tally WHERE kind = 'row' GROUP BY job_id, name"
_RUN = (
    "started_at, updated_at, ended_at, extract(epoch FROM clock_timestamp() - beat_at)::float8, host, place, started,"
    " pid, rows_per_second, pacing, outage, rows_unwanted"
)
RUNS = f"SELECT {_RUN} FROM batchjob.run WHERE job_id = $1 ORDER BY id DESC LIMIT 1000"
LATEST_RUNS = (
    f"SELECT job_id, {_RUN} FROM batchjob.run AS run"
    " WHERE ended_at IS NULL OR id = (SELECT max(id) FROM batchjob.run AS other WHERE other.job_id = run.job_id)"
    " ORDER BY id DESC"
)
NOTICES = "SELECT kind, what FROM batchjob.notice WHERE job_id = $1 ORDER BY number"
PROBLEMS = ids.expand(
    "SELECT number_of(row.id), input.line, input.key, substr(input.text, 1, 200), row.error, row.answer,"
    " row.attempts, request.provider_id"
    " FROM batchjob.row AS row JOIN batchjob.input ON input.id = row.id"
    " LEFT JOIN batchjob.request ON request.id = row.request_id"
    " WHERE row.error_kind = $1 AND row.state IN ('failed', 'unconfirmed') AND row.id > $2 AND row.id <= $3"
    " ORDER BY row.id LIMIT $4"
)
UNFINISHED_ROWS = ids.expand(
    "SELECT number_of(id), line, key, text, rest, defect FROM batchjob.work"
    " WHERE id > $1 AND id <= $2 AND state IN ('pending', 'in_flight') ORDER BY id"
)
CACHE_BY_JOB = (
    "SELECT job.name, count(*), count(*) FILTER (WHERE off_list), min(at), max(at), sum(octet_length(label))::bigint"
    " FROM batchjob.label_cache AS cache LEFT JOIN batchjob.job AS job ON job.id = cache.job_id WHERE NOT loose"
    " GROUP BY cache.job_id, job.name ORDER BY cache.job_id"
)
