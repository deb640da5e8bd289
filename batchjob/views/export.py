"""A job's rows as a table: what the input had, and what became of each row."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import msgspec

from batchjob.model import ExportRow, Job
from batchjob.printable import neutral_cell, printable

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
_LABEL = ExportRow._fields.index("label")


class RowTable:
    """The table of a job's export. `labelled` counts the rows with a label among those that went through `rows`.

    What the user's file held stays as it is, unless `safe` is to be applied to every cell; what an endpoint said is
    made harmless in any case.
    """

    def __init__(self, job: Job, *, details: bool, safe: Callable[[str], str] | None = None) -> None:
        self.header = header(job, details=details)
        self.labelled = 0
        self._cells = _cells_of(job, details=details)
        self._safe = safe

    def rows(self, records: Iterable[tuple[Any, ...]]) -> Iterator[Sequence[object]]:
        """The cells of each record of StoreReader.export_rows."""
        cells_of, safe = self._cells, self._safe
        for record in records:
            if record[_LABEL] is not None:
                self.labelled += 1
            cells = cells_of(record)
            yield cells if safe is None else [safe(cell) if isinstance(cell, str) else cell for cell in cells]


def header(job: Job, *, details: bool) -> list[str]:
    """The columns of an export: the input's, an `id` where it had none, and ours; an input's that is named like one of
    ours is called input_NAME.
    """
    source = job.source
    ours = RESULT_COLUMNS + (DETAIL_COLUMNS if details else ())
    if source.id_column is None:
        ours = ("id", *ours)
        return ["id", *_free_names(source.columns, ours), *ours[1:]]
    return [*_free_names(source.columns, ours), *ours]


def _free_names(theirs: Sequence[str], ours: Sequence[str]) -> list[str]:
    """The input's columns, none named like one of ours or like another: an export may be labelled again and again."""
    taken = {*theirs, *ours}
    names = []
    for name in theirs:
        if name in ours:
            while name in taken:
                name = f"input_{name}"
            taken.add(name)
        names.append(name)
    return names


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
        number, key, text, rest, label, from_, state, kind, error, origin, answer, attempts, *request = record
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
            row.insert(0, number)
        else:
            row[id_at or 0] = key
        row += (label, from_, state, f"{kind}: {printable(error or '')}" if kind and state != "done" else None)
        if details:
            row.append(origin)
            row += _details(number, None if answer is None else neutral_cell(printable(answer)), attempts, request)
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
