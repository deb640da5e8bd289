"""The rows of a filtered view as a file, made a piece at a time: what is kept in memory does not grow with them."""

from __future__ import annotations

import io
from typing import NamedTuple

from batchjob.corrections.standing import Corrections
from batchjob.errors import SettingError
from batchjob.outputs.delimited import write_csv
from batchjob.outputs.jsonl import write_jsonl
from batchjob.page.documents import overlay_on
from batchjob.page.finding import found_rows
from batchjob.ports import StoreReader
from batchjob.records import RowFilter
from batchjob.views.export import RowTable

TYPES = {"csv": "text/csv", "jsonl": "application/jsonl"}
"""The formats, and what a browser calls them."""
PIECE_ROWS = 2000


class Piece(NamedTuple):
    """Some lines of a file, and the row behind which it goes on; None: that was all."""

    content: bytes
    beyond: int | None


def piece(
    reader: StoreReader, corrections: Corrections, name: str, wanted: RowFilter, format_: str, beyond: int
) -> Piece:
    """The next lines of a job's rows as `export` writes them, the header with the first.

    Raises:
        SettingError: the format is not known.
    """
    if format_ not in TYPES:
        raise SettingError(f"the page gives no {format_!r}: take csv or jsonl, or batchjob export")
    job = reader.job(name)
    overlay = overlay_on(job, corrections)
    later = [notice.what for notice in reader.noticed(job) if notice.kind == "column"]
    table = RowTable(job, later, overlay=overlay or None)
    found = found_rows(reader, job, wanted, overlay, beyond, limit=PIECE_ROWS)
    file = io.BytesIO()
    write = write_csv if format_ == "csv" else write_jsonl
    if beyond:
        write(file, table.header, [])
    header = file.tell()
    file.seek(0)
    write(file, table.header, table.rows(found.rows))
    content = file.getvalue()[header:] if beyond else file.getvalue()
    return Piece(content, None if found.ended else found.looked_to)
