"""The first request of a job, shown instead of sent."""

from __future__ import annotations

from collections.abc import Sequence

from batchjob.cli.estimate import learned_in
from batchjob.cli.show import show_lines
from batchjob.endpoints.bodies import ChatBodies, address_of
from batchjob.forecast.work import Work
from batchjob.jobs.intake import open_as_set
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.settings.config import JobConfig
from batchjob.views.request import request_lines


def show_request(paths: Sequence[str], config: JobConfig, db: str) -> int:
    """Print the request that the first row of an input goes out in; nothing is sent or written, and of the database
    only what the endpoint taught is read.
    """
    reader = open_as_set(paths, config)
    work = Work(config, reader.source, None, learned=learned_in(db, config))
    for chunk in reader.chunks(position=0, digest="", number=1, chunk_rows=CHUNK_ROWS):
        work.add(chunk.rows)
        if work.first is not None:
            break
    show_lines(first_request(work, config) or ["no row of the input needs a request"])
    return 0


def first_request(work: Work, config: JobConfig) -> list[str]:
    """The first request of the rows that were counted, in lines; none where no row needs one."""
    first = work.first_request(ChatBodies())
    return [] if first is None else request_lines(address_of(config.base_url, ChatBodies.PATH), *first)
