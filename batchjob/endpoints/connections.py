"""The connections to an endpoint: when one is used again, and when an exchange takes too long."""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Any

import aiohttp

KEEPALIVE_SECONDS = 4.0
"""An idle connection is closed before the server closes it (uvicorn: 5 s): a POST on a dead one would be lost."""
REST_SECONDS = 0.005
"""A connection is not used again sooner than this after an answer: a second one may come right behind it."""
TOGETHER_SECONDS = 0.001
"""So much longer it rests, so that one timer serves many connections."""


class Connector(aiohttp.TCPConnector):
    """A pool that does not use a connection again on which more came than was asked for.

    aiohttp looks at that when a connection is put back: what comes later would be read as the answer to the next
    request, and a row would get its neighbour's label. So a connection rests before it is put back. That also shows
    which ones the server has closed, so that no request is lost on them.
    """

    def __init__(self) -> None:
        super().__init__(limit=0, keepalive_timeout=KEEPALIVE_SECONDS)
        self._resting: deque[tuple[float, Any, Any]] = deque()  # (due, key, protocol), the first due first
        self._rest_timer: asyncio.TimerHandle | None = None

    def _release(self, key: Any, protocol: Any, *, should_close: bool = False) -> None:
        if should_close or self._closed or protocol.should_close:
            super()._release(key, protocol, should_close=should_close)
            return
        due = self._loop.time() + REST_SECONDS
        self._resting.append((due, key, protocol))
        if self._rest_timer is None:
            self._rest_timer = self._loop.call_at(due + TOGETHER_SECONDS, self._rest_over)

    def _rest_over(self) -> None:
        """Two turns of the loop more: if it was held up meanwhile, only then what came has been read."""
        self._loop.call_soon(self._loop.call_soon, self._put_back, self._loop.time())

    def _put_back(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            _, key, protocol = self._resting.popleft()
            super()._release(key, protocol)
        self._rest_timer = None
        if self._resting:
            self._rest_timer = self._loop.call_at(self._resting[0][0] + TOGETHER_SECONDS, self._rest_over)

    async def _get(self, key: Any, traces: Any) -> Any:
        while (connection := await super()._get(key, traces)) is not None:
            if connection.protocol is not None and not connection.protocol.should_close:
                return connection
            connection.close()
        return None

    def drop_idle(self) -> None:
        """Use none of the idle connections again: one was found dead, and others may be."""
        while self._resting:
            _, key, protocol = self._resting.popleft()
            super()._release(key, protocol, should_close=True)
        for idle in self._conns.values():
            for protocol, _ in idle:
                protocol.close()
        self._conns.clear()


class Deadlines:
    """A time limit for whatever runs inside `with`, the same for all: one timer for them all, not one for each.

    Raises:
        TimeoutError: inside a task whose time is over.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._due: dict[asyncio.Task[Any], float] = {}  # the first is due first
        self._over: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        due = self._loop.time() + self._seconds
        self._due[task] = due
        if self._timer is None:
            self._timer = self._loop.call_at(due, self._sweep)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._due.pop(task, None)
        if self._over and task in self._over:
            self._over.remove(task)
            if task.uncancel() == 0 and kind is asyncio.CancelledError:
                raise TimeoutError from error

    def _sweep(self) -> None:
        """End those whose time is over, and come back for the next."""
        now = self._loop.time()
        while self._due:
            task, due = next(iter(self._due.items()))
            if due > now:
                self._timer = self._loop.call_at(due, self._sweep)
                return
            del self._due[task]
            self._over.add(task)
            task.cancel()
        self._timer = None

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
