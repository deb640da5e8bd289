"""How a request gets to the endpoint and its answer back: what fast.py and plain.py have in common."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import aiohttp

from batchjob.model import Value

MOST_BODY_BYTES = 8 * 1024 * 1024
"""What is read of an answer, unzipped. A completion that gives a label has a few hundred bytes."""


class Answer(Value, frozen=True):
    """What came back, as HTTP has it. A body of None was larger than MOST_BODY_BYTES."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None


class NotConnected(Exception):
    """There was no connection, so nothing was sent; `cause` says why not."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


class Transport(Protocol):
    """Requests to one URL that differ in a few headers and the body. An answer is never that to another request."""

    name: str
    why: str
    """Why it was chosen, or why it does not keep connections any more."""
    keeps: bool
    """Whether a connection is used for more than one request."""

    async def ask(self, headers: str = "", body: bytes = b"") -> Answer:
        """Send one request, once, and read its answer. `headers` are whole lines, each with its CRLF.

        Raises:
            NotConnected: nothing was sent, for certain.
            aiohttp.ClientPayloadError: what came is no whole HTTP answer.
            aiohttp.ClientError, OSError: the connection was lost.
        """

    async def close(self) -> None:
        """Close all connections."""


async def bounded(content: aiohttp.StreamReader) -> bytes | None:
    """The body, unzipped, or None where it is larger than what is read of one."""
    parts: list[bytes] = []
    size = 0
    while True:
        parts.append(await content.readany())
        size += len(parts[-1])
        if size > MOST_BODY_BYTES:
            return None
        if content.at_eof():
            return parts[0] if len(parts) == 1 else b"".join(parts)
