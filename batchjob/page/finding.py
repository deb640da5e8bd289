"""The rows of a view, a bounded piece at a time: by what the work table says, and by what people said since."""

from __future__ import annotations

from batchjob.corrections.overlay import Overlay
from batchjob.model import Job
from batchjob.ports import StoreReader
from batchjob.records import ExportRow, Found, RowFilter
from batchjob.states import Source

LOOKED_AT = 100_000
"""Rows looked at for one answer, where no text is read."""
TEXTS_LOOKED_AT = 20_000


def found_rows(
    reader: StoreReader,
    job: Job,
    wanted: RowFilter,
    overlay: Overlay,
    beyond: int,
    *,
    limit: int,
    backwards: bool = False,
) -> Found:
    """The next rows that are wanted, as StoreReader.find_rows has them, by the labels and sources that are shown: those
    of people where there are some. The work table does not know these: such rows are found among what was said.
    """
    numbers = [n for n in sorted(overlay.numbers, reverse=backwards) if (n < beyond if backwards else n > beyond)]
    if wanted.source == Source.HUMAN:
        found = Found([], numbers[-1] if numbers else beyond, ended=True)
    else:
        most = TEXTS_LOOKED_AT if wanted.text else LOOKED_AT
        found = reader.find_rows(job, wanted, beyond=beyond, limit=limit, most=most, backwards=backwards)
        if not numbers or (wanted.label is None and wanted.source is None):
            return found
    return _with_said(reader, job, wanted, overlay, found, numbers, limit=limit, backwards=backwards)


def _with_said(
    reader: StoreReader,
    job: Job,
    wanted: RowFilter,
    overlay: Overlay,
    found: Found,
    numbers: list[int],
    *,
    limit: int,
    backwards: bool,
) -> Found:
    """What was found, without rows that are shown with another label or source, and with those that people gave this
    one; `numbers` are the rows of which they said something, on the way that was looked.
    """

    def reached(number: int, last: int) -> bool:
        return number >= last if backwards else number <= last

    _, looked_to, ended = found
    said = [n for n in numbers if ended or reached(n, looked_to)]
    if len(said) > limit:
        said = said[:limit]
        looked_to, ended = said[-1], False
    rows = [record for record in found.rows if record[0] not in overlay and (ended or reached(record[0], looked_to))]
    fitting = [record for record in reader.rows(job, said) if fits(ExportRow(*record), wanted, overlay)]
    if wanted.matched is not None:  # a row's record does not have it
        fitting = [record for record in fitting if reader.row(job, record[0]).matched == wanted.matched]
    rows = sorted([*rows, *fitting], key=lambda record: record[0], reverse=backwards)
    if len(rows) > limit:
        rows = rows[:limit]
        looked_to, ended = rows[-1][0], False
    return Found(rows[::-1] if backwards else rows, looked_to, ended)


def fits(row: ExportRow, wanted: RowFilter, overlay: Overlay) -> bool:
    """Whether a row of which people said something is wanted."""
    shown = ExportRow(*overlay(row))
    asked = (wanted.state, row.state), (wanted.kind, kind_of(row)), (wanted.label, shown.label)
    same = all(value in (None, is_so) for value, is_so in (*asked, (wanted.source, shown.source)))
    if wanted.below is not None and (row.confidence is None or row.confidence >= wanted.below):
        return False
    return same and (wanted.text.casefold() in row.text.casefold() or wanted.text == row.key)


def kind_of(row: ExportRow) -> str | None:
    """Of the error that a row has ended with, as far as it has."""
    return row.error_kind if row.state in ("failed", "unconfirmed") else None
