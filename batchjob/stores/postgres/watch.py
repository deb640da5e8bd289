"""Which of a job's other runs are dead.

No clock of another machine says so: a run is dead when it takes no step for as long as it is watched, by the clock of
the one who watches. One that could not look meanwhile has seen nothing, and begins anew.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import NamedTuple

from batchjob.stores.postgres import process


class Peer(NamedTuple):
    """A run that has not ended."""

    id: int
    seq: int  # its last step
    host: str
    place: str
    pid: int
    started: str
    version: str  # of batchjob


class Watch:
    """What one process has seen of the others."""

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._seen: dict[int, tuple[int, float]] = {}  # run -> its last step, and since when
        self._looked = clock()

    def look(self, peers: Sequence[Peer]) -> tuple[list[Peer], list[Peer]]:
        """Those that are dead, and those that took a step since the last look."""
        now = clock()
        if now - self._looked > self._lease / 2:
            self._seen = {}
        self._looked = now
        dead, moved = [], []
        for peer in peers:
            seq, since = self._seen.setdefault(peer.id, (peer.seq, now))
            if seq != peer.seq:
                self._seen[peer.id] = peer.seq, now
                moved.append(peer)
            elif now - since >= self._lease or process.is_gone(peer.place, peer.pid, peer.started):
                dead.append(peer)
        return dead, moved


def other_version(one: str, other: str) -> bool:
    """Whether two versions may differ in what they write or send again: in more than the last number."""
    return one.split(".")[:2] != other.split(".")[:2]


def clock() -> float:
    """Seconds that also pass while the machine sleeps, where the system tells them."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
