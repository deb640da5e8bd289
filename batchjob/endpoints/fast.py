"""A transport that writes bytes on connections it keeps, and when a connection is used again."""

from __future__ import annotations

import asyncio
import gzip
import inspect
import math
from collections import deque
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from aiohttp.streams import EMPTY_PAYLOAD
from yarl import URL

from batchjob import failpoints
from batchjob.endpoints.transport import MOST_BODY_BYTES, Answer, NotConnected, bounded

T = TypeVar("T")

MOST_WORDS_BETWEEN = 100
"""Answers of a status below 200 before the one that counts; a few servers send one or two."""
KEEPALIVE_SECONDS = 4.0
"""An idle connection is not used any more when the server may close it (uvicorn: 5 s): a POST on it would be lost."""
LARGE_BODY_BYTES = 64 * 1024
"""Of a larger body some may not be sent yet when an error comes back. TLS does not show that: the connection closes."""
REST_SECONDS = 0.005
"""A connection is not used again sooner than this after an answer: a second one may come right behind it."""
TOGETHER_SECONDS = 0.001
"""So much longer it rests, so that one timer serves many connections."""


class FastTransport:
    """If aiohttp is not as it is used here, this cannot be made; nothing has been sent by then.

    aiohttp makes the connections (names, proxies, TLS) and reads the answers. The requests are written here, as bytes
    of which most are ready: aiohttp's session builds each from its parts, which took half of the time of a row.

    If more comes on a connection than was asked for, or only begins to, it is not used again: the next request would
    take that for its answer, and a row would get its neighbour's label. So a connection rests, without a parser, before
    it is put back, and what comes meanwhile is seen. That also shows which connections the server closed, so no request
    is lost on them. Who sent one answer too many may do so later, too, when the connection is in use again: from then
    on none is kept.
    """

    name, why, keeps = "fast", "connections are kept", True

    def __init__(
        self, method: str, url: URL, headers: Mapping[str, str], *, proxy: URL | None, connect_timeout: float
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._connector = aiohttp.TCPConnector(limit=0)
        # Not rounded up to whole seconds, as aiohttp would: the caller's own limit must not end first.
        self._timeout = aiohttp.ClientTimeout(connect=connect_timeout, ceil_threshold=math.inf)
        self._request = aiohttp.ClientRequest(
            method,
            url,
            headers=headers,
            skip_auto_headers=("Accept-Encoding",),
            proxy=proxy,
            loop=self._loop,
        )
        self._request.headers.popall("Content-Length", None)  # each request has its own
        self._head = ""
        self._idle: deque[tuple[float, Connection]] = deque()  # as they come from there
        self._resting: deque[tuple[float, Connection]] = deque()  # (due, connection), the first due first
        self._rest_timer: asyncio.TimerHandle | None = None
        _rehearse(self._connector, self._request, self._timeout)

    async def ask(self, headers: str = "", body: bytes = b"") -> Answer:
        """As Transport has it."""
        connection = self._used_before() or await self._connect()
        began = self._loop.time()
        protocol, transport = connection.protocol, connection.transport
        assert protocol is not None
        assert transport is not None
        try:
            length = f"Content-Length: {len(body)}\r\n" if body else ""
            transport.write(f"{self._head}{headers}{length}\r\n".encode() + body)
            if failpoints.armed is not None:
                await asyncio.sleep(0)  # uvloop sends at the end of the loop's turn
                failpoints.reach("request.after_last_byte")
            message, content = await protocol.read()
            words = 0
            while 100 <= message.code < 200 and message.code != 101:
                words += 1
                if words > MOST_WORDS_BETWEEN:
                    raise aiohttp.ClientPayloadError(f"more than {MOST_WORDS_BETWEEN} answers of status {message.code}")
                message, content = await protocol.read()
            failpoints.reach("answer.after_first_byte")
            whole = _whole(content)
            answer = Answer(message.code, message.headers, await bounded(content) if whole is None else whole)
            failpoints.reach("answer.after_last_byte")
        except BaseException as error:
            transport.abort()  # to close it would send the rest of the request, and wait for a server that is mute
            connection.close()
            if isinstance(error, aiohttp.ClientConnectionError | OSError) and not isinstance(error, TimeoutError):
                self._drop_idle(began)
            if isinstance(error, HttpProcessingError):
                raise aiohttp.ClientPayloadError(error.message) from error
            raise
        if answer.status >= 300 and len(body) > LARGE_BODY_BYTES:
            connection.close()
        else:
            self._rest(connection)
        return answer

    async def _connect(self) -> Connection:
        try:
            connection = await self._connector.connect(self._request, [], self._timeout)
        except Exception as error:
            raise NotConnected(error) from error
        if connection.transport is None or connection.transport.is_closing():  # what is written would be dropped
            connection.close()
            raise NotConnected(ConnectionResetError("the endpoint closed the connection before anything was sent"))
        _expect_answer(connection)
        self._head = _head(self._request)  # only now: a proxy's password is among the headers since it was connected to
        return connection

    # ------------------------------------------------------------ connections that are kept

    def _used_before(self) -> Connection | None:
        """A connection that can be used again."""
        while self._idle:
            since, connection = self._idle.popleft()
            if self._loop.time() - since < KEEPALIVE_SECONDS and _is_clean(connection):
                _expect_answer(connection)
                return connection
            self._see_answer_too_many(connection)
            connection.close()
        return None

    def _see_answer_too_many(self, connection: Connection, *, begun: bool = False) -> None:
        """If an answer came on it that nobody asked for, keep no connection any more; `begun`: one has."""
        if self.keeps and (begun or _has_said(connection)[9:10] == b"2"):  # not a server's 408 to nobody
            self.keeps, self.why = False, "the endpoint sent an answer that nobody asked for"
            self._drop_idle()

    def _rest(self, connection: Connection) -> None:
        clean = _is_clean(connection)
        begun = clean and _has_begun_another(connection)
        if begun or not clean:
            self._see_answer_too_many(connection, begun=begun)
        if begun or not clean or not self.keeps:
            connection.close()
            return
        due = self._loop.time() + REST_SECONDS
        self._resting.append((due, connection))
        if self._rest_timer is None:
            self._rest_timer = self._loop.call_at(due + TOGETHER_SECONDS, self._rest_over)

    def _rest_over(self) -> None:
        """Two turns of the loop more: if it was held up meanwhile, only then what came has been read."""
        self._loop.call_soon(self._loop.call_soon, self._put_back, self._loop.time())

    def _put_back(self, now: float) -> None:
        while self._resting and self._resting[0][0] <= now:
            self._idle.append(self._resting.popleft())
        self._rest_timer = None
        if self._resting:
            self._rest_timer = self._loop.call_at(self._resting[0][0] + TOGETHER_SECONDS, self._rest_over)

    def _drop_idle(self, before: float = math.inf) -> None:
        """Use no idle connection again that has not answered since: one was found dead, and those may be."""
        for kept in (self._resting, self._idle):
            while kept and kept[0][0] - REST_SECONDS < before:
                kept.popleft()[1].close()

    async def close(self) -> None:
        """Close all connections."""
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        await self._connector.close()
        self._drop_idle()


def _head(request: aiohttp.ClientRequest) -> str:
    """The request's first line and those of its headers that are always the same."""
    target = str(request.url) if request.proxy and not request.is_ssl() else request.url.raw_path_qs
    headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return f"{request.method} {target} HTTP/1.1\r\n{headers}"


def _whole(content: aiohttp.StreamReader) -> bytes | None:
    """The body, unzipped, where all of it is there in one piece, as it nearly always is."""
    if content is EMPTY_PAYLOAD:  # of a status that has none
        return b""
    pieces = content._buffer
    if content.is_eof() and len(pieces) == 1 and len(pieces[0]) <= MOST_BODY_BYTES and content.exception() is None:
        return pieces[0]
    return None


def _is_clean(connection: Connection) -> bool:
    """Whether a connection is open, all was sent on it, and nothing came that was not asked for."""
    protocol = connection.protocol
    if protocol is None or protocol.should_close or protocol.transport is None:
        return False
    return not protocol.transport.is_closing() and not protocol.transport.get_write_buffer_size()


def _has_said(connection: Connection) -> bytes:
    """What came on a connection that rests."""
    return b"" if connection.protocol is None else connection.protocol._tail


def _expect_answer(connection: Connection) -> None:
    """Give the connection a parser of its own for the next answer: one keeps trailers, and what has begun."""
    assert connection.protocol is not None
    connection.protocol.set_response_params(read_until_eof=True)


def _has_begun_another(connection: Connection) -> bool:
    """Whether the beginning of another answer came behind the last one. From here on what comes is kept as it is."""
    protocol = connection.protocol
    assert protocol is not None
    parser, protocol._parser = protocol._parser, None
    try:
        return parser is None or parser.feed_eof() is not None
    except Exception:  # no error of its own: what has begun is no HTTP
        return True


# ---------------------------------------------------------------- whether aiohttp is as it is used here


_BODY = gzip.compress(b"{}")
ANSWER = b"HTTP/1.1 200 OK\r\nX-Request-Id: kept\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(_BODY)
ANSWER += _BODY


class _Nobody(asyncio.Transport):
    """The other end, for the rehearsal."""

    def is_closing(self) -> bool:
        return False

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        pass

    abort = close


def _rehearse(connector: aiohttp.TCPConnector, request: aiohttp.ClientRequest, timeout: aiohttp.ClientTimeout) -> None:
    """Do once, with nobody at the other end, what each request does with aiohttp's insides.

    A surprise at a real request could be a label on the wrong row, or a row paid for twice; here it costs nothing.

    Raises:
        Exception: something is not as it is used here.
    """
    head = _head(request)
    _must(head.startswith(f"{request.method} ") and "\r\nHost: " in head, "the head of a request")
    inspect.signature(connector.connect).bind(request, [], timeout)
    used, doubled = _to_nobody(connector, request), _to_nobody(connector, request)
    try:
        for _ in range(2):
            _must(_read(used, ANSWER) == (200, "kept", b"{}"), "how an answer is read")
            _must(_is_clean(used) and not _has_begun_another(used), "when a connection can be used again")
        _receive(used, b"H")
        _must(not _is_clean(used) and _has_said(used) == b"H", "how bytes that nobody asked for are seen")
        _read(doubled, ANSWER + b"HTTP/1.1 2")
        _must(not _is_clean(doubled) or _has_begun_another(doubled), "how another answer that has begun is seen")
    finally:
        used.close()
        doubled.close()


def _must(holds: bool, what: str) -> None:
    if not holds:
        raise RuntimeError(what)


def _to_nobody(connector: aiohttp.TCPConnector, request: aiohttp.ClientRequest) -> Connection:
    """A connection as the connector makes them."""
    protocol = connector._factory()
    protocol.connection_made(_Nobody())
    return Connection(connector, request.connection_key, protocol, asyncio.get_running_loop())


def _receive(connection: Connection, data: bytes) -> None:
    assert connection.protocol is not None
    connection.protocol.data_received(data)


def _read(connection: Connection, data: bytes) -> tuple[int, str | None, bytes | None]:
    """Status, one header and body of an answer that has come."""
    assert connection.protocol is not None
    _expect_answer(connection)
    _receive(connection, data)
    message, content = _at_once(connection.protocol.read())
    body = _whole(content)
    _must(body is not None, "how a body is kept that came in one piece")
    return message.code, message.headers.get("x-request-id"), body


def _at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        given: T = done.value
        return given
    coroutine.close()
    raise RuntimeError("it waits for what is there")
