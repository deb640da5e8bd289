"""batchjob view: the jobs of a database on a local page, in a browser."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import webbrowser

import click

from batchjob.cli.options import database, db_flag, db_option, job_argument
from batchjob.cli.show import show_lines
from batchjob.stores import open_reader


@click.command("view")
@job_argument
@db_option
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="Port of the page; 0 is any free one"
)
@click.option(
    "--queue",
    is_flag=False,
    flag_value="",
    metavar="[NAME]",
    help="Open the review of JOB, at a queue such as sample, off_list or gold:COLUMN",
)
@click.option("--no-open", is_flag=True, help="Print the address, and open no browser")
def command(job: str | None, db: str | None, port: int, queue: str | None, no_open: bool) -> int:
    """Show JOB (all jobs, if not named) on a local page: how it stands, its rows, what happened to each.

    Only this machine can reach it, and only with the token in its address. It reads the database and never writes to
    it, also while a job runs. Ctrl-C ends it.
    """
    path = database(db)
    with open_reader(path) as reader:
        name = None if job is None and queue is None else (reader.job(job) if job else reader.latest()).name
    asyncio.run(_serve(path, name, queue, port, opened=not no_open and _has_screen()))
    return 0


def _has_screen() -> bool:
    """Whether a browser would have a window: in a bare terminal some would take its place."""
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")))


async def _serve(path: str, job: str | None, queue: str | None, port: int, *, opened: bool) -> None:
    from batchjob.page.server import serve

    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    page = await serve(path, port=port, flag=db_flag())
    show_lines([page.address(job, queue)])
    click.echo("the page is for this machine alone; Ctrl-C ends it", err=True)
    if opened:
        # A browser may take its time, and keep the thread until it is closed.
        threading.Thread(target=webbrowser.open, args=(page.address(job, queue, once=True),), daemon=True).start()
    await stopped.wait()
    await page.close()
