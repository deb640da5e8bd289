"""A disk that keeps apart what was synced and what was only written, and whose power can be cut.

It is a VFS of SQLite, all in memory: what a process sees is one thing, what is on the platter another, and at a cut
each sector that was written since the last sync may be there, or not, whatever became of those before it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import Any

import apsw

SECTOR = 512
MODES = ("drop", "keep", "first", "tear", "reorder")
"""What becomes of writes that were not synced: none is there, all are, the first ones, any sectors, and any sectors of
which an older write may have come to the platter last."""

Write = tuple[int, bytes | None]
"""(offset, data); no data: the file is cut off there."""


class PowerCut(Exception):
    """The power is off."""


class Content:
    """A file: on the platter, and as a process sees it."""

    def __init__(self) -> None:
        self.synced: bytes | None = None  # None: its name is not on the platter
        self.seen = bytearray()
        self.unsynced: list[Write] = []

    def write(self, offset: int, data: bytes | None) -> None:
        """As a process sees it."""
        apply(self.seen, offset, data)
        self.unsynced.append((offset, data))

    def sync(self) -> None:
        """All of it is on the platter."""
        self.synced = bytes(self.seen)
        self.unsynced = []

    def after_cut(self, mode: str, chance: random.Random) -> bytes | None:
        """What is found when the power is back."""
        kept = bytearray(self.synced or b"")
        pieces = [piece for write in self.unsynced for piece in _sectors(write)]
        if mode == "drop":
            pieces = []
        elif mode == "first":
            pieces = pieces[: chance.randint(0, len(pieces))]
        elif mode in ("tear", "reorder"):
            share = chance.choice((0.1, 0.5, 0.9))
            pieces = [piece for piece in pieces if chance.random() < share]
        if mode == "reorder":
            chance.shuffle(pieces)
        for offset, data in pieces:
            apply(kept, offset, data)
        return bytes(kept) if self.synced is not None or pieces else None


def apply(content: bytearray, offset: int, data: bytes | None) -> None:
    """Change a file's content by one write."""
    if data is None:
        del content[offset:]
        return
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _sectors(write: Write) -> Iterator[Write]:
    """A write in pieces that are there wholly or not at all."""
    offset, data = write
    if data is None:
        yield write
        return
    at = 0
    while at < len(data):
        size = SECTOR - (offset + at) % SECTOR
        yield offset + at, data[at : at + size]
        at += size


class Disk(apsw.VFS):
    """The disk, as a VFS of SQLite under `name`. Its power is cut at operation `cut_at` (0: never)."""

    _names = itertools.count(1)

    def __init__(self, *, cut_at: int = 0) -> None:
        self.name = f"disk{next(self._names)}"
        self.files: dict[str, Content] = {}
        self.operations = 0  # writes, syncs and truncations
        self.off = False
        self.left = False  # nobody is working with it any more
        self._cut_at = cut_at
        super().__init__(self.name, "")

    def touch(self) -> None:
        """Before each operation that changes something."""
        self.operations += 1
        if self.operations == self._cut_at:
            self.off = True
        if self.off:
            raise PowerCut

    def images(self, mode: str, chance: random.Random) -> dict[str, bytes]:
        """The files that are there after the cut."""
        found = {name: content.after_cut(mode, chance) for name, content in self.files.items()}
        return {name: image for name, image in found.items() if image is not None}

    # ------------------------------------------------------------ what SQLite calls

    def xOpen(self, name: Any, flags: list[int]) -> File:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        flags[1] = flags[0]
        if path is None:
            return File(self, Content())
        return File(self, self.files.setdefault(path, Content()))

    def xFullPathname(self, name: str) -> str:  # noqa: N802
        return name

    def xAccess(self, path: str, flags: int) -> bool:  # noqa: N802
        return path in self.files

    def xDelete(self, path: str, sync_folder: bool) -> None:  # noqa: N802
        if not self.left:
            self.touch()
            del self.files[path]


class File:
    """An open file; when the power is off, every change fails."""

    def __init__(self, disk: Disk, content: Content) -> None:
        self._disk = disk
        self._content = content

    def _change(self, offset: int, data: bytes | None) -> None:
        if self._disk.left:
            return
        if not self._disk.off:
            self._content.write(offset, data)  # first: the write that is cut may have begun
        self._disk.touch()

    def xRead(self, amount: int, offset: int) -> bytes:  # noqa: N802
        return bytes(self._content.seen[offset : offset + amount])

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        self._change(offset, bytes(data))

    def xTruncate(self, size: int) -> None:  # noqa: N802
        self._change(size, None)

    def xSync(self, flags: int) -> None:  # noqa: N802
        if not self._disk.left:
            self._disk.touch()  # a sync that is cut has synced nothing, for certain
            self._content.sync()

    def xFileSize(self) -> int:  # noqa: N802
        return len(self._content.seen)

    def xSectorSize(self) -> int:  # noqa: N802
        return 4096  # as SQLite takes it to be on Unix

    def xDeviceCharacteristics(self) -> int:  # noqa: N802
        return int(apsw.SQLITE_IOCAP_POWERSAFE_OVERWRITE)  # the same

    def xLock(self, level: int) -> None:  # noqa: N802
        pass

    def xUnlock(self, level: int) -> None:  # noqa: N802
        pass

    def xCheckReservedLock(self) -> bool:  # noqa: N802
        return False

    def xFileControl(self, operation: int, pointer: int) -> bool:  # noqa: N802
        return False

    def xClose(self) -> None:  # noqa: N802
        pass
