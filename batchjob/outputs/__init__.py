"""Outputs: rows of labels into a file, or to stdout.

Each format is a module with one function, such as WriteRows, and a line in FORMATS; it is imported when it is asked
for. Where the bytes go is target.py's part.
"""

from __future__ import annotations

import gzip
import importlib
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePath
from typing import BinaryIO, Protocol, cast

from batchjob.errors import SettingError
from batchjob.outputs.target import check_target, opened
from batchjob.tables.values import Kinds

FORMATS = {
    "csv": "batchjob.outputs.delimited:write_csv",
    "tsv": "batchjob.outputs.delimited:write_tsv",
    "jsonl": "batchjob.outputs.jsonl:write_jsonl",
    "parquet": "batchjob.outputs.parquet:write_parquet",
}
"""A format's name, which is its suffix too, and the function that writes it. Any but Parquet may be gzipped."""

SPREADSHEET = "batchjob.outputs.delimited:write_spreadsheet"

ALIASES = {"ndjson": "jsonl"}
"""Other suffixes of the same formats."""


class WriteRows(Protocol):
    """What a format's function looks like."""

    def __call__(
        self, file: BinaryIO, header: Sequence[str], rows: Iterable[Sequence[object]], kinds: Kinds | None = None
    ) -> int:
        """Write the header and the rows; the number of rows. `kinds` is for a format that has types."""
        ...


class Writer:
    """An output that was checked and is ready to be written. Nothing has been touched yet."""

    def __init__(self, path: str, write_rows: WriteRows, *, gzipped: bool) -> None:
        self.path = path
        self._write_rows = write_rows
        self._gzipped = gzipped

    def write(self, header: Sequence[str], rows: Iterable[Sequence[object]], kinds: Kinds | None = None) -> int:
        """Write all rows and return their number.

        A file is replaced when all is on the disk; until then, and after any error, the old one stands as it was. A
        cell is a string, a number, None (empty; null in JSON), ABSENT (no key in JSON) or any other JSON value.

        Raises:
            BatchjobError: the file cannot be written; the text names it.
            BrokenPipeError: nobody reads stdout any more.
        """
        with opened(self.path) as file:
            if not self._gzipped:
                return self._write_rows(file, header, rows, kinds)
            # No name and no time inside: the same labels make the same file.
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as zipped:
                return self._write_rows(cast(BinaryIO, zipped), header, rows, kinds)


def open_output(path: str, format: str | None, *, spreadsheet: bool = False) -> Writer:
    """A writer for this path; "-" is stdout. The format is that of the suffix unless given, for stdout csv.

    Args:
        spreadsheet: it is CSV for a program such as Excel.

    Raises:
        SettingError: the format is not known, or is none for a spreadsheet.
        BatchjobError: the file cannot be written there, or the format needs a library that is missing.
    """
    name, gzipped = _format_of(path)
    name = format or name
    if name not in FORMATS:
        known = ", ".join(f".{known}" for known in (*FORMATS, *ALIASES))
        to_export = f"; export takes --format {'|'.join(FORMATS)}, too"
        said = f"format {format!r} is not known" if format else f"{path}: the suffix does not tell the format"
        raise SettingError(f"{said}; known: {known} (the text ones also with .gz){to_export}")
    if spreadsheet and name != "csv":
        raise SettingError(f"--spreadsheet writes CSV, and {path} is {name}: name a .csv file, or leave it out")
    module, _, function = (SPREADSHEET if spreadsheet else FORMATS[name]).partition(":")
    write_rows: WriteRows = getattr(importlib.import_module(module), function)
    if path != "-":
        check_target(Path(path))
    return Writer(path, write_rows, gzipped=gzipped and name != "parquet")


def _format_of(path: str) -> tuple[str, bool]:
    """The format a path's suffix names, if any, and whether it is gzipped."""
    if path == "-":
        return "csv", False
    suffixes = [suffix[1:].lower() for suffix in PurePath(path).suffixes]
    gzipped = suffixes[-1:] == ["gz"]
    if gzipped:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return ALIASES.get(last, last), gzipped
