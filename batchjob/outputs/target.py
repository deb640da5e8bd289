"""Where an output goes: a file that is replaced at the end, or a stream."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from batchjob import failpoints
from batchjob.errors import BatchjobError
from batchjob.files import (
    DISK_FULL,
    PART,
    flush_folder,
    is_file,
    is_folder,
    is_part,
    is_there,
    part_prefix,
    real_path,
    stdout_bytes,
)


def check_target(path: Path) -> None:
    """Find out before any work whether a file can be written here.

    Raises:
        BatchjobError: it cannot; the text says why.
    """
    if is_folder(path):
        raise BatchjobError(f"{path} is a directory; name a file in it")
    if _is_stream(path):
        return
    folder = Path(real_path(str(path))).parent
    if not is_folder(folder):
        raise BatchjobError(f"cannot write {path}: there is no folder {folder}; make it with: mkdir -p {folder}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise BatchjobError(f"cannot write {path}: no file may be made in {folder} by this user; name another folder")


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """The file or stream at this path ("-" is stdout), to be written from its beginning.

    Raises:
        BatchjobError: it cannot be written, or not to the end.
        BrokenPipeError: the reader of the stream has gone.
    """
    try:
        if path == "-":
            stdout = stdout_bytes()
            yield stdout
            stdout.flush()
        elif _is_stream(Path(path)):
            with Path(path).open("wb") as stream:
                yield stream
        else:
            # A symbolic link stays, and what it points to is replaced.
            with _replacing(Path(real_path(path))) as file:
                yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise _unwritable("stdout" if path == "-" else path, error) from error


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file beside `path`, which takes its place if all goes well and vanishes otherwise.

    It holds people's texts, so only its owner may read it (mkstemp's 0600), unless the old file was open to others.
    """
    prefix = part_prefix(path.name)
    _clear_abandoned(path)
    temporary, descriptor = _locked_temporary(path.parent, prefix)
    try:
        with os.fdopen(descriptor, "wb") as file:
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            yield file
            file.flush()
            # Before the rename, or a power cut could leave the new name with nothing in it.
            os.fsync(file.fileno())
            failpoints.reach("export.before_rename")
            temporary.replace(path)
            failpoints.reach("export.after_rename")
    except BaseException:  # Ctrl-C too
        temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def _locked_temporary(folder: Path, prefix: str) -> tuple[Path, int]:
    """A new file and its descriptor, locked as long as that is open, so that nobody takes it for abandoned."""
    while True:
        descriptor, made = tempfile.mkstemp(dir=folder, prefix=prefix, suffix=PART)
        with contextlib.suppress(OSError):  # not every file system has locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return Path(made), descriptor
        os.close(descriptor)  # it was taken for abandoned before it was locked


def _clear_abandoned(path: Path) -> None:
    """Remove what a killed export left; one that is still being written is locked. Nothing we made is a link."""
    for left in path.parent.glob(f"{glob.escape(part_prefix(path.name))}*{PART}"):
        with contextlib.suppress(OSError):
            found = left.lstat()
            if not (is_part(left, path) and stat.S_ISREG(found.st_mode) and found.st_nlink == 1):
                continue
            with left.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                left.unlink()


def _is_stream(path: Path) -> bool:
    """Something like /dev/null or a named pipe, which must not be replaced by a file."""
    return is_there(path) and not is_file(path)


def _unwritable(name: str, error: OSError) -> BatchjobError:
    if error.errno in DISK_FULL:
        return BatchjobError(
            f"no room left to write {name}; free some and export again (no label is lost, and an old file is intact)"
        )
    return BatchjobError(f"cannot write {name}: {error.strerror or error}; name another file")
