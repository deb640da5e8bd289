"""One writing process a database, kept by an flock on a file beside it, which its death lets go of at once.

Not the database file itself: closing any descriptor of it in our own process would drop SQLite's locks.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shlex
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from batchjob.errors import JobBusy, StoreError
from batchjob.files import is_folder, open_own, read_small

MOST_NOTE_BYTES = 4096
TRIES = 10
NOTICE_SECONDS = 4
PAUSE_SECONDS = 0.03
"""A reader that asks whether somebody writes holds the lock for an instant; so a refusal is certain after 0.3 s."""


def lock_path(database: Path) -> Path:
    """The file beside the database that carries its lock."""
    return database.with_name(database.name + ".lock")


class WriterLock:
    """The right to write to a database, held until `release` or the end of the process.

    Raises:
        JobBusy: another process has it; the text names that process and its job.
    """

    def __init__(self, database: Path, job: str) -> None:
        self._path, self._database, self._job = lock_path(database), database, job
        self._taken_over = 0  # looks at the lock, one a second, at which another process had it
        try:
            self._file = open_own(self._path, os.O_RDWR | os.O_CREAT)
        except OSError as error:
            if not is_folder(database.parent):
                make = f"make it with: mkdir -p {shlex.quote(str(database.parent))}"
                raise StoreError(f"there is no folder {database.parent}; {make}") from None
            raise StoreError(f"cannot write beside {database}: {error.strerror}") from None
        for attempt in range(TRIES):
            if self._taken():
                break
            if attempt == TRIES - 1:
                holder = _holder(self._path)
                os.close(self._file)
                raise _refusal(database, holder)
            time.sleep(PAUSE_SECONDS)
        self.name(job)

    def _taken(self) -> bool:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def name(self, job: str) -> None:
        """Say which job this process is working on, for those it refuses."""
        self._job = job
        note = json.dumps({"pid": os.getpid(), "job": job, "since": time.strftime("%H:%M:%S")}).encode()
        with contextlib.suppress(OSError):  # a full disk must not keep a job from running
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, note, 0)

    def keep(self) -> None:
        """Take the lock anew where its file was removed; if another process has it meanwhile, it is given the time to
        notice (see `still_working`).

        Raises:
            JobBusy: it did not let go.
        """
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._file), self._path.stat()):
                self._taken_over = 0
                return
        before, self._file = self._file, open_own(self._path, os.O_RDWR | os.O_CREAT)
        if self._taken():
            os.close(before)
            self.name(self._job)
            return
        os.close(self._file)
        self._file = before
        self._taken_over += 1
        if self._taken_over > NOTICE_SECONDS:
            raise JobBusy(
                f"the lock file of {self._database} was removed, and {_refusal(self._database, _holder(self._path))}"
            )

    def release(self) -> None:
        """Let the next one write."""
        os.close(self._file)


def writer_of(database: Path) -> dict[str, Any] | None:
    """Who is writing to the database now ({"pid", "job", "since"}, as far as known), or None where nobody is."""
    path = lock_path(database)
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(path)
    finally:
        os.close(file)
    return None


def _holder(path: Path) -> dict[str, Any]:
    try:
        holder = json.loads(read_small(path, MOST_NOTE_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def refuse_working(database: Path, beat: Callable[[], tuple[int, float] | None]) -> None:
    """See that no run goes on whose lock file was removed: its process lives, and its signs of life go on.

    Args:
        beat: the process of the newest run that has not ended, and its last sign of life, in epoch seconds.

    Raises:
        JobBusy: one does.
    """
    first = beat()
    if first is None or first[0] == os.getpid() or not _lives(first[0]) or abs(time.time() - first[1]) > NOTICE_SECONDS:
        return
    until = time.monotonic() + NOTICE_SECONDS - 1
    while time.monotonic() < until:
        time.sleep(PAUSE_SECONDS)
        if (now := beat()) is not None and now[1] != first[1]:
            raise JobBusy(f"its lock file was removed, but {_refusal(database, {'pid': first[0]})}")
        if not _lives(first[0]):
            return


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _refusal(database: Path, holder: dict[str, Any]) -> JobBusy:
    who = f"process {holder['pid']}" if "pid" in holder else "another process"
    what = f" on job {holder['job']!r}" if holder.get("job") else ""
    since = f" since {holder['since']}" if "since" in holder else ""
    return JobBusy(
        f"{who} is working{what} in {database}{since}. "
        "To run another job at the same time, give it a database of its own with --db",
        then=("status", holder["job"], "--watch") if holder.get("job") else ("status",),
    )
