"""The jobs of a database: the document of `jobs --json`, and a table for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchjob.model import InputSource, Value
from batchjob.numbers import day
from batchjob.printable import printable
from batchjob.records import Snapshot
from batchjob.states import JobState
from batchjob.views.lines import ending, padded, width
from batchjob.views.next_steps import command
from batchjob.views.status import Rows, job_state, rows_of

HEADER = ("JOB", "STATE", "DONE", "FAILED", "STARTED", "INPUT")
LEAST_PATH_COLUMNS = 12
"""With less room for the input's path than this, a job is shown on three lines instead of one."""


class JobEntry(Value, frozen=True):
    """A job in the list. Its fields are the keys of an entry of `jobs --json`, in order; times are epoch seconds."""

    job: str
    state: JobState
    reason: str
    rows: Rows
    ingested: bool
    input: str
    created_at: float
    started_at: float | None
    updated_at: float


def jobs_of(snapshots: Sequence[Snapshot]) -> list[JobEntry]:
    """The entries of the list, in the order of the snapshots."""
    return [
        JobEntry(
            job=snapshot.job.name,
            state=job_state(snapshot),
            reason=printable(snapshot.job.reason),
            rows=rows_of(snapshot),
            ingested=snapshot.job.ingested,
            input=_named(snapshot.job.source),
            created_at=snapshot.job.created_at,
            started_at=snapshot.started_at,
            updated_at=snapshot.updated_at,
        )
        for snapshot in snapshots
    ]


def _named(source: InputSource) -> str:
    more = f" and {len(source.more)} more" if source.more else ""
    return (source.named if source.held else source.path) + more


def jobs_lines(jobs: Sequence[JobEntry], flag: str, columns: int | None) -> list[str]:
    """A table of the jobs, in local time; in a terminal too narrow for it, three lines a job."""
    if not jobs:
        return ["no jobs yet", f"next      batchjob start INPUT {flag}".rstrip()]
    next_ = f"next      {command('status', jobs[-1].job, flag)}"
    table = [HEADER, *map(_cells, jobs)]
    widths = [max(map(width, column)) for column in zip(*table, strict=True)]
    room = None if columns is None else columns - sum(widths[:-1]) - 2 * (len(widths) - 1)
    if room is not None and room < LEAST_PATH_COLUMNS:
        return [*(line for cells in table[1:] for line in _card(cells, columns or 0)), next_]
    lines = ["  ".join([*map(padded, cells[:-1], widths), ending(cells[-1], room)]) for cells in table]
    return [*lines, next_]


def _card(cells: Sequence[str], columns: int) -> Iterator[str]:
    job, state, done, lost, begun, path = cells
    yield f"{job}: {state}"
    yield f"  {done} done, {lost} failed, {begun}"
    yield f"  {ending(path, columns - 2)}"


def _cells(job: JobEntry) -> tuple[str, ...]:
    begun = day(job.created_at)
    done = f"{job.rows.done:,}/{job.rows.total:,}{'' if job.ingested else '+'}"
    lost = f"{job.rows.failed + job.rows.unconfirmed:,}"
    path = "stdin" if job.input == "-" else printable(job.input)
    return printable(job.job), job.state, done, lost, begun, path
