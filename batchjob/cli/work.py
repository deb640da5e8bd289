"""batchjob work: one more worker on a job."""

from __future__ import annotations

from typing import Any

import click

from batchjob.cli.options import GroupedCommand, database, given, job_argument, json_option, named_options
from batchjob.cli.run import run, say
from batchjob.jobs import plans

LOCAL = (
    "db",
    "api_key_command",
    "concurrency",
    "timeout",
    "connect_timeout",
    "max_outage",
    "on_end",
    "quiet",
    "log_format",
    "log_file",
)
"""Settings that a worker may have for itself: they are about its machine."""


@click.command("work", cls=GroupedCommand)
@job_argument
@json_option
@named_options(*LOCAL)
def command(
    job: str | None, db: str | None, api_key_command: str | None, on_end: str | None, as_json: bool, **flags: Any
) -> int:
    """Help with JOB (which may be left out when only one job is unfinished), beside others that work on it.

    Any number of workers, on any machines that reach the database, share the rows, the budget and the quotas of the
    job. What it asks is as the job was started; the input file is not needed here. Ctrl-C and SIGTERM end this worker
    alone.
    """
    plan = plans.plan_work(job, given(flags), db=database(db))
    if (over := plans.over(plan)) is not None:
        say(over)
        return 0
    return run(plan, api_key_command, on_end=on_end, as_json=as_json)
