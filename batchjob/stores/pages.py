"""Pages of rows, made of the records that a store's own queries give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from batchjob.model import LostRequest, Page, Parcel, Row, Unheard
from batchjob.stores import ids

PAGE_BYTES = 4 * 1024 * 1024
"""Texts read ahead at once, at most; a page ends early behind a text that passes it."""


def bounded(records: Iterable[Any], text_at: int) -> Iterator[Any]:
    """The records up to and with the one whose text passes PAGE_BYTES."""
    size = 0
    for record in records:
        yield record
        size += len(record[text_at])
        if size > PAGE_BYTES:
            return


def returned(records: Sequence[Any]) -> Page:
    """Rows that were out before or put back: lost requests as parcels, the others as rows. Of a record (request, id,
    text, attempts, paid, defect, rest, put back, answer, model, key, digest, broken off, asked otherwise, first, id of
    the row).
    """
    parcels: list[Parcel] = []
    rows: list[Row] = []
    for request, group in groupby(records, itemgetter(0)):
        first, *others = group
        found = [_row(record) for record in (first, *others)]
        model, key, digest, broken_off = first[9:13]
        if key:
            parcels.append(Parcel(tuple(found), model, LostRequest(request, key, digest, bool(broken_off))))
        else:
            rows += found
    return Page(tuple(parcels), tuple(rows), any(record[-2] is not None for record in records))


def _row(record: Any) -> Row:
    _, id_, text, attempts, paid, defect, rest, put_back, answer, *_, otherwise, first, key = record
    return Row(
        ids.number_of(id_),
        text,
        attempts,
        paid,
        defect,
        rest,
        key,
        put_back=bool(put_back),
        answer=answer,
        asked_otherwise=bool(otherwise),
        first=first,
    )


def fresh(records: Sequence[Any]) -> Page:
    """Rows that were never claimed: of (id, text, defect, rest, id of the row)."""
    number_of = ids.number_of
    return Page(
        rows=tuple([Row(number_of(id_), text, 0, 0, defect, rest, key) for id_, text, defect, rest, key in records])
    )


def unheard(records: Iterable[Any]) -> list[Unheard]:
    """Rows whose answer nobody saw, as far as a page goes: of (id, text, rest, id of the row, first, model, job)."""
    return [
        Unheard(id_, Row(ids.number_of(id_), text, rest=rest, key=key, first=first), model, job)
        for id_, text, rest, key, first, model, job in bounded(records, 1)
    ]
