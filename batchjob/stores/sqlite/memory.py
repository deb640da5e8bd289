"""The labels remembered: those of the last seconds in an inbox, all others in the order of their keys.

Keys come in no order, so each label put in its place alone writes a page of the database. Some thousands put in
together, in the order of their keys, share pages: 4 us of processor time a label instead of 13. The inbox is a table
too, so nothing is lost with the process.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence

import msgspec

from batchjob.model import Key, Remembered
from batchjob.stores.records import facts_learned
from batchjob.stores.sqlite.group import QUERIES

MOST_IN_INBOX = 8192
SLICE = 2**61
"""How far apart, by the first half, the keys may be that are put in their place together: an eighth of all. In a large
cache each writes a page of its own, and SQLite has the pages of a transaction in memory: 30 MB for a whole inbox.
"""


class Memory:
    """The cache of labels as its one writer sees it. The inbox is in memory too, for its table has no index."""

    def __init__(self) -> None:
        self._inbox: dict[Key, Remembered] = {}
        self._merge_at = MOST_IN_INBOX

    def open(self, db: sqlite3.Connection) -> None:
        """Put in its place what a process before left in the inbox."""
        if db.execute("SELECT 1 FROM label_cache_inbox LIMIT 1").fetchone():
            self._merge(db)

    def rest(self, db: sqlite3.Connection) -> None:
        """Nothing more will come for now: put in its place what there is, if there is room."""
        with contextlib.suppress(sqlite3.Error):
            self.open(db)

    def committed(self, db: sqlite3.Connection, remembered: Sequence[Remembered], job_id: int, job: str) -> None:
        """These labels were put into the inbox."""
        for one in remembered:
            self._inbox[one.key] = Remembered(one.key, one.label, one.off_list, job_id, job)
        if len(self._inbox) >= self._merge_at:
            self._merge_at = len(self._inbox) + MOST_IN_INBOX
            with contextlib.suppress(sqlite3.Error):  # the group is stored: its answers must not seem lost
                self._merge(db)

    def _merge(self, db: sqlite3.Connection) -> None:
        # Each statement is a transaction. One that was broken off is done again whole, and comes to the same.
        for first in range(-(2**63), 2**63, SLICE):
            db.execute(QUERIES["merge_inbox"], {"first": first, "last": first + SLICE - 1})
        db.execute(QUERIES["empty_inbox"])
        self._inbox.clear()
        self._merge_at = MOST_IN_INBOX

    def look_up(self, db: sqlite3.Connection, keys: Sequence[Key]) -> dict[Key, Remembered]:
        """The labels remembered under these keys."""
        found = stored_labels(db, keys)
        if self._inbox:
            found |= {key: one for key in keys if (one := self._inbox.get(key)) is not None}
        return found


def stored_labels(db: sqlite3.Connection, keys: Sequence[Key]) -> dict[Key, Remembered]:
    """Those of the keys that are in their place."""
    given = {"keys": msgspec.json.encode(keys).decode()}
    return {
        (id_, code): Remembered((id_, code), label, bool(off_list), job_id, job)
        for id_, code, label, off_list, job_id, job in db.execute(QUERIES["cached_labels"], given)
    }


def inbox(db: sqlite3.Connection) -> dict[Key, Remembered]:
    """What is in the inbox, for a process that reads."""
    return {
        (id_, code): Remembered((id_, code), label, bool(off_list), job_id, job)
        for id_, code, label, off_list, job_id, job in db.execute(QUERIES["inbox"])
    }


def learned(db: sqlite3.Connection, base_url: str) -> dict[str, bytes]:
    """What an endpoint taught, by model."""
    return facts_learned(dict(db.execute(QUERIES["learned"], {"base_url": base_url}).fetchall()))
