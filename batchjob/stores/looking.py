"""Rows that are looked for, the same in every store: how far a look goes, and which texts it finds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from batchjob.records import RowFilter
from batchjob.stores import ids

LONG_CHARACTERS = 2000
"""A text counts for one row more each time it is this long."""
KEYS_AT_ONCE = 200_000
"""Rows among which ids are looked for at once."""


class Span(NamedTuple):
    """The numbers of rows that are looked at: above `first`, up to `last`."""

    first: int
    last: int
    edge: int  # the number that is looked at last
    end: int  # that of the job's row beyond which there is none, this way


def span_of(rows: int, wanted: RowFilter, *, beyond: int, most: int, backwards: bool) -> Span | None:
    """How far a look goes in a job of so many rows; None: there are none beyond."""
    by_index = wanted.kind is not None and not wanted.text
    reach = rows if by_index else most
    first, last = (max(beyond - 1 - reach, 0), beyond - 1) if backwards else (beyond, min(beyond + reach, rows))
    if last <= first:
        return None
    return Span(first, last, first + 1, 1) if backwards else Span(first, last, last, rows)


def holding(candidates: Iterable[tuple[Any, ...]], text: str, limit: int, most: int) -> tuple[list[int], int | None]:
    """The ids of the candidates (id, key, text) that hold a text; and where looking ended, if not with the last one."""
    sought, found, weight = text.casefold(), list[int](), 0
    for id_, key, held in candidates:
        weight += 1 + len(held) // LONG_CHARACTERS
        if sought in held.casefold() or key == text:
            found.append(id_)
        if len(found) == limit or weight >= most:
            return found, ids.number_of(id_)
    return found, None


class Pieces:
    """The ranges of ids in which the next requests of a job lie, at most so many requests, run after run."""

    def __init__(self, most: int) -> None:
        self.ranges: list[tuple[int, int]] = []  # above the first id, up to the second
        self.end: int | None = None  # where they end before the last request does
        self._left = most

    def add(self, first: int, last: int) -> bool:
        """The requests of the next run, above the first id, up to the last; whether more may follow."""
        if last <= first:
            return True
        reached = min(last, first + self._left)
        if reached > first:
            self.ranges.append((first, reached))
            self._left -= reached - first
        if reached < last:
            self.end = self.ranges[-1][1]
        return reached >= last
