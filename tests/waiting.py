"""Waiting for something to be so, without a guess of how long that takes."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import BatchJob


def is_under_way(batchjob: BatchJob) -> bool:
    """Whether a run has labelled rows, and goes on."""
    said = batchjob("status", "--json").out
    return bool(said) and json.loads(said)["pid"] is not None and json.loads(said)["rows"]["done"] > 0


def until(true: Callable[[], bool], *, seconds: float = 60) -> None:
    """Returns as soon as it is true; fails if it never is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def processor_seconds() -> float:
    """What processes that were begun here and have ended took of the processor: a busy machine changes it little."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
