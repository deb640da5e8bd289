"""The first request of a job, shown instead of sent."""

from __future__ import annotations

from collections.abc import Sequence

from batchjob.cli.show import show_lines
from batchjob.endpoints.bodies import ChatBodies, address_of
from batchjob.exchange.question import Questions
from batchjob.forecast.work import Work
from batchjob.jobs.intake import open_as_set
from batchjob.model import Parcel
from batchjob.money.budget import Budget
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.settings.config import JobConfig
from batchjob.views.request import request_lines


def show_request(paths: Sequence[str], config: JobConfig) -> int:
    """Print the request that the first row of an input goes out in; no database is read, nothing sent or written."""
    reader = open_as_set(paths, config)
    work = Work(config, reader.source, None)
    for chunk in reader.chunks(position=0, digest="", number=1, chunk_rows=CHUNK_ROWS):
        work.add(chunk.rows)
        if work.first is not None:
            break
    show_lines(first_request(work, config) or ["no row of the input needs a request"])
    return 0


def first_request(work: Work, config: JobConfig) -> list[str]:
    """The first request of the rows that were counted, in lines; none where no row needs one."""
    if work.first is None:
        return []
    url = address_of(config.base_url, ChatBodies.PATH)
    return request_lines(url, first_body(work, config, work.first), work.first.rows)


def first_body(work: Work, config: JobConfig, first: Parcel) -> bytes:
    """The first request of the rows that were counted, as it would be sent."""
    return Questions(config, work.prompt, ChatBodies(), Budget({})).body(first)
