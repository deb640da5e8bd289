"""A job's rows with what people said of them: every reader of labels gets them from here."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import msgspec

from batchjob.corrections.standing import Corrections, Standing
from batchjob.errors import StoreError
from batchjob.model import Job
from batchjob.ports import StoreReader
from batchjob.records import ExportRow
from batchjob.settings.config import settings_of
from batchjob.settings.tables import Field
from batchjob.states import Source, State
from batchjob.task.fields.answers import field_values, label_of_values
from batchjob.task.fields.values import value_of

Record = tuple[Any, ...]
"""As ExportRow has it."""
_ANSWER = ExportRow._fields.index("answer")


class Overlay:
    """What people said, laid over the records of a job's rows; the job's own label stays in the work table.

    Args:
        fields: those of the job, if it has several answers a text.
        looked_at: the one that is read; then a row is a person's only where that was corrected.
    """

    def __init__(
        self, standing: Mapping[int, Standing], fields: Sequence[Field], *, looked_at: str | None = None
    ) -> None:
        self._standing, self._looked_at = standing, looked_at
        self._fields = {field.name: field for field in fields}

    def __len__(self) -> int:
        """How many rows it is about."""
        return len(self._standing)

    @property
    def numbers(self) -> Collection[int]:
        """Those rows' numbers."""
        return self._standing.keys()

    def __contains__(self, number: int) -> bool:
        return number in self._standing

    def __call__(self, record: Record) -> Record:
        """The row with the label that counts. One that still lacks fields has in it those that are there, and its
        state stays.
        """
        said = self._standing.get(record[0])
        if said is None:
            return record
        number, key, text, rest, label, source, state, kind, error, *others = record
        if not self._fields:
            return (number, key, text, rest, said.label, Source.HUMAN.value, State.DONE.value, None, None, *others)
        values = field_values(label, record[_ANSWER]) | self._values(said)
        label = label_of_values(self._fields, values)
        if len(values) == len(self._fields):
            state, kind, error = State.DONE.value, None, None
            source = source if self._looked_at and self._looked_at not in said.said else Source.HUMAN.value
        return (number, key, text, rest, label, source, state, kind, error, *others)

    def _values(self, said: Standing) -> dict[str, Any]:
        """What is said of a row's fields."""
        try:
            return {name: value_of(field, text) for name, field in self._fields.items() if (text := said.text(name))}
        except msgspec.MsgspecError as error:
            raise StoreError(f"a correction of a field is no value ({error}): restore a backup of the log") from error


def overlay_of(reader: StoreReader, job: Job, field: str | None = None) -> Overlay:
    """What people said of a job's rows by now; `field` is the one that is read, if it has several."""
    fields = settings_of(job).fields
    return Overlay(Corrections(reader.url).of(job.uid), fields, looked_at=field)


def labelled_rows(reader: StoreReader, job: Job) -> dict[str, set[int]]:
    """The rows that failed or are held, and have all they lack from people: kind of error -> their numbers."""
    overlay = overlay_of(reader, job)
    found: dict[str, set[int]] = {}
    for record in reader.rows(job, overlay.numbers):
        row, said = ExportRow(*record), ExportRow(*overlay(record))
        if row.state in (State.FAILED, State.UNCONFIRMED) and said.state == State.DONE:
            found.setdefault(row.error_kind or "", set()).add(row.number)
    return found
