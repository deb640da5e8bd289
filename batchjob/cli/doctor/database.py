"""The database: its pages, its counters, who works in it, and who may read it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from batchjob.cli.doctor.finding import OK, PROBLEM, WARNING, Finding
from batchjob.errors import BatchjobError, NoJobs
from batchjob.files import is_there
from batchjob.ports import StoreCheck
from batchjob.printable import without_passwords
from batchjob.stores import files_of, open_check, writer_of
from batchjob.stores.sqlite.schema import way_out

DIFFERENCES_SHOWN = 10


def check_database(url: str) -> Iterator[Finding]:
    """Whether the database is whole. One that is not there yet is fine."""
    if "://" in url:
        yield from _opened(url)
        return
    path = Path(url)
    if not is_there(path):
        yield Finding(OK, "database", f"{path} is not there yet: batchjob start makes it")
        return
    if path.is_file() and path.stat().st_size == 0:
        yield Finding(OK, "database", f"{path} is empty: batchjob start fills it")
        return
    yield from _opened(url)
    yield _lock(path)
    yield _permissions(path)


def _opened(url: str) -> Iterator[Finding]:
    try:
        with open_check(url) as store:
            yield from _content(store)
    except NoJobs as error:
        yield Finding(OK, "database", str(error))
    except BatchjobError as error:
        yield Finding(PROBLEM, "database", str(error))


def _content(store: StoreCheck) -> Iterator[Finding]:
    version, newest = store.version()
    older = f" of {newest}: the next run brings it up to date" if version < newest else ""
    yield Finding(OK, "database", f"{without_passwords(store.url)}, schema {version}{older}")
    damages = store.damages()
    if damages:
        said = "; ".join(damages)[:300]
        yield Finding(PROBLEM, "integrity", f"damaged: {said}. {way_out(store.url)}")
        return
    if files_of(store.url):
        yield Finding(OK, "integrity", "SQLite finds every page whole")
    differences = store.differences()
    for job, kind, name, kept, counted in differences[:DIFFERENCES_SHOWN]:
        yield Finding(PROBLEM, "counters", f"job {job}: {kind} {name} is kept as {kept:,} and counted as {counted:,}")
    if differences:
        more = f"{len(differences)} in all. " if len(differences) > DIFFERENCES_SHOWN else ""
        advice = "something else has changed the database, or this is a defect: export, then start anew"
        yield Finding(PROBLEM, "counters", more + advice)
    else:
        yield Finding(OK, "counters", "equal to what they count, for every job")


def _lock(path: Path) -> Finding:
    writer = writer_of(str(path))
    if writer is None:
        return Finding(OK, "writer", "no process is working in this database")
    job = f" on job {writer['job']}" if writer.get("job") else ""
    since = f" since {writer['since']}" if writer.get("since") else ""
    return Finding(OK, "writer", f"process {writer.get('pid', '?')} is working{job}{since}")


def _permissions(path: Path) -> Finding:
    real, *sides = map(Path, files_of(str(path)))
    there = {file: stat.S_IMODE(file.stat().st_mode) for file in (real, *sides) if file.exists()}
    is_open = [f"{file.name} ({mode:04o})" for file, mode in there.items() if mode & 0o077]
    if is_open:
        names = " ".join(str(file) for file, mode in there.items() if mode & 0o077)
        return Finding(WARNING, "permissions", f"others may read {', '.join(is_open)}: chmod 600 {names}")
    if not os.access(real, os.R_OK):
        return Finding(PROBLEM, "permissions", f"{path} can neither be read nor be written by this user")
    if not os.access(real, os.W_OK):
        return Finding(WARNING, "permissions", f"{path} cannot be written by this user: it can only be looked at")
    return Finding(OK, "permissions", "nobody else may read the database")
