"""Rows that are looked for, a bounded piece of a job at a time: what a page shows of a job of any size.

Numbers of rows, and of requests in a run, have no gaps. So a piece is a range of ids, and looking at it costs the same
wherever it lies.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from batchjob.errors import JobError
from batchjob.model import Job
from batchjob.records import Disagreements, ExportRow, Found, FoundRequests, RowDetail, RowFilter, Sent
from batchjob.stores import ids
from batchjob.stores.looking import KEYS_AT_ONCE, Pieces, Span, holding, span_of
from batchjob.stores.records import job_from_record, no_job, select_jobs

_EXPORTED = (
    "number_of(row.id), input.key, input.text, input.rest, row.label, row.source, row.state, row.error_kind,"
    " row.error, row.origin, row.answer, row.attempts, row.confidence, request.provider_id, request.rows,"
    " request.model, request.input_tokens, request.cached_input_tokens, request.output_tokens, request.cost_picousd"
)
_FROM = "FROM row CROSS JOIN input ON input.id = row.id LEFT JOIN request ON request.id = row.request_id"
EXPORT_ROWS = ids.expand(
    f"SELECT {_EXPORTED} {_FROM} WHERE row.id > :last AND row.id <= :end{{which}} ORDER BY row.id LIMIT :limit"
)
ONLY = {
    "done": "row.state = 'done'",
    "failed": "row.state = 'failed'",
    "unconfirmed": "row.state = 'unconfirmed'",
    "pending": "row.state IN ('pending', 'in_flight')",
    "near": "row.matched = 'near'",
}
OF_KIND = "row.state IN ('failed', 'unconfirmed') AND row.error_kind = :kind"
ASKED = "(row.id <= :asked OR row.state <> 'pending' OR row.request_id IS NOT NULL)"
_DETAIL = ids.expand(f"SELECT {_EXPORTED}, input.line, row.matched {_FROM} WHERE row.id = ?")
_THESE = ids.expand(f"SELECT {_EXPORTED} {_FROM} WHERE row.id IN (SELECT value FROM json_each(?)) ORDER BY row.id")
_PLACES = "SELECT row.id FROM row WHERE {which} ORDER BY row.id {order} LIMIT :limit"
_TEXTS = (
    "SELECT row.id, input.key, input.text FROM row CROSS JOIN input ON input.id = row.id"
    " WHERE {which} ORDER BY row.id {order}"
)
_KEYED = ids.expand(
    "SELECT key, number_of(id) FROM input WHERE id > ? AND id <= ?"
    " AND key IN (SELECT value FROM json_each(?)) ORDER BY id"
)
_KEYED_ONE = ids.expand("SELECT key, number_of(id) FROM input WHERE id > ? AND id <= ? AND key = ? ORDER BY id")
RUNS_AT_ONCE = (
    "SELECT id FROM run WHERE job_id = ?1 AND (ended_at IS NULL OR ended_at >="
    " (SELECT started_at FROM run WHERE job_id = ?1 ORDER BY id DESC LIMIT 1)) ORDER BY id DESC LIMIT 20"
)
_SENT = (
    "SELECT id, sent_at, CASE purpose WHEN 'verify' THEN 0 ELSE json_array_length(rows) END FROM request"
    " WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
)
_CONDITIONS = {
    "state": "row.state = :state",
    "label": "row.label = :label",
    "source": "row.source = :source",
    "matched": "row.matched = :matched",
    "kind": OF_KIND,
    "below": "row.confidence < :below",
}

_REQUEST = (
    "SELECT id, client_key, provider_id, rows, purpose, model, sent_at, ended_at, outcome, status,"
    " input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, cost_picousd / 1e12, cost_source, odd_usage,"
    " error_kind, error FROM request WHERE id > ? AND id <= ?"
)
_INTENT = (
    "SELECT id, client_key, NULL, rows, purpose, model, sent_at, NULL, NULL, NULL, NULL, NULL, NULL, NULL,"
    " cost_picousd / 1e12, NULL, NULL, NULL, NULL FROM intent WHERE id > ? AND id <= ?"
)
REQUESTS = f"{_REQUEST} UNION ALL {_INTENT} ORDER BY id LIMIT ?"
_CARRIES = " AND instr(replace(replace(rows, '[', ','), ']', ','), ?) > 0"
_CARRYING = f"{_REQUEST}{_CARRIES} UNION ALL {_INTENT}{_CARRIES} ORDER BY id"
_DISAGREED = (
    "SELECT rows ->> 0 FROM request WHERE id > ? AND id <= ? AND purpose = 'verify'"
    " AND error_kind = 'disagreed' ORDER BY id"
)
_LAST_REQUEST = (
    "SELECT max(coalesce((SELECT max(id) FROM request WHERE id > :first AND id <= :end), 0),"
    " coalesce((SELECT max(id) FROM intent WHERE id > :first AND id <= :end), 0))"
)


def find_job(db: sqlite3.Connection, name: str) -> Job:
    """The job of this name.

    Raises:
        JobError: there is none; the text names the nearest.
    """
    record = db.execute(select_jobs("WHERE job.name = ?"), (name,)).fetchone()
    if record is not None:
        return job_from_record(record)
    raise no_job(name, [known for (known,) in db.execute("SELECT name FROM job ORDER BY id DESC LIMIT 1000")])


class Finder:
    """What a reader finds a piece at a time."""

    def _asked(self) -> AbstractContextManager[sqlite3.Connection]:
        """The connection, for a question or a few that take no longer than they may; errors in our words."""
        raise NotImplementedError

    def find_rows(
        self, job: Job, wanted: RowFilter, *, beyond: int, limit: int, most: int, backwards: bool = False
    ) -> Found:
        """See ports.StoreReader.find_rows."""
        with self._asked() as db:
            return _find_rows(db, job, wanted, beyond=beyond, limit=limit, most=most, backwards=backwards)

    def row(self, job: Job, number: int) -> RowDetail:
        """See ports.StoreReader.row."""
        with self._asked() as db:
            return _row(db, job, number)

    def rows(self, job: Job, numbers: Collection[int]) -> list[tuple[Any, ...]]:
        """See ports.StoreReader.rows."""
        with self._asked() as db:
            return _rows(db, job, numbers)

    def disagreements(self, job: Job, *, beyond: int, most: int) -> Disagreements:
        """See ports.StoreReader.disagreements."""
        with self._asked() as db:
            return _disagreements(db, job, beyond=beyond, most=most)

    def numbers(self, job: Job, keys: Collection[str]) -> dict[str, list[int]]:
        """See ports.StoreReader.numbers."""
        found: dict[str, list[int]] = {}
        odd = [key for key in keys if "\0" in key]  # SQLite's JSON ends a string there
        given = msgspec.json.encode([key for key in keys if "\0" not in key]).decode()
        for first in range(0, job.rows, KEYS_AT_ONCE):
            with self._asked() as db:
                for query, sought in ((_KEYED, given), *((_KEYED_ONE, key) for key in odd)):
                    for key, number in _keyed_rows(db, job, query, sought, first):
                        found.setdefault(key, []).append(number)
        return found

    def row_requests(self, job: Job, number: int, *, beyond: int, most: int) -> FoundRequests:
        """See ports.StoreReader.row_requests."""
        with self._asked() as db:
            return _row_requests(db, job, number, beyond=beyond, most=most)

    def sent(self, job: Job, *, points: int) -> list[list[Sent]]:
        """See ports.StoreReader.sent."""
        with self._asked() as db:
            return [_sent(db, run, points) for (run,) in db.execute(RUNS_AT_ONCE, (job.id,)).fetchall()]


def _sent(db: sqlite3.Connection, run: int, points: int) -> list[Sent]:
    first, end = ids.request_range(run)
    (last,) = db.execute("SELECT max(id) FROM request WHERE id BETWEEN ? AND ?", (first, end)).fetchone()
    spread = [] if last is None else ids.spread(first + 1, last, points)
    return [Sent(*record) for record in db.execute(_SENT, (str(spread),))]


def _find_rows(
    db: sqlite3.Connection, job: Job, wanted: RowFilter, *, beyond: int, limit: int, most: int, backwards: bool
) -> Found:
    span = span_of(job.rows, wanted, beyond=beyond, most=most, backwards=backwards)
    if span is None:
        return Found([], beyond, ended=True)
    found, looked = _places(db, job, wanted, span, limit, most, backwards)
    looked_to = span.edge if looked is None else looked
    rows = db.execute(_THESE, (str(sorted(found)),)).fetchall()
    return Found(rows, looked_to, ended=looked_to == span.end)


def _places(
    db: sqlite3.Connection, job: Job, wanted: RowFilter, span: Span, limit: int, most: int, backwards: bool
) -> tuple[list[int], int | None]:
    """The ids of wanted rows in a span of numbers, and where looking ended before the span did."""
    given = {name: value for name in _CONDITIONS if (value := getattr(wanted, name)) is not None}
    which = " AND ".join(["row.id > :first AND row.id <= :last", *(_CONDITIONS[name] for name in given)])
    values = {**given, "first": ids.row_id(job.id, span.first), "last": ids.row_id(job.id, span.last), "limit": limit}
    order = "DESC" if backwards else "ASC"
    if wanted.text:
        cursor = db.execute(_TEXTS.format(which=which, order=order), values)
        try:
            return holding(cursor, wanted.text, limit, most)
        finally:
            cursor.close()
    found = [id_ for (id_,) in db.execute(_PLACES.format(which=which, order=order), values)]
    return found, ids.number_of(found[-1]) if len(found) == limit else None


def _row(db: sqlite3.Connection, job: Job, number: int) -> RowDetail:
    """See ports.StoreReader.row."""
    record: tuple[Any, ...] | None = None
    if 0 < number <= job.rows:
        record = db.execute(_DETAIL, (ids.row_id(job.id, number),)).fetchone()
    if record is None:
        raise JobError(f"job {job.name!r} has no row {number:,}: its rows are 1 to {job.rows:,}")
    *exported, line, matched = record
    return RowDetail(ExportRow(*exported), line, matched)


def _rows(db: sqlite3.Connection, job: Job, numbers: Iterable[int]) -> list[tuple[Any, ...]]:
    """See ports.StoreReader.rows."""
    wanted = [ids.row_id(job.id, number) for number in numbers if 0 < number <= job.rows]
    return db.execute(_THESE, (str(wanted),)).fetchall()


def _disagreements(db: sqlite3.Connection, job: Job, *, beyond: int, most: int) -> Disagreements:
    """See ports.StoreReader.disagreements."""
    found: list[int] = []
    pieces, looked_to = _pieces(db, job, beyond, most)
    for piece in pieces:
        found += [number for (number,) in db.execute(_DISAGREED, piece).fetchall()]
    return Disagreements(found, looked_to)


def _keyed_rows(db: sqlite3.Connection, job: Job, query: str, keys: str, first: int) -> list[tuple[str, int]]:
    """(key, number) of the rows with the key, or one of these keys (a JSON array), of KEYS_AT_ONCE behind a number."""
    last = min(first + KEYS_AT_ONCE, job.rows)
    return db.execute(query, (ids.row_id(job.id, first), ids.row_id(job.id, last), keys)).fetchall()


def _row_requests(db: sqlite3.Connection, job: Job, number: int, *, beyond: int, most: int) -> FoundRequests:
    """See ports.StoreReader.row_requests."""
    found: list[tuple[Any, ...]] = []
    sought = f",{number},"
    pieces, looked_to = _pieces(db, job, beyond, most)
    for piece in pieces:
        found += db.execute(_CARRYING, (*piece, sought, *piece, sought)).fetchall()
    return FoundRequests(found, looked_to)


def _pieces(db: sqlite3.Connection, job: Job, beyond: int, most: int) -> tuple[list[tuple[int, int]], int | None]:
    """The ranges of ids in which the next requests of a job lie, at most so many, and where they end; None: with the
    last one.
    """
    pieces = Pieces(most)
    for (run_id,) in db.execute("SELECT id FROM run WHERE job_id = ? ORDER BY id", (job.id,)).fetchall():
        first, end = ids.request_range(run_id)
        first = max(first, beyond)
        (last,) = db.execute(_LAST_REQUEST, {"first": first, "end": end}).fetchone()
        if not pieces.add(first, last):
            break
    return pieces.ranges, pieces.end
