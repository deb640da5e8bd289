"""What a run has to do with the others of its job: it ends beside them, hears of them, and buries the dead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from batchjob.model import Ending, Key, RowResult
from batchjob.ports import ENDS_ALL, Asking, Control
from batchjob.states import Event, Source, State
from batchjob.stores import ids
from batchjob.stores.postgres.line import Connection, Line, connect
from batchjob.stores.postgres.nul import restored, without, without_in_json
from batchjob.stores.postgres.watch import Peer
from batchjob.stores.writes import Counted, Tally

LOST = "the process died while this request was out"
HEARD_LATE = "the answer came when other workers had taken this one for dead"

ADD_RUN = (
    "INSERT INTO batchjob.run (token, job_id, task_id, host, place, pid, started, version, started_at, updated_at)"
    " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9) ON CONFLICT (token) DO NOTHING"
)
LEAVE = (
    "UPDATE batchjob.run SET updated_at = $2, pacing = '', outage = NULL, rows_per_second = NULL, ended_at = $2"
    " WHERE id = $1 AND ended_at IS NULL"
)
_PEER = "id, seq, host, place, pid, started, version"
RUNNING = f"SELECT {_PEER} FROM batchjob.run WHERE job_id = $1 AND id <> $2 AND ended_at IS NULL"
_LEFT = ids.expand(
    "SELECT EXISTS (SELECT 1 FROM batchjob.intent JOIN batchjob.run ON run.id = run_of(intent.id)"
    " WHERE run.job_id = $1 AND run.ended_at IS NOT NULL AND NOT intent.outlives_run)"
)
_ASKING = (
    "SELECT asked.id, asked.code, asked.row_id, CASE WHEN flight.row_id IS NULL THEN row.state END, row.label,"
    " row.source, row.answer, row.error_kind, row.error, batchjob.may_take_over(asked.row_id)"
    " FROM batchjob.asked LEFT JOIN batchjob.row AS row ON row.id = asked.row_id"
    " LEFT JOIN batchjob.flight ON flight.row_id = asked.row_id WHERE asked.job_id = $1 AND asked.id = ANY ($2)"
)
_OVER = {State.DONE: Event.COMPLETE, State.FAILED: Event.FAIL, State.UNCONFIRMED: Event.LOSE}


class Told(msgspec.Struct):
    """What commit_group says."""

    stop: str | None
    runs: int
    pause: float
    may_send: bool
    again: bool
    refused: tuple[int, ...]

    def control(self, lost: int) -> Control:
        """The same as a run hears it."""
        stop = None if self.stop is None else msgspec.json.decode(self.stop, type=Ending)
        return Control(stop, self.refused, self.runs, self.pause, self.may_send, lost)


async def end(db: Connection, run: int, job: int, ending: Ending, at: float) -> None:
    """A run is over, and the job with it where that is so."""
    stop = without_in_json(msgspec.json.encode(ending)) if ending.state in ENDS_ALL else None
    why = ending.state, without(ending.reason), ending.kind
    await db.execute("SELECT batchjob.end_run($1, $2, $3, $4, $5, $6, $7)", run, job, *why, stop, at)


async def stop(url: str, job: str, ending: Ending) -> int:
    """End a job for all who work on it; how many they are."""
    line = Line(url, await connect(url))
    values = job, ending.state, ending.reason, ending.kind, msgspec.json.encode(ending).decode()
    try:
        runs: int = await line.call(lambda db: db.fetchval("SELECT batchjob.stop($1, $2, $3, $4, $5)", *values))
    finally:
        await line.close()
    return runs


async def bury(db: Connection, job: int, dead: Sequence[Peer], by: int, *, hold: bool, at: float) -> int:
    """Give these runs up, and count what runs that are over left out as lost; how many requests."""
    for peer in dead:
        await db.fetchval("SELECT batchjob.give_up($1, $2, $3, $4)", peer.id, peer.seq, by, at)
    if not await db.fetchval(_LEFT, job):
        return 0
    lost: int = await db.fetchval("SELECT batchjob.lose_left($1, $2, $3, $4)", job, hold, at, LOST)
    return lost


async def asking(db: Connection, job: int, texts: Sequence[Key]) -> dict[Key, Asking]:
    """See ports.Store.asking."""
    found: dict[Key, Asking] = {}
    records = await db.fetch(_ASKING, job, [id_ for id_, _ in texts])
    for id_, code, row, state, label, source, answer, kind, error, free in map(restored, records):
        number, result = ids.number_of(row), None
        if state in _OVER:
            given = Source(source) if source else None
            event = _OVER[State(state)]
            result = RowResult(number, event, label=label, source=given, answer=answer, error_kind=kind, error=error)
        found[id_, code] = Asking(number, result, free)
    return found


async def hear_late(db: Connection, job: int, task: int, given: dict[str, str], counted: Counted | None) -> int:
    """Labels of requests that were counted as lost, for rows that nobody took up meanwhile; how many.

    `given` has what commit_group would take: `complete`, `settle_requests`, `remember`.
    """
    records, requests = given["complete"], given["settle_requests"]
    query = "SELECT row_id, before FROM batchjob.hear_late($1, $2, $3, $4, $5)"
    kept = {one[0]: one[1] for one in await db.fetch(query, job, task, records, requests, HEARD_LATE)}
    await db.execute("SELECT batchjob.remember($1, $2)", job, given["remember"])
    tally: Tally = Counter()
    for id_, _, _, _, label, source, matched, *_ in msgspec.json.decode(records):
        if (before := kept.get(id_)) is not None:
            tally["row", before] -= 1
            tally["row", State.DONE] += 1
            tally["error", "unconfirmed"] -= before == State.UNCONFIRMED
            tally["source", source] += 1
            tally["matched", matched or ""] += matched is not None
            for kind, name in (("label", label),) if counted is None else counted(label):
                tally[kind, name] += 1
    counts = [(kind, name, n) for (kind, name), n in tally.items() if n]
    await db.execute("SELECT batchjob.count_up($1, 0, $2)", job, without_in_json(msgspec.json.encode(counts)))
    return len(kept)
