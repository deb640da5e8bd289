"""A job's rows as a table: what the input had, and what became of each row."""

from __future__ import annotations

import csv
import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Literal, NamedTuple

import msgspec

from batchjob.errors import SettingError
from batchjob.model import InputSource, Job
from batchjob.printable import neutral_cell, printable
from batchjob.records import CONFIDENCE, DETAIL_COLUMNS, MODEL_LABEL, RESULT_COLUMNS, ROW_NUMBER, ExportRow
from batchjob.settings.config import settings_of
from batchjob.settings.tables import Field
from batchjob.states import State
from batchjob.tables.values import ABSENT, MARK, Kinds, Raw, cell, same_name
from batchjob.task.columns import IN_ORDER
from batchjob.task.fields.answers import field_values
from batchjob.task.fields.kinds import KINDS

INTEGERS = frozenset({"attempts", "input_tokens", "cached_input_tokens", "output_tokens"})


_LABEL, _STATE = map(ExportRow._fields.index, ("label", "state"))

Overlay = Callable[[tuple[Any, ...]], tuple[Any, ...]]
"""A record of a row -> the same with what a person said of it."""


class Column(NamedTuple):
    """A column of an export."""

    name: str
    kind: Literal["text", "integer", "json", "typed"]
    origin: str = ""  # its name in the input


class RowTable:
    """The table of a job's export. `labelled` counts the rows with a label among those that went through `rows`.

    What the user's file held stays as it is, unless `safe` is to be applied to every cell; what an endpoint said is
    made harmless in any case.

    Args:
        later: columns of the input that its first row has not.
        overlay: gives a row the label that a person gave it; then a column holds the labels that the job gave.
        chosen: the names of the columns that are wanted, in this order; None: all.

    Raises:
        SettingError: there is no such column.
    """

    def __init__(
        self,
        job: Job,
        later: Sequence[str] = (),
        *,
        overlay: Overlay | None = None,
        details: bool = False,
        chosen: Sequence[str] | None = None,
        safe: Callable[[str], str] | None = None,
    ) -> None:
        theirs = (*job.source.columns, *later)
        config = settings_of(job)
        hand, sure, fields = overlay is not None, config.confidence, config.fields
        columns = _columns(job.source, theirs, fields, hand=hand, sure=sure, details=details)
        self._places = None if chosen is None else [_place(name, columns) for name in chosen]
        columns = columns if self._places is None else [columns[at] for at in self._places]
        self.header = [column.name if safe is None else safe(column.name) for column in columns]
        kinds, origins = tuple(one.kind for one in columns), tuple(one.origin for one in columns)
        self.kinds = Kinds(kinds, origins, job.source.schema)
        self.labelled = 0
        self._cells = _cells_of(job.source, theirs, fields, hand=hand, sure=sure, details=details)
        self._overlay = overlay
        self._safe = safe

    def rows(self, records: Iterable[tuple[Any, ...]]) -> Iterator[Sequence[object]]:
        """The cells of each record of StoreReader.export_rows."""
        cells_of, safe, places = self._cells, self._safe, self._places
        for record in _said(records, self._overlay) if self._overlay else records:
            if record[_STATE] == State.DONE:
                self.labelled += 1
            cells = cells_of(record)
            if places is not None:
                cells = [cells[at] for at in places]
            yield cells if safe is None else [_made_safe(value, safe) for value in cells]


def _said(records: Iterable[tuple[Any, ...]], overlay: Overlay) -> Iterator[tuple[Any, ...]]:
    """Each record with the label that counts, and behind it the one that the job gave."""
    return ((*overlay(record), record[_LABEL]) for record in records)


def _made_safe(value: object, safe: Callable[[str], str]) -> object:
    found = cell(value)
    return safe(found) if isinstance(found, str) else found


# ---------------------------------------------------------------- columns


def column_names(given: str) -> list[str]:
    """The names in a list with commas; one with a comma in it is quoted as in CSV.

    Raises:
        SettingError: it is none.
    """
    try:
        names = [name for line in csv.reader([given], skipinitialspace=True, strict=True) for name in line if name]
    except csv.Error as error:
        raise SettingError(f"--columns {given!r} is no list of names ({error}): give them as id,text,label") from None
    if not names:
        raise SettingError("--columns names none: give some as id,text,label")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise SettingError(f"--columns names {twice!r} twice")
    return names


def _place(name: str, columns: Sequence[Column]) -> int:
    names = [same_name(column.name) for column in columns]
    if same_name(name) in names:
        return names.index(same_name(name))
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(names)}"
    raise SettingError(f"--columns: the export has no column {name!r}: {hint}")


def _columns(
    source: InputSource, theirs: Sequence[str], fields: Sequence[Field], *, hand: bool, sure: bool, details: bool
) -> list[Column]:
    """The columns of an export: the input's, an `id` where it had none, and ours."""
    kind: Literal["text", "json", "typed"] = "text"
    if source.format not in IN_ORDER:
        kind = "typed" if source.schema else "json"
    own = [Column(ROW_NUMBER, "integer")] if source.id_column is None else []
    ours = [Column(name, "text") for name in RESULT_COLUMNS]
    if fields:
        ours[:1] = [Column(field.name, "json" if KINDS[field.kind].as_json else "text") for field in fields]
    ours += [Column(MODEL_LABEL, "text")] if hand else []
    ours += [Column(CONFIDENCE, "json")] if sure else []
    ours += [Column(name, "integer" if name in INTEGERS else "text") for name in DETAIL_COLUMNS if details]
    names = _free_names(theirs, {column.name for column in (*own, *ours)})
    named = zip(names, theirs, strict=True)
    kinds = [Column(name, "text" if origin == source.file_column else kind, origin) for name, origin in named]
    return [*own, *kinds, *ours]


def _free_names(theirs: Sequence[str], ours: set[str]) -> list[str]:
    """The input's columns, none named like one of ours or like another: an export may be labelled again and again."""
    ours = set(map(_plain, ours))
    taken = {*map(_plain, theirs), *ours}
    names: list[str] = []
    seen: set[str] = set()
    for name in theirs:
        if _plain(name) in ours or _plain(name) in seen:
            while _plain(name) in taken:
                name = f"input_{name}"
            taken.add(_plain(name))
        seen.add(_plain(name))
        names.append(name)
    return names


def _plain(name: str) -> str:
    """A name as a reader of tables compares it."""
    return same_name(name).strip()


# ---------------------------------------------------------------- cells


def _cells_of(
    source: InputSource, theirs: Sequence[str], fields: Sequence[Field], *, hand: bool, sure: bool, details: bool
) -> Callable[[tuple[Any, ...]], list[Any]]:
    """A function from a record to its cells, in the order of `_columns`."""
    input_cells = _fields_of(source, len(theirs)) if source.format in IN_ORDER else _values_of(source, theirs)
    own_id = source.id_column is None

    def cells(record: tuple[Any, ...]) -> list[Any]:
        if hand:
            record, own = record[:-1], record[-1]
        number, key, text, rest, label, from_, state, kind, error, origin, answer, attempts, how_sure, *request = record
        row = input_cells(key, text, rest)
        if own_id:
            row.insert(0, number)
        if fields:
            row += field_cells(fields, label, answer)
        else:
            row.append(label)
        row += (from_, state, f"{kind}: {printable(error or '')}" if kind and state != "done" else None)
        if hand:
            row.append(own)
        if sure:
            row.append(None if how_sure is None else round(how_sure, 6))
        if details:
            row.append(origin)
            if origin is not None:  # its label came without a request, whatever it was in before
                request = [None] * len(request)
            row += _details(number, None if answer is None else neutral_cell(printable(answer)), attempts, request)
        return row

    return cells


InputCells = Callable[[str, str, str | None], list[Any]]
"""(key, text, rest) -> the cells of the input's columns."""


def _fields_of(source: InputSource, width: int) -> InputCells:
    """Of a table in text: the other columns are an array."""
    id_at = source.columns.index(source.id_column) if source.id_column else None
    text_at = source.columns.index(source.text_column)
    others = [at for at in range(len(source.columns)) if at not in (id_at, text_at)]
    decode = msgspec.json.Decoder(list[Any]).decode

    def cells(key: str, text: str, rest: str | None) -> list[Any]:
        row: list[Any] = [None] * width
        if rest is not None:
            for at, value in zip(others, decode(rest), strict=False):
                row[at] = value
        row[text_at] = text
        if id_at is not None:
            row[id_at] = key
        return row

    return cells


def _values_of(source: InputSource, theirs: Sequence[str]) -> InputCells:
    """Of objects: what is a string and not empty is the key or the text, all else is by name, as it stood there."""
    id_at = None if source.id_column is None else theirs.index(source.id_column)
    text_at = theirs.index(source.text_column)

    def cells(key: str, text: str, rest: str | None) -> list[Any]:
        values = {} if rest is None else _values(rest)
        row: list[Any] = [values.get(name, ABSENT) for name in theirs]
        if id_at is not None and key and row[id_at] is ABSENT:
            row[id_at] = key
        if text and row[text_at] is ABSENT:
            row[text_at] = text
        return row

    return cells


_decode, _encode = msgspec.json.Decoder(dict[str, Any]).decode, msgspec.json.Encoder().encode
_decode_raw = msgspec.json.Decoder(dict[str, Raw]).decode


def _values(rest: str) -> dict[str, Any]:
    """The values of an object: decoded where that writes them again as they stand there, else as they stand there."""
    try:
        values = _decode(rest)
        if MARK not in rest and _encode(values) == rest.encode():
            return values
    except (msgspec.DecodeError, ValueError):
        pass  # a number that is no float
    return _decode_raw(rest)


def field_cells(fields: Sequence[Field], label: str | None, answer: str | None) -> list[Any]:
    """The values of a row's fields, None where it has none; texts are what an endpoint said, and made harmless."""
    values = field_values(label, answer)
    found = [(field.kind, values.get(field.name)) for field in fields]
    return [neutral_cell(printable(value)) if kind == "text" and value else value for kind, value in found]


def _details(number: int, answer: str | None, attempts: int, request: Sequence[Any]) -> list[Any]:
    request_id, rows, model, *tokens, cost = request
    if rows is None:
        return [attempts, None, answer, None, None, None, None, None]
    numbers = msgspec.json.decode(rows, type=list[int])
    paid = share(cost, numbers, number)
    dollars = None if paid is None else f"{Decimal(paid).scaleb(-12):f}"  # all twelve digits, so that sums match
    return [attempts, request_id, answer, model, *(share(total, numbers, number) for total in tokens), dollars]


def share(total: int | None, numbers: Sequence[int], number: int) -> int | None:
    """A row's part of its request's tokens or cost: equal parts whose sum is the total."""
    if total is None or number not in numbers:
        return None
    place, count = numbers.index(number), len(numbers)
    return total * (place + 1) // count - total * place // count
