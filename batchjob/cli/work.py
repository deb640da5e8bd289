"""batchjob work: one more worker on a job."""

from __future__ import annotations

import os
from typing import Any

import click

from batchjob.cli.options import (
    GroupedCommand,
    GroupedOption,
    database,
    db_flag,
    given,
    job_argument,
    json_option,
    named_options,
)
from batchjob.cli.run import run, say
from batchjob.endpoints.key import variables_of
from batchjob.errors import SettingError
from batchjob.jobs import plans
from batchjob.jobs.plans import Plan
from batchjob.views.next_steps import after_error

MOST_WORKERS = 1000

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
@click.option(
    "--on",
    "place",
    metavar="ray:N",
    help="Have Ray run N workers, on the cluster of RAY_ADDRESS or on this machine",
    cls=GroupedOption,
    group="run",
)
@named_options(*LOCAL)
def command(
    job: str | None,
    db: str | None,
    api_key_command: str | None,
    on_end: str | None,
    as_json: bool,
    place: str | None,
    **flags: Any,
) -> int:
    """Help with JOB (which may be left out when only one job is unfinished), beside others that work on it.

    Any number of workers, on any machines that reach the database, share the rows, the budget and the quotas of the
    job. What it asks is as the job was started; the input file is not needed here. Ctrl-C and SIGTERM end this worker
    alone.
    """
    workers = None if place is None else _workers(place)
    if workers is not None and (as_json or on_end):
        raise SettingError("--json and --on-end are of one worker: with --on, ask status when it has ended")
    plan = plans.plan_work(job, given(flags), db=database(db))
    if (over := plans.over(plan)) is not None:
        say(over.why, *([f"next      {after_error(over.then, db_flag())}"] if over.then else []))
        return 0
    if workers is None:
        return run(plan, api_key_command, on_end=on_end, as_json=as_json)
    return _run_on_ray(workers, plan, {**given(flags), "api_key_command": api_key_command})


def _workers(place: str) -> int:
    """How many workers are wanted of Ray."""
    engine, _, number = place.partition(":")
    if engine != "ray" or not number.isdecimal() or not 1 <= int(number) <= MOST_WORKERS:
        raise SettingError(f"--on {place}: give ray:N, with N workers from 1 to {MOST_WORKERS:,}")
    return int(number)


def _run_on_ray(workers: int, plan: Plan, typed: dict[str, Any]) -> int:
    """Have Ray run them, with the options that were typed; the exit code."""
    from batchjob.launch.ray import launch

    options = [f"--{name.replace('_', '-')}={value}" for name, value in typed.items() if value not in (None, True)]
    options += [f"--{name.replace('_', '-')}" for name, value in typed.items() if value is True]
    own = {name: value for name, value in os.environ.items() if name.startswith("PG")}
    environment = {**own, **variables_of(plan.config), "BATCHJOB_DB": plan.db}
    return launch(workers, ["work", *options, "--", plan.name], environment, say)
