"""Which rows of an input would be paid for, and which not: the shortcuts a run takes, without the requests.

Exact, but for hashes of 64 bits that collide (in a million texts one time in tens of millions). Memory grows by 11 to
21 bytes for each different text, and with nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from batchjob.exchange.question import Questions
from batchjob.forecast.counting import HashSet
from batchjob.forecast.packing import Asked
from batchjob.forecast.texts import Texts
from batchjob.model import InputRow, InputSource, Job, Key, Parcel, Remembered, Row, RowResult
from batchjob.money.budget import Budget
from batchjob.ports import Bodies
from batchjob.providers.dialect import Learned
from batchjob.settings.config import JobConfig
from batchjob.shortcuts import Walk
from batchjob.shortcuts.case import Case
from batchjob.states import UNASKED, Source
from batchjob.task.asked import prompt_of
from batchjob.task.identity import Task, loose_keys
from batchjob.task.texts import shows_nothing

LookUp = Callable[[Sequence[Key]], dict[Key, Remembered]]
"""The labels remembered under these keys."""


class Work:
    """What becomes of the rows of an input, counted.

    Args:
        job: whose rows they are; None: it is not made yet.
        look_up: None: nothing is remembered.
        texts: is shown each text that can be labelled.
        learned: what the endpoint taught of each model.

    Raises:
        SettingError: a rule, a route or the prompt cannot be used.
    """

    def __init__(
        self,
        config: JobConfig,
        source: InputSource,
        look_up: LookUp | None,
        texts: Texts | None = None,
        *,
        job: Job | None = None,
        learned: Mapping[str, Learned] | None = None,
    ) -> None:
        self.rows = self.blank = self.failed = 0
        self.settled: Counter[str] = Counter()  # rows without a request, by the source of their label
        self.defects: Counter[str] = Counter()
        self.rules = {rule.name: 0 for rule in config.rules}
        self.routes = {route.name: 0 for route in config.routes}
        self.models: dict[str, Asked] = {}
        self.learned = learned or {}
        self._config = config
        self._look_up = look_up
        self._texts = texts
        self.prompt = prompt_of(config, source)
        self._walk = Walk(config, source, self.prompt, job, learned=learned)
        self._seen = HashSet()
        self._first: list[Case] = []  # those that go out first, in one request
        self.loose_saves: int | None = None  # rows fewer to pay for with dedupe = "loose"; None: not asked, or it is
        if texts is not None and config.dedupe == "exact":
            self.loose_saves = 0
            self._loosely, self._loose = HashSet(), loose_keys(Task.of(config).question, "")

    @property
    def first(self) -> Parcel | None:
        """The rows that go out in the first request; None: no row needs one."""
        config, rows = self._config, [case.row for case in self._first]
        if not rows:
            return None
        count = self.prompt.fitting(rows, config.rows_per_request, config.max_request_tokens)
        return Parcel(tuple(rows[:count]), self._first[0].model)

    def first_request(self, bodies: Bodies) -> tuple[bytes, tuple[Row, ...]] | None:
        """The body that goes out first, by what the endpoint taught, and its rows; None: no row needs one."""
        first = self.first
        if first is None:
            return None
        questions = Questions(self._config, self.prompt, bodies, Budget({}), self.learned)
        return questions.body(first), first.rows

    @property
    def asked(self) -> int:
        """Rows that would go out in a request."""
        return sum(asked.rows for asked in self.models.values())

    def add(self, rows: Sequence[InputRow]) -> None:
        """Consecutive rows of the input."""
        first = self.rows + 1
        made = [Row(n, text, 0, 0, defect, rest, key) for n, (_, key, text, rest, defect) in enumerate(rows, first)]
        done, cases = self._walk.by_row(made)
        keys = self._walk.keys(cases)
        known, left = self._walk.by_text(cases, self._look_up(keys) if self._look_up and keys else {})
        self._look_at(made)
        for result in (*done, *known):
            self._count(result)
        for case in cases:
            if case.route:
                self.routes[case.route] += 1
        for case in left:
            self._ask(case)

    def _look_at(self, rows: Sequence[Row]) -> None:
        """What the rows are, whatever becomes of them."""
        self.rows += len(rows)
        for row in rows:
            if row.defect is not None:
                self.defects[row.defect.partition(":")[0]] += 1
            elif shows_nothing(row.text):
                self.blank += 1
            elif self._texts is not None:
                self._texts.add(row.text, self.prompt.values(self._walk.valued(row)))

    def _count(self, result: RowResult) -> None:
        """A row that is settled without a request."""
        if result.label is None:
            self.failed += 1
            return
        source = Source.CACHE if result.source is Source.DUPLICATE else result.source or Source.MODEL
        self.settled[source] += 1
        if source is Source.RULE:
            self.rules[result.origin or ""] += 1

    def _ask(self, case: Case) -> None:
        """A row whose text is not remembered: it is asked, unless one before it asks the same."""
        if self._config.dedupe != "off" and case.twin is not None and not self._seen.add(case.twin[0]):
            self.settled[Source.DUPLICATE] += 1
            return
        if self.loose_saves is not None:
            values = self.prompt.values(case.row)
            self.loose_saves += not self._loosely.add(self._loose.of(case.model, *values)[0])
        if case.model not in self.models:
            self.models[case.model] = Asked(self._config, self.prompt)
        if not self._first or (len(self._first) < self._config.rows_per_request and case.model == self._first[0].model):
            self._first.append(case)
        self.models[case.model].add(case.row)

    def document(self) -> dict[str, Any]:
        """How many rows there are, and what becomes of them."""
        defective = sum(self.defects.values())
        return {
            "rows": {
                "total": self.rows,
                "to_label": self.rows - self.blank - defective,
                "blank": self.blank,
                "defective": defective,
            },
            "defects": dict(self.defects.most_common()),
            "rules": self.rules,
            "routes": self.routes,
            "settled_by": {
                "request": self.asked,
                **{source.value: self.settled[source] for source in (*UNASKED, Source.FALLBACK)},
                "failed": self.failed,
            },
            "loose_saves": self.loose_saves,
        }
