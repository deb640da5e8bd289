"""A group of writes as one statement.

The queries of GROUP become a trigger on a view that holds nothing; to insert a record into the view carries them all
out. So a group costs one step of SQLite, transaction and flush included. Python's lock is free during a step and
fought for between two: a stand-in that took as long in nine steps as in one cost a third of the rows/s.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from batchjob.model import AddRows, Beat, Claim, RowResult, Settle, Unsent, Write
from batchjob.states import TRANSITIONS, Event, Outcome, Source, State
from batchjob.stores import schema
from batchjob.stores.reading import SHIFT

QUERIES = schema.named_queries(Path(__file__).with_name("sqlite.sql"))

GROUP = (
    "add_input",
    "add_rows",
    "advance_input",
    "settle_requests",
    "complete",
    "release",
    "fail",
    "lose",
    "assign",
    "reject",
    "add_requests",
    "claim_rows",
    "remember",
    "beat",
    "count_up",
)
"""The queries of a group, in the order they are carried out: results before claims, so that a row given back can be
claimed again."""

UNGUARDED = frozenset({"add_rows", "remember", "count_up"})
"""They do not change one record for each one given."""

_INSERT = f"INSERT INTO temp.work_group VALUES (?, ?{', ?' * len(GROUP)})"
_encode = msgspec.json.encode
_NUL = b"\\u0000"

Tally = Counter[tuple[str, str]]


def prepare(db: sqlite3.Connection) -> None:
    """Make the view and its trigger, for this connection alone; nothing of them is in the file."""
    columns = ", ".join(f"NULL AS {name}" for name in GROUP)
    db.execute(f"CREATE TEMP VIEW work_group AS SELECT NULL AS job, NULL AS run, {columns}")
    steps = "".join(_step(name) for name in GROUP)
    db.execute(f"CREATE TEMP TRIGGER commit_group INSTEAD OF INSERT ON work_group BEGIN {steps} END")


def _step(name: str) -> str:
    """A query of the trigger, and its guard: a transition that does not change the rows it should undoes the group."""
    query = QUERIES[name].replace(":rows", f"NEW.{name}").replace(":job", "NEW.job").replace(":run", "NEW.run")
    guard = f"SELECT RAISE(ROLLBACK, '{name}') WHERE changes() <> json_array_length(NEW.{name});"
    return f"{query};\n" + ("" if name in UNGUARDED else guard)


def count_up(db: sqlite3.Connection, job_id: int, tally: Tally) -> None:
    """Move counters, in the caller's transaction."""
    moved = [(kind, name, by) for (kind, name), by in tally.items() if by]
    if moved:
        db.execute(QUERIES["count_up"], {"job": job_id, "rows": _encode(moved).decode()})


class Group:
    """Writes sorted by query, and what they do to the counters."""

    def __init__(self, writes: Sequence[Write], *, job_id: int, run_id: int) -> None:
        self._job_id = job_id
        self._run_id = run_id
        self._base = job_id << SHIFT
        self._tally: Tally = Counter()
        self._given: dict[str, list[Any]] = {}
        for write in writes:
            self._add(write)
        moved = [(kind, name, by) for (kind, name), by in self._tally.items() if by]
        if moved:
            self._given["count_up"] = moved
        self._encoded = {name: _encode(records) for name, records in self._given.items()}
        texts = [self._encoded[name].decode() if name in self._encoded else None for name in GROUP]
        self._record = (job_id, run_id, *texts)

    def apply(self, db: sqlite3.Connection) -> None:
        """Carry it all out in one transaction, on the disk when this returns.

        Raises:
            sqlite3.Error: nothing of it was stored. An IntegrityError whose text is the name of a query says that a
                row or request was not in the state its transition starts from.
        """
        if _NUL in self._encoded.get("add_input", b""):
            self._apply_with_nul(db, self._encoded)
        else:
            db.execute(_INSERT, self._record)

    def _insert(self, db: sqlite3.Connection, encoded: dict[str, bytes]) -> None:
        texts = [encoded[name].decode() if name in encoded else None for name in GROUP]
        db.execute(_INSERT, (self._job_id, self._run_id, *texts))

    def _apply_with_nul(self, db: sqlite3.Connection, encoded: dict[str, bytes]) -> None:
        """SQLite's JSON ends a string at NUL, so texts that hold one (or seem to) go in one by one."""
        del encoded["add_input"]
        query = "INSERT INTO input (id, line, key, text, rest, defect) VALUES (?, ?, ?, ?, ?, ?)"
        db.execute("BEGIN IMMEDIATE")
        try:
            db.executemany(query, self._given["add_input"])
            self._insert(db, encoded)
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    # ------------------------------------------------------------ sorting

    def _to(self, query: str, record: Any) -> None:
        self._given.setdefault(query, []).append(record)

    def _add(self, write: Write) -> None:
        if isinstance(write, Settle):
            self._settle(write)
        elif isinstance(write, Claim):
            self._claim(write)
        elif isinstance(write, Unsent):
            for result in write.rows:
                self._result(result, 0)
        elif isinstance(write, AddRows):
            self._add_rows(write)
        elif isinstance(write, Beat):
            self._given["beat"] = [(write.at, write.rows_per_second, write.pacing)]

    def _add_rows(self, added: AddRows) -> None:
        chunk, before = added.chunk, added.chunk.first_number - 1
        first = self._base + chunk.first_number
        if chunk.rows:
            self._given["add_input"] = [(first + i, *row) for i, row in enumerate(chunk.rows)]
            self._to("add_rows", (first, first + len(chunk.rows) - 1))
            self._tally["row", State.PENDING] += len(chunk.rows)
        position = (before, before + len(chunk.rows), chunk.position, chunk.digest, int(chunk.complete))
        self._to("advance_input", position)

    def _claim(self, claim: Claim) -> None:
        rows, base = claim.rows, self._base
        numbers = str(rows[0]) if len(rows) == 1 else ",".join(map(str, rows))
        purpose = "verify" if claim.verify else "label"
        self._to(
            "add_requests",
            (claim.request_id, claim.client_key, f"[{numbers}]", claim.model, claim.at, claim.cost, purpose),
        )
        if claim.verify:
            return
        for number in rows:
            self._to("claim_rows", (base + number, claim.request_id))
        self._tally["row", State.PENDING] -= len(rows)
        self._tally["row", State.IN_FLIGHT] += len(rows)
        if claim.resent:
            self._tally["request", "resent"] += 1

    def _settle(self, settle: Settle) -> None:
        usage, tally = settle.usage, self._tally
        tokens = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) if usage else (None, None, None)
        self._to(
            "settle_requests",
            (
                settle.request_id,
                settle.at,
                settle.outcome,
                settle.status,
                settle.provider_id,
                *tokens,
                settle.error_kind,
                settle.error,
                settle.cost,
            ),
        )
        self._tally_cost(settle)
        tally["request", settle.outcome] += 1
        if settle.outcome is not Outcome.NOT_SENT:
            tally["request", "sent"] += 1
        if usage:
            tally["usage", "input_tokens"] += usage.input_tokens
            tally["usage", "cached_input_tokens"] += usage.cached_input_tokens
            tally["usage", "output_tokens"] += usage.output_tokens
        for result in settle.rows:
            self._result(result, settle.request_id)
        for known in settle.remember:
            self._to("remember", (*known.key, known.label, int(known.fallback), int(settle.at)))

    def _tally_cost(self, settle: Settle) -> None:
        tally = self._tally
        if settle.agreed is not None:
            tally["verify", "asked"] += 1
            tally["verify", "agreed"] += settle.agreed
        if settle.outcome is Outcome.ANSWERED:
            if settle.cost is None:
                tally["cost", "unknown"] += 1
            else:
                tally["cost", "answered"] += settle.cost
        elif settle.outcome is Outcome.LOST and settle.cost:
            tally["cost", "lost"] += settle.cost

    def _result(self, result: RowResult, claim: int) -> None:
        self._to(
            result.event,
            (
                self._base + result.number,
                claim,
                result.attempts,
                result.paid,
                result.label,
                result.source,
                result.answer,
                result.error_kind,
                result.error,
                result.known_by,
                result.origin,
            ),
        )
        tally = self._tally
        before, after = _MOVES[result.event]
        tally["row", before] -= 1
        tally["row", after] += 1
        if result.label is not None:
            tally["label", result.label] += 1
            tally["source", result.source or Source.MODEL] += 1
            if result.source is Source.RULE:
                tally["rule", result.origin or ""] += 1
        elif after in (State.FAILED, State.UNCONFIRMED):
            tally["error", result.error_kind or ""] += 1


_MOVES: dict[Event, tuple[State, State]] = {
    event: (min(before), after) for event, (before, after) in TRANSITIONS.items() if event is not Event.RETRY
}
"""Event -> (state before, state after); RETRY, which starts from two, is a query of its own."""
