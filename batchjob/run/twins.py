"""Rows with the same text: one of them asks, the others wait for its label; or all wait for the user."""

from __future__ import annotations

from collections.abc import Sequence

from batchjob.model import Key, Row, RowResult, Unheard
from batchjob.shortcuts.case import Case
from batchjob.shortcuts.known import held, like
from batchjob.states import Event

MOST_FOLLOWING = 64 * 512
"""Rows that wait in memory for another one with their text; with more, no page is read until it has its end."""


class _Leader:
    """A row whose text is on its way, and the rows with the same text that wait for its label."""

    __slots__ = ("followers", "number", "result")

    def __init__(self, number: int) -> None:
        self.number = number
        self.followers: list[Row] = []
        self.result: RowResult | None = None


class Twins:
    """The texts of a run that are on their way, and those that may have been paid for without an answer.

    Args:
        dedupe, cache, hold: the job's settings; under `hold` a text that may have been paid for is not asked again.
    """

    def __init__(self, job: str, *, dedupe: bool, cache: bool, hold: bool) -> None:
        self._job = job
        self._dedupe, self._cache = dedupe, cache
        self.holds = hold and (dedupe or cache)
        self._leaders: dict[Key, _Leader] = {}
        self._over: list[Key] = []  # leaders that have their result
        self._following = 0
        self._unheard: dict[Key, tuple[int, str]] = {}  # texts to hold -> the row, and its job, they went out in

    @property
    def full(self) -> bool:
        """Whether there is no room for more rows that wait for another one."""
        return self._following >= MOST_FOLLOWING

    def meet(self, case: Case) -> RowResult | bool:
        """The row's result by another one with its text; True: it waits for that one; False: it is to ask itself."""
        if case.key is None:
            return False
        if result := self._hold(case.row, case.key):
            return result
        if not self._dedupe:
            return False
        leader = self._leaders.get(case.key)
        if leader is None:
            self._leaders[case.key] = _Leader(case.row.number)
            return False
        if leader.result is not None:
            return like(case.row, leader.result, leader.number, self._job)
        leader.followers.append(case.row)
        self._following += 1
        return True

    def lead(self, case: Case) -> None:
        """A lost row asks again in any case; others with its text wait for it."""
        if case.key is not None and self._dedupe:
            self._leaders.setdefault(case.key, _Leader(case.row.number))

    def concluded(self, key: Key, result: RowResult) -> list[RowResult]:
        """A row has its end: what the rows with the same text have by that."""
        lost = result.event is Event.LOSE or (result.event is Event.FAIL and result.known_by is not None)
        if lost and self.holds and self._dedupe:
            self._unheard[key] = result.number, ""
        leader = self._leaders.get(key)
        if leader is None or leader.number != result.number:
            return []
        leader.result = result
        self._following -= len(leader.followers)
        self._over.append(key)
        return [like(row, result, leader.number, self._job) for row in leader.followers]

    def take_over(self) -> list[Key]:
        """The texts whose leader has its end, told once: to be forgotten when the cache knows their labels."""
        over, self._over = self._over, []
        return over

    def forget(self, keys: Sequence[Key]) -> None:
        """From here on the cache knows these."""
        for key in keys:
            del self._leaders[key]

    # ------------------------------------------------------------ texts that may have been paid for

    def learn_unheard(self, rows: Sequence[tuple[Unheard, Key]]) -> None:
        """Rows whose answer was never seen, and what they ask."""
        for row, key in rows:
            if self._dedupe and not row.job:
                self._unheard[key] = row.row.number, ""
            elif self._cache and row.job:
                self._unheard.setdefault(key, (row.row.number, row.job))

    def _hold(self, row: Row, key: Key) -> RowResult | None:
        """A row waits for the user with the one its text went out in; if that is another job's, only until put back."""
        if key not in self._unheard or key in self._leaders:
            return None
        number, job = self._unheard[key]
        if job and row.put_back:
            return None
        where = f"row {number} of job {job}" if job else f"row {number}"
        return held(row, f"the same text as {where}, whose answer was never seen")
