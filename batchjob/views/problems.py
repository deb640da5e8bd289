"""The failed and unconfirmed rows of a job, by kind: the document of `errors --json`, and lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from batchjob.model import Value
from batchjob.numbers import counted
from batchjob.printable import printable
from batchjob.records import Problem
from batchjob.settings.config import JobConfig
from batchjob.states import JobState
from batchjob.views.next_steps import advice, after_errors, command, remedy
from batchjob.views.status import Status

MOST_TEXT_CHARACTERS = 80


class ProblemRow(Value, frozen=True):
    """A row that failed or is held, fit to be shown."""

    row: int
    key: str
    line: int
    text: str
    error: str
    answer: str | None
    attempts: int
    request_id: str | None


class ProblemKind(Value, frozen=True):
    """The rows of one error kind: how many, what to do, the first of them, and the command that shows the others."""

    kind: str
    count: int
    by_hand: int  # of these, those that people labelled
    advice: str
    command: str  # to type about them; "" where only the user can do something
    rows: tuple[ProblemRow, ...]
    more: str


class Problems(Value, frozen=True):
    """What failed in a job. Its fields are the keys of `errors --json`, in order."""

    job: str
    state: JobState
    failed: int
    unconfirmed: int
    asked: str | None  # the kind that was named, if one was
    kinds: tuple[ProblemKind, ...]
    next: str


def problems_of(
    status: Status,
    config: JobConfig,
    found: Mapping[str, Sequence[Problem]],
    by_hand: Mapping[str, int],
    *,
    asked: str | None,
    flag: str,
) -> Problems:
    """The problems of a job by kind.

    Args:
        found: kind -> some of its rows, without those that people labelled.
        by_hand: kind -> how many these are.
        asked: the kind that was named.
        flag: the part of a command that names the database.
    """
    return Problems(
        job=status.job,
        state=status.state,
        failed=status.rows.failed,
        unconfirmed=status.rows.unconfirmed,
        asked=asked,
        kinds=tuple(
            [
                _kind(kind, status, config, rows, by_hand.get(kind, 0), flag)
                for kind, rows in found.items()
                if rows or by_hand.get(kind)
            ]
        ),
        next=after_errors(status, config, by_hand, asked, flag),
    )


def _kind(
    kind: str, status: Status, config: JobConfig, rows: Sequence[Problem], by_hand: int, flag: str
) -> ProblemKind:
    counts = {error.kind: error.count for error in status.errors}
    count = max(
        counts.get(kind, 0), len(rows) + by_hand
    )  # the rows are read after the counters, and may be more by then
    return ProblemKind(
        kind=kind,
        count=count,
        by_hand=by_hand,
        advice=advice(kind, status),
        command=remedy(kind, status, config, flag) if by_hand < count else "",
        rows=tuple(map(_row, rows)),
        more=command("errors", status.job, f"--kind {kind} --limit {count}", flag),
    )


def _row(problem: Problem) -> ProblemRow:
    return ProblemRow(
        row=problem.number,
        key=printable(problem.key),
        line=problem.line,
        text=printable(problem.text[:MOST_TEXT_CHARACTERS]),
        error=printable(problem.error or ""),
        answer=None if problem.answer is None else printable(problem.answer),
        attempts=problem.attempts,
        request_id=None if problem.request_id is None else printable(problem.request_id),
    )


def problems_lines(problems: Problems) -> list[str]:
    """What a person reads of the problems."""
    counts = {"failed": problems.failed, "unconfirmed": problems.unconfirmed}
    told = ", ".join(f"{count:,} {state}" for state, count in counts.items() if count)
    lines = [f"job {problems.job}: {told or 'no failed rows'}"]
    if problems.asked and not problems.kinds:
        lines.append(f"none of kind {problems.asked}")
    for kind in problems.kinds:
        lines += ["", *_kind_lines(kind)]
    return [*lines, *([""] if problems.kinds else []), f"next      {problems.next}"]


def _kind_lines(kind: ProblemKind) -> Iterator[str]:
    yield f"{kind.count:,} {kind.kind}: {kind.advice}"
    if kind.by_hand:
        yield f"  by hand   {kind.by_hand:,} of them got a label"
    if kind.command:
        yield f"  type      {kind.command}"
    for row in kind.rows:
        yield from _row_lines(row)
    left = kind.count - kind.by_hand - len(kind.rows)
    if left > 0:
        yield f"  and {left:,} more: {kind.more}"


def _row_lines(row: ProblemRow) -> Iterator[str]:
    tries = f", {counted(row.attempts, 'attempt')}" if row.attempts else ""
    request = f", request {row.request_id}" if row.request_id else ""
    yield f"  row {row.key} (line {row.line}){tries}{request}"
    yield f"    text    {row.text!r}"
    if row.error:
        yield f"    error   {row.error}"
    if row.answer is not None:
        yield f"    answer  {row.answer!r}"
