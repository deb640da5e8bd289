"""A job's life in steps, each a transaction of the store's own SQL; and what the tables hold after each."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from batchjob.model import AddRows, Beat, Chunk, Claim, Remembered, RowResult, Settle, Skip, Usage, Write
from batchjob.states import Event, Outcome, Source
from batchjob.stores.ids import first_request_id
from batchjob.stores.sqlite import schema
from batchjob.stores.sqlite.group import QUERIES, Group, prepare

Step = Callable[[Any], None]
"""Something done to a connection, of sqlite3 or apsw, and acknowledged when it returns."""

ROWS = 60
DUMPS = {
    "job": "SELECT name, state, rows, position, digest, ingested FROM job ORDER BY id",
    "input": "SELECT id, key, text FROM input ORDER BY id",
    "row": "SELECT id, state, request_id, attempts, paid, label, source, answer, error_kind FROM row ORDER BY id",
    "intent": "SELECT id, client_key, rows FROM intent ORDER BY id",
    "request": "SELECT id, client_key, rows, outcome, output_tokens, error_kind FROM request ORDER BY id",
    "run": "SELECT id, job_id, rows_per_second FROM run ORDER BY id",
    "tally": "SELECT job_id, kind, name, n FROM tally ORDER BY 1, 2, 3",
    "label_cache": "SELECT id, code, label FROM label_cache ORDER BY id",
    "label_cache_inbox": "SELECT id, code, label FROM label_cache_inbox ORDER BY number",
}


def dump(db: Any) -> dict[str, list[Any]] | None:
    """Everything that counts; None where there are no tables yet."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'label_counts'").fetchall():
        return None
    return {table: db.execute(query).fetchall() for table, query in DUMPS.items()}


def steps(seed: int) -> list[Step]:
    """The life of a job: tables, a job, a run, and the groups of a run."""
    task = {"digest": "t", "question": "q", "settings": "{}"}
    job = {"uid": "u", "name": "job", "input_path": "in", "source": "{}", "settings": "{}", "digest": "t", "at": 1}
    run = {"job": 1, "digest": "t", "pid": 7, "at": 2}
    return [
        lambda db: schema.migrate(db, path=None),  # type: ignore[arg-type]
        lambda db: _transaction(db, QUERIES["add_task"], task),
        lambda db: _transaction(db, QUERIES["add_job"], job),
        lambda db: _transaction(db, QUERIES["add_run"], run),
        *(_group(writes) for writes in _groups(random.Random(f"power {seed}"))),
    ]


def _transaction(db: Any, query: str, values: dict[str, Any]) -> None:
    db.execute("BEGIN IMMEDIATE")
    db.execute(query, values)
    db.execute("COMMIT")


def _group(writes: list[Write]) -> Step:
    def step(db: Any) -> None:
        if not db.execute("SELECT 1 FROM sqlite_temp_schema WHERE name = 'work_group'").fetchall():
            prepare(db)
        Group(writes, job_id=1, task_id=1, run_id=1).apply(db)

    return step


def _groups(chance: random.Random) -> list[list[Write]]:
    """Input, then claims and answers mixed, as the runner makes them."""
    groups: list[list[Write]] = [[_chunk(1, chance)], [_chunk(ROWS // 2 + 1, chance)]]
    pending = list(range(1, ROWS + 1))
    out: dict[int, tuple[int, ...]] = {}
    request = first_request_id(1)
    while pending or out:
        writes: list[Write] = []
        for settled in [id_ for id_ in out if chance.random() < 0.5]:
            rows = out.pop(settled)
            results = tuple(_result(number, chance) for number in rows)
            pending += [result.number for result in results if result.event is Event.RELEASE]
            writes.append(_settle(settled, results))
        if pending and chance.random() < 0.1:
            number = pending.pop()
            label = RowResult(number, Event.ASSIGN, label="yes", source=Source.RULE, origin="r")
            writes.append(Skip((label,), 4.0))
        while pending and len(out) < 4:
            request += 1
            rows = tuple(pending[: chance.choice((1, 1, 3))])
            del pending[: len(rows)]
            out[request] = rows
            writes.append(Claim(request, f"key-{request}", rows, "m", 3.0))
        if chance.random() < 0.2:
            writes.append(Beat(chance.random(), "x" * chance.randint(0, 300), 5.0))
        if writes:
            groups.append(writes)
    return groups


def _chunk(first: int, chance: random.Random) -> AddRows:
    count = ROWS // 2
    rows = [(n + 1, f"R-{n}", f"text {n} " * chance.randint(1, 120), None, None) for n in range(first, first + count)]
    return AddRows(1, Chunk(first, list(rows), (first + count) * 10, f"digest {first}", first > 1))


def _result(number: int, chance: random.Random) -> RowResult:
    event = chance.choice((*[Event.COMPLETE] * 7, Event.RELEASE, Event.FAIL, Event.LOSE))
    if event is Event.COMPLETE:
        return RowResult(number, event, 1, 1, chance.choice(("yes", "no")), Source.MODEL, "y" * chance.randint(1, 900))
    return RowResult(number, event, 1, 0, error_kind="kind", error="e" * chance.randint(1, 200))


def _settle(request: int, results: tuple[RowResult, ...]) -> Settle:
    known = tuple(Remembered((r.number, 1), r.label, False) for r in results if r.label is not None)
    return Settle(request, Outcome.ANSWERED, results, 6.0, 200, f"id-{request}", Usage(7, 0, 1), remember=known)
