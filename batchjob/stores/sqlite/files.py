"""What lies beside a database, and on what disk: the reserve for a full disk, network file systems."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from batchjob.errors import StoreError

RESERVE_BYTES = 4 * 1024 * 1024
"""Kept in a file beside the database, and let go when the disk is full, for the answers that are in hand."""

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "fuse.sshfs", "glusterfs")


def refuse_network_disk(path: Path) -> None:
    """WAL keeps its index in shared memory, which machines on a network do not share.

    Raises:
        StoreError: the path lies on a network file system (as far as Linux tells).
    """
    best, kind = "", ""
    with contextlib.suppress(OSError):
        for line in Path("/proc/mounts").read_text().splitlines():
            _, mount, type_, *_ = line.split(" ")
            mount = mount.replace("\\040", " ")
            if path.is_relative_to(mount) and len(mount) >= len(best):
                best, kind = mount, type_
    if kind in NETWORK:
        raise StoreError(f"{path} lies on a network file system ({kind}), where SQLite is not safe. Use a local --db")


def _reserve_path(path: Path) -> Path:
    return path.with_name(path.name + ".reserve")


def fill_reserve(path: Path) -> None:
    """Keep some disk space; without room for it the job runs all the same."""
    reserve = _reserve_path(path)
    with contextlib.suppress(OSError):
        if reserve.exists() and reserve.stat().st_size >= RESERVE_BYTES:
            return
        file = os.open(reserve, os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            os.posix_fallocate(file, 0, RESERVE_BYTES)
        except OSError:
            reserve.unlink()
        finally:
            os.close(file)


def free_reserve(path: Path) -> None:
    """Give back the disk space kept for this moment."""
    with contextlib.suppress(OSError):
        _reserve_path(path).unlink()
