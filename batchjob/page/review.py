"""Which rows a person should look at, why, and in which order: queues of a job, worked one row at a time."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from itertools import islice

import msgspec

from batchjob.corrections.standing import SAMPLE, Corrections, Standing, by_hand
from batchjob.model import Job, Value
from batchjob.page.documents import LOOKED_AT, MOST_CHARACTERS, REQUESTS_LOOKED_AT, columns_shown
from batchjob.ports import StoreReader
from batchjob.records import ExportRow, RowFilter, Snapshot
from batchjob.settings.config import JobConfig
from batchjob.states import Matched, Source, State
from batchjob.views.by_hand import ByHand
from batchjob.views.next_steps import BY_HAND
from batchjob.views.status import Status, settings_of, status_of

AT_ONCE = 40
"""Rows of a queue that are sent at once."""
OF_PEOPLE = (*sorted(BY_HAND), "off_list", "refused_by_model")
"""Kinds of failed rows that want a hand."""
FALLBACK, NEAR, DISAGREED, SECOND, UNSURE = "fallback", "near", "disagreed", "second", "unsure"
SAMPLE_ROWS = 100
DRAWN = (1_000, 20_000)
"""How many rows are drawn to find those of the sample among: more where most of them have no label."""


class Queue(Value, frozen=True):
    """Rows with one reason to be looked at. `total` is None where counting them would mean to look at all rows."""

    name: str
    total: int | None
    done: int


class ReviewPage(Value, frozen=True):
    """The queues of a job that have rows, and what came of those that were reviewed."""

    queues: tuple[Queue, ...]
    labels: tuple[str, ...]
    descriptions: dict[str, str]
    frequent: tuple[str, ...]  # the labels, those that the job gave most first
    hand: ByHand | None
    below: float


class ReviewRow(Value, frozen=True):
    """A row to be looked at."""

    number: int
    key: str
    text: str
    columns: dict[str, str]
    label: str | None
    source: str | None
    answer: str | None
    error: str | None
    kind: str | None
    confidence: float | None
    said: str | None  # by a person, before


class ReviewRows(Value, frozen=True):
    """Rows of a queue that nobody reviewed yet; `beyond` is where it goes on, None where there are no more."""

    rows: tuple[ReviewRow, ...]
    beyond: str | None


def review_page(reader: StoreReader, corrections: Corrections, name: str) -> ReviewPage:
    """What there is to review in a job, and what was."""
    snapshot = reader.snapshot(name)
    config, status, standing = settings_of(snapshot), status_of(snapshot), corrections.of(snapshot.job.uid)
    return ReviewPage(
        queues=tuple(_queues(snapshot, status, standing)) if config.labels else (),
        labels=tuple(config.labels),
        descriptions=dict(config.descriptions),
        frequent=tuple(sorted(config.labels, key=lambda label: -status.labels.get(label, 0))),
        hand=by_hand(standing),
        below=config.second_below,
    )


def _queues(snapshot: Snapshot, status: Status, standing: Mapping[int, Standing]) -> Iterator[Queue]:
    kinds = {error.kind: error.count for error in status.errors}
    totals: dict[str, int | None] = {kind: kinds.get(kind, 0) for kind in OF_PEOPLE}
    totals[FALLBACK] = status.sources[Source.FALLBACK]
    totals[NEAR] = status.matched.near
    totals[DISAGREED] = status.verified.asked - status.verified.agreed
    totals[SECOND] = status.sources[Source.SECOND]
    totals[UNSURE] = None if settings_of(snapshot).confidence else 0
    totals[SAMPLE] = min(SAMPLE_ROWS, status.rows.done) if snapshot.job.ingested else 0
    for name, total in totals.items():
        done = sum(None in one.sampled if name == SAMPLE else one.said[None].why == name for one in standing.values())
        if total != 0 or done:
            yield Queue(name, None if total is None else max(total, done), done)


def rows_to_review(reader: StoreReader, corrections: Corrections, name: str, queue: str, after: int) -> ReviewRows:
    """The next rows of a queue.

    Args:
        after: where it goes on: a row's number, or what was given as `beyond`; 0: at its beginning.
    """
    job = reader.job(name)
    config, standing = msgspec.json.decode(job.settings, type=JobConfig), corrections.of(job.uid)
    if queue == SAMPLE:
        rows, beyond = [row for row in sample_of(reader, job) if not _is_sampled(row, standing)][:AT_ONCE], None
    elif queue == DISAGREED:
        looked = reader.disagreements(job, beyond=after, most=REQUESTS_LOOKED_AT)
        rows = [ExportRow(*record) for record in reader.rows(job, looked.numbers)]
        beyond = looked.looked_to
    else:
        found = reader.find_rows(job, _filter(queue, config.second_below), beyond=after, limit=AT_ONCE, most=LOOKED_AT)
        rows = [ExportRow(*record) for record in found.rows]
        beyond = None if found.ended else found.looked_to
    left = [row for row in rows if queue == SAMPLE or row.number not in standing]
    shown = tuple([_review_row(job, row, standing) for row in left])
    return ReviewRows(shown, None if beyond is None else str(beyond))


def _is_sampled(row: ExportRow, standing: Mapping[int, Standing]) -> bool:
    return row.number in standing and None in standing[row.number].sampled


def _filter(queue: str, below: float) -> RowFilter:
    if queue == FALLBACK:
        return RowFilter(source=Source.FALLBACK)
    if queue == NEAR:
        return RowFilter(matched=Matched.NEAR)
    if queue == SECOND:
        return RowFilter(source=Source.SECOND)
    if queue == UNSURE:
        return RowFilter(below=below)
    return RowFilter(kind=queue)


def sample_of(reader: StoreReader, job: Job) -> list[ExportRow]:
    """Labelled rows that come by chance, in the order in which they are to be looked at: the same at every call, while
    the job's rows have their labels. Where it still runs, of the rows that are labelled so far.
    """
    for count in DRAWN:
        numbers = random.Random(job.uid).sample(range(1, job.rows + 1), min(job.rows, count))
        held = {record[0]: record for record in reader.rows(job, numbers)}
        drawn = (ExportRow(*held[number]) for number in numbers if number in held)
        sample = list(islice((row for row in drawn if row.state == State.DONE), SAMPLE_ROWS))
        if len(sample) == SAMPLE_ROWS or count >= job.rows:
            return sample
    return sample


def _review_row(job: Job, row: ExportRow, standing: Mapping[int, Standing]) -> ReviewRow:
    failed = row.state in (State.FAILED, State.UNCONFIRMED)
    return ReviewRow(
        number=row.number,
        key=row.key,
        text=row.text[:MOST_CHARACTERS],
        columns=columns_shown(job, row),
        label=row.label,
        source=row.source,
        answer=row.answer and row.answer[:MOST_CHARACTERS],
        error=row.error if failed else None,
        kind=row.error_kind if failed else None,
        confidence=row.confidence,
        said=standing[row.number].label if row.number in standing else None,
    )
