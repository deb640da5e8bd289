"""Rows that are looked for, and a row's requests, a bounded piece of a job at a time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from batchjob.errors import JobError
from batchjob.model import Job
from batchjob.records import Disagreements, ExportRow, Found, FoundRequests, RowDetail, RowFilter, Sent
from batchjob.stores import ids
from batchjob.stores.looking import KEYS_AT_ONCE, Pieces, Span, holding, span_of
from batchjob.stores.postgres.line import Connection
from batchjob.stores.postgres.nul import restored, without

_EXPORTED = ids.expand(
    "number_of(work.id), work.key, work.text, work.rest, work.label, work.source, work.state, work.error_kind,"
    " work.error, work.origin, work.answer, work.attempts, work.confidence, request.provider_id, request.rows,"
    " request.model, request.input_tokens, request.cached_input_tokens, request.output_tokens, request.cost_picousd"
)
_FROM = "FROM batchjob.work LEFT JOIN batchjob.request ON request.id = work.request_id"
EXPORT_ROWS = f"SELECT {_EXPORTED} {_FROM} WHERE work.id > $1 AND work.id <= $2{{which}} ORDER BY work.id LIMIT $3"
ONLY = {
    "done": "work.state = 'done'",
    "failed": "work.state = 'failed'",
    "unconfirmed": "work.state = 'unconfirmed'",
    "pending": "work.state IN ('pending', 'in_flight')",
    "near": "work.matched = 'near'",
}
OF_KIND = "work.state IN ('failed', 'unconfirmed') AND work.error_kind = {kind}"
ASKED = "(work.id <= {asked} OR work.state <> 'pending' OR work.request_id IS NOT NULL)"
_DETAIL = f"SELECT {_EXPORTED}, work.line, work.matched {_FROM} WHERE work.id = $1"
_KEYED = ids.expand(
    "SELECT key, number_of(id) FROM batchjob.input WHERE id > $1 AND id <= $2 AND key = ANY ($3) ORDER BY id"
)
_THESE = f"SELECT {_EXPORTED} {_FROM} WHERE work.id = ANY ($1) ORDER BY work.id"
_CONDITIONS = ("state", "label", "source", "matched")

REQUEST_COLUMNS = (
    "id, client_key, provider_id, rows, purpose, model, sent_at, ended_at, outcome, status, input_tokens,"
    " cached_input_tokens, output_tokens, reasoning_tokens, cost_picousd / 1e12::float8, cost_source, odd_usage,"
    " error_kind, error"
)
REQUESTS = f"SELECT {REQUEST_COLUMNS} FROM batchjob.ledger WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3"
_CARRYING = (
    f"SELECT {REQUEST_COLUMNS} FROM batchjob.ledger WHERE id > $1 AND id <= $2"
    " AND strpos(translate(rows, '[]', ',,'), $3) > 0 ORDER BY id"
)
_DISAGREED = (
    "SELECT (rows::jsonb ->> 0)::bigint FROM batchjob.request WHERE id > $1 AND id <= $2 AND purpose = 'verify'"
    " AND error_kind = 'disagreed' ORDER BY id"
)
_LAST_REQUEST = "SELECT coalesce(max(id), 0) FROM batchjob.ledger WHERE id > $1 AND id <= $2"


async def find_rows(
    db: Connection, job: Job, wanted: RowFilter, *, beyond: int, limit: int, most: int, backwards: bool
) -> Found:
    """See ports.StoreReader.find_rows."""
    span = span_of(job.rows, wanted, beyond=beyond, most=most, backwards=backwards)
    if span is None:
        return Found([], beyond, ended=True)
    found, looked = await _places(db, job, wanted, span, limit, most, backwards)
    looked_to = span.edge if looked is None else looked
    rows = [restored(record) for record in await db.fetch(_THESE, sorted(found))]
    return Found(rows, looked_to, ended=looked_to == span.end)


async def _places(
    db: Connection, job: Job, wanted: RowFilter, span: Span, limit: int, most: int, backwards: bool
) -> tuple[list[int], int | None]:
    """The ids of wanted rows in a span of numbers, and where looking ended before the span did."""
    values: list[Any] = [ids.row_id(job.id, span.first), ids.row_id(job.id, span.last)]
    which = ["work.id > $1 AND work.id <= $2"]
    for name in _CONDITIONS:
        if (value := getattr(wanted, name)) is not None:
            values.append(without(value))
            which.append(f"work.{name} = ${len(values)}")
    if wanted.below is not None:
        values.append(wanted.below)
        which.append(f"work.confidence < ${len(values)}")
    if wanted.kind is not None:
        values.append(wanted.kind)
        which.append(OF_KIND.format(kind=f"${len(values)}"))
    order = "DESC" if backwards else "ASC"
    behind = f"FROM batchjob.work WHERE {' AND '.join(which)} ORDER BY work.id {order}"
    if not wanted.text:
        found = [one["id"] for one in await db.fetch(f"SELECT work.id {behind} LIMIT {int(limit)}", *values)]
        return found, ids.number_of(found[-1]) if len(found) == limit else None
    texts = await db.fetch(f"SELECT work.id, work.key, work.text {behind}", *values)
    return holding(map(restored, texts), wanted.text, limit, most)


async def row(db: Connection, job: Job, number: int) -> RowDetail:
    """See ports.StoreReader.row."""
    record = await db.fetchrow(_DETAIL, ids.row_id(job.id, number)) if 0 < number <= job.rows else None
    if record is None:
        raise JobError(f"job {job.name!r} has no row {number:,}: its rows are 1 to {job.rows:,}")
    *exported, line, matched = restored(record)
    return RowDetail(ExportRow(*exported), line, matched)


async def keyed_rows(db: Connection, job: Job, keys: list[str], first: int) -> list[tuple[Any, ...]]:
    """(key, number) of the rows with one of these keys, of KEYS_AT_ONCE behind a number."""
    last = min(first + KEYS_AT_ONCE, job.rows)
    found = await db.fetch(_KEYED, ids.row_id(job.id, first), ids.row_id(job.id, last), list(map(without, keys)))
    return [restored(record) for record in found]


async def rows(db: Connection, job: Job, numbers: Iterable[int]) -> list[tuple[Any, ...]]:
    """See ports.StoreReader.rows."""
    wanted = [ids.row_id(job.id, number) for number in numbers if 0 < number <= job.rows]
    return [restored(record) for record in await db.fetch(_THESE, wanted)]


async def disagreements(db: Connection, job: Job, *, beyond: int, most: int) -> Disagreements:
    """See ports.StoreReader.disagreements."""
    found: list[int] = []
    pieces, looked_to = await _pieces(db, job, beyond, most)
    for piece in pieces:
        found += [one[0] for one in await db.fetch(_DISAGREED, *piece)]
    return Disagreements(found, looked_to)


async def row_requests(db: Connection, job: Job, number: int, *, beyond: int, most: int) -> FoundRequests:
    """See ports.StoreReader.row_requests."""
    found: list[tuple[Any, ...]] = []
    pieces, looked_to = await _pieces(db, job, beyond, most)
    for piece in pieces:
        found += map(restored, await db.fetch(_CARRYING, *piece, f",{number},"))
    return FoundRequests(found, looked_to)


async def _pieces(db: Connection, job: Job, beyond: int, most: int) -> tuple[list[tuple[int, int]], int | None]:
    """The ranges of ids in which the next requests of a job lie, at most so many, and where they end; None: with the
    last one.
    """
    pieces = Pieces(most)
    for run in await db.fetch("SELECT id FROM batchjob.run WHERE job_id = $1 ORDER BY id", job.id):
        first, end = ids.request_range(run["id"])
        first = max(first, beyond)
        last = await db.fetchval(_LAST_REQUEST, first, end)
        if not pieces.add(first, last):
            break
    return pieces.ranges, pieces.end


async def sent(db: Connection, job: Job, *, points: int) -> list[list[Sent]]:
    """See ports.StoreReader.sent."""
    found = []
    for run in await db.fetch(_RUNS_AT_ONCE, job.id):
        first, end = ids.request_range(run["id"])
        last = await db.fetchval("SELECT max(id) FROM batchjob.request WHERE id BETWEEN $1 AND $2", first, end)
        spread = [] if last is None else ids.spread(first + 1, last, points)
        found.append([Sent(*record) for record in await db.fetch(_SENT, spread)])
    return found


_RUNS_AT_ONCE = (
    "SELECT id FROM batchjob.run WHERE job_id = $1 AND (ended_at IS NULL OR ended_at >="
    " (SELECT started_at FROM batchjob.run WHERE job_id = $1 ORDER BY id DESC LIMIT 1)) ORDER BY id DESC LIMIT 20"
)
_SENT = (
    "SELECT id, sent_at, CASE purpose WHEN 'verify' THEN 0 ELSE jsonb_array_length(rows::jsonb) END"
    " FROM batchjob.request WHERE id = ANY($1::bigint[]) ORDER BY id"
)
