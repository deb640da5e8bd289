"""A try: a few rows of an input, labelled in several ways by jobs of their own, and what came of it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from batchjob.errors import SettingError
from batchjob.forecast.work import Work
from batchjob.jobs.comparisons import side_by_itself
from batchjob.jobs.guard import check_run
from batchjob.jobs.intake import rows_within
from batchjob.jobs.plans import NewJob, Plan, complete, free_name, jobs_of, stem_of
from batchjob.jobs.scores import Gold, gold_column, score
from batchjob.model import Chunk, InputRow, InputSource, Notice
from batchjob.ports import Reader, StoreReader
from batchjob.records import ExportRow
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.scoring.interval import Share
from batchjob.settings.config import JobConfig, settings_of
from batchjob.states import State
from batchjob.task.asked import prompt_of
from batchjob.task.fields.answers import field_others, field_values
from batchjob.task.fields.looked_at import looked_at
from batchjob.task.identity import Task
from batchjob.views.compare import Side
from batchjob.views.trial import Answer

PREFIX = "try-"
Watched = Callable[[Iterable[list[InputRow]]], Iterable[list[InputRow]]]


class Wanted(NamedTuple):
    """Which rows are drawn: of those within `limit`, and with gold where a column of it is named."""

    rows: int
    how: Literal["random", "first"]
    seed: int
    limit: int | None
    gold: str | None

    def __str__(self) -> str:
        drawn = f"{self.rows} rows at random, seed {self.seed}" if self.how == "random" else f"first {self.rows} rows"
        within = f", within the first {self.limit}" if self.limit else ""
        return drawn + within + (f", with {self.gold}" if self.gold else "")


class Sample(NamedTuple):
    """Rows of an input, as the jobs that try them have them."""

    source: InputSource
    chunk: Chunk
    gold: Gold | None


def draw(
    reader: Reader, wanted: Wanted, works: Sequence[Work], shown: Callable[[str], bool], watched: Watched = iter
) -> Sample:
    """Draw rows of an input, which is read to its end, and add all its rows to the works. The same seed draws the same.

    Args:
        shown: whether a text is one of the examples, which the model is told with their labels.
        watched: gives the pages as they are, and may tell how far it is.

    Raises:
        InputError: it cannot be read.
        SettingError: it has no such column of gold, or no row of it has any.
    """
    source, noticed = reader.source, list[Notice]()
    gold = None if wanted.gold is None else _gold_of(source, wanted.gold)
    drawn = list[tuple[int, InputRow]]()
    chance, seen, number = random.Random(wanted.seed), 0, 0
    for rows in watched(rows_within(_noticing(reader, noticed), wanted.limit)):
        for work in works:
            work.add(rows)
        for row in rows:
            number += 1
            if (gold is not None and not gold.of(row[1], row[3])) or shown(row[2]):
                continue
            seen += 1
            if len(drawn) < wanted.rows:
                drawn.append((number, row))
            elif wanted.how == "random" and (at := chance.randrange(seen)) < wanted.rows:
                drawn[at] = number, row
    if not drawn:
        raise SettingError("the input has no rows" if gold is None else f"no row has a value in {wanted.gold!r}")
    rows = [row for _, row in sorted(drawn)]
    digest = hashlib.sha256(msgspec.json.encode(rows)).hexdigest()
    chunk = Chunk(1, rows, 0, digest, True, tuple(notice for notice in noticed if notice.kind == "column"))
    return Sample(msgspec.structs.replace(source, sample=str(wanted)), chunk, gold)


def _gold_of(source: InputSource, named: str) -> Gold:
    # An object may have keys that the first one has not, which nobody knows before they are read.
    return gold_column(source, [named] if source.format == "jsonl" else [], named)


def _noticing(reader: Reader, noticed: list[Notice]) -> Iterator[Chunk]:
    for chunk in reader.chunks(position=0, digest="", number=1, chunk_rows=CHUNK_ROWS):
        noticed += chunk.noticed
        yield chunk


def plan_trial(sample: Sample, config: JobConfig, *, db: str, beside: Sequence[str] = ()) -> Plan:
    """Label a sample by a job of its own, or go on with the one that did so before: its rows cost nothing then.

    Raises:
        BatchjobError: settings or database cannot be used.
    """
    source = sample.source
    config = msgspec.structs.replace(
        complete(config), text_column=source.text_column, limit=None, output=None, name=None
    )
    check_run(db, config, source.paths, beside)
    prompt_of(config, source)
    digest = Task.of(config).digest
    for job in jobs_of(db, source.place):
        if job.task_digest == digest and job.digest in ("", sample.chunk.digest):
            return Plan(db, job, config, None if job.ingested else iter([sample.chunk]))
    name = free_name(db, PREFIX + stem_of(source))
    return Plan(db, NewJob(name, source), config, iter([sample.chunk]))


class Tried(NamedTuple):
    """What came of one way of asking, row by row."""

    side: Side
    accuracy: Share | None
    answers: dict[int, Answer]  # by the row's number in the sample
    bought: int  # rows that have their label by a request: no other job asks for their texts again


def tried(reader: StoreReader, name: str, gold: Gold | None, field: str | None) -> Tried:
    """What a job of a sample has found; `field`: whose values are looked at, of several for each row."""
    job = reader.job(name)
    config = settings_of(job)
    answers, bought = dict[int, Answer](), 0
    for record in map(ExportRow._make, reader.export_rows(job)):
        bought += record.attempts > 0 and record.state == State.DONE
        answers[record.number] = _answer_of_fields(record, config, field) if config.fields else _answer(record)
    side, _ = side_by_itself(reader, job)
    return Tried(side, None if gold is None else score(reader, job, gold, field).accuracy, answers, bought)


def _answer(record: ExportRow) -> Answer:
    said: dict[str, Any] = {"label": record.label, "source": record.source, "state": record.state}
    return Answer(**said, error=record.error_kind, answer=record.answer, confidence=record.confidence)


def _answer_of_fields(record: ExportRow, config: JobConfig, field: str | None) -> Answer:
    """What a row has by field, and as its label the value that is looked at."""
    found, others = _answer(record), field_others(record.answer)
    label = record.label if field is None else looked_at(config, field)[1](record.label, record.answer)
    answer = None if label is not None else others.get(field) if field else msgspec.json.encode(others).decode()
    values = field_values(record.label, record.answer)
    return msgspec.structs.replace(found, label=label, answer=answer, values=values, others=others)
