"""A job, as a caller holds it: its labels, how it stands, what went wrong, and what can be done with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence, Set, Sized
from functools import cached_property
from itertools import chain, repeat
from typing import Any, TypeVar

import msgspec

from batchjob.api.held import is_missing
from batchjob.api.running import carry_out, key_for
from batchjob.api.settings import given
from batchjob.api.table import Table
from batchjob.api.words import errors_in_python, in_python
from batchjob.corrections.overlay import labelled_rows, overlay_of
from batchjob.corrections.standing import Corrections, by_hand
from batchjob.errors import JobError, SettingError
from batchjob.jobs import comparisons, exports, plans, reports, scores
from batchjob.jobs.scores import Gold
from batchjob.model import Job as StoredJob
from batchjob.ports import StoreReader
from batchjob.printable import without_passwords
from batchjob.records import ExportRow, RequestRecord
from batchjob.settings.config import settings_of
from batchjob.settings.jobfile import KEY_COMMAND
from batchjob.states import State
from batchjob.stores import open_reader
from batchjob.tables.values import ABSENT, Raw, unmarked
from batchjob.task.fields.answers import field_values
from batchjob.views.export import RowTable
from batchjob.views.next_steps import advice
from batchjob.views.status import Status, status_of

T = TypeVar("T")

ERROR_COLUMNS = ("row", "id", "text", "kind", "error", "answer", "attempts", "request_id", "advice")
_LABEL, _STATE = map(ExportRow._fields.index, ("label", "state"))


class Job:
    """A job in a database, made by `batchjob.label` or found by `batchjob.open(db).job(name)`.

    `name` is its name and `db` its database, a path or a URL. Times are UTC epoch seconds, money is USD. What is
    asked of it is read from the database then, but for `labels`, which are read once.

    Raises (all methods):
        JobError: the job is gone.
        StoreError: the database cannot be read.
    """

    def __init__(self, db: str, name: str, rows: int | None = None) -> None:
        self.db, self.name = db, name
        self._rows = rows  # of the data it was made for, where that is known

    @cached_property
    def labels(self) -> list[str | None]:
        """The label of each row in the order of the input, None where it has none. What a person said counts.

        Raises:
            JobError: the job has several answers about each text: see `fields`.
        """
        with self._read() as (reader, job):
            if settings_of(job).fields:
                raise JobError(f"job {self.name!r} has several answers about each text: they are in job.fields")
            found = [record[_LABEL] for record in map(overlay_of(reader, job), reader.export_rows(job))]
        return self._lined_up(found)

    @cached_property
    def fields(self) -> list[dict[str, Any] | None]:
        """The answers about each row by the names of their fields, in the order of the input; None where not all are
        there. `rows` has those of such a row that came.

        Raises:
            JobError: the job gives one label to each row: see `labels`.
        """
        with self._read() as (reader, job):
            if not settings_of(job).fields:
                raise JobError(f"job {self.name!r} gives one label to each text: they are in job.labels")
            records = map(overlay_of(reader, job), reader.export_rows(job))
            return self._lined_up([_fields(record[_LABEL], record[_STATE]) for record in records])

    def _lined_up(self, found: list[T | None]) -> list[T | None]:
        """What was found of the rows that were read, and nothing of the others."""
        return [*found, *repeat(None, (self._rows or 0) - len(found))]

    def status(self) -> dict[str, Any]:
        """How the job stands: what `batchjob status --json` says, with the same keys."""
        with self._read() as (reader, job):
            hand = by_hand(Corrections(reader.url).of(job.uid))
            return _document(status_of(reader.snapshot(job.name), hand))

    # ------------------------------------------------------------ read

    def rows(self, *, details: bool = False) -> Table:
        """Its rows in the order of the input: the input's columns, then label, source, state and error.

        Args:
            details: also attempts, request ID, raw answer, tokens and cost (USD) of each row.
        """
        with self._read() as (reader, job):
            later = [notice.what for notice in reader.noticed(job) if notice.kind == "column"]
            table = RowTable(job, later, overlay=overlay_of(reader, job) or None, details=details)
            rows = [
                dict(zip(table.header, map(_plain, cells), strict=True))
                for cells in table.rows(reader.export_rows(job))
            ]
        return Table(table.header, rows)

    def errors(self) -> Table:
        """Its failed and unconfirmed rows, the most frequent kind first, each with what to do about it; without
        those that people labelled. Of a text there are the first 200 characters.
        """
        with self._read() as (reader, job):
            snapshot = reader.snapshot(job.name)
            status, counts = status_of(snapshot), snapshot.tally.get("error", {})
            labelled = labelled_rows(reader, job)
            found = [
                (one.number, one.key, one.text, kind, one.error, one.answer, one.attempts, one.request_id, said)
                for kind, count in counts.items()
                for said in (in_python(advice(kind, status)),)
                for one in reader.problems(job, kind, count)
                if one.number not in labelled.get(kind, ())
            ]
        return Table(ERROR_COLUMNS, (dict(zip(ERROR_COLUMNS, one, strict=True)) for one in found))

    def requests(self) -> Table:
        """Every request in the order of sending, those in flight too, to check a bill against. `rows` are the numbers
        of the rows it carried, `cost_usd` is None where it is not known.
        """
        with self._read() as (reader, job):
            found = [dict(zip(RequestRecord._fields, record, strict=True)) for record in reader.requests(job)]
        for request in found:
            request["rows"] = msgspec.json.decode(request["rows"])
        return Table(RequestRecord._fields, found)

    def export(self, path: str | os.PathLike[str], **options: Any) -> int:
        """Write its rows, with all that the input had and their labels, to a file; how many. Its suffix is the format.

        Args:
            options: `format`, `details`, `only`, `columns` (a list), `everything`, `spreadsheet`, as `batchjob export`
                has them.

        Raises:
            SettingError: the file is one that is needed, or there is no such format, column or kind of error.
        """
        with self._read() as (reader, job):
            return exports.export(reader, job, _file(path), what="path", **options).rows

    # ------------------------------------------------------------ how good it is

    def score(
        self,
        gold: str | Sequence[str | None] = "",
        *,
        gold_file: str | os.PathLike[str] | None = None,
        field: str | None = None,
    ) -> dict[str, Any]:
        """How good its labels are beside those of a person: what `batchjob score --json` says.

        Args:
            gold: a column of the input with the right labels, or a list of them that lines up with the rows, None where
                nobody knows.
            gold_file: a file with the job's ids; then `gold` is its column, by itself `gold`, else `label`.
            field: which answer, of a job with several about each text.

        Raises:
            SettingError: there is no such column, or the list is of another length.
        """
        with self._read() as (reader, job):
            return _document(scores.score(reader, job, self._gold(reader, job, gold, gold_file), field))

    def compare(
        self, other: Job, *, gold: str | Sequence[str | None] | None = None, field: str | None = None
    ) -> dict[str, Any]:
        """This job beside another one of the same database: what `batchjob compare --json` says, this one being `a`.

        Args:
            gold: the right labels of this job's rows, as for `score`.
            field: which answer, of jobs with several about each text.

        Raises:
            SettingError: the other job is in another database, or there is no such column.
        """
        if not isinstance(other, Job):
            raise SettingError(
                f"other is of the type {type(other).__name__}: give a job, such as batchjob.open(db).job(name)"
            )
        if other.db != self.db:
            raise SettingError(
                f"job {other.name!r} is in another database: jobs can be compared that are in one database"
            )
        with self._read() as (reader, job):
            right = None if gold is None else self._gold(reader, job, gold, None)
            return _document(comparisons.compare(reader, job, reader.job(other.name), gold=right, field=field))

    def report(
        self,
        path: str | os.PathLike[str],
        *,
        by: str | None = None,
        gold: str | None = None,
        field: str | None = None,
        texts: bool = True,
    ) -> None:
        """Write what it did as one file to hand over, HTML or Markdown by the suffix.

        Args:
            by: also labels by the values of this column of the input.
            gold: a column with the right labels.
            field: which answer these two are about, of a job with several about each text.
            texts: whether a few texts of each label stand in it.

        Raises:
            SettingError: there is no such column or form, or the file is one that is needed.
        """
        with self._read() as (reader, job):
            reports.write_report(reader, job, _file(path), by=by, gold=gold, field=field, texts=texts)

    # ------------------------------------------------------------ go on

    def retry(
        self, kinds: Sequence[str] = (), *, api_key: str | None = None, progress: bool = True, **settings: Any
    ) -> Job:
        """Put its failed rows back and ask only those again; the job, whose `labels` are then new.

        Args:
            kinds: only rows that failed so. Unconfirmed ones may have been paid, and go out only where it is named.
            api_key, progress: as of `batchjob.label`.
            settings: those that are to be others than in the last run, such as `model` or `timeout` (seconds).

        Raises:
            JobError: no row failed so.
            BatchjobError: as `batchjob.label`.
        """
        with errors_in_python(self.db):
            changes = given(settings)
            key_command = changes.pop(KEY_COMMAND, None)
            plan = plans.plan_retry(self.name, changes, db=self.db, kinds=[kinds] if isinstance(kinds, str) else kinds)
            for read in ("labels", "fields"):
                self.__dict__.pop(read, None)
            carry_out(plan, key_for(plan.config, api_key, key_command), key_command, progress=progress)
        return self

    def __repr__(self) -> str:
        with self._read() as (reader, job):
            status: Status = status_of(reader.snapshot(job.name))
        rows = f"{status.rows.done:,} of {status.rows.total:,} rows labelled"
        return f"<batchjob job {self.name!r} in {without_passwords(self.db)}: {status.state}, {rows}>"

    @contextlib.contextmanager
    def _read(self) -> Iterator[tuple[StoreReader, StoredJob]]:
        with errors_in_python(self.db), open_reader(self.db) as reader:
            yield reader, reader.job(self.name)

    def _gold(
        self, reader: StoreReader, job: StoredJob, gold: str | Sequence[str | None], file: str | os.PathLike[str] | None
    ) -> Gold:
        if file is not None:
            return scores.gold_in_file(job, os.fspath(file), gold if isinstance(gold, str) and gold else None)
        if isinstance(gold, str):
            return scores.gold_in_input(reader, job, gold)
        if not _is_listed(gold):
            raise SettingError(
                f"gold is of the type {type(gold).__name__}: name a column, or give a list with a label for each row"
            )
        rows = self._rows or job.rows
        if len(gold) != rows:
            raise SettingError(
                f"gold has {len(gold):,} labels for {rows:,} rows: give one for each, None where it is not known"
            )
        return Gold("a list", _in_turn(gold))


def _fields(label: str | None, state: str) -> dict[str, Any] | None:
    return field_values(label, None) if state == State.DONE else None


def _is_listed(gold: object) -> bool:
    """Whether it has a label for each row, in their order; a frame would give the names of its columns."""
    return isinstance(gold, Sized) and not isinstance(gold, Mapping | Set) and not hasattr(gold, "columns")


def _in_turn(gold: Sequence[str | None]) -> Callable[[str, str | None], str]:
    """The gold of each row, which are asked about in their order."""
    left = chain(gold, repeat(None))
    return lambda key, rest: _gold_text(next(left)).strip()


def _gold_text(value: Any) -> str:
    """A label as a file would have it; None, NaN and NA are none, 0 and False are."""
    if isinstance(value, list | tuple | bool):
        return msgspec.json.encode(value).decode()
    return "" if is_missing(value) else str(value)


def _file(path: str | os.PathLike[str]) -> str:
    """A path as it is named; stdout is the caller's own.

    Raises:
        SettingError: it is "-".
    """
    if os.fspath(path) == "-":
        raise SettingError("path is '-': name a file")
    return os.fspath(path)


def _plain(value: Any) -> Any:
    """A cell of an export as Python has it."""
    if value is ABSENT:
        return None
    return unmarked(msgspec.json.decode(value) if isinstance(value, Raw) else value)


def _document(said: msgspec.Struct) -> dict[str, Any]:
    """What a command's --json says."""
    return msgspec.json.decode(msgspec.json.encode(said), type=dict[str, Any])
