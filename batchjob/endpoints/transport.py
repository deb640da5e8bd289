"""How a request gets to the endpoint and its answer back: the seam, what both sides of it share, and the choice.

`fast.py` writes on connections that are kept, with parts of aiohttp that are not documented. `plain.py` uses only the
documented ones, and makes a connection for each request. Neither is imported before it is chosen, because the import of
the fast one may be what fails.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple, Protocol

import aiohttp
from yarl import URL

from batchjob import __version__
from batchjob.errors import SettingError

VARIABLE = "BATCHJOB_TRANSPORT"
"""The environment variable that asks for the plain transport; see docs/failpoints.md."""
MOST_BODY_BYTES = 8 * 1024 * 1024
"""What is read of an answer, unzipped. A completion that gives a label has a few hundred bytes."""


class Answer(NamedTuple):
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
    """Why it was chosen."""

    async def ask(self, headers: str = "", body: bytes = b"") -> Answer:
        """Send one request, once, and read its answer. `headers` are whole lines, each with its CRLF.

        Raises:
            NotConnected: nothing was sent, for certain.
            aiohttp.ClientPayloadError: what came is no whole HTTP answer.
            aiohttp.ClientError, OSError: the connection was lost.
        """

    def drop_idle(self) -> None:
        """Use none of the idle connections again: one was found dead, and others may be."""

    async def close(self) -> None:
        """Close all connections."""


def open_transport(
    method: str, url: URL, headers: Mapping[str, str], *, proxy: URL | None, connect_timeout: float
) -> Transport:
    """The fast transport, or the plain one if aiohttp is not as the fast one needs it. Needs a running event loop.

    Raises:
        ValueError: a header holds a character that would end it.
        SettingError: BATCHJOB_TRANSPORT is neither empty nor `plain`.
    """
    if any(not value.isprintable() for value in headers.values()):
        raise ValueError("a header holds a character that would end it")
    headers = {"User-Agent": f"batchjob/{__version__}", **headers}
    why = _asked_for()
    if not why:
        try:
            from batchjob.endpoints.fast import FastTransport

            return FastTransport(method, url, headers, proxy=proxy, connect_timeout=connect_timeout)
        except Exception as error:  # whatever it is, nothing has been sent yet
            why = f"aiohttp {aiohttp.__version__} is not as expected ({type(error).__name__}: {error})"
    from batchjob.endpoints.plain import PlainTransport

    return PlainTransport(method, url, headers, proxy=proxy, connect_timeout=connect_timeout, why=why)


async def chosen() -> tuple[str, str]:
    """The name of the transport that is taken here, and why; nothing is sent."""
    transport = open_transport("GET", URL("http://localhost/"), {}, proxy=None, connect_timeout=1.0)
    await transport.close()
    return transport.name, transport.why


def _asked_for() -> str:
    asked = os.environ.get(VARIABLE, "")
    if asked not in ("", "plain"):
        raise SettingError(f"{VARIABLE}={asked}: it is plain, or not set")
    return f"{VARIABLE} asks for it" if asked else ""


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
