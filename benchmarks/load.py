"""How many requests a second can benchmarks.endpoint answer? Raw sockets, answers counted by their bytes, not read.

python -m benchmarks.load URL REQUESTS IN_FLIGHT prints requests a second over 40 connections, and the mean of the
seconds to an answer. IN_FLIGHT is how many requests a connection has under way: 1 as a client has it, more (pipelining)
so that this loop costs next to nothing.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from statistics import mean
from urllib.parse import urlsplit

from benchmarks.endpoint import ANSWER

CONNECTIONS = 40
BODY = json.dumps(
    {"model": "m", "temperature": 0, "max_tokens": 56, "messages": [{"role": "user", "content": "x" * 150}]}
)
REQUEST = (
    f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: */*\r\nAccept-Encoding: gzip, deflate\r\n"
    f"User-Agent: load\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()


class Connection(asyncio.Protocol):
    """Sends the next requests when the last ones are answered, until its share is done."""

    def __init__(self, share: int, in_flight: int) -> None:
        self.left, self.in_flight, self.awaited = share, in_flight, 0
        self.sent_at, self.waits = 0.0, list[float]()
        self.done = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.send()

    def send(self) -> None:
        now = min(self.in_flight, self.left)
        self.left -= now
        self.awaited = now * len(ANSWER)
        self.sent_at = time.perf_counter()
        self.transport.write(REQUEST * now)

    def data_received(self, data: bytes) -> None:
        self.awaited -= len(data)
        if self.awaited:
            return
        self.waits.append(time.perf_counter() - self.sent_at)
        if self.left:
            self.send()
        else:
            self.done.set_result(None)


async def main() -> None:
    url, requests, in_flight = urlsplit(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    loop = asyncio.get_running_loop()
    connections = [Connection(requests // CONNECTIONS, in_flight) for _ in range(CONNECTIONS)]
    began = time.perf_counter()
    await asyncio.gather(
        *(loop.create_connection(lambda it=it: it, url.hostname, url.port) for it in connections),
        *(it.done for it in connections),
    )
    seconds = time.perf_counter() - began
    print(requests / seconds, mean([wait for it in connections for wait in it.waits]))


if __name__ == "__main__":
    try:
        import uvloop

        uvloop.run(main())
    except ImportError:
        asyncio.run(main())
