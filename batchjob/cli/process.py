"""What this process was given by the system (streams, signals, open files, a folder), and what is made of it."""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import sys
from types import FrameType
from typing import TypeGuard

from batchjob.files import DISK_FULL, SPARE_FILES, barred_folder

_OF_THE_DISK = (
    *(errno.EACCES, errno.EPERM, errno.ELOOP, errno.ENAMETOOLONG, errno.EIO, errno.ESTALE, errno.ENOTCONN),
    errno.EROFS,
)
"""What may be wrong with any path; where more can be said, the part that opens it says it."""
GC_THRESHOLD = 50_000
"""Objects between two collections. At Python's 700 the collector took a tenth of a start and 7 % of a run, to find
next to nothing.
"""


def open_streams() -> None:
    """Give the standard streams that are closed to nobody, first of all: else a database or a connection gets their
    numbers, and what is written to stderr goes there.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            # The lowest number that is free, and so this one.
            opened = os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
            setattr(sys, name, os.fdopen(opened, mode, encoding="utf-8"))


def collect_seldom() -> None:
    """Look for unused objects less often than Python does by itself."""
    gc.set_threshold(GC_THRESHOLD, 20, 20)


def end_on_signals() -> None:
    """As the first process of a container, end on signals that end others: the kernel ignores them there."""
    if os.getpid() == 1:
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                signal.signal(number, _end_at_once)


def _end_at_once(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)


def stopping_signals() -> list[signal.Signals]:
    """Those that stop a run, but for what was ignored when the process began: `nohup` and a script's `&` ask for
    that.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]


def room_for_connections(wanted: int) -> int:
    """How many connections may be open at once, at most `wanted`; the limit of open files is raised where it may be."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    most = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    except (OSError, ValueError):  # macOS has another limit beyond the hard one
        most = soft
    return wanted if most >= needed else max(most - SPARE_FILES, most // 3, 1)


def give_up_stdout() -> None:
    """Drop what stdout has still to get: it would fail once more when Python flushes it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def give_up_unwritable() -> None:
    """Drop what a stream has still to get that takes nothing any more, as of a terminal that was closed: Python would
    end with code 120 for it, whatever became of the job.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def is_of_full_stdout(error: BaseException) -> TypeGuard[OSError]:
    """Whether there was no room for what stdout was to get, such as a help text: all else that is written says by
    itself where there is none.
    """
    return isinstance(error, OSError) and error.errno in DISK_FULL and error.filename is None


def trouble_of(error: BaseException) -> str:
    """An error of the machine or of its names in a sentence, with what to do; "" for any other."""
    if isinstance(error, ImportError) and error.name in ("_sqlite3", "sqlite3"):
        return "this Python has no SQLite (its module _sqlite3): take another, or build it with SQLite's headers there"
    if isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed":
        with contextlib.suppress(UnicodeEncodeError):  # half a character of another kind stands in no name
            name = os.fsencode(error.object[:200]).decode("utf-8", "backslashreplace")
            return f"{name} is not UTF-8. If it is a file's name, rename that; if it is right, set PYTHONUTF8=1"
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK and isinstance(error.filename, str):
        barred = barred_folder(error.filename) if isinstance(error, PermissionError) else ""
        why = f"this user may not enter the folder {barred}" if barred else os.strerror(error.errno).lower()
        return f"{error.filename}: {why}. Name another place, or mend that"
    if is_of_full_stdout(error):
        return f"cannot write to stdout: {error.strerror}"
    if isinstance(error, FileNotFoundError) and not _has_folder():
        return "the folder this was called in is gone: cd to one that is there"
    return ""


def _has_folder() -> bool:
    try:
        os.getcwd()  # noqa: PTH109 (the question is whether it fails)
    except FileNotFoundError:
        return False
    return True
