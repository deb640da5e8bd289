"""Named places where a test can make the program die or fail: docs/reference/failpoints.md says how, and lists them.

Off unless the environment variable BATCHJOB_FAILPOINT is set when the program starts; then a call is one comparison.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import NamedTuple

VARIABLE = "BATCHJOB_FAILPOINT"

PLACES = {
    "group.before_commit": "before a transaction of a run's writes, whatever is in it",
    "group.after_commit": "after it, before anybody is told",
    "claims.before_commit": "before a transaction with claims",
    "claims.after_commit": "after it: the claims are on disk, and no request has left",
    "results.before_commit": "before a transaction with answers: they are paid, and not on disk",
    "results.after_commit": "after it: they are on disk, and nobody has been told",
    "input.before_commit": "before a transaction with rows of the input",
    "input.after_commit": "after it",
    "input.between_chunks": "between two chunks of the input",
    "request.before_first_byte": "the claim is on disk, and nothing was sent",
    "request.after_last_byte": "the whole request has left, and nothing has come back",
    "answer.after_first_byte": "the head of the answer is there",
    "answer.after_last_byte": "all of it is there, and nothing of it is on disk",
    "migration.after_statement": "in the transaction that makes or changes the tables, after a statement",
    "migration.before_commit": "at its end, before it is committed",
    "migration.after_commit": "after it is committed",
    "recover.after_rows": "what a dead run left: its rows are settled, its requests not, nothing is committed",
    "recover.before_commit": "all of it is settled, nothing is committed",
    "recover.after_commit": "all of it is committed",
    "close.before_checkpoint": "the run is over; SQLite has yet to copy its log into the database",
    "close.after_checkpoint": "SQLite has done so; the lock is still held",
    "export.after_page": "a page of rows has been read, and is not written",
    "export.before_rename": "the new file is on disk under another name",
    "export.after_rename": "the new file has its name",
    "move.after_page": "a page of a job that is moved is in PostgreSQL's transaction, which is open",
    "move.before_mark": "all of the job is in it; the job that is left is not marked",
    "move.after_mark": "the job that is left is marked, and PostgreSQL's transaction is open",
    "move.after_commit": "the job is in PostgreSQL, and nobody has been told",
}
"""Place -> what has happened there, and what has not."""

ACTIONS = {
    "kill": "the process kills itself with SIGKILL",
    "raise": "RuntimeError, which nobody expects",
    "enospc": "the disk is full: SQLITE_FULL from the database, ENOSPC elsewhere",
    "eio": "the disk fails: SQLITE_IOERR from the database, EIO elsewhere",
}
_DISK = {"enospc": (13, errno.ENOSPC), "eio": (10, errno.EIO)}  # SQLite's code, and the system's


class Failpoint(NamedTuple):
    """What is to happen, and where. At the hit-th time it is reached, and at no other."""

    place: str
    action: str
    hit: int


def read(text: str) -> Failpoint:
    """A failpoint from "place=action" or "place=action@hit".

    Raises:
        ValueError: there is no such place or action; the text says so.
    """
    place, _, rest = text.partition("=")
    action, _, hit = rest.partition("@")
    if place not in PLACES or action not in ACTIONS or not (hit or "1").isdecimal() or int(hit or 1) < 1:
        raise ValueError(f"{VARIABLE}={text}: it is PLACE=ACTION@HIT, as docs/reference/failpoints.md lists them")
    return Failpoint(place, action, int(hit or 1))


def _from_environment() -> Failpoint | None:
    text = os.environ.get(VARIABLE)
    try:
        return read(text) if text else None
    except ValueError as error:
        raise SystemExit(f"batchjob: {error}") from None


armed = _from_environment()
_reached = 0


def reach(place: str, disk_error: type[Exception] = OSError) -> None:
    """Fail here if so it was asked; `disk_error` is what the disk's failures come as: OSError or one of sqlite3's."""
    if armed is not None and armed.place == place:
        _act(armed, disk_error)


def _act(failpoint: Failpoint, disk_error: type[Exception]) -> None:
    global _reached
    _reached += 1
    if _reached != failpoint.hit:
        return
    text = f"failpoint {failpoint.place}"
    os.write(2, f"batchjob: {text}: {failpoint.action}\n".encode())
    if failpoint.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if failpoint.action == "raise":
        raise RuntimeError(text)
    code, number = _DISK[failpoint.action]
    if issubclass(disk_error, OSError):
        raise disk_error(number, f"{os.strerror(number)} ({text})")
    error = disk_error(text)
    error.sqlite_errorcode = code  # type: ignore[attr-defined]
    raise error
