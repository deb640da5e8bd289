"""This machine: Python, SQLite and the event loop."""

from __future__ import annotations

import asyncio
import importlib.util
import platform
import sqlite3
import sys
from collections.abc import Iterator

from batchjob.cli.doctor.finding import OK, PROBLEM, WARNING, Finding
from batchjob.stores.sqlite import NEEDED

PYTHON_NEEDED = (3, 11)
SQLITE_MENDED = (3, 51, 3)  # of the WAL-reset bug: https://sqlite.org/wal.html


def check_machine() -> Iterator[Finding]:
    """Whether what batchjob runs on is new enough."""
    python = platform.python_version()
    if sys.version_info < PYTHON_NEEDED:
        yield Finding(PROBLEM, "python", f"{python}: batchjob needs 3.11 or newer")
    else:
        yield Finding(OK, "python", python)
    yield _sqlite(sqlite3.sqlite_version_info)
    if importlib.util.find_spec("uvloop") is None:
        yield Finding(WARNING, "uvloop", "not installed: jobs run a little slower without. pip install uvloop")
    else:
        yield Finding(OK, "uvloop", "installed")
    yield _transport()


def _transport() -> Finding:
    from batchjob.endpoints.choose import chosen

    name, why = asyncio.run(chosen())
    if name == "fast":
        return Finding(OK, "transport", f"{name}: {why}")
    return Finding(WARNING, "transport", f"{name}, for {why}: a connection for each request, which is slower")


def _sqlite(version: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, version))
    if version < NEEDED:
        needed = ".".join(map(str, NEEDED))
        return Finding(PROBLEM, "sqlite", f"{text}: {needed} is needed. Use a Python that brings a newer one")
    if version < SQLITE_MENDED:
        text += " (the WAL-reset bug of versions before 3.51.3 is not reached: one connection alone writes)"
    return Finding(OK, "sqlite", text)
