"""The door to what people say of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from batchjob.records import Correction, News


class CorrectionLog(Protocol):
    """Where it is kept what people say of rows. Any process adds to it and reads it at any time, also while a run
    writes to the work table.
    """

    def add(self, corrections: Sequence[Correction]) -> None:
        """Keep corrections in this order, all or none; on the disk when it returns.

        Raises:
            DiskFull: there was no room; none is kept.
            StoreError: it cannot be written; none is kept.
        """
        ...

    def news(self) -> News:
        """What was added since this object was asked, of all jobs; the first time: all.

        Raises:
            StoreError: it cannot be read, or holds what batchjob did not write.
        """
        ...

    def forget(self, job: str) -> int:
        """Take all corrections of a job (its uid) out of it; how many that were. Raises as `add`."""
        ...
