"""The rows a run works on, a page at a time: those that were out before or put back, then those never claimed.

Each is taken before it is read, and no other run takes it while this one is alive. A take has a number: where its
answer is lost, the same is taken when it is asked for again.
"""

from __future__ import annotations

from typing import NamedTuple

from batchjob.model import Page
from batchjob.stores import ids
from batchjob.stores.pages import bounded, fresh, returned
from batchjob.stores.postgres.line import Connection
from batchjob.stores.postgres.nul import restored

RETURNED = (
    "SELECT row.request_id, row.id, input.text, row.attempts, row.paid, input.defect, input.rest, row.put_back,"
    " row.answer, request.model, CASE request.outcome WHEN 'lost' THEN request.client_key END, request.body_digest,"
    " request.error_kind IS NOT DISTINCT FROM 'broken_off_answer',"
    " row.answer IS NOT NULL AND (request.outcome IS DISTINCT FROM 'answered' OR NOT EXISTS ("
    " SELECT FROM batchjob.run JOIN batchjob.task AS own ON own.id = run.task_id"
    " JOIN batchjob.task AS other USING (question) WHERE run.id = $2 AND other.id = request.task_id"
    " AND own.settings::json ->> 'model' IS NOT DISTINCT FROM other.settings::json ->> 'model'"
    " AND own.settings::json ->> 'routes' IS NOT DISTINCT FROM other.settings::json ->> 'routes')),"
    " row.first, input.key"
    " FROM batchjob.row AS row JOIN batchjob.input ON input.id = row.id"
    " LEFT JOIN batchjob.request ON request.id = row.request_id"
    " WHERE row.id = ANY ($1) ORDER BY nullif(row.request_id, 0) NULLS LAST, row.id"
)
FRESH = (  # each table is bounded: else it is read whole
    "SELECT input.id, input.text, input.defect, input.rest, input.key FROM batchjob.input"
    " WHERE input.id > $1 AND input.id <= $2"
    " AND NOT EXISTS (SELECT 1 FROM batchjob.row AS row"
    " WHERE row.id = input.id AND row.id > $1 AND row.id <= $2)"
    " AND NOT EXISTS (SELECT 1 FROM batchjob.flight"
    " WHERE flight.row_id = input.id AND flight.row_id > $1 AND flight.row_id <= $2)"
    " ORDER BY input.id LIMIT $3"
)
WANTED = "SELECT count(*) FROM batchjob.work WHERE id > $1 AND id <= $2 AND state = 'pending'"
WANTED_RETURNED = (
    "SELECT count(*) FROM batchjob.row AS row WHERE row.id > $1 AND row.id <= $2 AND state = 'pending'"
    " AND request_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM batchjob.flight WHERE flight.row_id = row.id)"
)
UNHEARD = ids.expand(
    "WITH alike AS ("
    " SELECT other.id FROM batchjob.run JOIN batchjob.task AS own ON own.id = run.task_id"
    " JOIN batchjob.task AS other USING (question) WHERE run.id = $2"
    "), unheard AS ("
    " SELECT row.id FROM batchjob.row AS row JOIN batchjob.request ON request.id = row.request_id"
    " WHERE row.state IN ('failed', 'unconfirmed') AND request.outcome = 'lost'"
    " AND (job_of(row.id) = $1 OR request.task_id IN (SELECT id FROM alike))"
    " UNION ALL"
    " SELECT row.id FROM batchjob.row AS row JOIN batchjob.request ON request.id = row.request_id"
    " WHERE row.state = 'pending' AND row.request_id IS NOT NULL AND job_of(row.id) <> $1 AND request.outcome = 'lost'"
    " AND request.task_id IN (SELECT id FROM alike)"
    " AND NOT EXISTS (SELECT 1 FROM batchjob.flight WHERE flight.row_id = row.id)"
    " UNION ALL"
    " SELECT flight.row_id FROM batchjob.flight JOIN batchjob.intent ON intent.id = flight.request_id"
    " WHERE job_of(flight.row_id) <> $1 AND intent.task_id IN (SELECT id FROM alike)"
    "), page AS (SELECT id FROM unheard WHERE id > $3 ORDER BY id LIMIT $4)"
    " SELECT work.id, work.text, work.rest, work.key, work.first, coalesce(request.model, intent.model),"
    " CASE WHEN job.id = $1 THEN '' ELSE job.name END"
    " FROM page JOIN batchjob.work ON work.id = page.id"
    " LEFT JOIN batchjob.request ON request.id = work.request_id"
    " LEFT JOIN batchjob.intent ON intent.id = work.request_id"
    " JOIN batchjob.job ON job.id = job_of(work.id) ORDER BY work.id"
)


class Pages(NamedTuple):
    """Where a run stands in the rows of its job. Another one follows each page, once that is sure to be the run's."""

    job: int
    run: int
    fresh: bool  # whether rows that were never tried are wanted, too
    up_to: int | None  # the last row number that is wanted; None: all
    takes: int = 0
    taken: tuple[int, ...] = ()  # rows that were returned and are to be read
    rest: tuple[int, int] = (0, 0)  # of the last range: the id behind which to read, and the last one

    @property
    def wants_all(self) -> bool:
        """Whether every pending row is wanted."""
        return self.fresh and self.up_to is None

    @property
    def _end(self) -> int:
        """The id of the last row that is wanted."""
        last = ids.row_range(self.job)[1]
        return last if self.up_to is None else min(last, ids.row_id(self.job, self.up_to))

    async def wanted(self, db: Connection) -> int:
        """How many pending rows they will be, of those that are there."""
        query = WANTED if self.fresh else WANTED_RETURNED
        found: int = await db.fetchval(query, ids.row_range(self.job)[0], self._end)
        return found

    async def next(self, db: Connection, limit: int) -> tuple[Page | None, Pages]:
        """About `limit` rows: see ports.Store.next_page; and where the run stands behind them."""
        here = self
        while True:
            if here.taken:
                return await here._read_returned(db)
            if here.rest[0] < here.rest[1]:
                page, here = await here._read_range(db, limit)
                if page.rows:
                    return page, here
                continue
            found = await here._take(db, limit)
            if found is None:
                if not await db.fetchval("SELECT batchjob.elsewhere($1, $2)", self.run, self.job):
                    return None, here
                await db.execute("SELECT batchjob.pass_on($1, $2)", self.run, self.job)
                return Page(), here
            here = found

    async def _take(self, db: Connection, limit: int) -> Pages | None:
        """Rows for this run; None where there are none now."""
        takes = self.takes + 1
        mine = self.run, self.job, ids.request_range(self.run)[0] + takes
        rows = await db.fetch("SELECT batchjob.take_returned($1, $2, $3, $4)", *mine, limit)
        if rows:
            return self._replace(takes=takes, taken=tuple(one[0] for one in rows))
        if not self.fresh:
            return None
        number = ids.number_of(self._end)
        first, last = await db.fetchrow("SELECT * FROM batchjob.take_range($1, $2, $3, $4, $5)", *mine, number, limit)
        if last is None:
            return None
        rest = ids.row_id(self.job, first) - 1, min(ids.row_id(self.job, last), self._end)
        return self._replace(takes=takes, rest=rest)

    async def _read_returned(self, db: Connection) -> tuple[Page, Pages]:
        given = await db.fetch(RETURNED, list(self.taken), self.run)
        count = len(list(bounded(given, 2)))
        while count < len(given) and given[count][0] == given[count - 1][0] > 0:
            count += 1  # what goes out whole, under its key, is not parted
        records = [restored(one) for one in given[:count]]
        return returned(records), self._replace(taken=tuple(one[1] for one in given[count:]))

    async def _read_range(self, db: Connection, limit: int) -> tuple[Page, Pages]:
        first, last = self.rest
        given = await db.fetch(FRESH, first, last, limit)
        records = list(bounded(map(restored, given), 1))
        behind = records[-1][0] if len(records) < len(given) or len(given) == limit else last
        return fresh(records), self._replace(rest=(behind, last))
