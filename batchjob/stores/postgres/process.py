"""Which process this is, so that another one on the same machine can tell for certain that it is gone."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """Where a process is looked for. What the system does not tell is "", and then nobody can tell."""

    host: str
    place: str  # the machine since it was started, and the namespace its process numbers are of
    pid: int
    started: str  # in ticks since then: a number may be given to another process


def this() -> Process:
    """This process."""
    return Process(socket.gethostname(), _place(), os.getpid(), _started(os.getpid()) or "")


def is_gone(place: str, pid: int, started: str) -> bool:
    """Whether that process is certainly no more."""
    return bool(place and started) and place == _place() and _started(pid) != started


def _place() -> str:
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _started(pid: int) -> str | None:
    """When a process was started; None where there is none, or only what its parent has not buried yet."""
    try:
        state, *fields = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        )
    except FileNotFoundError:
        return None
    except OSError:
        return ""
    return None if state in "ZX" else fields[18]
