"""What a caller hands over: paths, or rows in memory. Frames are known by their module, and none is imported."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any

from batchjob.errors import InputError, SettingError
from batchjob.inputs.memory import Held
from batchjob.jobs.intake import Input

TEXT = "text"
"""The column of a list of texts."""
_MISSING = ("NAType", "NaTType")


def input_of(data: Any) -> Input:
    """The input that data is.

    Raises:
        SettingError: it is none.
        InputError: there is no such file, or a row of a list is neither a text nor a dict.
    """
    if isinstance(data, str | os.PathLike):
        if os.fspath(data) == "-":
            raise SettingError("data is '-': give the path of a file, or the texts themselves in a list")
        if not os.path.lexists(data):
            raise InputError(f"there is no file {os.fsdecode(data)}; check the path, or give texts in a list")
        return [os.fsdecode(data)]
    library, kind = type(data).__module__.partition(".")[0], type(data).__name__
    if library in ("pandas", "polars") and kind == "Series":
        return _listed(data.to_list())
    if library == "pandas" and kind == "DataFrame":
        return _in_columns(list(map(str, data.columns)), [_pandas_values(data, at) for at in range(len(data.columns))])
    if library == "polars" and kind == "DataFrame":
        return _in_columns(data.columns, [data[name].to_list() for name in data.columns])
    if library == "polars" and kind == "LazyFrame":
        raise SettingError("data is a polars LazyFrame: give data.collect()")
    if isinstance(data, list | tuple):
        return _listed(data)
    raise SettingError(
        f"data is of the type {kind}: give the path of a file, a list of texts or of dicts,"
        " or a pandas or polars DataFrame"
    )


def _pandas_values(frame: Any, at: int) -> list[Any]:
    column = frame.iloc[:, at]
    values: list[Any] = column.astype(object).where(column.notna(), None).tolist()
    return values


def _in_columns(names: Sequence[str], columns: Sequence[Sequence[Any]]) -> Held:
    if not names or not columns[0]:
        raise InputError("data has no rows")

    def row(at: int) -> dict[str, Any]:
        return dict(zip(names, [column[at] for column in columns], strict=True))

    return Held("data", tuple(names), len(columns[0]), row, plain)


def _listed(data: Sequence[Any]) -> Held:
    if not data:
        raise InputError("data has no rows")
    first = isinstance(data[0], Mapping)
    for number, one in enumerate(data, 1):
        if isinstance(one, Mapping) != first or not (first or isinstance(one, str) or is_missing(one)):
            expected = "a dict, as the first one" if first else "a text, such as str() makes"
            raise InputError(f"data, row {number:,}: it is of the type {type(one).__name__} and not {expected}")
    if not first:
        return Held("data", (TEXT,), len(data), lambda at: {TEXT: data[at]}, plain)
    columns = dict.fromkeys(key for one in data for key in one)
    if odd := next((key for key in columns if not isinstance(key, str)), None):
        raise InputError(f"data has a key {odd!r} that is no text: name its columns by texts")
    return Held("data", tuple(columns), len(data), _row_of(data), plain)


def _row_of(data: Sequence[Any]) -> Callable[[int], dict[str, Any]]:
    return lambda at: dict(data[at])


def is_missing(value: Any) -> bool:
    """Whether there is no value, as Python, numpy or pandas says it."""
    return value is None or type(value).__name__ in _MISSING or (isinstance(value, Real) and bool(value != value))


def plain(value: Any) -> Any:
    """What JSON has no type for: a number of numpy's as a number, a missing one as null, all else by its text."""
    if type(value).__name__ in _MISSING:
        return None
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    return str(value)
