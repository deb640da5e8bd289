"""One request and its answer, on a connection that is kept: when it is used again, and when it takes too long."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any, NamedTuple

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError
from yarl import URL

from batchjob import __version__, failpoints

MOST_BODY_BYTES = 8 * 1024 * 1024
"""What is read of an answer, unzipped. A completion that gives a label has a few hundred bytes."""
KEEPALIVE_SECONDS = 4.0
"""An idle connection is not used any more when the server may close it (uvicorn: 5 s): a POST on it would be lost."""
LARGE_BODY_BYTES = 64 * 1024
"""Of a larger body some may not be sent yet when an error comes back. TLS does not show that: the connection closes."""
REST_SECONDS = 0.005
"""A connection is not used again sooner than this after an answer: a second one may come right behind it."""
TOGETHER_SECONDS = 0.001
"""So much longer it rests, so that one timer serves many connections."""


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


class Client:
    """Requests to one URL that differ in a few headers and the body. Must be made inside a running event loop.

    aiohttp makes the connections (names, proxies, TLS) and reads the answers. The requests are written here, as bytes
    of which most are ready: aiohttp's session builds each from its parts, which took half of the time of a row.

    A connection is not used again on which more came than was asked for, or began to: that would be read as the answer
    to the next request, and a row would get its neighbour's label. So it rests before it is put back, without a parser,
    and what comes meanwhile is seen. That also shows which connections the server has closed, so that no request is
    lost on them.
    """

    def __init__(
        self, method: str, url: URL, headers: Mapping[str, str], *, proxy: URL | None, connect_timeout: float
    ) -> None:
        if any(not value.isprintable() for value in headers.values()):
            raise ValueError("a header holds a character that would end it")
        self._loop = asyncio.get_running_loop()
        self._connector = aiohttp.TCPConnector(limit=0)
        # Not rounded up to whole seconds, as aiohttp would: the caller's own limit must not end first.
        self._timeout = aiohttp.ClientTimeout(connect=connect_timeout, ceil_threshold=math.inf)
        self._request = aiohttp.ClientRequest(
            method,
            url,
            headers={"User-Agent": f"batchjob/{__version__}", **headers},
            skip_auto_headers=("Accept-Encoding",),
            proxy=proxy,
            loop=self._loop,
        )
        self._request.headers.popall("Content-Length", None)  # each request has its own
        self._head = ""
        self._idle: deque[tuple[float, Connection]] = deque()  # (since, connection), the first for longest
        self._resting: deque[tuple[float, Connection]] = deque()  # (due, connection), the first due first
        self._rest_timer: asyncio.TimerHandle | None = None

    async def ask(self, headers: str = "", body: bytes = b"") -> Answer:
        """Send one request and read its answer. `headers` are whole lines, each with its CRLF.

        Raises:
            NotConnected: nothing was sent.
            aiohttp.ClientPayloadError: what came is no whole HTTP answer.
            aiohttp.ClientError, OSError: the connection was lost.
        """
        connection = self._used_before() or await self._connect()
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
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()
            failpoints.reach("answer.after_first_byte")
            answer = Answer(message.code, message.headers, await _bounded(content))
            failpoints.reach("answer.after_last_byte")
        except BaseException as error:
            transport.abort()  # to close it would send the rest of the request, and wait for a server that is mute
            connection.close()
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
            connection.close()
        return None

    def _rest(self, connection: Connection) -> None:
        if not _is_clean(connection) or _has_begun_another(connection):
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

    def drop_idle(self) -> None:
        """Use none of the idle connections again: one was found dead, and others may be."""
        for kept in (self._resting, self._idle):
            while kept:
                kept.popleft()[1].close()

    async def close(self) -> None:
        """Close all connections."""
        if self._rest_timer is not None:
            self._rest_timer.cancel()
        await self._connector.close()
        self.drop_idle()


def _head(request: aiohttp.ClientRequest) -> str:
    """The request's first line and those of its headers that are always the same."""
    target = str(request.url) if request.proxy and not request.is_ssl() else request.url.raw_path_qs
    headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return f"{request.method} {target} HTTP/1.1\r\n{headers}"


def _is_clean(connection: Connection) -> bool:
    """Whether a connection is open, all was sent on it, and nothing came that was not asked for."""
    protocol = connection.protocol
    if protocol is None or protocol.should_close or protocol.transport is None:
        return False
    return not protocol.transport.is_closing() and not protocol.transport.get_write_buffer_size()


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


async def _bounded(content: aiohttp.StreamReader) -> bytes | None:
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
