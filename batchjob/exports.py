"""What came of a job, written to a file: its rows with their labels, or its requests."""

from __future__ import annotations

from collections.abc import Callable

from batchjob.guard import check_export
from batchjob.model import Job, RequestRecord
from batchjob.outputs import open_output
from batchjob.ports import StoreReader
from batchjob.views.export import RowTable


def export(
    reader: StoreReader,
    job: Job,
    output: str,
    *,
    what: str = "-o",
    format: str | None = None,
    details: bool = False,
    safe: Callable[[str], str] | None = None,
) -> tuple[int, int]:
    """Write a job's rows with their labels, in input order; how many have a label, and how many there are.

    Args:
        output: a path, or "-" for stdout.
        what: what named it.
        format: a key of outputs.FORMATS; None: by the path's suffix.
        details: also attempts, request ID, raw answer and tokens of each row.
        safe: is applied to every cell. What an endpoint said is made harmless in any case.

    Raises:
        SettingError: the output is a file that is needed.
    """
    check_export(reader, job, what, output)
    table = RowTable(job, details=details, safe=safe)
    total = open_output(output, format).write(table.header, table.rows(reader.export_rows(job)))
    return table.labelled, total


def export_requests(reader: StoreReader, job: Job, output: str, *, what: str = "-o", format: str | None = None) -> int:
    """Write every request of a job, to check a bill against; how many. Arguments and errors as of `export`."""
    check_export(reader, job, what, output)
    return open_output(output, format).write(RequestRecord._fields, reader.requests(job))
