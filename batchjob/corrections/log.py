"""The file: JSON lines, added at its end under a lock of its own, on the disk before anybody is told that they are.

A line that a crash cut off was told to nobody. It is no line until its line end is there, and the next writer takes it
away.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from batchjob.errors import DiskFull, StoreError
from batchjob.files import DISK_FULL, PART, flush_folder, open_own, part_prefix
from batchjob.records import Correction, News

TAIL_BYTES = 64 * 1024


def add(path: Path, corrections: Sequence[Correction]) -> None:
    """Put corrections at the end of the log, all or none, and flush them.

    Raises:
        DiskFull: there was no room; none is stored.
        StoreError: it cannot be written.
        SettingError: the file is a link, or has a second name.
    """
    lines = b"".join([msgspec.json.encode(one) + b"\n" for one in corrections])
    with _told(path), _locked(path) as file:
        size = _whole_lines(file)
        try:
            _write(file, lines, size)
            os.fsync(file)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(file, size)
            raise


def forget(path: Path, job: str) -> int:
    """Take all corrections of a job (its uid) out of the log; how many lines that were. Raises as `add`."""
    if not path.exists():
        return 0
    with _told(path), _locked(path) as file:
        lines = _read(file, 0, _whole_lines(file)).splitlines(keepends=True)
        kept = [line for line in lines if _decoded(line, path).job != job]
        if len(kept) < len(lines):
            _replace(path, b"".join(kept))
        return len(lines) - len(kept)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Errors of the disk in our words."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise DiskFull(f"not saved: the disk of {path} is full. Make room, and give it again") from error
        why = os.strerror(error.errno or errno.EIO).lower()
        raise StoreError(f"not saved: {path} cannot be written ({why}). Mend that, and give it again") from error


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """The file, opened, and nobody else's until the end of the block."""
    while True:
        file = open_own(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(path, file):
                if os.fstat(file).st_size == 0:
                    flush_folder(path.parent)
                yield file
                return
        finally:
            os.close(file)


def _is_at(path: Path, file: int) -> bool:
    """Whether it still lies there: who waited for the lock may hold a file that was replaced meanwhile."""
    try:
        return os.path.samestat(os.fstat(file), path.stat())
    except FileNotFoundError:
        return False


def _whole_lines(file: int) -> int:
    """The size of the file up to its last line end; what is behind it is taken away."""
    size = end = os.fstat(file).st_size
    while end > 0:
        begin = max(end - TAIL_BYTES, 0)
        at = os.pread(file, end - begin, begin).rfind(b"\n")
        if at >= 0:
            end = begin + at + 1
            break
        end = begin
    if end < size:
        os.ftruncate(file, end)
    return end


def _write(file: int, content: bytes, at: int) -> None:
    while content:
        written = os.pwrite(file, content, at)
        content, at = content[written:], at + written


def _replace(path: Path, content: bytes) -> None:
    """Put another file in its place, as a whole."""
    part, name = tempfile.mkstemp(PART, part_prefix(path.name), path.parent)
    try:
        _write(part, content, 0)
        os.fsync(part)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    finally:
        os.close(part)
    flush_folder(path.parent)


# ---------------------------------------------------------------- reading


def read(path: Path, beyond: int = 0) -> tuple[list[Correction], int]:
    """The corrections that lie in the file behind a byte, and where they end. No lock: lines are whole or not there.

    Raises:
        StoreError: it cannot be read, or holds what batchjob did not write.
        SettingError: the file is a link, or has a second name.
    """
    try:
        file = open_own(path, os.O_RDONLY)
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    try:
        content = _read(file, beyond, os.fstat(file).st_size)
    finally:
        os.close(file)
    end = content.rfind(b"\n") + 1
    return [_decoded(line, path) for line in content[:end].splitlines()], beyond + end


def _read(file: int, begin: int, end: int) -> bytes:
    pieces = []
    while begin < end and (piece := os.pread(file, end - begin, begin)):
        pieces.append(piece)
        begin += len(piece)
    return b"".join(pieces)


_decode = msgspec.json.Decoder(Correction).decode


def _decoded(line: bytes, path: Path) -> Correction:
    try:
        return _decode(line)
    except msgspec.MsgspecError as error:
        raise StoreError(
            f"{path} has a line that batchjob did not write ({error}): mend or remove that line, or restore a backup"
        ) from error


# ---------------------------------------------------------------- as a door


class FileLog:
    """See ports.CorrectionLog. The file is read once, and then only what is added to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._inode, self._end = 0, 0

    def add(self, corrections: Sequence[Correction]) -> None:
        """See ports.CorrectionLog.add."""
        add(self.path, corrections)

    def forget(self, job: str) -> int:
        """See ports.CorrectionLog.forget."""
        return forget(self.path, job)

    def news(self) -> News:
        """See ports.CorrectionLog.news."""
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            self._inode, self._end = 0, 0
            return News([], anew=True)
        anew = found.st_ino != self._inode or found.st_size < self._end
        if anew:
            self._inode, self._end = found.st_ino, 0
        if found.st_size <= self._end:
            return News([], anew)
        try:
            added, self._end = read(self.path, self._end)
        except BaseException:
            self._inode = 0
            raise
        return News(added, anew)
