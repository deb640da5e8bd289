"""Reading a work table from any process at any time: short read-only transactions that never stop the writer.

The standard library's sqlite3 and no event loop, because `status` should answer at once.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import inf
from pathlib import Path
from typing import Any, Self

import msgspec

from batchjob import failpoints
from batchjob.errors import JobError, NoJobs
from batchjob.files import is_file
from batchjob.model import OF_SAMPLE, InputRow, Job, Key, Notice, Outage, Remembered
from batchjob.providers.dialect import place_of
from batchjob.records import CacheShare, Problem, Snapshot
from batchjob.settings.config import settings_of
from batchjob.stores import ids
from batchjob.stores.records import (
    BEGIN,
    as_written,
    counters,
    facts_learned,
    job_from_record,
    moment,
    no_job,
    only_unfinished,
    select_jobs,
)
from batchjob.stores.sqlite import finding, schema
from batchjob.stores.sqlite.files import check_sides
from batchjob.stores.sqlite.finding import ASKED, EXPORT_ROWS, OF_KIND, ONLY, REQUESTS
from batchjob.stores.sqlite.group import QUERIES
from batchjob.stores.sqlite.lock import writer_of
from batchjob.stores.sqlite.memory import inbox, stored_labels

QUERY_SECONDS = 30.0
"""What no query of a reader takes, unless the file leads it round in circles."""
STEPS = 100_000
"""Of SQLite's, between two looks at the clock."""
PAGE_ROWS = 5000
"""Rows of one read: a longer one would keep the write-ahead log from being reset."""
_LATEST_RUN = """
SELECT started_at, updated_at, ended_at, rows_per_second, pacing, outage, rows_unwanted FROM run
WHERE job_id = ? ORDER BY id DESC LIMIT 1
"""


def _is_on(writer: dict[str, Any] | None, job: str) -> bool:
    """Whether the process that writes to the database is working on this job, as far as it said."""
    return writer is not None and writer.get("job", job) == job


class SqliteReader(finding.Finder):
    """See ports.StoreReader. The path is a real one: absolute, no links.

    Raises:
        JobError: there is no database at this path.
        SettingError: one of its side files is a link, or has a second name.
        StoreError: it is not batchjob's, newer than this program, or cannot be read.
    """

    counts_all = False
    """Whether it may take as long as it takes."""

    def __init__(self, path: Path) -> None:
        if not is_file(path):
            raise JobError(f"there is no database {path}: name one with --db, or begin a job", then=BEGIN)
        check_sides(path)
        self.path = path
        self._inbox: dict[Key, Remembered] | None = None
        with contextlib.ExitStack() as refused:
            try:
                self._db = self._open()
                refused.callback(self._db.close)
                version = schema.check_ours(self._db, path)
            except sqlite3.Error as error:
                raise schema.translate(error, path) from error
            if version == 0:
                raise NoJobs(f"{path} holds no jobs yet", then=BEGIN)
            refused.pop_all()

    @property
    def url(self) -> str:
        """See ports.StoreReader.url."""
        return str(self.path)

    def _open(self) -> sqlite3.Connection:
        address = self.path.as_uri()
        db = sqlite3.connect(f"{address}?mode=ro", uri=True, isolation_level=None, timeout=5)
        try:
            db.execute("SELECT 1 FROM sqlite_schema").fetchone()
        except sqlite3.Error as error:
            db.close()
            # In a folder that cannot be written there can be no shared index; without a log none is needed.
            logged = self.path.with_name(self.path.name + "-wal").exists()
            if logged or not isinstance(error, sqlite3.OperationalError):
                raise
            db = sqlite3.connect(f"{address}?mode=ro&immutable=1", uri=True, isolation_level=None)
        self._until = inf
        db.set_progress_handler(lambda: time.monotonic() > self._until, STEPS)
        return db

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _all(self, query: str, values: tuple[Any, ...] | dict[str, Any] = ()) -> list[Any]:
        with self._asked() as db:
            return db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _asked(self) -> Iterator[sqlite3.Connection]:
        """The connection, for a question or a few that take no longer than they may; errors in our words."""
        self._until = time.monotonic() + (inf if self.counts_all else QUERY_SECONDS)
        try:
            yield self._db
        except sqlite3.Error as error:
            raise schema.translate(error, self.path) from error
        except OverflowError as error:
            raise schema.damaged(self.path, "a number that is none of its own") from error

    @contextlib.contextmanager
    def _instant(self) -> Iterator[None]:
        """All that is asked within is of one instant."""
        self._db.execute("BEGIN")
        try:
            yield
        finally:
            self._db.rollback()  # nothing was written, and a damaged file refuses to commit

    def job(self, name: str) -> Job:
        """The job of this name, or a JobError."""
        with self._asked() as db:
            return finding.find_job(db, name)

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first."""
        return [job_from_record(record) for record in self._all(select_jobs("ORDER BY job.id"))]

    def names(self) -> set[str]:
        """The names of all jobs."""
        return {name for (name,) in self._all("SELECT name FROM job")}

    def latest(self, *, unfinished: bool = False) -> Job:
        """The job that was worked on last, or, where `unfinished` is set, the only one that is not finished.

        Raises:
            JobError: there is none, or there are several unfinished ones.
        """
        if not unfinished:
            # By runs and not by the clock, which may have been set back; it decides only where the newest never ran.
            found = self._all(
                select_jobs(
                    "WHERE job.id = (SELECT job_id FROM run WHERE EXISTS"
                    f" (SELECT 1 FROM job WHERE id = run.job_id AND {WHOLE}) ORDER BY id DESC LIMIT 1)"
                    f" OR (job.id = (SELECT max(id) FROM job WHERE {WHOLE})"
                    " AND NOT EXISTS (SELECT 1 FROM run WHERE job_id = job.id))"
                    " ORDER BY job.updated_at DESC, job.id DESC LIMIT 1"
                )
            )
            if not found:
                raise no_job("", (), str(self.path))
            return job_from_record(found[0])
        found = self._all(
            "SELECT name, moved_to"
            f" FROM job WHERE {WHOLE} AND (ingested = 0 OR EXISTS (SELECT 1 FROM tally WHERE job_id = job.id"
            " AND kind = 'row' AND name IN ('pending', 'in_flight') AND n > 0)) ORDER BY id"
        )
        here = [one for one in found if one[1] is None] or found
        return self.job(only_unfinished([name for name, _ in here]))

    def by_input(self, place: str) -> list[Job]:
        """The jobs with this input (InputSource.place), the latest first."""
        return [
            job_from_record(record)
            for record in self._all(select_jobs("WHERE job.input_path = ? ORDER BY job.id DESC"), (place,))
        ]

    def unread(self) -> list[Job]:
        """The jobs whose input is not read to its end."""
        return [job_from_record(record) for record in self._all(select_jobs("WHERE job.ingested = 0"))]

    def snapshot(self, name: str | None = None) -> Snapshot:
        """A job as it stands at one instant; the latest where no name is given."""
        writer = writer_of(self.path)
        with self._instant():
            job = self.job(name) if name is not None else self.latest()
            tally: dict[str, dict[str, int]] = {}
            query = "SELECT kind, name, n FROM tally WHERE job_id = ? AND n <> 0 ORDER BY n DESC, name"
            for kind, what, n in self._all(query, (job.id,)):
                tally.setdefault(kind, {})[what] = n
            runs = self._all(_LATEST_RUN, (job.id,))
            updated = self._all("SELECT updated_at FROM job WHERE id = ?", (job.id,))[0][0]
            warnings = tuple(notice.what for notice in self._noticed(job.id) if notice.kind == "warning")
            learned = self.learned(place_of(settings_of(job)))
            examples = {kind: problem for kind in tally.get("error", {}) for problem in self._problems(job.id, kind, 1)}
        never = (None, updated, updated, None, "", None, 0)
        started, beat, ended, rate, pacing, outage, unwanted = runs[0] if runs else never
        with as_written("counters, times or an outage"):
            counters(tally)
            updated, beat, ended = moment(updated), moment(beat), None if ended is None else moment(ended)
            started, rate = None if started is None else moment(started), rate and max(0.0, min(rate, 1e9))
            told = msgspec.json.decode(outage, type=Outage) if outage else None
        # Asked again, because the run may have begun between the first question and the transaction.
        writer = writer or (writer_of(self.path) if ended is None else None)
        alive = ended is None and _is_on(writer, job.name)
        return Snapshot(
            job=job,
            alive=alive,
            tally=tally,
            examples=examples,
            warnings=warnings,
            learned=learned,
            started_at=started,
            updated_at=max(updated, beat),
            rows_per_second=rate if alive else None,
            pacing=pacing if alive else "",
            rows_unwanted=unwanted if alive else 0,
            outage=told if alive else None,
            writer_pid=writer.get("pid") if writer and alive else None,
        )

    def overview(self) -> list[Snapshot]:
        """Every job, the oldest first, with the counters of its rows alone: two questions, however many jobs."""
        writer = writer_of(self.path)
        with self._instant():
            rows: dict[int, dict[str, int]] = {}
            query = (
                "SELECT job.id, tally.name, tally.n FROM job CROSS JOIN tally"
                " ON tally.job_id = job.id AND tally.kind = 'row'"
            )
            for job_id, state, n in self._all(query):
                rows.setdefault(job_id, {})[state] = n
            found = self._all(
                select_jobs(
                    "LEFT JOIN run ON run.id = (SELECT max(id) FROM run WHERE job_id = job.id) ORDER BY job.id",
                    more=", job.updated_at, run.started_at, run.updated_at, run.ended_at",
                )
            )
        writer = writer or writer_of(self.path)
        overview = []
        for *record, updated, started, beat, ended in found:
            job = job_from_record(tuple(record))
            overview.append(
                Snapshot(
                    job=job,
                    alive=started is not None and ended is None and _is_on(writer, job.name),
                    tally={"row": rows.get(job.id, {})},
                    examples={},
                    started_at=started,
                    updated_at=max(updated, beat or 0.0),
                    rows_per_second=None,
                    pacing="",
                    writer_pid=None,
                )
            )
        return overview

    def noticed(self, job: Job) -> list[Notice]:
        """What was noticed while its input was read, in that order."""
        return self._noticed(job.id)

    def _noticed(self, job_id: int) -> list[Notice]:
        query = "SELECT kind, what FROM notice WHERE job_id = ? ORDER BY number"
        return [Notice(*record) for record in self._all(query, (job_id,))]

    def problems(self, job: Job, kind: str, limit: int) -> list[Problem]:
        """The first failed or unconfirmed rows of an error kind."""
        return self._problems(job.id, kind, limit)

    def _problems(self, job_id: int, kind: str, limit: int) -> list[Problem]:
        return [_problem(*record) for record in self._all(PROBLEMS, (kind, *ids.row_range(job_id), limit))]

    def export_rows(self, job: Job, *, only: str | None = None, asked: int | None = None) -> Iterator[tuple[Any, ...]]:
        """See ports.StoreReader.export_rows."""
        last, end = ids.row_range(job.id)
        which = "" if only is None else f" AND {ONLY.get(only, OF_KIND)}"
        behind = "" if asked is None else f" AND {ASKED}"
        query = EXPORT_ROWS.format(which=which + behind)
        values = {"end": end, "limit": PAGE_ROWS, "kind": only}
        values["asked"] = None if asked is None else ids.row_id(job.id, asked)
        while True:
            page = self._page(query, {**values, "last": last}, ids.number_of(last))
            failpoints.reach("export.after_page")
            yield from page
            if len(page) < PAGE_ROWS:
                return
            last = ids.row_id(job.id, page[-1][0])

    def _page(self, query: str, values: tuple[Any, ...] | dict[str, Any], after: int) -> list[tuple[Any, ...]]:
        """Some records behind that with this number; they must go on from there, or reading them would have no end."""
        page = self._all(query, values)
        numbers = [after, *(record[0] for record in page)]
        if any(one >= next_ for one, next_ in pairwise(numbers)):
            raise schema.damaged(self.path, "rows out of order")
        return page

    def unfinished_rows(self, job: Job) -> Iterator[list[tuple[int, InputRow]]]:
        """See ports.StoreReader.unfinished_rows."""
        first, _ = ids.row_range(job.id)
        for after in range(first, first + job.rows, PAGE_ROWS):
            page = self._all(UNFINISHED_ROWS, (after, after + PAGE_ROWS))
            yield [(number, (line, key, text, rest, defect)) for number, line, key, text, rest, defect in page]

    def requests(self, job: Job) -> Iterator[tuple[Any, ...]]:
        """See ports.StoreReader.requests."""
        for (run_id,) in self._all("SELECT id FROM run WHERE job_id = ? ORDER BY id", (job.id,)):
            last, end = ids.request_range(run_id)
            while True:
                page = self._page(REQUESTS, (last, end, last, end, PAGE_ROWS), last)
                yield from page
                if len(page) < PAGE_ROWS:
                    break
                last = page[-1][0]

    # ------------------------------------------------------------ labels remembered

    def cached_labels(self, keys: Sequence[Key]) -> dict[Key, Remembered]:
        """See ports.StoreReader.cached_labels."""
        with self._asked() as db:
            if self._inbox is None:
                self._inbox = inbox(db)
            found = stored_labels(db, keys)
        return found | {key: one for key in keys if (one := self._inbox.get(key)) is not None}

    def remembers_labels(self) -> bool:
        """Whether there is any label in the cache."""
        return any(self._all(f"SELECT 1 FROM {table} LIMIT 1") for table in ("label_cache", "label_cache_inbox"))

    def learned(self, base_url: str) -> dict[str, bytes]:
        """See ports.StoreReader.learned."""
        return facts_learned(dict(self._all(QUERIES["learned"], {"base_url": base_url})))

    def cache_by_job(self) -> list[CacheShare]:
        """See ports.StoreReader.cache_by_job."""
        return [CacheShare(*record) for record in self._all(CACHE_BY_JOB)]


def _problem(number: int, line: int, key: str, beginning: bytes | None, *others: Any) -> Problem:
    """The bytes of a text's beginning come, for of a text with a NUL SQLite's substr gives what stands before it. Of an
    empty text it gives NULL.
    """
    return Problem(number, line, key, (beginning or b"").decode("utf-8", "ignore")[:200], *others)


WHOLE = f"instr(job.input_path, char({ord(OF_SAMPLE)})) = 0"  # no try of a few rows
PROBLEMS = ids.expand(
    "SELECT number_of(row.id), input.line, input.key, substr(CAST(input.text AS BLOB), 1, 800), row.error, row.answer,"
    " row.attempts, request.provider_id"
    " FROM row INDEXED BY row_problem CROSS JOIN input ON input.id = row.id"
    " LEFT JOIN request ON request.id = row.request_id"
    " WHERE row.error_kind = ? AND row.state IN ('failed', 'unconfirmed') AND row.id > ? AND row.id <= ?"
    " ORDER BY row.id LIMIT ?"
)
UNFINISHED_ROWS = ids.expand(
    "SELECT number_of(row.id), input.line, input.key, input.text, input.rest, input.defect"
    " FROM row CROSS JOIN input ON input.id = row.id"
    " WHERE row.id > ? AND row.id <= ? AND row.state IN ('pending', 'in_flight') ORDER BY row.id"
)
CACHE_BY_JOB = (
    "SELECT job.name, count(*), sum(off_list), min(at), max(at), sum(length(CAST(label AS BLOB)))"
    " FROM ("
    "  SELECT job_id, label, off_list, at FROM label_cache WHERE loose IS NULL"
    "  UNION ALL SELECT job_id, label, off_list, max(at) FROM label_cache_inbox AS new"
    "  WHERE loose IS NULL AND NOT EXISTS (SELECT 1 FROM label_cache WHERE id = new.id) GROUP BY id"
    " ) AS cache LEFT JOIN job ON job.id = cache.job_id GROUP BY cache.job_id ORDER BY cache.job_id"
)
