"""Where a run's work comes from: rows put back, then the input's rows in order, and those that wait for another try.

Only a page or two of rows is in memory, however large the job.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from math import inf

from batchjob.group_commit import GroupCommit
from batchjob.model import Parcel, Row, RowResult, Unsent
from batchjob.ports import Store
from batchjob.verdict import Terms, unsent

PAGE_ROWS = 512
LOW_ROWS = 128


class Supply:
    """The parcels of a run. `more_input`: rows are still being read into the work table."""

    def __init__(
        self,
        *,
        store: Store,
        commits: GroupCommit,
        terms: Terms,
        limit: int | None,
        only_returned: bool,
        wall: Callable[[], float],
        settled: Callable[[RowResult], None],
    ) -> None:
        self._store = store
        self._commits = commits
        self._terms = terms
        self._limit = limit
        self._wall = wall
        self._settled = settled
        self._ready: deque[Parcel] = deque()
        self._waiting: list[tuple[float, int, Parcel]] = []  # a heap of (due, serial, parcel)
        self._serial = 0
        self._returned_after: tuple[int, int] | None = (-1, 0)
        self._fresh_after: int | None = None if only_returned else 0
        self._arrivals = 0  # chunks stored so far
        self._dry_at = -1  # how many there were when a page of fresh rows came back short
        self.more_input = False
        self.refilling = False

    # ------------------------------------------------------------ out

    def peek(self, now: float) -> Parcel | None:
        """The parcel to send next: the first that waited long enough, else the next of the page."""
        if self._waiting and self._waiting[0][0] <= now:
            return self._waiting[0][2]
        return self._ready[0] if self._ready else None

    def take(self, now: float) -> None:
        """Take what `peek` showed at this time."""
        if self._waiting and self._waiting[0][0] <= now:
            heapq.heappop(self._waiting)
        else:
            self._ready.popleft()

    def seconds_to_next(self, now: float) -> float:
        """Until the first waiting parcel is due; infinite where none waits."""
        return max(self._waiting[0][0] - now, 0.001) if self._waiting else inf

    @property
    def exhausted(self) -> bool:
        """Nothing is there and nothing will come, but what is in flight and may be put back."""
        return not (self._ready or self._waiting or self.refilling or self._may_have_more or self.more_input)

    # ------------------------------------------------------------ in

    def put_back(self, parcel: Parcel, due: float) -> None:
        """A parcel for another try at the time `due`."""
        self._serial += 1
        heapq.heappush(self._waiting, (due, self._serial, parcel))

    def arrived(self) -> None:
        """A chunk of the input is in the work table."""
        self._arrivals += 1

    @property
    def _may_have_more(self) -> bool:
        return self._returned_after is not None or (self._fresh_after is not None and self._dry_at != self._arrivals)

    @property
    def wants_refill(self) -> bool:
        """A page should be read, and none is being read."""
        return len(self._ready) < LOW_ROWS and not self.refilling and self._may_have_more

    async def refill(self) -> None:
        """Read a page. The caller sets `refilling` before and clears it after."""
        if self._returned_after is not None:
            parcels, last = await self._store.returned_parcels(after=self._returned_after, limit=PAGE_ROWS)
            self._returned_after = last if parcels else None
        else:
            parcels = await self._fresh()
        for parcel in parcels:
            rows = tuple(row for row in parcel.rows if not self._settle_unsent(row))
            if rows:
                self._ready.append(parcel if len(rows) == len(parcel.rows) else Parcel(rows))

    async def _fresh(self) -> list[Parcel]:
        assert self._fresh_after is not None
        arrivals = self._arrivals
        rows = await self._store.fresh_rows(after=self._fresh_after, limit=PAGE_ROWS)
        if rows:
            self._fresh_after = rows[-1].number
        else:
            self._dry_at = arrivals
        if self._limit is not None and rows and rows[-1].number >= self._limit:
            self._fresh_after = None
            rows = [row for row in rows if row.number <= self._limit]
        return [Parcel((row,)) for row in rows]

    def _settle_unsent(self, row: Row) -> bool:
        """Whether the row needs no request, in which case it is settled here."""
        result = unsent(row, self._terms)
        if result is None:
            return False
        self._commits.submit(Unsent((result,), at=self._wall()))
        self._settled(result)
        return True
