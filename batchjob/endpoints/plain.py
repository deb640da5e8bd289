"""A transport that uses documented parts of aiohttp alone: slower, and independent of the others."""

from __future__ import annotations

import asyncio
import math
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from batchjob import failpoints
from batchjob.endpoints.transport import Answer, NotConnected, bounded


class PlainTransport:
    """A connection for each request, closed after its answer: what comes on it later is nobody's label.

    It cannot look into a connection. So a request counts as sent as soon as its connection is there, and the rest of
    one that was given up may still leave.
    """

    name, keeps = "plain", False

    def __init__(
        self,
        method: str,
        url: URL,
        headers: Mapping[str, str],
        *,
        proxy: URL | None,
        connect_timeout: float,
        why: str,
    ) -> None:
        self.why = why
        self._method, self._url = method, url
        self._through = {} if proxy is None else _through(proxy)
        self._headers = dict(headers)  # not the session's: it would tell a proxy the key with those
        if url.scheme == "http":  # what a proxy is told stands in the request itself
            self._headers |= self._through.pop("proxy_headers", {})
        trace = aiohttp.TraceConfig()
        trace.on_connection_create_end.append(_note_connection)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept-Encoding",),
            # Not rounded up to whole seconds, as aiohttp would: the caller's own limit must not end first.
            timeout=aiohttp.ClientTimeout(connect=connect_timeout, ceil_threshold=math.inf),
            trace_configs=[trace],
        )

    async def ask(self, headers: str = "", body: bytes = b"") -> Answer:
        """As Transport has it."""
        given = self._headers | dict(line.split(": ", 1) for line in headers.splitlines())
        if body:
            given["Content-Length"] = str(len(body))
        way = SimpleNamespace(connected=False)
        try:
            response = await self._session.request(
                self._method,
                self._url,
                headers=given,
                data=_whole(body) if body else None,
                allow_redirects=False,
                trace_request_ctx=way,
                **self._through,
            )
        except Exception as error:
            if not way.connected:
                raise NotConnected(error) from error
            if isinstance(error, aiohttp.ClientResponseError):
                raise aiohttp.ClientPayloadError(error.message) from error
            raise
        try:
            failpoints.reach("answer.after_first_byte")
            answer = Answer(response.status, response.headers, await bounded(response.content))
            failpoints.reach("answer.after_last_byte")
        finally:
            response.close()
        return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()


async def _note_connection(session: aiohttp.ClientSession, context: SimpleNamespace, params: Any) -> None:
    context.trace_request_ctx.connected = True


async def _whole(body: bytes) -> AsyncIterator[bytes]:
    yield body
    if failpoints.armed is not None:
        await asyncio.sleep(0)  # uvloop sends at the end of the loop's turn
        failpoints.reach("request.after_last_byte")


def _through(proxy: URL) -> dict[str, Any]:
    """What aiohttp needs for a proxy. The password is not in the address, for errors repeat that."""
    if not (proxy.user or proxy.password):
        return {"proxy": proxy}
    word = b64encode(f"{proxy.user or ''}:{proxy.password or ''}".encode()).decode()
    return {"proxy": proxy.with_user(None), "proxy_headers": {"Proxy-Authorization": f"Basic {word}"}}
