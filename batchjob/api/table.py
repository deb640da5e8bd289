"""A list of dicts that becomes a frame where pandas or polars is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from batchjob.errors import BatchjobError


class Table(list[dict[str, Any]]):
    """Records of a job: a list of dicts that all have the same keys, in `columns`.

    Times are UTC epoch seconds, money is USD, and what is not known is None.
    """

    def __init__(self, columns: Sequence[str], records: Iterable[dict[str, Any]] = ()) -> None:
        super().__init__(records)
        self.columns = tuple(columns)

    def to_pandas(self) -> Any:
        """The records as a pandas DataFrame.

        Raises:
            BatchjobError: pandas is not installed.
        """
        return _module("pandas").DataFrame(list(self), columns=list(self.columns))

    def to_polars(self) -> Any:
        """The records as a polars DataFrame.

        Raises:
            BatchjobError: polars is not installed.
        """
        columns = {name: [record[name] for record in self] for name in self.columns}
        return _module("polars").DataFrame(columns, strict=False)


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise BatchjobError(f"{name} is not installed: pip install {name}, or use the list of dicts as it is") from None
