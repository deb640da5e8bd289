"""Labels without a request. A shortcut is a module here and a line in ORDER.

A run (run/supply.py) and a forecast (forecast/work.py) both walk ORDER, so that what is said before a job is paid is
what becomes of its rows.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol

import msgspec

from batchjob.model import InputSource, Job, Key, Page, Remembered, Row, RowResult
from batchjob.providers.dialect import Learned, dialect_of
from batchjob.settings.config import JobConfig
from batchjob.shortcuts.case import SAME, Case, Same, Terms
from batchjob.shortcuts.known import Known
from batchjob.shortcuts.reread import Reread
from batchjob.shortcuts.rules import ByRule
from batchjob.shortcuts.unsendable import Unsendable
from batchjob.states import Event
from batchjob.task.columns import columns_of, values_of
from batchjob.task.first import First
from batchjob.task.identity import Keys, Task, asked_first, loose_keys
from batchjob.task.patterns import PatternTimeout
from batchjob.task.prompt import Prompt
from batchjob.task.routes import Routes


class Shortcut(Protocol):
    """A way to settle a row without a request."""

    looks_up: bool
    """Whether it goes by what is remembered of the text; those that do not come first, and cost no look-up."""

    def __init__(self, terms: Terms) -> None: ...

    def settle(self, case: Case) -> RowResult | None:
        """The row's result, or None where this shortcut has none."""
        ...


ORDER: tuple[type[Shortcut], ...] = (Unsendable, Reread, ByRule, Known)
"""Each row is shown to these, one after the other; the first that has a result settles it."""


class Walk:
    """ORDER, ready for the rows of a job: `by_row`, then a look-up of keys, then `by_text`.

    Args:
        job: None where it is not made yet.
        same: how far it asks as the runs before.
        learned: what the endpoint taught of each model, for a label is remembered under the question as it is sent.

    Raises:
        SettingError: a rule or a route cannot be used.
    """

    def __init__(
        self,
        config: JobConfig,
        source: InputSource,
        prompt: Prompt,
        job: Job | None,
        *,
        same: Same = SAME,
        learned: Mapping[str, Learned] | None = None,
    ) -> None:
        terms = Terms.of(config, None if job is None else job.id)
        made = [shortcut(terms) for shortcut in ORDER]
        self._by_row = [shortcut for shortcut in made if not shortcut.looks_up]
        self._by_text = [shortcut for shortcut in made if shortcut.looks_up]
        self._routes = Routes(config.routes, config.model)
        self._source, self._prompt = source, prompt
        question = Task.of(config).question
        self._config, self._question, self._same = config, question, same
        self._asked_first = asked_first(config)
        self._keys: Keys | None = None
        if terms.dedupe or terms.cache:
            self.learn(learned or {})
        self._loose = loose_keys(question, "" if job is None else job.uid) if config.dedupe == "loose" else None

    def learn(self, learned: Mapping[str, Learned]) -> None:
        """What the endpoint taught of each model: from here on rows are known by what is asked now."""
        self._keys = Keys(self._question, sent=partial(_sent, self._config, learned))

    def by_row(self, rows: Iterable[Row]) -> tuple[list[RowResult], list[Case]]:
        """The results of rows that need no look-up, and the others with their model and key.

        Raises:
            SettingError: a pattern takes too long on one of them.
        """
        done: list[RowResult] = []
        left: list[Case] = []
        for row in rows:
            try:
                result = _settled(Case(row), self._by_row)
            except PatternTimeout as error:
                raise error.on(row.number) from None
            if result is not None:
                done.append(result)
            else:
                left.append(self.asking(row))
        return done, left

    def by_first(self, page: Page) -> tuple[list[RowResult], Page]:
        """The results of rows that were a second model's turn, of a job that asks none now: what the first made of
        them. And the page without them; what a user put back, or what was asked otherwise, is asked as any other row.
        """
        rows = [*page.rows, *[row for lost in page.parcels for row in lost.rows]]
        firsts = {row.number: msgspec.json.decode(row.first, type=First) for row in rows if row.first is not None}
        over = {n for n, first in firsts.items() if first.asked == self._asked_first}
        over -= {row.number for row in rows if row.put_back}
        done = [_as_the_first_left_it(row, firsts[row.number]) for row in rows if row.number in over]
        parcels = [msgspec.structs.replace(lost, rows=_without_first(lost.rows, over)) for lost in page.parcels]
        return done, Page(tuple([lost for lost in parcels if lost.rows]), _without_first(page.rows, over))

    def asking(self, row: Row, model: str | None = None) -> Case:
        """A row with the values and the model it is to be asked with, and the key of that question.

        Raises:
            SettingError: a pattern takes too long on it.
        """
        route = ""
        if model is None:
            columns = columns_of(self._source, row) if self._routes.needs_columns else None
            try:
                model, route = self._routes.choose(row.text, columns)
            except PatternTimeout as error:
                raise error.on(row.number) from None
        values: tuple[str, ...] = (row.text,)
        if self._prompt.columns:
            row = self.valued(row)
            values = self._prompt.values(row)
        key = None if self._keys is None else self._keys.of(model, *values)
        return Case(row, model, route, key, key if self._loose is None else self._loose.of(model, *values))

    def valued(self, row: Row) -> Row:
        """The row with what it has in the columns that the prompt uses."""
        columns = self._prompt.columns
        return msgspec.structs.replace(row, others=values_of(self._source, row, columns)) if columns else row

    def keys(self, cases: Sequence[Case]) -> list[Key]:
        """What is to be looked up for these rows."""
        keys = [case.key for case in cases if case.key is not None]
        if self._loose is not None:
            keys += [case.twin for case in cases if case.twin is not None]
        return keys

    def by_text(self, cases: Sequence[Case], found: dict[Key, Remembered]) -> tuple[list[RowResult], list[Case]]:
        """The results of rows whose text is known, and the others; `found` is what is remembered under their keys."""
        if not found:
            return [], list(cases)
        done: list[RowResult] = []
        left: list[Case] = []
        for case in cases:
            result = self._known(case, case.key, found)
            if result is None and case.twin is not case.key:
                result = self._known(case, case.twin, found)
            if result is not None:
                done.append(result)
            else:
                left.append(case)
        return done, left

    def _known(self, case: Case, key: Key | None, found: dict[Key, Remembered]) -> RowResult | None:
        """The result of a row by what is remembered under a key."""
        one = None if key is None else found.get(key)
        return None if one is None else _settled(msgspec.structs.replace(case, found=one), self._by_text)


class FieldWalk(Walk):
    """The same where rows have fields: one whose text was answered in part is asked for the rest alone."""

    def by_text(self, cases: Sequence[Case], found: dict[Key, Remembered]) -> tuple[list[RowResult], list[Case]]:
        """See Walk.by_text."""
        done, left = super().by_text(cases, found)
        return done, [_carrying(case, found) for case in left]


class SecondWalk(Walk):
    """The same with a second model: what is its turn is asked of it, and known by what the first was asked."""

    def by_first(self, page: Page) -> tuple[list[RowResult], Page]:
        """See Walk.by_first."""
        return [], page

    def asking(self, row: Row, model: str | None = None) -> Case:
        """See Walk.asking."""
        if row.first is None:
            return super().asking(row, model)
        asked = msgspec.json.decode(row.first, type=First).asked or self._asked_first
        if not self._same.first or asked != self._asked_first:  # the model that is set now has not been asked
            return super().asking(msgspec.structs.replace(row, first=None))
        return msgspec.structs.replace(super().asking(row), model=self._config.second_model or "")


class FieldSecondWalk(FieldWalk, SecondWalk):
    """Both."""


def walk_of(config: JobConfig) -> type[Walk]:
    """The walk of a job with these settings."""
    if config.second_model is not None:
        return FieldSecondWalk if config.fields else SecondWalk
    return FieldWalk if config.fields else Walk


def _carrying(case: Case, found: Mapping[Key, Remembered]) -> Case:
    """A row with what its text was answered in part, where it has nothing of its own."""
    one = None if case.key is None else found.get(case.key)
    if one is None or not one.off_list or case.row.answer is not None:
        return case
    return msgspec.structs.replace(case, row=msgspec.structs.replace(case.row, answer=one.label))


def _without_first(rows: Sequence[Row], over: Container[int]) -> tuple[Row, ...]:
    """Those that are to be asked."""
    left = [row for row in rows if row.number not in over]
    return tuple([row if row.first is None else msgspec.structs.replace(row, first=None) for row in left])


def _as_the_first_left_it(row: Row, first: First) -> RowResult:
    if first.label is None:
        said = f"{first.kind}: a second model was to be asked, and now there is none"
        return RowResult(row.number, Event.REJECT, error_kind=first.kind, error=said)
    label, sure = first.label, first.confidence
    return RowResult(row.number, Event.ASSIGN, 0, 0, label, first.source, matched=first.matched, confidence=sure)


def _sent(config: JobConfig, learned: Mapping[str, Learned], model: str) -> bytes:
    """What a model is asked besides what the settings say."""
    return dialect_of(config, model, learned.get(model)).asked


def _settled(case: Case, shortcuts: Sequence[Shortcut]) -> RowResult | None:
    """The result of the first that has one."""
    for shortcut in shortcuts:
        if (result := shortcut.settle(case)) is not None:
            return result
    return None
