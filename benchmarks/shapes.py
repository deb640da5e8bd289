"""Three shapes of the work table, each with the same guards: which takes the least processor time a row?

In place: `row` and `request` are inserted once and updated. Intents: a request is an intent while it is out, and one
row of `request` when it is over; `row` is updated (what the program does). Insert-only: a label is a row of its own,
states follow from which tables a row is in. And the cache: labels put in their place by the group or by the thousand.

python -m benchmarks.shapes drives SQLite alone, as the program does: groups of 32 as one statement, WAL, FULL.
"""

from __future__ import annotations

import random
import sqlite3
import tempfile
import time
from pathlib import Path

import msgspec

from benchmarks.common import middle, write_result

ROWS, GROUP, IN_FLIGHT, ROUNDS = 100_000, 32, 40, 5
INPUT = "CREATE TABLE input (id INTEGER PRIMARY KEY, line INTEGER, key TEXT, text TEXT, rest TEXT, defect TEXT) STRICT;"
ROW = """
CREATE TABLE row (id INTEGER PRIMARY KEY, state TEXT NOT NULL DEFAULT 'pending', request INTEGER,
    attempts INTEGER DEFAULT 0, paid INTEGER DEFAULT 0, label TEXT, source TEXT, answer TEXT, error_kind TEXT,
    CHECK ((state = 'done') = (label IS NOT NULL)), CHECK (state <> 'in_flight' OR request > 0)) STRICT;
CREATE INDEX returned ON row (request, id) WHERE state = 'pending' AND request IS NOT NULL;
CREATE INDEX problem ON row (error_kind, id) WHERE state IN ('failed', 'unconfirmed');
"""
SENT = "id INTEGER PRIMARY KEY, key TEXT, rows TEXT, purpose TEXT, model TEXT, sent_at REAL, cost INTEGER"
OVER = "ended_at REAL, outcome TEXT, status INTEGER, provider_id TEXT, input INTEGER, cached INTEGER, output INTEGER"
REQUEST = f"CREATE TABLE request ({SENT}, {OVER}) STRICT;"
INTENT = f"CREATE TABLE intent ({SENT}) STRICT;"
LABEL = """
CREATE TABLE out (id INTEGER PRIMARY KEY, request INTEGER NOT NULL) STRICT;
CREATE TABLE label (id INTEGER PRIMARY KEY, request INTEGER, label TEXT, source TEXT, attempts INTEGER, paid INTEGER,
    answer TEXT) STRICT;
CREATE TABLE astray (id INTEGER PRIMARY KEY, state TEXT, request INTEGER, error_kind TEXT) STRICT;
"""
CACHE = (
    "CREATE TABLE cache (id INTEGER PRIMARY KEY, code INTEGER, label TEXT, fallback INTEGER, job INTEGER, at INTEGER)"
)

SETTLE_IN_PLACE = """
UPDATE request SET ended_at = g.a, outcome = g.b, status = g.c, provider_id = g.d, input = g.e, cached = g.f,
    output = g.g
FROM (SELECT value ->> 0 AS id, value ->> 1 AS a, value ->> 2 AS b, value ->> 3 AS c, value ->> 4 AS d,
    value ->> 5 AS e, value ->> 6 AS f, value ->> 7 AS g FROM json_each(NEW.settle)) AS g
WHERE request.id = g.id AND request.outcome IS NULL"""
SETTLE_INTENTS = """
INSERT INTO request SELECT intent.*, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
    value ->> 7 FROM json_each(NEW.settle) CROSS JOIN intent ON intent.id = value ->> 0;
DELETE FROM intent WHERE id IN (SELECT value ->> 0 FROM json_each(NEW.settle))"""
COMPLETE_ROW = """
UPDATE row SET state = 'done', attempts = g.a, paid = g.b, label = g.c, source = g.d
FROM (SELECT value ->> 0 AS id, value ->> 1 AS request, value ->> 2 AS a, value ->> 3 AS b, value ->> 4 AS c,
    value ->> 5 AS d FROM json_each(NEW.complete)) AS g
WHERE row.id = g.id AND row.state = 'in_flight' AND row.request = g.request"""
COMPLETE_LABEL = """
INSERT INTO label SELECT value ->> 0, value ->> 1, value ->> 4, value ->> 5, value ->> 2, value ->> 3, NULL
    FROM json_each(NEW.complete);
DELETE FROM astray WHERE id IN (SELECT value ->> 0 FROM json_each(NEW.complete));
DELETE FROM out WHERE (id, request) IN (SELECT value ->> 0, value ->> 1 FROM json_each(NEW.complete))"""
SEND = """
INSERT INTO {table} (id, key, rows, purpose, model, sent_at)
SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5 FROM json_each(NEW.send)"""
CLAIM_ROW = """
UPDATE row SET state = 'in_flight', request = g.request, error_kind = NULL
FROM (SELECT value ->> 0 AS id, value ->> 1 AS request FROM json_each(NEW.claim)) AS g
WHERE row.id = g.id AND row.state = 'pending'"""
CLAIM_OUT = """
INSERT INTO out SELECT value ->> 0, value ->> 1 FROM json_each(NEW.claim)
WHERE NOT EXISTS (SELECT 1 FROM label WHERE id = value ->> 0)"""
SHAPES = {
    "in place": (
        ROW + REQUEST,
        (SETTLE_IN_PLACE, COMPLETE_ROW, SEND.format(table="request"), CLAIM_ROW),
    ),
    "intents": (
        ROW + REQUEST + INTENT,
        (SETTLE_INTENTS, COMPLETE_ROW, SEND.format(table="intent"), CLAIM_ROW),
    ),
    "insert-only": (
        LABEL + REQUEST + INTENT,
        (SETTLE_INTENTS, COMPLETE_LABEL, SEND.format(table="intent"), CLAIM_OUT),
    ),
}
NAMES = ("settle", "complete", "send", "claim")


def opened(path: Path, tables: str) -> sqlite3.Connection:
    db = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "wal_autocheckpoint = 4000", "temp_store = MEMORY"):
        db.execute(f"PRAGMA {pragma}")
    db.executescript(INPUT + tables)
    return db


def encoded(records: list[tuple[object, ...]]) -> str | None:
    return msgspec.json.encode(records).decode() if records else None


def work(db: sqlite3.Connection, steps: tuple[str, ...]) -> None:
    """Every row out and labelled, in an order as answers come."""
    guard = "SELECT RAISE(ROLLBACK, 'x') WHERE changes() <> json_array_length(NEW.{});"
    body = "".join(f"{step}; {guard.format(name)}" for name, step in zip(NAMES, steps, strict=True))
    db.execute(f"CREATE TEMP VIEW work AS SELECT {', '.join(f'NULL AS {name}' for name in NAMES)}")
    db.execute(f"CREATE TEMP TRIGGER step INSTEAD OF INSERT ON work BEGIN {body} END")
    chance, out, sent = random.Random(3), list[int](), 0
    while sent < ROWS or out:
        chance.shuffle(out)
        done, out = out[:GROUP], out[GROUP:]
        new = list(range(sent + 1, min(sent + (GROUP if sent else IN_FLIGHT), ROWS) + 1))
        sent += len(new)
        values = (
            encoded([(n, 1.5e9, "answered", 200, f"req-{n}", 100, 0, 4) for n in done]),
            encoded([(n, n, 1, 1, "billing", "model") for n in done]),
            encoded([(n, f"bj-0123456789ab-{n}", f"[{n}]", "label", "m", 1.5e9) for n in new]),
            encoded([(n, n) for n in new]),
        )
        db.execute("INSERT INTO work VALUES (?, ?, ?, ?)", values)
        out += new


def microseconds(shape: str, path: Path) -> float:
    """Processor time a row, ingestion included."""
    tables, steps = SHAPES[shape]
    db = opened(path, tables)
    began = time.thread_time()
    for first in range(1, ROWS + 1, 2000):
        rows = [
            (n, n, str(n), f"a text of about eighty characters, as those of tickets tend to be, {n}")
            for n in range(first, first + 2000)
        ]
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT INTO input (id, line, key, text) VALUES (?, ?, ?, ?)", rows)
        if "TABLE row" in tables:
            db.execute("INSERT INTO row (id) SELECT id FROM input WHERE id >= ?", (first,))
        db.execute("COMMIT")
    work(db, steps)
    taken = (time.thread_time() - began) / ROWS * 1e6
    db.close()
    return taken


def cached(at_once: int, path: Path) -> float:
    """Processor time a label that is put into the cache."""
    db = opened(path, CACHE)
    chance = random.Random(5)
    keys = [(chance.getrandbits(63), chance.getrandbits(63), "billing", 0, 1, 1_500_000_000) for _ in range(ROWS)]
    began = time.thread_time()
    for first in range(0, ROWS, at_once):
        db.execute("BEGIN IMMEDIATE")
        db.executemany("INSERT OR REPLACE INTO cache VALUES (?, ?, ?, ?, ?, ?)", sorted(keys[first : first + at_once]))
        db.execute("COMMIT")
    taken = (time.thread_time() - began) / ROWS * 1e6
    db.close()
    return taken


def main() -> None:
    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for shape in SHAPES:
            with tempfile.TemporaryDirectory() as folder:
                found.setdefault(shape, []).append(microseconds(shape, Path(folder) / "shape.db"))
        for at_once in (GROUP, 8192):
            with tempfile.TemporaryDirectory() as folder:
                found.setdefault(f"cache, {at_once:,} at once", []).append(cached(at_once, Path(folder) / "cache.db"))
    lines = [
        f"{shape:<22} {middle(taken):5.1f} us of processor time a row ({min(taken):.1f} to {max(taken):.1f})"
        for shape, taken in found.items()
    ]
    write_result("shapes", [f"medians of {ROUNDS} rounds of {ROWS:,} rows", *lines])


if __name__ == "__main__":
    main()
