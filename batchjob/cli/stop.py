"""batchjob stop: end a job's runs, wherever they are."""

from __future__ import annotations

import click

from batchjob.cli.options import database, db_option, job_argument
from batchjob.cli.run import say
from batchjob.jobs.plans import STOPPED_FOR_ALL
from batchjob.model import Ending
from batchjob.states import JobState
from batchjob.stores import open_reader, stop


@click.command("stop")
@job_argument
@db_option
def command(job: str | None, db: str | None) -> int:
    """Stop JOB (the one that was worked on last, if not named) for all who work on it.

    What is in flight is awaited and stored, as after Ctrl-C. It goes on with: batchjob resume JOB.
    """
    url = database(db)
    with open_reader(url) as reader:
        name = (reader.job(job) if job else reader.latest()).name
        alive = len(reader.snapshot(name).workers)
    workers = stop(url, name, Ending(JobState.STOPPED, "stopped by batchjob stop", 130, STOPPED_FOR_ALL))
    if not workers:
        say(f"nobody is working on job {name!r}")
    elif not alive:
        say(f"job {name!r} is stopped: none of those who worked on it gives a sign of life")
    else:
        told = "its process was told" if alive == 1 else f"its {alive:,} workers were told"
        say(f"job {name!r}: {told} to stop; what is in flight is awaited")
    return 0
