"""How labels are counted: each by itself, or those of a job with fields by field."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from batchjob.model import TaskRecord
from batchjob.settings.tables import Field
from batchjob.task.fields.answers import counted_in
from batchjob.task.fields.kinds import KINDS

IN_SET = ", ".join(f"'{name}'" for name, kind in KINDS.items() if kind.in_set)
"""The kinds of fields whose values are counted, as SQL has a list."""


class _Settings(msgspec.Struct):
    fields: tuple[Field, ...] = ()


def counted_of(task: TaskRecord) -> Callable[[str], Iterable[tuple[str, str]]] | None:
    """A label of this task -> the counters, by kind and name, that it is counted in; None: under itself."""
    fields = msgspec.json.decode(task.settings, type=_Settings).fields
    return (lambda label: [("field", name) for name in counted_in(fields, label)]) if fields else None
