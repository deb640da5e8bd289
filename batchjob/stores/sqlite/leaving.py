"""A job as it leaves for another store: all of it as it stands at one instant, and the mark that it is gone.

The mark is written in the transaction that read the job. So it fails where anybody wrote to the file meanwhile.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from batchjob.errors import StoreError
from batchjob.numbers import counted
from batchjob.stores import carried, ids
from batchjob.stores.sqlite import connections, schema
from batchjob.stores.sqlite.finding import find_job

T = TypeVar("T")
Records = Iterator[tuple[Any, ...]]

# A row that was never out is one of the input, and no more.
_ROWS = "row WHERE id > ? AND id <= ? AND NOT (state = 'pending' AND request_id IS NULL)"
_TASKS = "task WHERE id IN (SELECT task_id FROM job WHERE id = ?1 UNION SELECT task_id FROM run WHERE job_id = ?1)"
# Labels that other jobs bought go along, for their texts may stand in rows to come; but not those for one job's rows.
_LABELS = "(SELECT {columns} FROM {table} WHERE (loose IS NULL OR job_id = ?) AND {which})"
_CACHED = _LABELS.format(
    columns=", ".join(carried.LABEL),
    table="label_cache",
    which="id NOT IN (SELECT id FROM label_cache_inbox)",
)
_INBOX = _LABELS.format(
    columns=", ".join(carried.LABEL),
    table="label_cache_inbox",
    which="number IN (SELECT max(number) FROM label_cache_inbox GROUP BY id)",
)


class Leaving:
    """A job in a file that this process alone may write to, at a real path."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._db = self._told(lambda: connections.connect(path))
        try:
            job = self._told(lambda: find_job(self._db, name))
        except BaseException:
            self._db.close()
            raise
        self.id, self.uid, self.name, self.marked = job.id, job.uid, job.name, job.moved_to

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _told(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except sqlite3.Error as error:
            raise schema.translate(error, self._path) from error

    # ------------------------------------------------------------ the mark

    def begin(self) -> None:
        """All that is read from here on is of one instant, up to `mark` or `undo`."""
        self._told(lambda: self._db.execute("BEGIN").fetchone())
        out = self._told(
            lambda: self._db.execute(
                ids.expand("SELECT count(*) FROM intent JOIN run ON run.id = run_of(intent.id) WHERE run.job_id = ?"),
                (self.id,),
            ).fetchone()[0]
        )
        if out:
            raise StoreError(
                f"job {self.name!r} has {counted(out, 'request')} at a provider that answers later: move it when the "
                f"answers are in"
            )

    def mark(self, place: str) -> None:
        """From here on the job is only read in this file, for it goes on in `place`; on the disk when this returns.

        Raises:
            StoreError: somebody has written to the file since `begin`; nothing is marked.
        """
        self._mark(place)
        self._told(lambda: self._db.execute("COMMIT"))
        self.marked = place

    def unmark(self) -> None:
        """It goes on here after all."""
        self.undo()
        self._mark(None)
        self.marked = None

    def _mark(self, place: str | None) -> None:
        self._told(lambda: self._db.execute("UPDATE job SET moved_to = ? WHERE id = ?", (place, self.id)))

    def undo(self) -> None:
        """What was begun is over, and nothing is marked by it."""
        with contextlib.suppress(sqlite3.Error):
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    # ------------------------------------------------------------ what it is made of

    def _all(self, columns: tuple[str, ...], rest: str, *values: Any) -> Records:
        names = ", ".join(columns)
        cursor = self._told(lambda: self._db.execute(f"SELECT {names} FROM {rest}", values))
        while (record := self._told(cursor.fetchone)) is not None:
            yield record

    def job(self) -> dict[str, Any]:
        """The job itself, by column."""
        record = next(self._all(carried.JOB, "job WHERE id = ?", self.id))
        return dict(zip(carried.JOB, record, strict=True))

    def tasks(self) -> Records:
        """What it asked, as carried.TASK."""
        return self._all(carried.TASK, _TASKS, self.id)

    def runs(self) -> Records:
        """Its runs in order, as carried.RUN."""
        return self._all(carried.RUN, "run WHERE job_id = ? ORDER BY id", self.id)

    def notices(self) -> Records:
        """What was noticed of its input, as carried.NOTICE."""
        return self._all(carried.NOTICE, "notice WHERE job_id = ?", self.id)

    def inputs(self) -> Records:
        """Its input, as carried.INPUT."""
        return self._all(carried.INPUT, "input WHERE id > ? AND id <= ? ORDER BY id", *ids.row_range(self.id))

    def rows(self) -> Records:
        """Those of its rows that were ever out or settled, as carried.ROW."""
        return self._all(carried.ROW, f"{_ROWS} ORDER BY id", *ids.row_range(self.id))

    def requests(self, run_id: int) -> Records:
        """The requests of a run, as carried.REQUEST."""
        between = ids.request_range(run_id)
        return self._all(carried.REQUEST, "request WHERE id BETWEEN ? AND ? ORDER BY id", *between)

    def tally(self) -> Records:
        """Its counters, as carried.TALLY."""
        return self._all(carried.TALLY, "tally WHERE job_id = ? AND n <> 0", self.id)

    def learned(self) -> Records:
        """What endpoints taught, whichever job asked there, as carried.LEARNED."""
        return self._all(carried.LEARNED, "learned")

    def labels(self) -> Records:
        """The labels remembered, each once, as carried.LABEL."""
        yield from self._all(carried.LABEL, _CACHED, self.id)
        yield from self._all(carried.LABEL, _INBOX, self.id)
