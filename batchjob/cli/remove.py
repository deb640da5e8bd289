"""batchjob remove: forget a job with its texts."""

from __future__ import annotations

import asyncio

import click

from batchjob.cli.options import database, db_flag, db_option
from batchjob.cli.show import show_lines
from batchjob.corrections.standing import log_of
from batchjob.numbers import counted
from batchjob.records import Snapshot
from batchjob.stores import open_reader, open_store
from batchjob.views.status import status_of


@click.command("remove")
@click.argument("job")
@db_option
def command(job: str, db: str | None) -> int:
    """Delete JOB with its texts, labels, answers, corrections and the ledger of its requests. There is no way back.

    The labels it bought stay in the cache, which knows texts only by their fingerprints: batchjob cache clear forgets
    them too. The input and files that were exported are left alone. Not possible while a job runs in this database.
    """
    path = database(db)
    with open_reader(path) as reader:
        snapshot = reader.snapshot(reader.job(job).name)
        flag = db_flag()
    gone = asyncio.run(_remove(path, snapshot.job.name))
    corrected = log_of(path).forget(snapshot.job.uid)
    show_lines(_told(snapshot, gone, corrected, flag))
    return 0


async def _remove(path: str, name: str) -> bool:
    store = await open_store(path, job=name)
    try:
        await store.choose(name)
        return await store.remove()
    finally:
        await store.close()


def _told(snapshot: Snapshot, gone: bool, corrected: int, flag: str) -> list[str]:
    status = status_of(snapshot)
    lines = [
        f"job {status.job} is removed: {counted(status.rows.total, 'row')}, {counted(status.requests.sent, 'request')}",
        f"its labels are still in the cache, without texts; to forget them too: batchjob cache clear {flag}".rstrip(),
    ]
    unheard = status.rows.unconfirmed + status.rows.in_flight
    if unheard:
        lines.append(f"{counted(unheard, 'row')} may have been paid for unanswered: the same text may be paid again")
    if corrected:
        lines.append(f"{counted(corrected, 'correction')} by hand went with it")
    if not gone:
        lines.append("another process is reading this database: the texts leave the file when it has ended")
    return lines
