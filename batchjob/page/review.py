"""Which rows a person should look at, why, and in which order: queues of a job, worked one row at a time."""

from __future__ import annotations

import random
from itertools import islice

from batchjob.corrections.saying import own_text
from batchjob.corrections.standing import SAMPLE, Corrections, Standing, by_hand
from batchjob.errors import SettingError
from batchjob.model import Job, Value
from batchjob.page.documents import MOST_CHARACTERS, REQUESTS_LOOKED_AT, columns_shown
from batchjob.page.finding import LOOKED_AT
from batchjob.page.queues import (
    DISAGREED,
    GOLD,
    OTHER,
    SAMPLE_ROWS,
    Queue,
    columns_beside,
    filter_of,
    otherwise,
    queues,
)
from batchjob.ports import StoreReader
from batchjob.records import ExportRow
from batchjob.settings.config import JobConfig, settings_of
from batchjob.states import State
from batchjob.task.fields.looked_at import looked_at
from batchjob.views.by_hand import ByHand
from batchjob.views.status import status_of

AT_ONCE = 40
"""Rows of a queue that are sent at once."""
DRAWN = (1_000, 20_000)
"""How many rows are drawn to find those of the sample among: more where most of them have no label."""
ONE_LABEL = "label"
"""The kind of answer of a job that has no fields."""


class ReviewPage(Value, frozen=True):
    """The queues of a job that have rows, and what came of those that were reviewed."""

    queues: tuple[Queue, ...]
    labels: tuple[str, ...]
    descriptions: dict[str, str]
    frequent: tuple[str, ...]  # the labels, those that the job gave most first
    hand: ByHand | None
    below: float
    fields: tuple[str, ...]  # the answers, of a job with several a text
    field: str | None  # the one that is looked at
    kind: str  # of its values
    columns: tuple[str, ...]  # that labels can be held against
    jobs: tuple[str, ...]  # and jobs


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
    other: str | None  # what a column or another job says


class ReviewRows(Value, frozen=True):
    """Rows of a queue that nobody reviewed yet; `beyond` is where it goes on, None where there are no more."""

    rows: tuple[ReviewRow, ...]
    beyond: str | None


def review_page(reader: StoreReader, corrections: Corrections, name: str, field: str | None) -> ReviewPage:
    """What there is to review in a job, and what was; of one with several answers a text, of one of them."""
    snapshot = reader.snapshot(name)
    job, config = snapshot.job, settings_of(snapshot.job)
    status, standing, field = status_of(snapshot), corrections.of(job.uid), field_meant(config, field)
    given = status.fields[field].values if field else status.labels
    own = next((one for one in config.fields if one.name == field), None)
    labels, _ = looked_at(config, field)
    return ReviewPage(
        queues=tuple(queues(snapshot, config, status, standing, field)) if config.labels or field else (),
        labels=labels,
        descriptions=dict(own.descriptions if own else config.descriptions),
        frequent=tuple(sorted(labels, key=lambda label: -given.get(label, 0))),
        hand=by_hand(standing),
        below=config.second_below,
        fields=tuple([one.name for one in config.fields]),
        field=field,
        kind=own.kind if own else ONE_LABEL,
        columns=columns_beside(job, reader.noticed(job)),
        jobs=tuple([other.name for other in reader.by_input(job.source.place) if other.name != job.name]),
    )


def field_meant(config: JobConfig, named: str | None) -> str | None:
    """The field that is looked at: the first, if none is named.

    Raises:
        SettingError: there is none of this name.
    """
    names = [one.name for one in config.fields]
    if named and named not in names:
        raise SettingError(f"the job has no field {named!r}: there are {', '.join(names) or 'none'}")
    return named or next(iter(names), None)


def rows_to_review(
    reader: StoreReader, corrections: Corrections, name: str, queue: str, after: int, named: str | None
) -> ReviewRows:
    """The next rows of a queue.

    Args:
        after: where it goes on: what was given as `beyond`; 0: at its beginning.
        named: the field that is looked at, of a job with several; None: the first.
    """
    job = reader.job(name)
    config, standing = settings_of(job), corrections.of(job.uid)
    field = field_meant(config, named)
    beyond: int | None = None
    said: dict[int, str] = {}
    if queue == SAMPLE:
        sample = sample_of(reader, job)
        left_to = [at for at, row in enumerate(sample) if at >= after and not _is_sampled(row, standing, field)]
        rows = [sample[at] for at in left_to[:AT_ONCE]]
        beyond = left_to[AT_ONCE] if len(left_to) > AT_ONCE else None
    elif queue == DISAGREED:
        looked = reader.disagreements(job, beyond=after, most=REQUESTS_LOOKED_AT)
        rows, beyond = [ExportRow(*record) for record in reader.rows(job, looked.numbers)], looked.looked_to
    elif queue.startswith((GOLD, OTHER)):
        _, value = looked_at(config, field)
        differing, beyond = otherwise(reader, job, queue, after, value, field, AT_ONCE)
        rows, said = [one.row for one in differing], {one.row.number: one.said for one in differing}
    else:
        wanted = filter_of(queue, config.second_below)
        found = reader.find_rows(job, wanted, beyond=after, limit=AT_ONCE, most=LOOKED_AT)
        rows, beyond = [ExportRow(*record) for record in found.rows], None if found.ended else found.looked_to
    left = [row for row in rows if queue == SAMPLE or _text(standing, row, field) is None]
    shown = tuple([_review_row(job, row, _text(standing, row, field), field, said.get(row.number)) for row in left])
    return ReviewRows(shown, None if beyond is None else str(beyond))


def _text(standing: dict[int, Standing], row: ExportRow, field: str | None) -> str | None:
    """What a person said of it, before."""
    return standing[row.number].text(field) if row.number in standing else None


def _is_sampled(row: ExportRow, standing: dict[int, Standing], field: str | None) -> bool:
    return row.number in standing and field in standing[row.number].sampled


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


def _review_row(job: Job, row: ExportRow, said: str | None, field: str | None, other: str | None) -> ReviewRow:
    failed = row.state in (State.FAILED, State.UNCONFIRMED)
    return ReviewRow(
        number=row.number,
        key=row.key,
        text=row.text[:MOST_CHARACTERS],
        columns=columns_shown(job, row),
        label=own_text(row, field),
        source=row.source,
        answer=row.answer and row.answer[:MOST_CHARACTERS],
        error=row.error if failed else None,
        kind=row.error_kind if failed else None,
        confidence=row.confidence,
        said=said,
        other=other,
    )
