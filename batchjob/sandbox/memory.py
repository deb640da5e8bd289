"""Answers by idempotency key: a request that comes again gets the answer of the first, and is not billed."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

import msgspec

from batchjob.sandbox.wire import Completion, Refusal


class _Entry(msgspec.Struct):
    fingerprint: int
    answer: asyncio.Future[Completion | None]  # None: the first request came to nothing


class Memory:
    """The last `size` keys and their answers. Only what was billed is remembered: a rejection leaves the key free."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._entries: OrderedDict[str, _Entry] = OrderedDict()

    async def recall(self, key: str, body: bytes) -> Completion | None:
        """The answer of the first request with this key, awaited where it is still being worked on.

        None makes the caller the first one: it must end with `keep` or `forget`.

        Raises:
            Refusal: the key was used before with another body.
        """
        while (entry := self._entries.get(key)) is not None:
            if entry.fingerprint != hash(body):
                raise _reused()
            self._entries.move_to_end(key)
            answer = await asyncio.shield(entry.answer)
            if answer is not None:
                return answer
        self._entries[key] = _Entry(hash(body), asyncio.get_running_loop().create_future())
        if len(self._entries) > self._size and next(iter(self._entries.values())).answer.done():
            self._entries.popitem(last=False)
        return None

    def keep(self, key: str, answer: Completion) -> None:
        """The request was billed, and this is its answer, whether it arrives or not."""
        entry = self._entries.get(key)
        if entry is not None and not entry.answer.done():
            entry.answer.set_result(answer)

    def forget(self, key: str) -> None:
        """The request came to nothing; the next one with this key is a first one. Nothing where it was kept."""
        entry = self._entries.get(key)
        if entry is not None and not entry.answer.done():
            del self._entries[key]
            entry.answer.set_result(None)


def _reused() -> Refusal:
    return Refusal(
        422,
        "This Idempotency-Key was used before with another request body.",
        type="idempotency_error",
        code="idempotency_key_reused",
    )
