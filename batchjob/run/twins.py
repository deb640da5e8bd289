"""Rows with the same text: one of them asks, the others wait for its label; or all wait for the user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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

    Rows of the job know each other by `Case.twin`; what other jobs sent is known by `Case.key` alone, which is exact.

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
        self._unheard: dict[Key | None, tuple[int, str]] = {}  # texts to hold -> the row they went out in, and its job

    @property
    def full(self) -> bool:
        """Whether there is no room for more rows that wait for another one."""
        return self._following >= MOST_FOLLOWING

    def meet(self, case: Case) -> RowResult | bool:
        """The row's result by another one with its text; True: it waits for that one; False: it is to ask itself."""
        twin = case.twin
        if twin is None:
            return False
        if self._unheard and (result := self._hold(case, twin)):
            return result
        if not self._dedupe:
            return False
        leader = self._leaders.get(twin)
        if leader is None:
            self._leaders[twin] = _Leader(case.row.number)
            return False
        if leader.result is not None:
            return like(case.row, leader.result, leader.number, self._job)
        leader.followers.append(case.row)
        self._following += 1
        return True

    def lead(self, case: Case) -> None:
        """A lost row asks again in any case; others with its text wait for it."""
        if case.twin is not None and self._dedupe:
            self._leaders.setdefault(case.twin, _Leader(case.row.number))

    def concluded(self, twin: Key, result: RowResult) -> list[RowResult]:
        """A row has its end: what the rows with the same text have by that."""
        if result.label is None and self.holds and self._dedupe and _is_lost(result):
            self._unheard[twin] = result.number, ""
        leader = self._leaders.get(twin)
        if leader is None or leader.number != result.number:
            return []
        leader.result = result
        self._following -= len(leader.followers)
        self._over.append(twin)
        return [like(row, result, leader.number, self._job) for row in leader.followers]

    def answered_elsewhere(self, row: Row, result: RowResult, number: int) -> RowResult:
        """What became of the row with this number, which another run asked for, said of one with the same text."""
        return like(row, result, number, self._job)

    def take_over(self) -> list[Key]:
        """The texts whose leader has its end, told once: to be forgotten when the cache knows their labels."""
        over, self._over = self._over, []
        return over

    def forget(self, twins: Sequence[Key]) -> None:
        """From here on the cache knows these."""
        for twin in twins:
            del self._leaders[twin]

    def rename(self, renamed: Mapping[Key, Key]) -> None:
        """Texts that are on their way are known under other keys from here on."""
        self._leaders = {renamed.get(twin, twin): leader for twin, leader in self._leaders.items()}
        self._over = [renamed.get(twin, twin) for twin in self._over]

    # ------------------------------------------------------------ texts that may have been paid for

    def learn_unheard(self, rows: Sequence[tuple[Unheard, Case]]) -> None:
        """Rows whose answer was never seen, and what they ask."""
        for row, case in rows:
            if self._dedupe and not row.job:
                self._unheard[case.twin] = row.row.number, ""
            elif self._cache and row.job:
                self._unheard.setdefault(case.key, (row.row.number, row.job))

    def _hold(self, case: Case, twin: Key) -> RowResult | None:
        """A row waits for the user with the one its text went out in; if that is another job's, only until put back."""
        found = self._unheard.get(twin) or self._unheard.get(case.key)
        if found is None or twin in self._leaders:
            return None
        number, job = found
        if job and case.row.put_back:
            return None
        where = f"row {number} of job {job}" if job else f"row {number}"
        return held(case.row, f"the same text as {where}, whose answer was never seen")


def _is_lost(result: RowResult) -> bool:
    """Whether the text of a row may have been paid for without an answer."""
    return result.event is Event.LOSE or (result.event is Event.FAIL and result.known_by is not None)
