"""A raw HTTP server on loopback, in a thread of its own, that does to each request what it is told, bytes and all."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

ROW = re.compile(r"row (\d+)")
LABELS = ("alpha", "beta")
TLS_HANDSHAKE = b"\x16"


@dataclass
class Exchange:
    """A request as it was received, and the connection it came on."""

    line: str
    headers: dict[str, str]
    body: dict[str, Any]
    at: float
    nth: int  # of the requests for this row, from 1
    elsewhere: str  # the URL of another host
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)

    @property
    def row(self) -> int:
        """The number of the row it asks for."""
        found = ROW.search(self.body["messages"][-1]["content"])
        assert found is not None
        return int(found[1])

    @property
    def key(self) -> str:
        """The idempotency key."""
        return self.headers["idempotency-key"]

    @property
    def secret(self) -> str:
        """The API key."""
        return self.headers["authorization"].removeprefix("Bearer ")

    async def send(self, data: bytes) -> None:
        """Bytes as they are. A client that has gone away is no error."""
        with suppress(OSError):
            self.writer.write(data)
            await self.writer.drain()

    def close(self) -> None:
        """End the connection in good order."""
        self.writer.close()

    def reset(self) -> None:
        """End the connection with a reset."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Act = Callable[[Exchange], Awaitable[None]]


def label_of(row: int) -> str:
    """The right label of a row; neighbours have different ones, so that a shifted answer shows."""
    return LABELS[row % 2]


def completion(content: Any, *, finish: Any = "stop", usage: Any = None, **message: Any) -> bytes:
    """The JSON of a completion."""
    return json.dumps(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": content, **message},
                    "finish_reason": finish,
                }
            ],
            "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12} if usage is None else usage,
        }
    ).encode()


def choices(*contents: Any, indexes: Sequence[Any]) -> bytes:
    """A completion with several choices."""
    pairs = zip(contents, indexes, strict=True)
    several = [{"index": at, "message": {"content": said}, "finish_reason": "stop"} for said, at in pairs]
    return json.dumps({**json.loads(completion("")), "choices": several}).encode()


def http(
    body: bytes,
    status: int = 200,
    type: str = "application/json",
    *,
    length: int | None = None,
    version: str = "1.1",
    **headers: str,
) -> bytes:
    """A whole HTTP answer; underscores in the names of headers are dashes. `length` lies about the body's."""
    lines = [f"HTTP/{version} {status} Whatever", f"Content-Type: {type}"]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


async def well(x: Exchange) -> None:
    """The right answer."""
    await x.send(http(completion(label_of(x.row))))


class FaultServer:
    """`act` is asked for each request; `requests` are those received so far."""

    def __init__(self, act: Act, *, tls: ssl.SSLContext | None = None) -> None:
        self.act = act
        self.requests: list[Exchange] = []
        self.connections = 0
        self.elsewhere = ""
        self._tls = tls
        self._counts: dict[int, int] = {}
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            while not writer.is_closing():
                await self.act(await self._read(reader, writer))
        except (asyncio.IncompleteReadError, OSError):
            pass  # it has gone away
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Exchange:
        first = await reader.readexactly(1)
        if first == TLS_HANDSHAKE:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            raise ConnectionAbortedError
        head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (field.partition(":") for field in fields)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", "0"))) or b"{}")
        x = Exchange(line, headers, body, time.monotonic(), 0, self.elsewhere, reader, writer)
        if body:
            self._counts[x.row] = x.nth = self._counts.get(x.row, 0) + 1
        self.requests.append(x)
        return x

    @contextmanager
    def running(self, *, port: int = 0) -> Iterator[FaultServer]:
        """Serve while the block runs."""
        started = threading.Event()

        async def serve() -> asyncio.Server:
            return await asyncio.start_server(
                self._connected, "127.0.0.1", port, ssl=self._tls, limit=2**20, backlog=512
            )

        def work() -> None:
            asyncio.set_event_loop(self._loop)
            server = self._loop.run_until_complete(serve())
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            self._loop.run_forever()
            server.close()
            for task in self._tasks:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
            self._loop.close()

        self._loop.set_exception_handler(lambda loop, context: None)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        assert started.wait(5)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(5)
            assert not thread.is_alive()

    @property
    def url(self) -> str:
        """What to give as --base-url."""
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}/v1"

    def sent_for(self, row: int) -> list[Exchange]:
        """The requests for a row, in the order of their coming."""
        return [x for x in self.requests if x.row == row]
