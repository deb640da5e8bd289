"""batchjob export: labels in input order, beside what the input had."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import click
import msgspec

from batchjob.cli.options import database, db_option, job_argument
from batchjob.model import ExportRow, Job, RequestRecord
from batchjob.outputs import neutral_cell, open_output
from batchjob.printable import printable
from batchjob.stores.sqlite.reader import StoreReader

RESULT_COLUMNS = ("label", "source", "state", "error")
DETAIL_COLUMNS = (
    "origin",
    "attempts",
    "request_id",
    "answer",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "cost_usd",
)


@click.command("export")
@job_argument
@db_option
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to; - is stdout")
@click.option("--format", "format_", metavar="NAME", help="csv, tsv, jsonl or parquet  [default: by the suffix]")
@click.option("--details", is_flag=True, help="Also attempts, request ID, raw answer and tokens of each row")
@click.option("--spreadsheet", is_flag=True, help="Put ' before cells that a spreadsheet would run as a formula")
@click.option("--requests", is_flag=True, help="Instead of rows, every request sent: to check the bill against")
def command(
    job: str | None,
    db: str | None,
    output: str,
    format_: str | None,
    details: bool,
    spreadsheet: bool,
    requests: bool,
) -> int:
    """Write the labels of JOB (the latest, if not named) in input order.

    Each row of the input stands there once, with its other columns; where there is no label, state and error say why.
    """
    with StoreReader(database(db)) as reader:
        found = reader.job(job) if job else reader.latest()
        if requests:
            open_output(output, format_).write(RequestRecord._fields, reader.requests(found))
            return 0
        labelled, total = export_job(
            reader, found, output, format_, details=details, safe=neutral_cell if spreadsheet else None
        )
    if labelled < total or not found.ingested:
        more = "" if found.ingested else " read so far"
        click.echo(f"{labelled:,} of {total:,} rows{more} have a label; the others say why not in `state`", err=True)
    return 0


def export_job(
    reader: StoreReader,
    job: Job,
    output: str,
    format_: str | None,
    *,
    details: bool,
    safe: Callable[[str], str] | None = None,
) -> tuple[int, int]:
    """Write a job's rows; how many have a label, and how many there are.

    What the user's file held stays as it is, unless `safe` is to be applied to every cell or it goes to a terminal;
    what an endpoint said is made harmless in any case.
    """
    if output == "-" and sys.stdout.isatty():
        safe = printable
    labelled = 0

    def rows() -> Iterator[Sequence[object]]:
        nonlocal labelled
        cells_of = _cells_of(job, details=details)
        for record in reader.export_rows(job):
            if record[_LABEL] is not None:
                labelled += 1
            cells = cells_of(record)
            yield cells if safe is None else [safe(cell) if isinstance(cell, str) else cell for cell in cells]

    total = open_output(output, format_).write(header(job, details=details), rows())
    return labelled, total


_LABEL = ExportRow._fields.index("label")
_MASK = (1 << 40) - 1


def header(job: Job, *, details: bool) -> list[str]:
    """The columns of an export: the input's, an `id` where it had none, and ours; an input's that is named like one of
    ours is called input_NAME.
    """
    source = job.source
    ours = RESULT_COLUMNS + (DETAIL_COLUMNS if details else ())
    theirs = source.columns if source.id_column else ("id", *source.columns)
    taken = set(ours) | set(theirs)
    names: list[str] = []
    for name in theirs:
        while name in ours or (name == "id" and source.id_column is None and names):
            name = f"input_{name}"
            if name not in taken:
                break
        names.append(name)
    return [*names, *ours]


def _cells_of(job: Job, *, details: bool) -> Any:
    """A function from a record to its cells, in the order of `header`."""
    source = job.source
    id_at = source.columns.index(source.id_column) if source.id_column else None
    text_at = source.columns.index(source.text_column)
    others = [at for at in range(len(source.columns)) if at not in (id_at, text_at)]
    decode = msgspec.json.Decoder().decode
    by_name = source.format in ("jsonl", "parquet")
    width = len(source.columns)
    own_id = id_at is None

    def cells(record: tuple[Any, ...]) -> list[Any]:
        id_, key, text, rest, label, from_, state, kind, error, origin, answer, attempts, *request = record
        row: list[Any] = [None] * width
        if rest is not None:
            values = decode(rest)
            if isinstance(values, list):
                for at, value in zip(others, values, strict=False):
                    row[at] = value
            elif by_name:
                for at in others:
                    row[at] = values.get(source.columns[at])
        row[text_at] = text
        if own_id:
            row.insert(0, id_ & _MASK)
        else:
            row[id_at or 0] = key
        row += (label, from_, state, f"{kind}: {printable(error or '')}" if kind and state != "done" else None)
        if details:
            row.append(origin)
            row += _details(id_ & _MASK, None if answer is None else neutral_cell(printable(answer)), attempts, request)
        return row

    return cells


def _details(number: int, answer: str | None, attempts: int, request: Sequence[Any]) -> list[Any]:
    request_id, rows, *tokens, cost = request
    if rows is None:
        return [attempts, None, answer, None, None, None, None]
    numbers = msgspec.json.decode(rows, type=list[int])
    paid = share(cost, numbers, number)
    dollars = None if paid is None else f"{Decimal(paid).scaleb(-12):f}"  # all twelve digits, so that sums match
    return [attempts, request_id, answer, *(share(total, numbers, number) for total in tokens), dollars]


def share(total: int | None, numbers: Sequence[int], number: int) -> int | None:
    """A row's part of its request's tokens or cost: equal parts whose sum is the total."""
    if total is None or number not in numbers:
        return None
    place, count = numbers.index(number), len(numbers)
    return total * (place + 1) // count - total * place // count
