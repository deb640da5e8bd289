"""Where a run's work comes from: rows put back, then the input's rows in order, and those that wait for another try.

Rows that need no request are settled here: blank ones, those a rule labels, those whose text has a label already, and
those whose text is on its way in another row. Only a page or two of rows is in memory, however large the job.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Sequence
from math import inf
from typing import Any

import msgspec

from batchjob.config import JobConfig
from batchjob.exchange.rows import Terms, unsent
from batchjob.model import Job, Parcel, Remembered, Row, RowResult, Unsent
from batchjob.ports import Store
from batchjob.run.group_commit import GroupCommit
from batchjob.states import Event, Source
from batchjob.task.prompt import estimate_tokens
from batchjob.task.routes import Routes, Rules
from batchjob.task.texts import Key, Keys

PAGE_ROWS = 512
MOST_FOLLOWING = 64 * PAGE_ROWS
"""Rows that wait in memory for another one with their text; with more, no page is read until it has its end."""
UNHEARD_AT_ONCE = 64 * PAGE_ROWS
"""Rows whose answer was never seen, as they are read."""


class _Leader:
    """A row whose text is on its way, and the rows with the same text that wait for its label."""

    __slots__ = ("followers", "number", "result")

    def __init__(self, number: int) -> None:
        self.number = number
        self.followers: list[Row] = []
        self.result: RowResult | None = None


class Supply:
    """The parcels of a run. `more_input`: rows are still being read into the work table."""

    def __init__(
        self,
        *,
        job: Job,
        config: JobConfig,
        store: Store,
        commits: GroupCommit,
        terms: Terms,
        only_returned: bool,
        wall: Callable[[], float],
        settled: Callable[[RowResult], None],
    ) -> None:
        self._job = job
        self._config = config
        self._store = store
        self._commits = commits
        self._terms = terms
        self._wall = wall
        self._settled = settled
        self._rules = Rules(config.rules)
        self._routes = Routes(config.routes, config.model)
        self._keys = Keys(config) if config.dedupe or config.cache else None
        self._page_rows = max(PAGE_ROWS, 2 * config.rows_per_request)

        self._ready: dict[str, deque[Row]] = {}  # by model
        self._whole: deque[Parcel] = deque()  # lost parcels, which go out again as they were
        self._waiting: list[tuple[float, int, Parcel]] = []  # a heap of (due, serial, parcel)
        self._serial = 0
        self._next: Parcel | None = None
        self._key_of: dict[int, Key] = {}
        self._leaders: dict[Key, _Leader] = {}
        self._over: list[Key] = []  # leaders that have their result
        self._following = 0  # rows that wait for a leader
        self._holds = terms.hold and self._keys is not None
        self._unheard: dict[Key, tuple[int, str]] = {}  # texts to hold -> the row, and its job, they went out in
        self._knows_unheard = not self._holds
        self._returned_after: tuple[int, int] | None = None
        self._more_returned = True
        self._fresh_after: int | None = None if only_returned else 0
        self._arrivals = 0  # chunks stored so far
        self._dry_at = -1  # how many there were when a page of fresh rows came back empty
        self.more_input = False
        self.refilling = False

    # ------------------------------------------------------------ out

    def peek(self, now: float) -> Parcel | None:
        """The parcel to send next, the same until it is taken."""
        if self._next is None:
            self._next = self._choose(now)
        return self._next

    def take(self) -> None:
        """The parcel that was shown is on its way."""
        self._next = None

    def _choose(self, now: float) -> Parcel | None:
        """A parcel that waited long enough, else a lost one, else as many rows of one model as go into a request."""
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        if self._whole:
            return self._whole.popleft()
        model, rows = max(self._ready.items(), key=_length, default=("", None))
        if not rows:
            return None
        most = self._config.rows_per_request
        if most == 1:
            return Parcel((rows.popleft(),), model)
        if len(rows) < most and (self.refilling or self.wants_refill or (self.more_input and self._may_follow)):
            return None
        return Parcel(tuple(self._fitting(rows, most)), model)

    def _fitting(self, rows: deque[Row], most: int) -> list[Row]:
        """The next rows that go into one request together: one at least."""
        chosen = [rows.popleft()]
        room = self._config.max_request_tokens - estimate_tokens(chosen[0].text)
        while rows and len(chosen) < most:
            room -= estimate_tokens(rows[0].text) + 6
            if room < 0:
                break
            chosen.append(rows.popleft())
        return chosen

    def seconds_to_next(self, now: float) -> float:
        """Until the first waiting parcel is due; infinite where none waits."""
        return max(self._waiting[0][0] - now, 0.001) if self._waiting else inf

    @property
    def exhausted(self) -> bool:
        """Nothing is there and nothing will come, but what is in flight and may be put back."""
        there = self._next or self._whole or self._waiting or any(self._ready.values())
        return not (there or self.refilling or self._may_have_more or self.more_input)

    # ------------------------------------------------------------ back

    def put_back(self, parcel: Parcel, due: float) -> None:
        """A parcel for another try at the time `due`."""
        self._serial += 1
        heapq.heappush(self._waiting, (due, self._serial, parcel))

    def to_remember(self, results: Sequence[RowResult]) -> tuple[Remembered, ...]:
        """The labels among these results, as the cache takes them."""
        return tuple(
            [
                Remembered(key, result.label, result.source is Source.FALLBACK)
                for result in results
                if result.label is not None and (key := self._key_of.get(result.number)) is not None
            ]
        )

    def concluded(self, result: RowResult) -> None:
        """A row has its end: the rows with the same text have it too."""
        key = self._key_of.pop(result.number, None)
        if key is None:
            return
        lost = result.event is Event.LOSE or (result.event is Event.FAIL and result.known_by is not None)
        if lost and self._holds and self._config.dedupe:
            self._unheard[key] = result.number, ""
        leader = self._leaders.get(key)
        if leader is None or leader.number != result.number:
            return
        leader.result = result
        self._following -= len(leader.followers)
        self._over.append(key)
        self._settle([_like(row, result, leader.number, self._job.name) for row in leader.followers])

    # ------------------------------------------------------------ in

    def arrived(self) -> None:
        """A chunk of the input is in the work table."""
        self._arrivals += 1

    @property
    def _may_have_more(self) -> bool:
        return self._more_returned or (self._fresh_after is not None and self._dry_at != self._arrivals)

    @property
    def wants_refill(self) -> bool:
        """A page should be read, and none is being read."""
        if self.refilling or not self._may_have_more:
            return False
        ready = sum(map(len, self._ready.values())) + len(self._whole)
        return ready < self._page_rows // 2 and self._may_follow

    @property
    def _may_follow(self) -> bool:
        """Whether there is room for more rows that wait for another one."""
        return self._following < MOST_FOLLOWING

    async def refill(self) -> None:
        """Read a page. The caller sets `refilling` before and clears it after."""
        over, self._over = self._over, []
        if over:
            await self._commits.flushed()  # from here on the cache knows them
            for key in over:
                del self._leaders[key]
        if not self._knows_unheard:
            await self._learn_unheard()
        if self._more_returned:
            await self._admit(await self._returned())
        else:
            await self._admit(await self._fresh())

    async def _learn_unheard(self) -> None:
        """Which texts are to be held, for they may have been paid for already."""
        assert self._keys is not None
        after = 0
        while rows := await self._store.unheard_rows(after=after, limit=UNHEARD_AT_ONCE):
            after = rows[-1].id
            for row in rows:
                key = self._keys.of(row.text, row.model)
                if self._config.dedupe and not row.job:
                    self._unheard[key] = row.number, ""
                elif self._config.cache and row.job:
                    self._unheard.setdefault(key, (row.number, row.job))
        self._knows_unheard = True

    async def _returned(self) -> list[Row]:
        parcels, self._returned_after = await self._store.returned_parcels(
            after=self._returned_after, limit=self._page_rows
        )
        self._more_returned = bool(parcels)
        await self._ask_again([parcel for parcel in parcels if parcel.lost])
        return [row for parcel in parcels if not parcel.lost for row in parcel.rows]

    async def _ask_again(self, lost: list[Parcel]) -> None:
        """A lost request goes out as it was, unless all it asked has been answered to other rows meanwhile."""
        remembered: dict[int, Remembered | None] = {}  # by row
        if self._keys is not None:
            asking = [(row, parcel.model) for parcel in lost for row in parcel.rows]
            cached = await self._cached(self._keys, asking)
            remembered = {row.number: found for (row, _), (_, found) in zip(asking, cached, strict=True)}
        for parcel in lost:
            known = [self._known(row, remembered.get(row.number)) for row in parcel.rows]
            if all(known):
                self._settle([result for result in known if result is not None])
                continue
            self._whole.append(parcel)
            for row in parcel.rows:
                self._lead(row, parcel.model)

    async def _fresh(self) -> list[Row]:
        if self._fresh_after is None:
            return []
        arrivals, limit = self._arrivals, self._config.limit
        rows = await self._store.fresh_rows(after=self._fresh_after, limit=self._page_rows)
        if rows:
            self._fresh_after = rows[-1].number
        else:
            self._dry_at = arrivals
        if limit is not None and rows and rows[-1].number >= limit:
            self._fresh_after = None
            rows = [row for row in rows if row.number <= limit]
        return rows

    async def _admit(self, rows: list[Row]) -> None:
        """Settle what needs no request; the rest is ready to go out."""
        done: list[RowResult] = []
        asking: list[tuple[Row, str]] = []
        for row in rows:
            result = unsent(row, self._terms) or self._by_rule(row)
            if result is not None:
                done.append(result)
            else:
                asking.append((row, self._routes.model(row.text, self._columns(row))))
        if self._keys is None:
            for row, model in asking:
                self._enqueue(row, model, None)
        else:
            for (row, model), (key, found) in zip(asking, await self._cached(self._keys, asking), strict=True):
                result = self._known(row, found) or self._hold(row, key) or self._follow(row, model, key)
                if result is not None:
                    done.append(result)
        self._settle(done)

    async def _cached(self, keys: Keys, asking: Sequence[tuple[Row, str]]) -> list[tuple[Key, Remembered | None]]:
        """The key of each row's text, when this model is asked, and what is remembered under it."""
        wanted = [keys.of(row.text, model) for row, model in asking]
        found = await self._store.cached_labels(wanted) if wanted else {}
        return [(key, found.get(key)) for key in wanted]

    def _settle(self, results: Sequence[RowResult]) -> None:
        if results:
            self._commits.submit(Unsent(tuple(results), at=self._wall()))
            for result in results:
                self._settled(result)

    def _enqueue(self, row: Row, model: str, key: Key | None) -> None:
        if key is not None:
            self._key_of[row.number] = key
        self._ready.setdefault(model, deque()).append(row)

    def _by_rule(self, row: Row) -> RowResult | None:
        found = self._rules.label(row.text)
        if found is None:
            return None
        label, name = found
        return RowResult(row.number, Event.ASSIGN, label=label, source=Source.RULE, origin=name)

    def _columns(self, row: Row) -> dict[str, Any] | None:
        """The row's other columns by name, where a route asks for them."""
        if not self._routes.needs_columns or row.rest is None:
            return None
        values = msgspec.json.decode(row.rest)
        if isinstance(values, dict):
            return values
        source = self._job.source
        others = [name for name in source.columns if name not in (source.id_column, source.text_column)]
        return dict(zip(others, values, strict=False))

    # ------------------------------------------------------------ the same text

    def _known(self, row: Row, found: Remembered | None) -> RowResult | None:
        """The label that was bought for this text before, by this job or an earlier one."""
        if found is None:
            return None
        own = found.job_id == self._job.id
        if not (self._config.dedupe if own else self._config.cache):
            return None
        if found.fallback:  # the answer was none of the labels: what is taken then is for this job to say
            label, source = self._config.fallback, Source.FALLBACK
        else:
            label, source = found.label, Source.DUPLICATE if own else Source.CACHE
        if label is None:
            return None
        return RowResult(row.number, Event.ASSIGN, label=label, source=source, origin=found.job or None)

    def _hold(self, row: Row, key: Key) -> RowResult | None:
        """A row waits for the user with the one its text went out in; if that is another job's, only until put back."""
        if key not in self._unheard or key in self._leaders:
            return None
        number, job = self._unheard[key]
        if job and row.insisted:
            return None
        where = f"row {number} of job {job}" if job else f"row {number}"
        return _held(row, f"the same text as {where}, whose answer was never seen")

    def _follow(self, row: Row, model: str, key: Key) -> RowResult | None:
        """Let the row wait for the one that is on its way with the same text, or be that one itself."""
        leader = self._leaders.get(key)
        if leader is None or not self._config.dedupe:
            if self._config.dedupe:
                self._leaders[key] = _Leader(row.number)
            self._enqueue(row, model, key)
            return None
        if leader.result is None:
            leader.followers.append(row)
            self._following += 1
            return None
        return _like(row, leader.result, leader.number, self._job.name)

    def _lead(self, row: Row, model: str) -> None:
        """A lost row asks again in any case; others with its text wait for it."""
        if self._keys is not None:
            key = self._keys.of(row.text, model)
            self._key_of[row.number] = key
            if self._config.dedupe:
                self._leaders.setdefault(key, _Leader(row.number))


def _length(item: tuple[str, deque[Row]]) -> int:
    return len(item[1])


def _like(row: Row, result: RowResult, number: int, job: str) -> RowResult:
    """What became of a row, said of another with the same text."""
    if result.label is not None:
        source = Source.FALLBACK if result.source is Source.FALLBACK else Source.DUPLICATE
        return RowResult(row.number, Event.ASSIGN, label=result.label, source=source, origin=job)
    error = f"the same text as row {number}: {result.error}"
    if result.event is Event.LOSE:
        return _held(row, error)
    return RowResult(row.number, Event.REJECT, error_kind=result.error_kind, error=error)


def _held(row: Row, error: str) -> RowResult:
    return RowResult(row.number, Event.HOLD, error_kind="unconfirmed", error=error)
