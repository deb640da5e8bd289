"""The rows a run works on, a page at a time: those that were out before or put back, then those never claimed."""

from __future__ import annotations

import sqlite3

from batchjob.model import Page
from batchjob.stores import ids
from batchjob.stores.pages import bounded, fresh, returned
from batchjob.stores.sqlite.group import QUERIES


class Pages:
    """Where a run stands in the rows of its job.

    Args:
        run: its id. Rows that only its own requests were out with are not among them.
        fresh: whether rows that were never tried are wanted, too.
        up_to: the last row number that is wanted; None: all.
    """

    def __init__(self, job_id: int, *, run: int, fresh: bool, up_to: int | None) -> None:
        self._job_id = job_id
        self._first, self._last = ids.row_range(job_id)
        self._run = run
        self._returned: tuple[int, int] | None = (1, 0)  # (request, row id) behind which to go on; None: all were read
        self._without_request = True  # rows put back or held without a request are still to come, as the last of them
        self._fresh = self._first if fresh else None
        if up_to is not None:
            self._last = min(self._last, ids.row_id(job_id, up_to))

    @property
    def wants_all(self) -> bool:
        """Whether every pending row of the job is among them."""
        return self._fresh is not None and self._last == ids.row_range(self._job_id)[1]

    def wanted(self, db: sqlite3.Connection) -> int:
        """How many pending rows they will be, of those that are there."""
        query = QUERIES["wanted_returned_rows" if self._fresh is None else "wanted_rows"]
        return int(db.execute(query, {"first": self._first, "last": self._last}).fetchone()[0])

    def next(self, db: sqlite3.Connection, limit: int) -> Page | None:
        """About `limit` rows; None where there are none now."""
        while self._returned is not None:
            if page := self._next_returned(db, limit):
                return page
        return self._next_fresh(db, limit)

    # ------------------------------------------------------------ out before

    def _next_returned(self, db: sqlite3.Connection, limit: int) -> Page | None:
        """The next of them; None, and on to what comes behind, where a part of them is read to its end."""
        assert self._returned is not None
        last_request = ids.first_request_id(self._run) - 1 if self._returned[0] else 0
        records = list(
            bounded(db.execute(QUERIES["returned_rows"], self._values(*self._returned, last_request, limit)), 2)
        )
        if not records:
            self._returned = (0, 0) if self._without_request else None
            self._without_request = False
            return None
        request, id_ = records[-1][:2]
        if records[-1][10]:  # a page's end must not part what goes out whole, under its key
            records += db.execute(QUERIES["returned_rows"], self._values(request, id_, request, -1))
        self._returned = request, records[-1][1]
        return returned(records)

    def _values(self, request: int, after: int, last_request: int, limit: int) -> dict[str, int]:
        first, last = ids.row_range(self._job_id)
        return {
            "first": first,
            "last": last,
            "request": request,
            "after": after,
            "last_request": last_request,
            "limit": limit,
            "run": self._run,
        }

    # ------------------------------------------------------------ never claimed

    def _next_fresh(self, db: sqlite3.Connection, limit: int) -> Page | None:
        if self._fresh is None:
            return None
        values = {"after": self._fresh, "last": self._last, "limit": limit}
        records = list(bounded(db.execute(QUERIES["fresh_rows"], values), 1))
        if not records:
            return None
        self._fresh = records[-1][0]
        return fresh(records)
