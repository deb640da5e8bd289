"""What came of a job, written to a file: its rows with their labels, or its requests."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from batchjob.corrections.overlay import Overlay, overlay_of
from batchjob.errors import SettingError
from batchjob.inputs.jsonl import MOST_KEYS
from batchjob.jobs.guard import check_export
from batchjob.model import Job
from batchjob.outputs import open_output
from batchjob.ports import StoreReader
from batchjob.printable import spreadsheet_cell
from batchjob.records import ExportRow, RequestRecord
from batchjob.settings.config import settings_of
from batchjob.states import State
from batchjob.views.export import RowTable

HUMAN = "human"
ONLY = ("done", "failed", "unconfirmed", "pending", "near", HUMAN)
"""What rows may be picked by, besides a kind of error; near: the label was read from an answer that is not quite it;
human: a person gave the label."""

_STATE = ExportRow._fields.index("state")


class Exported(NamedTuple):
    """How many rows were written, how many have a label, and how many were read but never asked for."""

    rows: int
    labelled: int
    left_out: int


def export(
    reader: StoreReader,
    job: Job,
    output: str,
    *,
    what: str = "-o",
    format: str | None = None,
    details: bool = False,
    only: str | None = None,
    columns: Sequence[str] | None = None,
    everything: bool = False,
    spreadsheet: bool = False,
    safe: Callable[[str], str] | None = None,
) -> Exported:
    """Write a job's rows with their labels, in input order; those that people gave count, and the job's own stand
    beside them.

    Args:
        output: a path, or "-" for stdout.
        what: what named it.
        format: a key of outputs.FORMATS; None: by the path's suffix.
        details: also attempts, request ID, raw answer and tokens of each row.
        only: one of ONLY, or a kind of error: the other rows are left out.
        columns: those that are wanted, in this order; None: all.
        everything: also rows that were read ahead, behind the limit of the last run.
        spreadsheet: CSV that a spreadsheet opens right.
        safe: is applied to every cell. What an endpoint said is made harmless in any case.

    Raises:
        SettingError: the output is a file that is needed, or there is no such column or kind of error.
    """
    check_export(reader, job, what, output)
    if only is not None:
        _check_only(reader, job, only)
    later = [notice.what for notice in reader.noticed(job) if notice.kind == "column"]
    safe = spreadsheet_cell if spreadsheet else safe
    overlay = overlay_of(reader, job) or None
    table = RowTable(job, later, overlay=overlay, details=details, chosen=columns, safe=safe)
    writer = open_output(output, format, spreadsheet=spreadsheet)
    _check_width(job, table, columns)
    asked = None if everything else settings_of(job).limit
    records = _chosen(reader, job, only, asked, overlay)
    total = writer.write(table.header, table.rows(records), table.kinds)
    left_out = 0 if only or asked is None else max(reader.job(job.name).rows - total, 0)
    return Exported(total, table.labelled, left_out)


def _check_width(job: Job, table: RowTable, columns: Sequence[str] | None) -> None:
    if columns is None and len(table.header) > MOST_KEYS:
        raise SettingError(f"job {job.name!r} has more than {MOST_KEYS:,} columns: name those you want with --columns")


def _chosen(
    reader: StoreReader, job: Job, only: str | None, asked: int | None, overlay: Overlay | None
) -> Iterator[tuple[Any, ...]]:
    """The rows that are wanted, by what they are with the labels that people gave."""
    if only == HUMAN:
        return (record for record in reader.export_rows(job) if overlay and record[0] in overlay)
    if overlay is None or only in (None, "near"):
        return reader.export_rows(job, only=only, asked=asked)
    if only == State.DONE:
        return (record for record in reader.export_rows(job) if overlay(record)[_STATE] == only)
    return (record for record in reader.export_rows(job, only=only) if overlay(record)[_STATE] != State.DONE)


def _check_only(reader: StoreReader, job: Job, only: str) -> None:
    known = [*ONLY, *reader.snapshot(job.name).tally.get("error", {})]
    if only not in known:
        near = difflib.get_close_matches(only.replace("-", "_"), known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"of this job there are: {', '.join(known)}"
        raise SettingError(f"--only {only!r} is no state of a row and no kind of error: {hint}")


def export_requests(reader: StoreReader, job: Job, output: str, *, what: str = "-o", format: str | None = None) -> int:
    """Write every request of a job, to check a bill against; how many. Arguments and errors as of `export`."""
    check_export(reader, job, what, output)
    return open_output(output, format).write(RequestRecord._fields, reader.requests(job))
