"""The request that a job's first row goes out in, as the page shows it."""

from __future__ import annotations

from typing import Any

import msgspec

from batchjob.endpoints.bodies import ChatBodies
from batchjob.errors import BatchjobError
from batchjob.forecast.work import Work
from batchjob.model import Value
from batchjob.page.documents import MOST_CHARACTERS
from batchjob.ports import StoreReader
from batchjob.providers.dialect import learned_of
from batchjob.records import ExportRow, RowFilter
from batchjob.settings.config import settings_of

PROMPT_ROWS = 200
"""Rows among which the first that is asked about is looked for."""


class Told(Value, frozen=True):
    """A message of a request."""

    role: str
    content: str


class PromptShown(Value, frozen=True):
    """The first request of a job, as it is sent; or why it cannot be shown."""

    parameters: str
    messages: tuple[Told, ...]
    rows: int
    why_not: str = ""


def prompt_shown(reader: StoreReader, name: str) -> PromptShown:
    """The request that the first row of a job goes out in."""
    snapshot = reader.snapshot(name)
    job, config = snapshot.job, settings_of(snapshot.job)
    try:
        learned = learned_of(snapshot.learned, config)
        work = Work(config, job.source, None, learned=learned)
        found = reader.find_rows(job, RowFilter(), beyond=0, limit=PROMPT_ROWS, most=PROMPT_ROWS)
        rows = map(ExportRow._make, found.rows)
        work.add([(row.number, row.key, row.text, row.rest, None) for row in rows if row.state != "failed"])
        first = work.first_request(ChatBodies())
        if first is None:
            return PromptShown(parameters="", messages=(), rows=0, why_not="No row read so far needs a request.")
    except BatchjobError as error:
        return PromptShown(parameters="", messages=(), rows=0, why_not=str(error))
    body, asked = first
    request: dict[str, Any] = msgspec.json.decode(body)
    told = tuple([Told(one["role"], one["content"][:MOST_CHARACTERS]) for one in request.pop("messages")])
    return PromptShown(parameters=msgspec.json.encode(request).decode(), messages=told, rows=len(asked))
