"""batchjob move: a job with all that was paid for, to PostgreSQL."""

from __future__ import annotations

import asyncio

import click

from batchjob.cli.options import database, db_flag, db_option
from batchjob.cli.run import say
from batchjob.cli.show import show_lines
from batchjob.jobs.moves import Moved, move
from batchjob.numbers import counted
from batchjob.records import Snapshot
from batchjob.settings.config import settings_of
from batchjob.stores import open_reader
from batchjob.stores.moving import check_way
from batchjob.views.next_steps import next_command
from batchjob.views.status import status_of


@click.command("move")
@click.argument("job")
@click.option("--to", "there", required=True, metavar="URL", help="postgresql://USER@HOST/DATABASE, where it goes on")
@db_option
def command(job: str, there: str, db: str | None) -> int:
    """Move JOB from a database file to PostgreSQL: its rows, labels, requests, costs, counters and corrections, and
    all labels that the file remembers.

    No finished row is paid for again, and the others go on there with: resume JOB --db URL. What is left in the file
    can be read, and no more. Where a move was broken off, the same command again brings it to its end. Not possible
    while a job runs in the file.
    """
    path = database(db)
    check_way(path, there)
    with open_reader(path) as reader:
        before = reader.snapshot(reader.job(job).name)
    rows = sum(before.tally.get("row", {}).values())
    say(f"moving job {before.job.name}: {counted(rows, 'row')}")
    moved = asyncio.run(move(path, before.job.name, there))
    with open_reader(path) as reader:
        show_lines(_told(reader.snapshot(before.job.name), moved))
    return 0


def _told(left: Snapshot, moved: Moved) -> list[str]:
    status = status_of(left)
    if not moved.now:
        lines = [f"job {status.job} is in {status.moved_to} already: nothing was to be done"]
    else:
        sizes = f"{counted(status.rows.total, 'row')}, {counted(status.requests.sent, 'request')}"
        lines = [f"job {status.job} is moved to {status.moved_to}: {sizes}"]
    if moved.lost:
        lines.append(
            f"{counted(moved.lost, 'request')} had been left out by a process that died, and may have been paid: "
            f"they are counted as lost"
        )
    lines.append(f"what is left here is only read; to forget it: batchjob remove {status.job} {db_flag()}".rstrip())
    return [*lines, f"next      {next_command(status, settings_of(left.job), '')}"]
