"""The files of a command: none that it writes may be one that it reads, or that somebody still needs.

Every command asks `keep_apart` before it opens anything for writing. Files are told apart by device and inode, so that
links are seen through; one that is not there yet by its folder and name.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from batchjob.errors import SettingError

PART = ".part"
"""The end of a file's name while it is written; before it stand the eight characters of mkstemp."""

DATABASE_HEAD = b"SQLite format 3\0"
SPARE_FILES = 40
"""Open files besides connections: the database's, a log, an output, and what libraries open."""
DATABASE_SIDES = ("-wal", "-shm", "-journal", ".lock", ".reserve", ".corrections")
"""What lies beside a database: the ends of its side files' names."""

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a write fails with that has no room: the disk is full, or a quota, or the size that a file may have."""

STDIN, STDOUT = 0, 1


class Named(NamedTuple):
    """A file, and what a message calls it."""

    what: str
    path: str  # "-" is stdin where it is read, and stdout where it is written


class Target(NamedTuple):
    """A file that is about to be written, and what a message calls it."""

    what: str
    path: str
    replaced: bool = False  # as a whole, by a part file that takes its name
    database: bool = False  # or one of its side files


def keep_apart(targets: Sequence[Target], needed: Iterable[Named]) -> None:
    """See that each target is a file of its own.

    Raises:
        SettingError: one is a file that is needed, another target, or a database that it is not told to be.
    """
    there: list[tuple[Named | Target, object]] = [(file, _identity(file.path, STDIN)) for file in needed]
    for target in targets:
        identity = _identity(target.path, STDOUT)
        for other, known in there:
            if identity is not None and identity == known:
                raise SettingError(
                    f"{target.what} {target.path} and {other.what} {other.path} are one file, which would be written"
                    f" over: name another file"
                )
        there.append((target, identity))
        if not target.database and (base := _database_of(target.path)):
            raise SettingError(
                f"{target.what} {target.path} belongs to the database {base}, which would be lost: name another file"
            )
    for target in targets:
        if target.replaced:
            _check_parts(target, [file for file, _ in there])


def check_settings_apart(inputs: Iterable[Named], beside: Sequence[Named]) -> None:
    """See that no input is also read as labels, prompt or settings: its rows would be sent as these, and paid for.

    Raises:
        SettingError: one is.
    """
    for file in inputs:
        identity = _identity(file.path, STDIN)
        for other in beside:
            if identity is not None and identity == _identity(other.path, STDIN):
                raise SettingError(
                    f"{file.what} {file.path} and {other.what} {other.path} are one file: labels, prompt and settings"
                    " stand in files of their own"
                )


def check_utf8(files: Iterable[Named | Target]) -> None:
    """See that a job can keep the names of its files: what it keeps is UTF-8.

    Raises:
        SettingError: a name, or that of a folder above it, is not.
    """
    for file in files:
        path = file.path if file.path == "-" else os.path.abspath(file.path)  # noqa: PTH100 (a link by its own name)
        try:
            path.encode()
        except UnicodeEncodeError:
            name = os.fsencode(path).decode("utf-8", "backslashreplace")
            raise SettingError(
                f"{file.what} {name} has a name that is not UTF-8, which a job cannot keep: rename it, or pipe a file"
                " in (as -) and give a --db elsewhere. If the name is right, the locale is not: set PYTHONUTF8=1"
            ) from None


def is_file(path: str | Path) -> bool:
    """Whether a regular file is there.

    Raises:
        OSError: that cannot be told, as in a folder that may not be entered. There pathlib says no, from 3.14 on.
    """
    return stat.S_ISREG(_mode(path))


def is_folder(path: str | Path) -> bool:
    """Whether a folder is there; raises as `is_file` does."""
    return stat.S_ISDIR(_mode(path))


def is_there(path: str | Path) -> bool:
    """Whether anything is there; raises as `is_file` does."""
    return _mode(path) != 0


def _mode(path: str | Path) -> int:
    try:
        return Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return 0


def barred_folder(path: str) -> str:
    """The first folder on the way to a file that this user may not enter; "" where there is none."""
    for folder in reversed(Path(os.path.abspath(path)).parents):  # noqa: PTH100 (as it is named)
        if not os.access(folder, os.X_OK):
            return str(folder) if folder.exists() else ""
    return ""


def _identity(path: str, stream: int) -> object:
    """What tells a file from all others; None for what is no regular file: a device or a pipe loses nothing."""
    try:
        found = os.fstat(stream) if path == "-" else Path(path).stat()
    except OSError:
        return None if path == "-" else _place(path)
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def _place(path: str) -> object:
    """Where a file would be made."""
    folder, name = os.path.split(real_path(path))
    try:
        found = Path(folder).stat()
    except OSError:
        return folder, name
    return found.st_dev, found.st_ino, name


def read_small(path: str | Path, most: int) -> bytes:
    """A file of settings or the like, or what a pipe gives, of at most so many bytes.

    Raises:
        OSError: it cannot be read, is a device or a pipe that nobody writes to, or is larger.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = os.fstat(descriptor).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(kind) else "it is no regular file")
    with os.fdopen(descriptor, "rb") as file:
        os.set_blocking(descriptor, True)
        content = file.read(most + 1)
    if stat.S_ISFIFO(kind) and not content:
        raise OSError(errno.EPIPE, "it is a pipe into which nobody writes")
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it is larger than {most // 1024:,} KiB")
    return content


def check_plain(file: Path, found: os.stat_result) -> None:
    """See that a file beside a database is ours alone, by what `lstat` or `fstat` says of it.

    Raises:
        SettingError: it is no regular file, or has a second name.
    """
    if stat.S_ISLNK(found.st_mode):
        raise SettingError(f"{file} is a link, and a file of a database must be none: remove it, or give another --db")
    if not stat.S_ISREG(found.st_mode):
        raise SettingError(f"{file} is no regular file, and a database needs one there: give another --db")
    if found.st_nlink > 1:
        raise SettingError(
            f"{file} has a second name (a hard link), under which it would be changed too: copy it instead of linking"
            f" it, or give another --db"
        )


def open_own(file: Path, flags: int) -> int:
    """Open a side file, which must be no link and have one name; its descriptor.

    Raises:
        SettingError: it is not so.
        OSError: it cannot be opened.
    """
    descriptor = os.open(file, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    try:
        check_plain(file, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def flush_folder(folder: Path) -> None:
    """What was made, renamed or removed in a folder is so after a power cut, too.

    Raises:
        OSError: it cannot be written.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)


def real_path(path: str) -> str:
    """The absolute path behind all links; a circle of links is left as it is."""
    return os.path.realpath(path)


def _database_of(path: str) -> str | None:
    """The database that the file at this path is, or lies beside as one of its side files."""
    if path == "-":
        return None
    bases = [path, *(path.removesuffix(side) for side in DATABASE_SIDES if path.endswith(side))]
    return next((base for base in bases if _begins(base) == DATABASE_HEAD), None)


def _begins(path: str) -> bytes:
    try:
        if Path(path).is_file():
            with Path(path).open("rb") as file:
                return file.read(len(DATABASE_HEAD))
    except OSError:
        pass
    return b""


def part_prefix(name: str) -> str:
    """How the names of a file's part files begin."""
    return f".{name[:100]}."


def is_part(path: Path, target: Path) -> bool:
    """Whether a file is named as a part of the target, real paths both: it is taken for the rest of a killed export."""
    pattern = re.escape(part_prefix(target.name)) + "[a-z0-9_]{8}" + re.escape(PART)
    return path.parent == target.parent and re.fullmatch(pattern, path.name) is not None


def _check_parts(target: Target, others: Iterable[Named | Target]) -> None:
    for other in others:
        paths = {Path(os.path.abspath(other.path)), Path(real_path(other.path))}  # noqa: PTH100 (the link's own name)
        if any(is_part(path, Path(real_path(target.path))) for path in paths):
            raise SettingError(
                f"{other.what} {other.path} is named like a part file of {target.what} {target.path},"
                f" which are removed: name another file"
            )


def stdout_bytes() -> BinaryIO:
    """stdout for bytes that are written whole. Without a buffer, as PYTHONUNBUFFERED has it, a write ends short where
    the process is stopped and goes on meanwhile.
    """
    stream = sys.stdout.buffer
    return open(stream.fileno(), "wb", closefd=False) if isinstance(stream, io.FileIO) else stream
