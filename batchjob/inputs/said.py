"""A small table of ids and what a person says of them: gold, or other labels."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

from batchjob.errors import BatchjobError, InputError
from batchjob.inputs import open_input
from batchjob.inputs.reader import StreamReader
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.task.columns import column_reader

ABSENT = "missing_text:"
"""How a defect begins that only says that the row has no value: it says nothing, then."""
NO_TEXT = "not_text:"
"""How one begins that says the row has something else: an array is several labels."""

SAVED_ANEW = ": save it as CSV in UTF-8, with commas, and the names of its columns in the first line"
_COLUMN = re.compile(r"--(text|id)-column ")
_OPTION = re.compile(r"[;:] (?=[^;:]*?(?<![\w-])--[a-z])")
"""Where advice begins that names an option."""

Said = Iterator[tuple[int, str, str]]
"""(line, id, value) of each row, the value trimmed, and "" where it has none."""


def said_of_ids(path: str, *, id_column: str | None, columns: Sequence[str]) -> tuple[str, Said]:
    """The column that holds the values, which is the first of `columns` that is there, and what it says.

    Args:
        id_column: that of the job; None: id.

    Raises:
        InputError: it cannot be read, lacks a column, or has a row of which nobody knows what it says.
    """
    for at, column in enumerate(columns, start=1):
        try:
            with _without_options():
                file = open_input(path, format=None, encoding="utf-8", id_column=id_column or "id", text_column=column)
            return column, _said(path, file)
        except InputError:
            if at == len(columns):
                raise
    raise AssertionError("no column is wanted")


@contextlib.contextmanager
def _without_options() -> Iterator[None]:
    """Errors about an input tell options of `start`, which nobody can give of such a file."""
    try:
        yield
    except BatchjobError as error:
        text = _COLUMN.sub("", str(error))
        if option := _OPTION.search(text):
            text = text[: option.start()] + SAVED_ANEW
        raise type(error)(text, then=error.then) from None


def _said(path: str, file: StreamReader) -> Said:
    listed = column_reader(file.source, file.source.text_column)
    with _without_options():
        for chunk in file.chunks(position=0, digest="", number=1, chunk_rows=CHUNK_ROWS):
            for line, key, value, rest, defect in chunk.rows:
                if defect is not None and defect.startswith(NO_TEXT) and (found := listed(key, rest)).startswith("["):
                    yield line, key, found
                    continue
                if defect is not None and not defect.startswith(ABSENT):
                    raise InputError(f"{path}, line {line:,}: {defect.partition(': ')[2]}")
                yield line, key, value.strip()
