"""The labels remembered are forgotten, but for those that rows of a job may still get without a request."""

from __future__ import annotations

from collections.abc import Iterator

from batchjob.errors import SettingError
from batchjob.model import Job, Key, Row
from batchjob.ports import StoreReader
from batchjob.providers.dialect import learned_of, place_of
from batchjob.records import ExportRow
from batchjob.settings.config import settings_of
from batchjob.shortcuts import walk_of
from batchjob.states import State
from batchjob.stores import open_reader, open_store
from batchjob.task.asked import prompt_of

WITHOUT_LABEL = (State.FAILED, State.UNCONFIRMED)


async def forget_labels(db: str, *, before: float | None) -> int:
    """Forget all labels, or those bought before a time (UTC epoch seconds); how many.

    A job's own labels are no cache to its rows. What the store keeps for rows that are still to be asked, this keeps
    for those that may be put back: a row with the same text may have the label.

    Raises:
        JobError: there is no database, or a job is running in it.
    """
    with open_reader(db) as reader:  # opening it for writing would make one
        needed = list(_needed(reader))
    store = await open_store(db, job="")
    try:
        return await store.forget_labels(before=before, but=needed)
    finally:
        await store.close()


def _needed(reader: StoreReader) -> Iterator[Key]:
    """What is asked by the rows without a label, of jobs that share the label of a text."""
    for snapshot in reader.overview():
        rows = snapshot.tally.get("row", {})
        if any(rows.get(state) for state in WITHOUT_LABEL) and settings_of(snapshot.job).dedupe != "off":
            yield from _asked(reader, snapshot.job)


def _asked(reader: StoreReader, job: Job) -> Iterator[Key]:
    config = settings_of(job)
    learned = learned_of(reader.learned(place_of(config)), config)
    walk = walk_of(config)(config, job.source, prompt_of(config, job.source), job, learned=learned)
    for state in WITHOUT_LABEL:
        for record in map(ExportRow._make, reader.export_rows(job, only=state)):
            row = Row(record.number, record.text, rest=record.rest, key=record.key)
            try:
                yield from walk.keys([walk.asking(row)])
            except SettingError:  # a route's pattern takes too long on it: it will not be asked like this
                continue
