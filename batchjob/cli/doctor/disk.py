"""The disk: whether the database may lie there, and how much room is left."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

from batchjob.cli.doctor.finding import OK, PROBLEM, WARNING, Finding
from batchjob.errors import BatchjobError
from batchjob.numbers import size
from batchjob.stores import files_of

FREE_NEEDED_BYTES = 16 * 1024 * 1024
FREE_WANTED_BYTES = 256 * 1024 * 1024


def check_disk(url: str) -> Iterator[Finding]:
    """Whether the folder of the database can take a job. A server's disk is its own."""
    if not files_of(url):
        return
    path = Path(url)
    from batchjob.stores.sqlite.files import refuse_network_disk

    folder = path.resolve().parent
    if not folder.is_dir():
        yield Finding(
            PROBLEM, "disk", f"there is no folder {folder}; make it with: mkdir -p {shlex.quote(str(folder))}"
        )
        return
    try:
        refuse_network_disk(path.resolve())
    except BatchjobError as error:
        yield Finding(PROBLEM, "disk", str(error))
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(PROBLEM, "disk", f"no file may be made in {folder} by this user: give another --db")
    used = path.stat().st_size if path.is_file() else 0
    yield _room(shutil.disk_usage(folder).free, used)


def _room(free: int, used: int) -> Finding:
    text = f"{size(free)} free; the database has {size(used)}"
    if free < FREE_NEEDED_BYTES:
        return Finding(PROBLEM, "disk", f"{text}. Make room before the next run")
    if free < max(FREE_WANTED_BYTES, used):
        return Finding(WARNING, "disk", f"{text}. A job may need more: make room, or give a --db on another disk")
    return Finding(OK, "disk", text)
