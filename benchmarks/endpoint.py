"""An endpoint fast enough not to be the limit: a raw asyncio protocol that answers any request with one label.

python -m benchmarks.endpoint [--latency LOW-HIGH] prints its port. It counts requests: GET /count tells how many.
"""

from __future__ import annotations

import argparse
import asyncio
import random

BODY = (
    b'{"id":"chatcmpl-1","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",'
    b'"content":"billing"},"finish_reason":"stop"}],"usage":{"prompt_tokens":120,"completion_tokens":2,'
    b'"total_tokens":122}}'
)
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Endpoint(asyncio.Protocol):
    """HTTP/1.1 as far as needed: one request after the other on a connection, bodies by Content-Length."""

    answered = 0
    latency = (0.0, 0.0)

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
        Endpoint.answered += 1
        low, high = self.latency
        if high:
            asyncio.get_running_loop().call_later(random.uniform(low, high), self.transport.write, ANSWER)
        else:
            self.transport.write(ANSWER)


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Endpoint, "127.0.0.1", 0, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--latency", default="0-0")
    low, _, high = parser.parse_args().latency.partition("-")
    Endpoint.latency = (float(low), float(high or low))
    try:
        import uvloop

        uvloop.run(serve())
    except ImportError:
        asyncio.run(serve())


if __name__ == "__main__":
    main()
