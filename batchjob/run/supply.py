"""Where a run's work comes from: rows put back, then the input's rows in order, and those that wait for another try.

Rows that need no request are settled here, by the shortcuts and by those with the same text that are on their way.
Only a page or two of rows is in memory, however large the job.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from math import inf

import msgspec

from batchjob.model import Job, Key, LostRequest, Parcel, Remembered, Row, RowResult, Skip
from batchjob.ports import Store
from batchjob.providers.dialect import Learned
from batchjob.run.group_commit import GroupCommit
from batchjob.run.twins import Twins
from batchjob.settings.config import JobConfig, models_of
from batchjob.shortcuts import Walk
from batchjob.shortcuts.case import Case
from batchjob.task.prompt import Prompt

PAGE_ROWS = 512
AHEAD = 4
"""Rows that a run takes of a job that it shares: so many times those that may be in flight."""
UNHEARD_AT_ONCE = 64 * PAGE_ROWS
"""Rows whose answer was never seen, as they are read."""


class Supply:
    """The parcels of a run. `more_input`: rows are still being read into the work table.

    `skipped` is told of each row that is settled without a request. `shared`: other runs may be working on the job.
    """

    def __init__(
        self,
        job: Job,
        config: JobConfig,
        prompt: Prompt,
        walk: Walk,
        store: Store,
        commits: GroupCommit,
        *,
        wall: Callable[[], float],
        skipped: Callable[[RowResult], None],
        shared: bool = False,
    ) -> None:
        self._rows_per_request, self._request_tokens = config.rows_per_request, config.max_request_tokens
        soon = AHEAD * config.concurrency * config.rows_per_request if shared else PAGE_ROWS  # others want some, too
        self._page_rows = max(min(PAGE_ROWS, soon), 2 * config.rows_per_request)
        self._store, self._commits, self._wall, self._skipped = store, commits, wall, skipped
        self._prompt, self._walk = prompt, walk
        self._holds = hold = config.on_unconfirmed == "hold"
        self._models = frozenset(models_of(config))
        self._twins = Twins(job.name, dedupe=config.dedupe != "off", cache=config.cache, hold=hold)
        self._knows_unheard = not self._twins.holds

        self._ready: dict[str, deque[Case]] = {}  # by model
        self._whole: deque[Parcel] = deque()  # lost ones, which go out again as they were, and what was cut off
        self._waiting: list[tuple[float, int, Parcel]] = []  # a heap of (due, serial, parcel)
        self._serial = 0
        self._next: Parcel | None = None
        self._elsewhere: list[Parcel] = []  # another run asks for their texts, or for some of them
        self._looks = False  # whether to look there
        self._others_have_more = False
        self._taught = 0  # how often the endpoint changed what rows ask
        self._arrivals = 0  # chunks stored so far
        self._dry_at = -1  # how many there were when there was no page
        self.more_input = False
        self.refilling = False

    # ------------------------------------------------------------ out

    def next_parcel(self, now: float) -> Parcel | None:
        """The parcel to send next, the same until it is taken."""
        if self._next is None:
            self._next = self._choose(now)
        return self._next

    def take(self) -> None:
        """The parcel that was shown is on its way."""
        self._next = None

    def shrink(self, parcel: Parcel, fits: Callable[[Parcel], bool]) -> Parcel:
        """The parcel to send next with as many of its rows as fit, one at least; the others come next.

        One that was lost goes out as it was or not at all.
        """
        if parcel.lost is not None or len(parcel.rows) == 1:
            return parcel
        parts = (_cut(parcel, 0, count) for count in range(len(parcel.rows) - 1, 0, -1))
        part = next(one for one in parts if fits(one) or len(one.rows) == 1)
        self._whole.appendleft(_cut(parcel, len(part.rows), None))
        self._next = part
        return part

    def _choose(self, now: float) -> Parcel | None:
        """A parcel that waited long enough, else a lost one, else as many rows of one model as go into a request."""
        if self._waiting and self._waiting[0][0] <= now:
            return heapq.heappop(self._waiting)[2]
        if self._whole:
            return self._whole.popleft()
        if len(self._ready) == 1:
            ((model, cases),) = self._ready.items()
        else:
            model, cases = max(self._ready.items(), key=_length, default=("", _NONE))
        if not cases:
            return None
        most = self._rows_per_request
        if most == 1:
            case = cases.popleft()
            twins = () if case.twin is case.key or case.twin is None else (case.twin,)
            return Parcel((case.row,), model, None, None, () if case.key is None else (case.key,), twins)
        more_will_come = self.refilling or self.wants_refill or (self.more_input and not self._twins.full)
        if len(cases) < most and more_will_come:
            return None
        return _parcel(self._fitting(cases, most), model)

    def _fitting(self, cases: deque[Case], most: int) -> list[Case]:
        """The next rows that go into one request together: one at least."""
        count = self._prompt.fitting((case.row for case in cases), most, self._request_tokens)
        return [cases.popleft() for _ in range(count)]

    def seconds_to_next(self, now: float) -> float:
        """Until the first waiting parcel is due; infinite where none waits."""
        return max(self._waiting[0][0] - now, 0.001) if self._waiting else inf

    @property
    def exhausted(self) -> bool:
        """Nothing is there and nothing will come, but what is in flight and may be put back."""
        there = self._next or self._whole or self._waiting or self._elsewhere or any(self._ready.values())
        return not (there or self.refilling or self._may_have_more or self.more_input or self._others_have_more)

    # ------------------------------------------------------------ back

    def put_back(self, parcel: Parcel, due: float) -> None:
        """A parcel for another try at the time `due`."""
        self._serial += 1
        heapq.heappush(self._waiting, (due, self._serial, parcel))

    def ask_as(self, learned: Mapping[str, Learned], asked: Parcel) -> Parcel:
        """The endpoint taught how a model is asked, before it gave a label: rows are known by what they ask now.

        Gives `asked`, which was out meanwhile, with its new keys.
        """
        self._walk.learn(learned)
        self._taught += 1
        renamed: dict[Key, Key] = {}
        for model, cases in self._ready.items():
            self._ready[model] = deque(self._asking(case.row, model, case.key, renamed) for case in cases)
        self._whole = deque(self._asked_now(parcel, renamed) for parcel in self._whole)
        self._waiting = [(due, n, self._asked_now(parcel, renamed)) for due, n, parcel in self._waiting]
        self._elsewhere = [self._asked_now(parcel, renamed) for parcel in self._elsewhere]
        self._next = None if self._next is None else self._asked_now(self._next, renamed)
        asked = self._asked_now(asked, renamed)
        self._twins.rename(renamed)
        self._knows_unheard = not self._twins.holds
        return asked

    def _asking(self, row: Row, model: str, before: Key | None, renamed: dict[Key, Key]) -> Case:
        case = self._walk.asking(row, model)
        if before is not None and case.key is not None:
            renamed[before] = case.key
        return case

    def _asked_now(self, parcel: Parcel, renamed: dict[Key, Key]) -> Parcel:
        if not parcel.keys:
            return parcel
        pairs = zip(parcel.rows, parcel.keys, strict=True)
        cases = [self._asking(row, parcel.model, key, renamed) for row, key in pairs]
        return msgspec.structs.replace(parcel, keys=tuple([case.key for case in cases if case.key is not None]))

    def refused(self, parcel: Parcel) -> None:
        """Another run asks for one of its texts."""
        self._elsewhere.append(parcel)
        self._looks = True

    def look_again(self) -> None:
        """Other runs may have left rows, or have an answer to what this one waits for."""
        self._looks = bool(self._elsewhere)
        if self._others_have_more:
            self._dry_at = -1

    def concluded(self, key: Key, result: RowResult) -> None:
        """A row has its end: the rows with the same text have it too."""
        if followers := self._twins.concluded(key, result):
            self._skip(followers)

    # ------------------------------------------------------------ in

    def arrived(self) -> None:
        """A chunk of the input is in the work table."""
        self._arrivals += 1

    @property
    def _may_have_more(self) -> bool:
        return self._dry_at != self._arrivals

    @property
    def wants_refill(self) -> bool:
        """A page should be read, and none is being read."""
        if self.refilling:
            return False
        if self._looks:
            return True
        if not self._may_have_more:
            return False
        ready = sum(map(len, self._ready.values())) + len(self._whole)
        return ready < self._page_rows // 2 and not self._twins.full

    async def refill(self) -> None:
        """Read a page. The caller sets `refilling` before and clears it after."""
        if over := self._twins.take_over():
            await self._commits.flushed()  # from here on the cache knows them
            self._twins.forget(over)
        if not self._knows_unheard:
            await self._learn_unheard()
        if self._looks:
            await self._look_elsewhere()
            return
        arrivals = self._arrivals
        page = await self._store.next_page(self._page_rows)
        self._others_have_more = page is not None and not (page.rows or page.parcels)
        if page is None or self._others_have_more:
            self._dry_at = arrivals
            return
        if page.seconds:
            done, page = self._walk.by_first(page)
            self._skip(done)
        await self._ask_again(page.parcels)
        done, cases = self._walk.by_row(page.rows)
        self._skip(done)
        await self._admit(cases)

    async def _look_elsewhere(self) -> None:
        """What became of texts that other runs ask for: rows with them have the same, or ask now."""
        self._looks = False
        taught, count = self._taught, len(self._elsewhere)
        asking = await self._store.asking([text for parcel in self._elsewhere for text in parcel.texts])
        if taught != self._taught:  # they ask for other texts by now
            self._looks = True
            return
        parcels, self._elsewhere = self._elsewhere[:count], self._elsewhere[count:]
        for parcel in parcels:
            open_, free = list[int](), list[int]()
            for place, (row, text) in enumerate(zip(parcel.rows, parcel.texts, strict=True)):
                other = asking.get(text)
                if other is None or other.number == row.number:
                    free.append(place)
                elif other.result is not None:
                    result = self._twins.answered_elsewhere(row, other.result, other.number)
                    self._skip([result, *self._twins.concluded(text, result)])
                else:
                    (free if other.free else open_).append(place)
            if parcel.lost is not None and open_:
                open_, free = sorted(open_ + free), []  # it goes out as it was as far as it can
            self._whole += [_parts(parcel, free)] if free else []
            self._elsewhere += [_parts(parcel, open_)] if open_ else []

    async def _learn_unheard(self) -> None:
        """Which texts are to be held, for they may have been paid for already."""
        after, taught = 0, self._taught
        while rows := await self._store.unheard_rows(after=after, limit=UNHEARD_AT_ONCE):
            after = rows[-1].id
            cases = [self._walk.asking(row.row, row.model) for row in rows]
            self._twins.learn_unheard(list(zip(rows, cases, strict=True)))
        self._knows_unheard = taught == self._taught

    async def _ask_again(self, lost: Sequence[Parcel]) -> None:
        """A lost request goes out as it was, unless all it asked has been answered to other rows meanwhile."""
        there = [case for parcel in lost for case in self._asked_again(parcel)]
        every, remembered = await self._looked_up(there)
        asked = iter(every)
        for parcel in lost:
            cases = list(islice(asked, len(parcel.rows)))
            known, unknown = self._walk.by_text(cases, remembered)
            if not unknown:
                self._skip(known)
                continue
            self._whole += [_parcel(part, part[0].model, parcel.lost) for part in self._parted(cases)]
            for case in cases:
                self._twins.lead(case)

    def _parted(self, cases: list[Case]) -> list[list[Case]]:
        """A lost request that failed, and is put back, is asked in parts where the run asks for fewer rows at once: one
        of its rows may be what it failed for. What is held goes whole in any case, under its key.
        """
        most = self._rows_per_request
        if self._holds or not all(case.row.put_back for case in cases):
            return [cases]
        return [cases[first : first + most] for first in range(0, len(cases), most)]

    def _asked_again(self, parcel: Parcel) -> list[Case]:
        """The rows of a lost request, for the model that was asked; for another where the job asks it no more."""
        model: str | None = parcel.model
        if parcel.model not in self._models:
            model = self._walk.asking(parcel.rows[0]).model
        return [self._walk.asking(row, model) for row in parcel.rows]

    async def _admit(self, cases: Sequence[Case]) -> None:
        """Settle those whose text is known, held or on its way; the rest is ready to go out."""
        cases, remembered = await self._looked_up(cases)
        done, left = self._walk.by_text(cases, remembered)
        for case in left:
            result = self._twins.meet(case)
            if isinstance(result, RowResult):
                done.append(result)
            elif not result:
                if case.model not in self._ready:
                    self._ready[case.model] = deque()
                self._ready[case.model].append(case)
        self._skip(done)

    async def _looked_up(self, cases: Sequence[Case]) -> tuple[Sequence[Case], dict[Key, Remembered]]:
        """What is remembered of these rows; and the rows, by what they ask when that is known."""
        while True:
            taught, found = self._taught, await self._remembered(cases)
            if taught == self._taught:
                return cases, found
            cases = [self._walk.asking(case.row, case.model) for case in cases]

    async def _remembered(self, cases: Sequence[Case]) -> dict[Key, Remembered]:
        keys = self._walk.keys(cases)
        return await self._store.cached_labels(keys) if keys else {}

    def _skip(self, results: Sequence[RowResult]) -> None:
        if results:
            self._commits.submit(Skip(tuple(results), at=self._wall()))
            for result in results:
                self._skipped(result)


_NONE: deque[Case] = deque()


def _cut(parcel: Parcel, first: int, end: int | None) -> Parcel:
    rows, keys, twins = parcel.rows[first:end], parcel.keys[first:end], parcel.twins[first:end]
    return msgspec.structs.replace(parcel, rows=rows, keys=keys, twins=twins)


def _parts(parcel: Parcel, places: Sequence[int]) -> Parcel:
    """The parcel with these of its rows alone."""
    if len(places) == len(parcel.rows):
        return parcel
    rows = tuple([parcel.rows[place] for place in places])
    keys, twins = (tuple([one[place] for place in places]) if one else () for one in (parcel.keys, parcel.twins))
    return msgspec.structs.replace(parcel, rows=rows, keys=keys, twins=twins)


def _length(item: tuple[str, deque[Case]]) -> int:
    return len(item[1])


def _parcel(cases: Sequence[Case], model: str, lost: LostRequest | None = None) -> Parcel:
    keys = tuple([case.key for case in cases if case.key is not None])
    twins = tuple([case.twin for case in cases if case.twin is not None and case.twin is not case.key])
    return Parcel(tuple([case.row for case in cases]), model, lost, keys=keys, twins=twins)
