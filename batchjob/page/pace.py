"""How many rows a minute a run asked about, over its time: of a run of any size from a few of its requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from batchjob.model import Value
from batchjob.ports import StoreReader
from batchjob.records import Sent

POINTS = 120
"""Requests that are looked at."""
PARTS = 60
"""Of the time, each with one figure."""
LEAST_SECONDS = 2.0
"""Less is no time over which a pace could be seen."""


class PacePage(Value, frozen=True):
    """Rows a minute in equal parts of a time, in UTC epoch seconds; no figure where there is nothing to be seen."""

    rows_a_minute: tuple[float, ...]
    begin: float
    end: float


def pace_page(reader: StoreReader, name: str) -> PacePage:
    """The pace of a job's latest run, with those at work beside it."""
    runs = [run for run in reader.sent(reader.job(name), points=POINTS) if len(run) > 1]
    begin = min((run[0].at for run in runs[:1]), default=0.0)
    end = max((run[-1].at for run in runs), default=0.0)
    if end - begin < LEAST_SECONDS:
        return PacePage((), begin, end)
    part = (end - begin) / PARTS
    rows = [0.0] * PARTS
    for run in runs:
        for at, count in _spread(run, begin, part):
            if 0 <= at < PARTS:
                rows[at] += count
    return PacePage(tuple([60 * count / part for count in rows]), begin, end)


def _spread(run: Sequence[Sent], begin: float, part: float) -> Iterator[tuple[int, float]]:
    """The rows between two requests, evenly over the parts of the time between them."""
    for one, other in pairwise(run):
        rows = (other.request - one.request) * (one.rows + other.rows) / 2
        first, last = (one.at - begin) / part, (other.at - begin) / part
        if last - first < 1e-9:
            yield min(int(first), PARTS - 1), rows
            continue
        at = int(first)
        while at < last:
            share = min(last, at + 1) - max(first, at)
            yield at, rows * share / (last - first)
            at += 1
