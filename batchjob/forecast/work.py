"""Which rows of an input would be paid for, and which not: the shortcuts a run takes, without the requests.

Exact, but for hashes of 64 bits that collide (in a million texts one time in tens of millions). Memory grows by 11 to
21 bytes for each different text, and with nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from batchjob.forecast.counting import HashSet
from batchjob.forecast.packing import Asked
from batchjob.forecast.texts import Texts
from batchjob.model import InputRow, InputSource, Job, Key, Remembered, Row, RowResult
from batchjob.settings.config import JobConfig
from batchjob.shortcuts import Walk
from batchjob.shortcuts.case import Case
from batchjob.states import Source
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

    Raises:
        SettingError: a rule or a route cannot be used.
    """

    def __init__(
        self,
        config: JobConfig,
        source: InputSource,
        look_up: LookUp | None,
        texts: Texts | None = None,
        *,
        job: Job | None = None,
    ) -> None:
        self.rows = self.blank = self.failed = 0
        self.settled: Counter[str] = Counter()  # rows without a request, by the source of their label
        self.defects: Counter[str] = Counter()
        self.rules = {rule.name: 0 for rule in config.rules}
        self.routes = {route.name: 0 for route in config.routes}
        self.models: dict[str, Asked] = {}
        self._config = config
        self._look_up = look_up
        self._texts = texts
        self._walk = Walk(config, source, job)
        self._seen = HashSet()
        self.loose_saves: int | None = None  # rows fewer to pay for with dedupe = "loose"; None: not asked, or it is
        if texts is not None and config.dedupe == "exact":
            self.loose_saves = 0
            self._loosely, self._loose = HashSet(), loose_keys(Task.of(config).question, "")

    @property
    def asked(self) -> int:
        """Rows that would go out in a request."""
        return sum(asked.rows for asked in self.models.values())

    def add(self, rows: Sequence[InputRow]) -> None:
        """Consecutive rows of the input."""
        done, cases = self._walk.by_row([Row(0, text, 0, 0, defect, rest) for _, _, text, rest, defect in rows])
        keys = self._walk.keys(cases)
        known, left = self._walk.by_text(cases, self._look_up(keys) if self._look_up and keys else {})
        self._look_at(rows)
        for result in (*done, *known):
            self._count(result)
        for case in cases:
            if case.route:
                self.routes[case.route] += 1
        for case in left:
            self._ask(case)

    def _look_at(self, rows: Sequence[InputRow]) -> None:
        """What the rows are, whatever becomes of them."""
        self.rows += len(rows)
        for _, _, text, _, defect in rows:
            if defect is not None:
                self.defects[defect.partition(":")[0]] += 1
            elif shows_nothing(text):
                self.blank += 1
            elif self._texts is not None:
                self._texts.add(text)

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
            self.loose_saves += not self._loosely.add(self._loose.of(case.row.text, case.model)[0])
        if case.model not in self.models:
            self.models[case.model] = Asked(self._config)
        self.models[case.model].add(case.row.text)

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
                "rule": self.settled[Source.RULE],
                "cache": self.settled[Source.CACHE],
                "duplicate": self.settled[Source.DUPLICATE],
                "fallback": self.settled[Source.FALLBACK],
                "failed": self.failed,
            },
            "loose_saves": self.loose_saves,
        }
