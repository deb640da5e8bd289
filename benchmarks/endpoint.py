"""An endpoint fast enough not to be the limit: a raw asyncio protocol that answers any request with one label.

python -m benchmarks.endpoint [--latency LOW-HIGH] [--per-minute N] [--refuse SHARE] [--retry-after S] [--mix] prints
its port. It counts requests: GET /count tells how many.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import time

BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"billing"},"finish_reason":"stop"}],"usage":{"prompt_tokens":120,"completion_tokens":2,'
    b'"total_tokens":122}}'
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
REFUSED = b'{"error":{"message":"too many requests","code":"rate_limit_exceeded"}}'
MIX = (
    (0.015, b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 29\r\n\r\n" + b'{"error":{"message":"oops"}}\n'),
    (0.015, b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 29\r\n\r\n" + b'{"error":{"message":"busy"}}\n'),
    (0.01, b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html></html>"),
    (0.01, b""),  # dropped
    (0.005, ANSWER[:-40]),  # cut
    (0.005, ANSWER.replace(b'"billing"', b"null     ")),
)
"""What goes wrong by chance besides 429s: share, and what is sent; the connection ends with the cut and the dropped."""
REFUSAL = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: %d\r\nRetry-After: %d\r\n\r\n%s"


class Endpoint(asyncio.Protocol):
    """HTTP/1.1 as far as needed: one request after the other on a connection, bodies by Content-Length."""

    answered = 0
    latency = (0.0, 0.0)
    per_minute = 0  # of fixed windows; 0: no quota
    window, used = -1, 0
    refuse = 0.0  # share of 429s by chance
    retry_after: float | None = None  # what they ask for
    mix = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.answer(head)

    def answer(self, head: bytes) -> None:
        if head.startswith(b"get /count"):
            text = b"%d" % Endpoint.answered
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(text), text))
            return
        if self.per_minute and not self.within_quota():
            self.transport.write(REFUSAL % (len(REFUSED), 60 - int(time.monotonic()) % 60, REFUSED))
            return
        if self.refuse and random.random() < self.refuse:
            asks = b"" if self.retry_after is None else b"Retry-After: %d\r\n" % self.retry_after
            head = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: %d\r\n%s\r\n" % (len(REFUSED), asks)
            self.transport.write(head + REFUSED)
            return
        if self.mix and self.went_wrong():
            return
        Endpoint.answered += 1
        low, high = self.latency
        if high:
            asyncio.get_running_loop().call_later(random.uniform(low, high), self.transport.write, ANSWER)
        else:
            self.transport.write(ANSWER)

    def went_wrong(self) -> bool:
        point = random.random()
        for share, data in MIX:
            point -= share
            if point < 0:
                self.transport.write(data)
                if data in (b"", ANSWER[:-40]):
                    self.transport.close()
                return True
        return False

    def within_quota(self) -> bool:
        window = int(time.monotonic()) // 60
        if window != Endpoint.window:
            Endpoint.window, Endpoint.used = window, 0
        Endpoint.used += 1
        return Endpoint.used <= self.per_minute


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", default="0-0")
    parser.add_argument("--per-minute", type=int, default=0)
    parser.add_argument("--refuse", type=float, default=0.0)
    parser.add_argument("--retry-after", type=float)
    parser.add_argument("--mix", action="store_true")
    given = parser.parse_args()
    Endpoint.refuse, Endpoint.retry_after, Endpoint.mix = given.refuse, given.retry_after, given.mix
    low, _, high = given.latency.partition("-")
    Endpoint.per_minute = given.per_minute
    Endpoint.latency = (float(low), float(high or low))
    try:
        import uvloop

        uvloop.run(serve())
    except ImportError:
        asyncio.run(serve())


if __name__ == "__main__":
    main()
