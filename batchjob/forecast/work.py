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
from batchjob.model import InputRow, InputSource, Key, Remembered, Row, RowResult
from batchjob.settings.config import JobConfig
from batchjob.shortcuts import Walk
from batchjob.shortcuts.case import Case, Terms
from batchjob.states import Source
from batchjob.task.identity import Keys, Task
from batchjob.task.routes import Routes

LookUp = Callable[[Sequence[Key]], dict[Key, Remembered]]
"""The labels remembered under these keys."""


class Work:
    """What becomes of the rows of an input, counted.

    Args:
        job_id: the job whose rows they are; None: it is not made yet.
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
        job_id: int | None = None,
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
        keys = Keys(Task.of(config).question) if config.dedupe or config.cache else None
        self._walk = Walk(Terms.of(config, job_id), Routes(config.routes, config.model), source, keys)
        self._seen = HashSet()

    @property
    def asked(self) -> int:
        """Rows that would go out in a request."""
        return sum(asked.rows for asked in self.models.values())

    def add(self, rows: Sequence[InputRow]) -> None:
        """Consecutive rows of the input."""
        done, cases = self._walk.by_row([Row(0, text, 0, 0, defect, rest) for _, _, text, rest, defect in rows])
        keys = [case.key for case in cases if case.key is not None]
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
            elif not text or text.isspace():
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
        if self._config.dedupe and case.key is not None and not self._seen.add(case.key[0]):
            self.settled[Source.DUPLICATE] += 1
            return
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
        }
