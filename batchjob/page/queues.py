"""The queues of a job: reasons for which a person should look at rows, and how the rows of each are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from batchjob.corrections.overlay import overlay_of
from batchjob.corrections.standing import SAMPLE, Standing
from batchjob.errors import SettingError
from batchjob.jobs.scores import gold_in_input
from batchjob.model import Job, Notice, Value
from batchjob.page.finding import LOOKED_AT
from batchjob.ports import StoreReader
from batchjob.records import ExportRow, RowFilter, Snapshot
from batchjob.settings.config import JobConfig, settings_of
from batchjob.states import Matched, Source, State, fields_of
from batchjob.task.fields.looked_at import ValueOf, looked_at, written
from batchjob.views.next_steps import BY_HAND
from batchjob.views.status import Status

OF_PEOPLE = (*sorted(BY_HAND), "off_list", "refused_by_model")
"""Kinds of failed rows that want a hand."""
FALLBACK, NEAR, DISAGREED, SECOND, UNSURE = "fallback", "near", "disagreed", "second", "unsure"
GOLD, OTHER = "gold:", "job:"
"""How the names of queues begin that hold rows of which a column, or another job, says something else."""
SAMPLE_ROWS = 100
BESIDE_AT_ONCE = 2_000
"""Rows that are held against gold or another job for one answer."""


class Queue(Value, frozen=True):
    """Rows with one reason to be looked at. `total` is None where counting them would mean to look at all rows."""

    name: str
    total: int | None
    done: int


class Otherwise(NamedTuple):
    """A row, and what a column or another job says of it."""

    row: ExportRow
    said: str


def queues(
    snapshot: Snapshot, config: JobConfig, status: Status, standing: Mapping[int, Standing], field: str | None
) -> Iterator[Queue]:
    """Those that have rows, or had some; `field` is the answer that is looked at, of a job with several."""
    said = [one for one in standing.values() if field in one.said]
    by_reason = Counter(one.said[field].why for one in said)
    by_reason[SAMPLE] = sum(field in one.sampled for one in said)
    for name, total in _totals(snapshot, config, status, list(by_reason), field).items():
        done = by_reason[name]
        if total != 0 or done:
            yield Queue(name, None if total is None else max(total, done), done)


def _totals(
    snapshot: Snapshot, config: JobConfig, status: Status, reasons: list[str], field: str | None
) -> dict[str, int | None]:
    kinds = {error.kind: error.count for error in status.errors}
    totals: dict[str, int | None] = {kind: kinds.get(kind, 0) for kind in OF_PEOPLE}
    lacking = [kind for kind in kinds if field in fields_of(kind) and kind.partition(":")[0] in OF_PEOPLE]
    totals |= {kind: kinds[kind] for kind in lacking}
    totals[FALLBACK] = status.sources[Source.FALLBACK]
    totals[NEAR] = status.matched.near
    totals[DISAGREED] = status.verified.asked - status.verified.agreed
    totals[SECOND] = status.sources[Source.SECOND]
    beside = [f"{GOLD}gold"] if "gold" in snapshot.job.source.columns and status.rows.done else []
    begun = [why for why in reasons if why.startswith((GOLD, OTHER))]
    totals |= dict.fromkeys([*beside, *begun])
    totals[UNSURE] = None if config.confidence else 0
    totals[SAMPLE] = min(SAMPLE_ROWS, status.rows.done) if snapshot.job.ingested else 0
    return totals


def filter_of(queue: str, below: float) -> RowFilter:
    """The rows of a queue that a work table finds by itself."""
    if queue == FALLBACK:
        return RowFilter(source=Source.FALLBACK)
    if queue == NEAR:
        return RowFilter(matched=Matched.NEAR)
    if queue == SECOND:
        return RowFilter(source=Source.SECOND)
    if queue == UNSURE:
        return RowFilter(below=below)
    return RowFilter(kind=queue)


def otherwise(
    reader: StoreReader, job: Job, queue: str, after: int, value: ValueOf, field: str | None, limit: int
) -> tuple[list[Otherwise], int | None]:
    """The next labelled rows of which a column or another job says something else, and where it goes on; None: there
    are no more.

    Raises:
        SettingError: there is no such column, or the other job has another input.
    """
    found = reader.find_rows(job, RowFilter(state=State.DONE), beyond=after, limit=BESIDE_AT_ONCE, most=LOOKED_AT)
    rows = [ExportRow(*record) for record in found.rows]
    beside = _in_column if queue.startswith(GOLD) else _by_job
    said = beside(reader, job, queue, rows, field)
    differing = []
    for row in rows:
        if (other := said.get(row.number)) and other != value(row.label, row.answer):
            differing.append(Otherwise(row, other))
            if len(differing) == limit:
                return differing, row.number
    return differing, None if found.ended else found.looked_to


def _in_column(reader: StoreReader, job: Job, queue: str, rows: list[ExportRow], field: str | None) -> dict[int, str]:
    gold, read = gold_in_input(reader, job, queue.removeprefix(GOLD)), written(settings_of(job), field)
    told = {row.number: gold.of(row.key, row.rest) for row in rows}
    return {number: read(said) or said for number, said in told.items()}


def _by_job(reader: StoreReader, job: Job, queue: str, rows: list[ExportRow], field: str | None) -> dict[int, str]:
    other = reader.job(queue.removeprefix(OTHER))
    if other.source.place != job.source.place:
        raise SettingError(f"job {other.name!r} has another input: batchjob compare pairs rows by their text")
    config = settings_of(other)
    own = field if config.fields else None
    _, value = looked_at(config, own)
    texts = {row.number: row.text for row in rows}
    said = {}
    for record in map(overlay_of(reader, other, own), reader.rows(other, list(texts))):
        row = ExportRow(*record)
        if row.text == texts[row.number] and (label := value(row.label, row.answer)):
            said[row.number] = label
    return said


def columns_beside(job: Job, later: list[Notice]) -> tuple[str, ...]:
    """The columns that may hold other labels."""
    names = [*job.source.columns, *(notice.what for notice in later if notice.kind == "column")]
    return tuple([name for name in names if name not in (job.source.id_column, job.source.text_column)])
