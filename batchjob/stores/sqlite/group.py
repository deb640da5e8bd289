"""A group of writes as one statement.

The queries become a trigger on an empty view. To insert one record into the view carries them all out, so a group
costs one step of SQLite, transaction and flush included. Python's lock is free during a step, and threads compete for
it between two: a stand-in that took as long in nine steps as in one cost a third of the rows/s.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from math import inf
from pathlib import Path

import msgspec

from batchjob import failpoints
from batchjob.model import AddRows, Claim, Settle, Write
from batchjob.stores.sqlite import schema
from batchjob.stores.writes import GROUP, Counted, Sorted, Tally

QUERIES = schema.named_queries(Path(__file__).with_name("queries.sql"))


STRAIGHT = {
    "settle_requests": 10,
    "complete": 7,
    "add_intents": 9,
    "claim_rows": 2,
    "remember": 5,
    "count_up": 3,
}
"""Those that a group needs where every answer is a label, as in most groups, and how many fields their records have
then. Even a query without records takes time, and so does a field that is not there."""

UNGUARDED = frozenset({"add_rows", "add_notices", "remember", "count_up"})
"""They do not change one record for each one given."""

RECORDS = "(SELECT key, value FROM json_each(:rows) LIMIT -1 OFFSET 0)"
"""json_each, but SQLite makes the text of a record once, and not anew for each field that is read."""

_encode = msgspec.json.encode
_NUL = b"\\u0000"
_ESCAPED = re.compile(rb"\\(?:u0000|.)")
REPLACEMENT = "\N{REPLACEMENT CHARACTER}".encode()
_FIELD = re.compile(r"((?:given\.)?value) ->> ([0-9]+)")


def prepare(db: sqlite3.Connection) -> None:
    """Make the views and their triggers, for this connection alone; nothing of them is in the file."""
    for view, fields in (("work_group", dict.fromkeys(GROUP, inf)), ("work_group_straight", STRAIGHT)):
        columns = ", ".join(f"NULL AS {name}, NULL AS {name}_n" for name in fields)
        db.execute(f"CREATE TEMP VIEW {view} AS SELECT NULL AS job, NULL AS task, NULL AS run, {columns}")
        steps = "".join(_step(name, most) for name, most in fields.items())
        db.execute(f"CREATE TEMP TRIGGER commit_{view} INSTEAD OF INSERT ON {view} BEGIN {steps} END")


def _step(name: str, most: float) -> str:
    """A query of the trigger, and its guard: a transition that does not change the rows it should undoes the group.

    Of the fields of a record only the first `most` are read; the others are NULL.
    """
    query = _FIELD.sub(lambda field: _read(field[1], int(field[2]), most), QUERIES[name])
    query = query.replace("json_each(:rows)", RECORDS).replace(":rows", f"NEW.{name}")
    for constant in ("job", "task", "run"):
        query = query.replace(f":{constant}", f"NEW.{constant}")
    guard = f"SELECT RAISE(ROLLBACK, '{name}') WHERE changes() <> NEW.{name}_n;"
    return f"{query};\n" + ("" if name in UNGUARDED else guard)


def _read(record: str, place: int, most: float) -> str:
    """A field in SQL. json_extract gives what ->> gives, and SQLite is quicker with it."""
    return f"json_extract({record}, '$[{place}]')" if place < most else "NULL"


def count_up(db: sqlite3.Connection, job_id: int, tally: Tally) -> None:
    """Move counters, in the caller's transaction."""
    moved = [(kind, name, by) for (kind, name), by in tally.items() if by]
    if moved:
        db.execute(QUERIES["count_up"], {"job": job_id, "rows": _encode(moved).decode()})


class Group(Sorted):
    """Writes as SQLite takes them."""

    def __init__(
        self, writes: Sequence[Write], *, job_id: int, task_id: int, run_id: int, counted: Counted | None = None
    ) -> None:
        super().__init__(writes, job_id=job_id, task_id=task_id, run_id=run_id, counted=counted)
        self._encoded = {name: _encode(records) for name, records in self.given.items() if records}

    def apply(self, db: sqlite3.Connection) -> None:
        """Carry it all out in one transaction, on the disk when this returns.

        Raises:
            sqlite3.Error: nothing of it was stored. An IntegrityError whose text is the name of a query says that a
                row or request was not in the state its transition starts from.
        """
        if any(_NUL in records for records in self._encoded.values()):
            self._apply_with_nul(db, self._encoded)
        else:
            self._insert(db, self._encoded)

    def _insert(self, db: sqlite3.Connection, encoded: dict[str, bytes]) -> None:
        view, names = ("work_group_straight", [*STRAIGHT]) if self._is_straight() else ("work_group", [*GROUP])
        values: list[str | int | None] = [*self._constants]
        for name in names:
            values += (encoded[name].decode(), len(self.given[name])) if name in encoded else (None, 0)
        db.execute(f"INSERT INTO temp.{view} VALUES (?{', ?' * (len(values) - 1)})", values)

    def _is_straight(self) -> bool:
        """Whether the queries of STRAIGHT do it all."""
        given = [(name, records) for name, records in self.given.items() if records]
        return all(name in STRAIGHT and max(map(len, records)) <= STRAIGHT[name] for name, records in given)

    def _apply_with_nul(self, db: sqlite3.Connection, encoded: dict[str, bytes]) -> None:
        """SQLite's JSON ends a string at NUL: what stands behind it would be lost, and the rest read as the whole.

        So texts of an input go in one by one; in others, which endpoints wrote, another character stands for it.
        """
        others = {name: _without_nul(records) for name, records in encoded.items() if name != "add_input"}
        query = "INSERT INTO input (id, line, key, text, rest, defect) VALUES (?, ?, ?, ?, ?, ?)"
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(query, self.given["add_input"])
            self._insert(db, others)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise


def _without_nul(records: bytes) -> bytes:
    """JSON with the replacement character for each NUL of its strings."""
    return _ESCAPED.sub(lambda one: REPLACEMENT if one[0] == _NUL else one[0], records)


def apply_or_fail(group: Group, writes: Sequence[Write], db: sqlite3.Connection) -> None:
    """Group.apply between its failpoints."""
    kinds = {"claims": Claim, "results": Settle, "input": AddRows}
    names = ["group", *(name for name, kind in kinds.items() if any(isinstance(write, kind) for write in writes))]
    for name in names:
        failpoints.reach(f"{name}.before_commit", sqlite3.OperationalError)
    group.apply(db)
    for name in names:
        failpoints.reach(f"{name}.after_commit", sqlite3.OperationalError)
