"""What lies beside a database, and on what disk: its side files, the reserve for a full disk, network file systems."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import tempfile
from pathlib import Path

from batchjob.errors import SettingError, StoreError
from batchjob.files import DATABASE_SIDES, DISK_FULL, check_plain, open_own

PROBE_BYTES = 1024 * 1024
RESERVE_BYTES = 4 * 1024 * 1024
"""Kept in a file beside the database, and let go when the disk is full, for the answers that are in hand."""

BEGINNINGS = {
    "-wal": (b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"),
    "-shm": ((3007000).to_bytes(4, "little"), (3007000).to_bytes(4, "big")),
    "-journal": (b"\xd9\xd5\x05\xf9",),
    ".lock": (b'{"pi',),
    ".reserve": (),
    ".corrections": (b'{"at',),
}
"""How a side file begins, by the end of its name; any may begin with zeros, or be empty."""
HEAD_BYTES = 4
SQLITES = ("-wal", "-shm", "-journal")

NETWORK = (
    *("nfs", "nfs3", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "afs", "openafs", "ceph", "coda", "glusterfs"),
    *("lustre", "beegfs", "gpfs", "pvfs2", "orangefs", "ocfs2", "gfs2", "acfs", "panfs", "davfs", "fuse"),
    *("vboxsf", "vmhgfs", "prl_fs"),  # folders of the machine that this one runs on
)
LOCAL_FUSE = (
    *("fuse-overlayfs", "mergerfs", "bindfs", "encfs", "gocryptfs", "cryfs", "securefs", "unionfs", "unionfs-fuse"),
    *("ntfs-3g", "exfat", "lxcfs"),
)
"""Behind `fuse.` may be anything, most of it somewhere else; these lie on this machine's own disks."""
_ESCAPE = re.compile(rb"\\([0-3][0-7]{2})")
"""A space, a tab, a line end or a backslash in a name of /proc/mounts."""


def refuse_network_disk(path: Path) -> None:
    """WAL keeps its index in shared memory, which machines on a network do not share.

    Raises:
        StoreError: the path lies on a network file system (as far as Linux tells).
    """
    kind = ""
    with contextlib.suppress(OSError):
        kind = kind_of_disk(path, Path("/proc/mounts").read_bytes())
    if is_far(kind):
        raise StoreError(f"{path} lies on a network file system ({kind}), where SQLite is not safe. Use a local --db")


def is_far(kind: str) -> bool:
    """Whether a type of file system may be one that other machines write to."""
    return kind in NETWORK or (kind.startswith("fuse.") and kind.removeprefix("fuse.") not in LOCAL_FUSE)


def kind_of_disk(path: Path, mounts: bytes) -> str:
    """The type of the file system that a path lies on, by /proc/mounts; "" where that does not say."""
    best, kind = "", ""
    for line in mounts.splitlines():  # bytes: a name need not be UTF-8
        _, escaped, type_, *_ = line.split(b" ")
        mount = os.fsdecode(_ESCAPE.sub(lambda found: bytes([int(found[1], 8)]), escaped))
        if path.is_relative_to(mount) and len(mount) >= len(best):
            best, kind = mount, os.fsdecode(type_)
    return kind


def side_files(path: Path) -> list[Path]:
    """The files that belong to a database, there or not."""
    return [path.with_name(path.name + side) for side in DATABASE_SIDES]


def check_own(path: Path) -> None:
    """See that a database (its real path) and its side files are ours alone: they are written, emptied and deleted.

    Raises:
        SettingError: one is a link, has a second name, or is somebody else's.
    """
    with contextlib.suppress(FileNotFoundError):
        check_plain(path, path.lstat())
    check_sides(path)
    for side, file in zip(DATABASE_SIDES, side_files(path), strict=True):
        # Where there is a database, SQLite's files are its own; to open and close them would drop locks we hold.
        if not file.exists() or (side in SQLITES and path.exists() and path.stat().st_size):
            continue
        head = _head(file)
        if head.strip(b"\0") and not head.startswith(BEGINNINGS[side]):
            raise SettingError(
                f"{file} is not batchjob's, and lies where the database {path.name} has a file of its own: move it,"
                f" or give another --db"
            )


def check_sides(path: Path) -> None:
    """See that no side file is a link: SQLite writes to one of them where it only reads, too.

    Raises:
        SettingError: one is a link, is no regular file, or has a second name.
    """
    for file in side_files(path):
        with contextlib.suppress(FileNotFoundError):
            check_plain(file, file.lstat())


def _head(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(HEAD_BYTES)


def _reserve_path(path: Path) -> Path:
    return path.with_name(path.name + ".reserve")


def fill_reserve(path: Path) -> None:
    """Keep some disk space; without room for it the job runs all the same."""
    reserve = _reserve_path(path)
    with contextlib.suppress(OSError):
        if reserve.exists() and reserve.stat().st_size >= RESERVE_BYTES:
            return
        file = open_own(reserve, os.O_CREAT | os.O_WRONLY)
        try:
            _allocate(file, RESERVE_BYTES)
        except OSError:
            reserve.unlink()
        finally:
            os.close(file)


def _allocate(file: int, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file, 0, size)
    else:  # macOS
        os.pwrite(file, bytes(size), 0)


def free_reserve(path: Path) -> None:
    """Give back the disk space kept for this moment."""
    with contextlib.suppress(OSError):
        _reserve_path(path).unlink()


def check_in_place(path: Path, inode: int) -> None:
    """See that the file was not deleted or replaced under a run, which SQLite does not notice.

    Raises:
        StoreError: it was.
    """
    try:
        same = path.stat().st_ino == inode
    except FileNotFoundError:
        same = False
    if not same:
        raise StoreError(f"{path} was deleted or replaced while it was in use. Put it back and resume")


def no_room(path: Path) -> bool:
    """Whether a database cannot grow: by the disk, a quota, or a limit on the files of this process.

    SQLite says "full" of the first alone. So what a write failed with is asked for once more.
    """
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if limit != resource.RLIM_INFINITY:
        sizes = [file.stat().st_size for file in (path, *side_files(path)) if file.exists()]
        if max(sizes, default=0) + PROBE_BYTES > limit:
            return True
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            _allocate(file.fileno(), PROBE_BYTES)
    except OSError as error:
        return error.errno in DISK_FULL
    return False
