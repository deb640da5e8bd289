"""A row on its way through the shortcuts, and the settings they go by."""

from __future__ import annotations

from typing import NamedTuple

from batchjob.model import Key, Remembered, Row, Value
from batchjob.settings.config import JobConfig
from batchjob.settings.tables import Rule
from batchjob.task.asked import answers_of
from batchjob.task.labels import LabelSet


class Same(NamedTuple):
    """How far a run asks the same as the runs of its job before."""

    whole: bool = True
    first: bool = True  # whatever became of a second model, the first one is asked the same


SAME = Same()


class Terms(Value, frozen=True):
    """The settings that decide which rows need no request."""

    labels: LabelSet
    rules: tuple[Rule, ...]
    fallback: str | None
    dedupe: bool  # exactly or loosely: which of them, the keys say
    cache: bool
    job_id: int | None  # the job's own; None: it is not made yet

    @classmethod
    def of(cls, config: JobConfig, job_id: int | None) -> Terms:
        """Those of a job with these settings."""
        dedupe = config.dedupe != "off"
        return cls(answers_of(config), config.rules, config.fallback, dedupe, config.cache, job_id)


class Case(Value, frozen=True):
    """A row that is looked at, and what is known of it by then."""

    row: Row
    model: str = ""  # that it would be asked of
    route: str = ""  # the name of the route that led to it
    key: Key | None = None  # of what it asks; None: nothing is looked up
    twin: Key | None = None  # that rows of this job share a label under; another one than `key` where that is loose
    found: Remembered | None = None  # the label remembered under the key
