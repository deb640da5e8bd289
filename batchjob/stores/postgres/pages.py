"""The rows a run works on, a page at a time: those that were out before or put back, then those never claimed."""

from __future__ import annotations

from itertools import groupby
from operator import itemgetter
from typing import Any

from batchjob.model import LostRequest, Page, Parcel, Row
from batchjob.stores import ids
from batchjob.stores.postgres.line import Connection
from batchjob.stores.postgres.nul import restored

PAGE_BYTES = 4 * 1024 * 1024
"""Texts read ahead at once, at most; a page ends early behind a text that passes it."""

RETURNED = (
    "SELECT row.request_id, row.id, input.text, row.attempts, row.paid, input.defect, input.rest, row.put_back,"
    " row.answer, request.model, CASE request.outcome WHEN 'lost' THEN request.client_key END, request.body_digest,"
    " request.error_kind IS NOT DISTINCT FROM 'broken_off_answer', row.first, input.key"
    " FROM batchjob.row AS row JOIN batchjob.input ON input.id = row.id"
    " LEFT JOIN batchjob.request ON request.id = row.request_id"
    " WHERE row.state = 'pending' AND row.request_id IS NOT NULL AND row.id > $1 AND row.id <= $2"
    " AND (row.request_id, row.id) > ($3, $4) AND row.request_id <= $5"
    " AND NOT EXISTS (SELECT 1 FROM batchjob.flight WHERE flight.row_id = row.id)"
    " ORDER BY row.request_id, row.id LIMIT $6"
)
FRESH = (
    "SELECT input.id, input.text, input.defect, input.rest, input.key FROM batchjob.input"
    " WHERE input.id > $1 AND input.id <= $2"
    " AND NOT EXISTS (SELECT 1 FROM batchjob.row AS row WHERE row.id = input.id)"
    " AND NOT EXISTS (SELECT 1 FROM batchjob.flight WHERE flight.row_id = input.id)"
    " ORDER BY input.id LIMIT $3"
)
WANTED = "SELECT count(*) FROM batchjob.work WHERE id > $1 AND id <= $2 AND state = 'pending'"
WANTED_RETURNED = (
    "SELECT count(*) FROM batchjob.row AS row WHERE row.id > $1 AND row.id <= $2 AND state = 'pending'"
    " AND request_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM batchjob.flight WHERE flight.row_id = row.id)"
)
UNHEARD = (
    "WITH alike AS ("
    " SELECT other.id FROM batchjob.run JOIN batchjob.task AS own ON own.id = run.task_id"
    " JOIN batchjob.task AS other USING (question) WHERE run.id = $2"
    "), unheard AS ("
    " SELECT row.id FROM batchjob.row AS row JOIN batchjob.request ON request.id = row.request_id"
    " WHERE row.state IN ('failed', 'unconfirmed') AND request.outcome = 'lost'"
    " AND (row.id >> 40 = $1 OR request.task_id IN (SELECT id FROM alike))"
    " UNION ALL"
    " SELECT row.id FROM batchjob.row AS row JOIN batchjob.request ON request.id = row.request_id"
    " WHERE row.state = 'pending' AND row.request_id IS NOT NULL AND row.id >> 40 <> $1 AND request.outcome = 'lost'"
    " AND request.task_id IN (SELECT id FROM alike)"
    " AND NOT EXISTS (SELECT 1 FROM batchjob.flight WHERE flight.row_id = row.id)"
    " UNION ALL"
    " SELECT flight.row_id FROM batchjob.flight JOIN batchjob.intent ON intent.id = flight.request_id"
    " WHERE flight.row_id >> 40 <> $1 AND intent.task_id IN (SELECT id FROM alike)"
    "), page AS (SELECT id FROM unheard WHERE id > $3 ORDER BY id LIMIT $4)"
    " SELECT work.id, work.text, work.rest, work.key, work.first, coalesce(request.model, intent.model),"
    " CASE WHEN job.id = $1 THEN '' ELSE job.name END"
    " FROM page JOIN batchjob.work ON work.id = page.id"
    " LEFT JOIN batchjob.request ON request.id = work.request_id"
    " LEFT JOIN batchjob.intent ON intent.id = work.request_id"
    " JOIN batchjob.job ON job.id = work.id >> 40 ORDER BY work.id"
)


class Pages:
    """Where a run stands in the rows of its job.

    Args:
        before: requests with ids from here on are the run's own.
        fresh: whether rows that were never tried are wanted, too.
        up_to: the last row number that is wanted; None: all.
    """

    def __init__(self, job_id: int, *, before: int, fresh: bool, up_to: int | None) -> None:
        self._first, self._last = ids.row_range(job_id)
        self._before = before
        self._returned: tuple[int, int] | None = (1, 0)  # (request, row id) behind which to go on; None: all were read
        self._without_request = True  # rows put back or held without a request are still to come, as the last of them
        self._fresh = self._first if fresh else None
        self.wants_all = fresh and up_to is None
        self._end = self._last if up_to is None else min(self._last, ids.row_id(job_id, up_to))

    async def wanted(self, db: Connection) -> int:
        """How many pending rows they will be, of those that are there."""
        query = WANTED_RETURNED if self._fresh is None else WANTED
        found: int = await db.fetchval(query, self._first, self._end)
        return found

    async def next(self, db: Connection, limit: int) -> Page | None:
        """About `limit` rows; None where there are none now."""
        while self._returned is not None:
            if page := await self._next_returned(db, limit):
                return page
        return await self._next_fresh(db, limit)

    async def _next_returned(self, db: Connection, limit: int) -> Page | None:
        """The next of them; None, and on to what comes behind, where a part of them is read to its end."""
        assert self._returned is not None
        last_request = self._before - 1 if self._returned[0] else 0
        job = self._first, self._last
        records = _bounded(await db.fetch(RETURNED, *job, *self._returned, last_request, limit), 2)
        if not records:
            self._returned = (0, 0) if self._without_request else None
            self._without_request = False
            return None
        request, id_ = records[-1][:2]
        if records[-1][10]:  # a page's end must not part what goes out whole, under its key
            records += map(restored, await db.fetch(RETURNED, *job, request, id_, request, None))
        self._returned = request, records[-1][1]
        return _page_of(records)

    async def _next_fresh(self, db: Connection, limit: int) -> Page | None:
        if self._fresh is None:
            return None
        records = _bounded(await db.fetch(FRESH, self._fresh, self._end, limit), 1)
        if not records:
            return None
        self._fresh = records[-1][0]
        number_of = ids.number_of
        return Page(
            rows=tuple([Row(number_of(id_), text, 0, 0, defect, rest, key) for id_, text, defect, rest, key in records])
        )


def _bounded(records: list[Any], text_at: int) -> list[tuple[Any, ...]]:
    """The records up to and with the one whose text passes PAGE_BYTES."""
    size, found = 0, []
    for record in records:
        found.append(restored(record))
        size += len(record[text_at])
        if size > PAGE_BYTES:
            break
    return found


def _page_of(records: list[tuple[Any, ...]]) -> Page:
    """Lost requests as parcels, the others as rows."""
    parcels: list[Parcel] = []
    rows: list[Row] = []
    for request, group in groupby(records, itemgetter(0)):
        first, *others = group
        found = [_row(record) for record in (first, *others)]
        model, key, digest, broken_off = first[9:13]
        if key:
            parcels.append(Parcel(tuple(found), model, LostRequest(request, key, digest, broken_off)))
        else:
            rows += found
    return Page(tuple(parcels), tuple(rows))


def _row(record: Any) -> Row:
    _, id_, text, attempts, paid, defect, rest, put_back, answer, *_, first, key = record
    return Row(
        ids.number_of(id_), text, attempts, paid, defect, rest, key, put_back=put_back, answer=answer, first=first
    )
