"""How far a run is, while it runs: the live lines of a terminal, the sparse lines of a log, and `status --watch`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from batchjob.model import Value
from batchjob.numbers import dollars, duration
from batchjob.views.lines import cut, folded, width
from batchjob.views.status import Status

BAR_CELLS, NARROW_BAR_CELLS = 20, 10
LONG_SECONDS = 10.0
"""A request that is out for longer is what a run that makes no progress waits for."""


class Live(Value, frozen=True):
    """The figures of a run that is going on. What is not known is None."""

    settled: int
    total: int
    reading: bool  # more rows are to come
    failed: int
    last_kind: str  # why a row failed last
    rows_per_second: float | None
    eta_seconds: float | None
    seconds: float  # since it began
    cost_usd: float | None
    in_flight: int
    oldest_seconds: float  # how long the oldest request has been out; 0: none is, or that is not known
    held_back: str  # what holds it back, in words


def live_of(status: Status, held_back: str) -> Live:
    """The same, of a job that another process works on."""
    rows = status.rows
    settled = rows.done + rows.failed + rows.unconfirmed
    return Live(
        settled=settled,
        total=settled + (status.rate.rows_left if status.rate.rows_left is not None else rows.unfinished),
        reading=not status.ingested,
        failed=rows.failed + rows.unconfirmed - status.skipped,
        last_kind=status.errors[0].kind if status.errors else "",
        rows_per_second=status.rate.rows_per_second,
        eta_seconds=status.rate.eta_seconds,
        seconds=max(status.updated_at - (status.started_at or status.updated_at), 0.0),
        cost_usd=status.cost.usd,
        in_flight=rows.in_flight,
        oldest_seconds=0.0,
        held_back=held_back,
    )


def live_lines(live: Live, columns: int) -> list[str]:
    """The figures, flowing over as many lines as they need, with a bar; and below, what the run waits for."""
    pieces = _pieces(live)
    if not live.reading:
        room = columns - len("  ".join(pieces)) - 2
        pieces.insert(0, _bar(live, BAR_CELLS if room >= BAR_CELLS + 2 else NARROW_BAR_CELLS))
    lines = list(_flowing(pieces, columns))
    if waits := _waits_for(live):
        lines += folded([waits], columns)
    return lines


def live_sentence(live: Live) -> str:
    """The figures on one line, for a log."""
    return ", ".join(filter(None, (*_pieces(live), _waits_for(live))))


def live_figures(live: Live) -> dict[str, Any]:
    """The figures for a program that reads a log; what is not known is left out."""
    figures = {name: getattr(live, name) for name in Live.__struct_fields__}
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    return {name: value for name, value in rounded.items() if value not in (None, "")}


def _pieces(live: Live) -> list[str]:
    pieces = [f"{live.settled:,}/{live.total:,}{'+' if live.reading else ''} rows"]
    if live.total and not live.reading:
        pieces.insert(0, f"{100 * live.settled // live.total} %")
    if live.rows_per_second:
        pieces.append(f"{live.rows_per_second:,.1f} rows/s")
    if live.eta_seconds is not None:
        pieces.append(f"{duration(live.eta_seconds)} left")
    if live.failed:
        pieces.append(f"{live.failed:,} failed" + (f" ({live.last_kind})" if live.last_kind else ""))
    if live.cost_usd is not None:
        pieces.append(dollars(live.cost_usd))
    return [*pieces, f"{live.in_flight:,} in flight", f"{duration(live.seconds)} so far"]


def _waits_for(live: Live) -> str:
    """What the run waits for, where it is known."""
    if live.held_back:
        return live.held_back
    if live.oldest_seconds >= LONG_SECONDS and not live.rows_per_second:
        return f"waiting for an answer for {duration(live.oldest_seconds)}"
    return ""


def _bar(live: Live, cells: int) -> str:
    done = cells * live.settled // live.total if live.total else 0
    return f"[{'#' * done}{'-' * (cells - done)}]"


def _flowing(pieces: Sequence[str], columns: int) -> Iterator[str]:
    line = ""
    for piece in pieces:
        if line and width(line) + 2 + width(piece) > columns:
            yield line
            line = ""
        line += ("  " if line else "") + piece
    yield cut(line, columns)
