"""Lets workers through one at a time, when there is something for them; those who come meanwhile wait behind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

T = TypeVar("T")


class Turnstile(Generic[T]):
    """`attempt` gives something to a worker, or the seconds (a float) after which to ask again."""

    def __init__(self, attempt: Callable[[], T | float]) -> None:
        self._attempt = attempt
        self._first = asyncio.Lock()
        self._wake: asyncio.Future[None] | None = None

    async def next(self) -> T:
        """What `attempt` gives, when it gives something."""
        if not self._first.locked():
            found = self._attempt()
            if not isinstance(found, float):
                return found
        async with self._first:
            while isinstance(found := self._attempt(), float):
                await self._sleep(found)
        return found

    async def _sleep(self, seconds: float) -> None:
        """Until something changes, or so many seconds."""
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(seconds, self.rouse) if seconds < inf else None
        await self._wake
        if timer is not None:
            timer.cancel()

    def rouse(self) -> None:
        """Something has changed: ask again."""
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)
