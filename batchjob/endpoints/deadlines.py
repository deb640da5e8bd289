"""When a request takes too long."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any

LATE_SECONDS = 0.5
"""A timer that comes so much too late tells of a stall: the process was stopped (Ctrl-Z), or the machine asleep."""
GRACE_SECONDS = 1.0
"""How long what came meanwhile is read, after a stall, before anything is given up for it."""


class Deadlines:
    """A time limit for whatever runs inside `with begin()`, the same for all: one timer for them all, not one for each.

    After a stall nothing ends before what lies in the sockets was read: an answer that has come is no lost request.

    Raises:
        TimeoutError: inside a task whose time is over.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._due: dict[asyncio.Task[Any], float] = {}  # the first is due first
        self._over: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._set_for = 0.0  # uvloop's handle of a timer that is due at once does not know when that is
        self._grace = False  # the timer comes after a stall

    def begin(self) -> _Deadline:
        """The time limit of the task that calls."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        due = self._loop.time() + self._seconds
        self._due[task] = due
        if self._timer is None:
            self._sweep_at(due)
        return _Deadline(self, task)

    def end(self, task: asyncio.Task[Any]) -> bool:
        """What was limited is over; whether it was by the limit, and nobody else cancelled the task."""
        self._due.pop(task, None)
        if not self._over or task not in self._over:
            return False
        self._over.remove(task)
        return task.uncancel() == 0

    def _sweep_at(self, when: float) -> None:
        self._set_for = when
        self._timer = self._loop.call_at(when, self._sweep)

    def _sweep(self) -> None:
        """End those whose time is over, and come back for the next."""
        now = self._loop.time()
        if now - self._set_for > LATE_SECONDS and not self._grace:
            self._grace = True
            self._sweep_at(now + GRACE_SECONDS)
            return
        self._grace = False
        while self._due:
            task, due = next(iter(self._due.items()))
            if due > now:
                self._sweep_at(due)
                return
            del self._due[task]
            self._over.add(task)
            task.cancel()
        self._timer = None

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()


class _Deadline:
    """Of one task: whoever ends it need not ask again which task that is."""

    __slots__ = ("_deadlines", "_task")

    def __init__(self, deadlines: Deadlines, task: asyncio.Task[Any]) -> None:
        self._deadlines, self._task = deadlines, task

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._deadlines.end(self._task) and kind is asyncio.CancelledError:
            raise TimeoutError from error
