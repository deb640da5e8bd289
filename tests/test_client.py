"""What goes over the wire, by either transport: the bytes of a request, which connections are used again, proxies."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import ssl
import subprocess
import sys
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler
from yarl import URL

from batchjob import __version__
from batchjob.endpoints import fast
from batchjob.endpoints.chat import ChatEndpoint
from batchjob.endpoints.choose import VARIABLE, open_transport
from batchjob.endpoints.deadlines import Deadlines
from batchjob.errors import SettingError
from batchjob.model import NO_ROOM, Answered, Lost, NotSent, Rejected, Reply
from tests.faults.server import completion, http
from tests.transports import need_fast

BATCHJOB = Path(sys.executable).with_name("batchjob")
KEY = "sk-a-key-of-some-length"

pytestmark = pytest.mark.timeout(30)

Serving = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True, params=["fast", "plain"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The transport that is taken."""
    name: str = request.param
    if name == "fast":
        need_fast()
    monkeypatch.setenv(VARIABLE, "plain" if name == "plain" else "")
    return name


@asynccontextmanager
async def listening(serve: Serving, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """The port of a server whose connections are served so."""

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


class Recorder:
    """Answers every request with "alpha", and keeps their heads and bodies by connection."""

    def __init__(self) -> None:
        self.connections: list[list[tuple[bytes, bytes]]] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen: list[tuple[bytes, bytes]] = []
        self.connections.append(seen)
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            body = await reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]))
            seen.append((head, body))
            writer.write(http(completion("alpha")))


def endpoint_at(url: str, key: str | None = KEY) -> ChatEndpoint:
    return ChatEndpoint(url, key=key, timeout=5, connect_timeout=5)


async def rested(endpoint: ChatEndpoint) -> None:
    """Until its connections may be used again."""
    while getattr(endpoint._transport, "_resting", ()):
        await asyncio.sleep(0.005)


async def test_a_request_is_these_bytes(transport: str) -> None:
    recorder = Recorder()
    async with listening(recorder) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1/")
        heard = await endpoint.send('{"text": "grün"}'.encode(), "key-1")
        await endpoint.close()
    assert isinstance(heard, Answered)
    ((head, body),) = recorder.connections[0]
    first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    assert first == "POST /v1/chat/completions HTTP/1.1"
    assert sorted(lines) == [
        "Accept: application/json",
        f"Authorization: Bearer {KEY}",
        *(["Connection: close"] if transport == "plain" else []),
        "Content-Length: 17",
        "Content-Type: application/json",
        f"Host: 127.0.0.1:{port}",
        "Idempotency-Key: key-1",
        f"User-Agent: batchjob/{__version__}",
        "X-Client-Request-Id: key-1",
    ]
    assert body.decode() == '{"text": "grün"}'


async def test_a_header_cannot_hold_another() -> None:
    with pytest.raises(ValueError, match="header"):
        open_transport("POST", URL("http://x/"), {"A": "b\r\nEvil: 1"}, proxy=None, connect_timeout=1)


def a_request_wants_more(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wanting(aiohttp.ClientRequest):
        def __init__(self, *arguments: Any, session: object, **named: Any) -> None:
            super().__init__(*arguments, session=session, **named)

    monkeypatch.setattr(aiohttp, "ClientRequest", Wanting)


def a_connection_is_asked_for_by_names_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = aiohttp.TCPConnector.connect

    def named(self: aiohttp.TCPConnector, req: Any, *, traces: Any, timeout: Any) -> Any:
        return connect(self, req, traces, timeout)

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", named)


def an_answer_wants_a_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    expect = ResponseHandler.set_response_params

    def wanting(self: ResponseHandler, *, timer: Any, **named: Any) -> None:
        expect(self, timer=timer, **named)

    monkeypatch.setattr(ResponseHandler, "set_response_params", wanting)


def bytes_that_nobody_asked_for_are_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ResponseHandler, "should_close", False)


def the_parser_cannot_be_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    parsers: dict[int, Any] = {}

    def keep(self: ResponseHandler, parser: Any) -> None:
        parsers[id(self)] = parser or parsers.get(id(self))

    monkeypatch.setattr(ResponseHandler, "_parser", property(lambda self: parsers[id(self)], keep), raising=False)


def a_name_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aiohttp.http, "HttpProcessingError")
    monkeypatch.delitem(sys.modules, "batchjob.endpoints.fast")


@pytest.mark.parametrize("transport", ["fast"], indirect=True)
@pytest.mark.parametrize(
    "change",
    [
        a_request_wants_more,
        a_connection_is_asked_for_by_names_alone,
        an_answer_wants_a_timer,
        bytes_that_nobody_asked_for_are_not_seen,
        the_parser_cannot_be_taken_away,
        a_name_is_gone,
    ],
)
async def test_where_aiohttp_is_not_as_expected_the_plain_transport_is_taken(
    change: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    change(monkeypatch)
    recorder = Recorder()
    async with listening(recorder) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        assert endpoint._transport.name == "plain"
        assert "is not as expected" in endpoint._transport.why
        heard = [await endpoint.send(b"{}", f"key-{n}") for n in range(2)]
        await endpoint.close()
    assert [getattr(answer, "content", answer) for answer in heard] == ["alpha"] * 2
    assert [len(seen) for seen in recorder.connections] == [1, 1]


async def test_the_transport_is_the_one_that_was_asked_for(transport: str) -> None:
    endpoint = endpoint_at("http://127.0.0.1:9/v1")
    assert endpoint._transport.name == transport
    await endpoint.close()


async def test_a_host_that_only_looks_like_one_is_a_setting_to_mend() -> None:
    with pytest.raises(SettingError, match="no address"):
        endpoint_at("http://xn--a/v1")


async def test_a_status_below_100_is_an_answer_and_not_a_word_in_between() -> None:
    async def odd(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 099 Odd\r\nContent-Length: 2\r\n\r\n{}" + http(completion("alpha")))
        await reader.read()

    async with listening(odd) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        heard = await endpoint.send(b"{}", "key-1")
        await endpoint.close()
    assert isinstance(heard, Rejected)
    assert heard.status == 99


@pytest.mark.parametrize("transport", ["fast"], indirect=True)
async def test_a_connection_is_used_again_until_it_was_idle_for_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    async with listening(recorder) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        for n in range(3):
            await endpoint.send(b"{}", f"key-{n}")
            await rested(endpoint)
        assert [len(seen) for seen in recorder.connections] == [3]
        monkeypatch.setattr(fast, "KEEPALIVE_SECONDS", 0.01)
        await asyncio.sleep(0.02)
        await endpoint.send(b"{}", "key-3")
        await endpoint.close()
    assert [len(seen) for seen in recorder.connections] == [3, 1]


@pytest.mark.parametrize("transport", ["fast"], indirect=True)
async def test_a_loss_closes_those_connections_alone_that_have_not_answered_since(transport: str) -> None:
    """Of 400 requests, 20 at a time, each tenth is dropped: the others keep their connections."""
    connections, received = 0, 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections, received
        connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            received += 1
            nth = received
            await asyncio.sleep(0.005)
            if nth % 10 == 0:
                return
            writer.write(http(completion("alpha")))

    async def ask(endpoint: ChatEndpoint, worker: int) -> list[Reply]:
        return [await endpoint.send(b"", f"key-{worker}-{n}") for n in range(20)]

    async with listening(serve) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        heard = [reply for part in await asyncio.gather(*(ask(endpoint, n) for n in range(20))) for reply in part]
        await endpoint.close()
    lost = sum(isinstance(reply, Lost) for reply in heard)
    assert lost == 40
    assert connections <= 20 + 4 * lost


@pytest.mark.parametrize("transport", ["fast"], indirect=True)
async def test_a_loss_closes_the_connections_that_were_idle_before(transport: str) -> None:
    """All are dead without a sign of it, as behind a gateway that forgot them: one request is lost, not one each."""
    dead = False

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        old = not dead
        while True:
            await reader.readuntil(b"\r\n\r\n")
            if old and dead:
                return
            writer.write(http(completion("alpha")))

    async with listening(serve) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        await asyncio.gather(*(endpoint.send(b"", f"key-{n}") for n in range(10)))
        await rested(endpoint)
        dead = True
        heard = [await endpoint.send(b"", f"again-{n}") for n in range(5)]
        await endpoint.close()
    assert [type(reply) for reply in heard] == [Lost, *[Answered] * 4]


@pytest.mark.parametrize("transport", ["fast"], indirect=True)
async def test_a_flood_of_answers_that_are_none_yet_is_no_answer(transport: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        while True:
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n" * 10)
            await writer.drain()

    async with listening(serve) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        heard = await endpoint.send(b"", "key")
        await endpoint.close()
    assert isinstance(heard, Lost)
    assert (heard.kind, heard.message) == (
        "garbled_answer",
        "not a whole HTTP answer: more than 100 answers of status 102",
    )


@pytest.mark.parametrize("transport", ["plain"], indirect=True)
async def test_the_plain_transport_makes_a_connection_for_each_request() -> None:
    recorder = Recorder()
    async with listening(recorder) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        await asyncio.gather(*(endpoint.send(b"{}", f"key-{n}") for n in range(3)))
        await endpoint.send(b"{}", "key-3")
        await endpoint.close()
    assert [len(seen) for seen in recorder.connections] == [1] * 4


@pytest.mark.parametrize(
    ("answer", "size"),
    [(http(completion("alpha")), 30_000_000), (http(b'{"error": {"message": "too large"}}', 413), 100_000)],
    ids=["sent in part", "refused, perhaps before it was sent"],
)
async def test_a_connection_on_which_something_may_still_be_sent_is_not_used_again(answer: bytes, size: int) -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        await asyncio.sleep(0.5)

    async with listening(serve) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        for n in range(2):
            assert isinstance(await endpoint.send(b"x" * size, f"key-{n}"), Answered | Rejected)
            await rested(endpoint)
        await endpoint.close()
    assert [head.split(b" ")[0] for head in heads] == [b"POST", b"POST"]


@pytest.mark.parametrize("late", [0.0, 0.015], ids=["together", "late"])
@pytest.mark.parametrize("cut", [1, 10, 60, -20])
async def test_the_beginning_of_an_answer_nobody_asked_for_closes_the_connection(cut: int, late: float) -> None:
    stray = http(completion("beta"))
    written = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(completion("alpha")) + (b"" if late else stray[:cut]))
        if late:
            await asyncio.sleep(late)
            writer.write(stray[:cut])
        written.set()
        await reader.readuntil(b"\r\n\r\n")
        writer.write(stray[cut:])

    async with listening(serve) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        heard = []
        for n in range(3):
            heard.append(await endpoint.send(b"{}", f"key-{n}"))
            await written.wait()  # each time: a connection of its own
            written.clear()
            await asyncio.sleep(0.01)  # it is in the socket, and is to be read
        await endpoint.close()
    assert [getattr(answer, "content", answer) for answer in heard] == ["alpha"] * 3


@pytest.mark.parametrize("transport", ["fast"], indirect=True)
async def test_after_an_answer_that_nobody_asked_for_no_connection_is_kept() -> None:
    """The next one may come when the connection is in use again, and be taken for another row's."""
    connections, strayed = 0, asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(http(completion("alpha")))
        if connections == 1:
            await strayed.wait()
            writer.write(http(completion("beta")))
        await reader.read()

    async with listening(serve) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        await endpoint.send(b"{}", "key-0")
        await rested(endpoint)
        assert not endpoint.slowed
        strayed.set()
        transport: Any = endpoint._transport
        while fast._is_clean(transport._idle[0][1]):
            await asyncio.sleep(0)
        for n in range(1, 3):
            assert isinstance(reply := await endpoint.send(b"{}", f"key-{n}"), Answered)
            assert reply.content == "alpha"
        assert "nobody asked for" in endpoint.slowed
        await endpoint.close()
    assert connections == 3


@pytest.mark.parametrize("trailer", ["X-Request-Id: of-the-first", "Content-Encoding: gzip"])
async def test_a_trailer_is_no_header_of_the_next_answer(trailer: str) -> None:
    body = completion("alpha")
    chunked = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(body), body, trailer.encode())
    )

    answers = iter([chunked, http(completion("beta"))])

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(next(answers))

    async with listening(serve) as port:
        endpoint = endpoint_at(f"http://127.0.0.1:{port}/v1")
        first = await endpoint.send(b"{}", "key-1")
        await rested(endpoint)
        second = await endpoint.send(b"{}", "key-2")
        await endpoint.close()
    assert isinstance(first, Answered)
    assert isinstance(second, Answered)
    assert (first.content, second.content) == ("alpha", "beta")
    assert second.provider_id == first.provider_id != "of-the-first"


async def test_the_connections_time_ends_before_the_requests_so_that_nothing_was_sent_for_certain() -> None:
    async def mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(mute) as port:  # which never shakes hands
        endpoint = ChatEndpoint(f"https://127.0.0.1:{port}/v1", key=KEY, timeout=5.5, connect_timeout=10)
        heard = await endpoint.send(b"{}", "key-1")
        await endpoint.close()
    assert isinstance(heard, NotSent)


def test_on_a_connection_that_is_closed_at_once_nothing_was_sent(transport: str) -> None:
    uvloop = pytest.importorskip("uvloop")  # whose connections can be closed before they are handed over

    class Leaving(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            transport.close()

    async def ask() -> list[object]:
        server = await asyncio.get_running_loop().create_server(Leaving, "127.0.0.1", 0)
        endpoint = endpoint_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        heard = await asyncio.gather(*(endpoint.send(b"{}", f"key-{n}") for n in range(40)))
        await endpoint.close()
        server.close()
        return list(heard)

    heard = uvloop.run(ask())
    assert all(isinstance(answer, NotSent | Lost) for answer in heard)
    if transport == "fast":  # the plain one cannot see it, and says that something may have been sent
        assert any(isinstance(answer, NotSent) for answer in heard)


async def test_a_proxy_of_plain_http_is_told_the_whole_address_and_its_password(
    transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    async with listening(recorder) as port:
        monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{port}")
        endpoint = endpoint_at("http://endpoint.invalid:8080/v1")
        heard = []
        for n in range(2):
            heard.append(await endpoint.send(b"{}", f"key-{n}"))
            await rested(endpoint)
        await endpoint.close()
    assert all(isinstance(answer, Answered) for answer in heard)
    assert [len(seen) for seen in recorder.connections] == ([2] if transport == "fast" else [1, 1])
    for head, _ in (request for seen in recorder.connections for request in seen):
        lines = head.decode().split("\r\n")
        assert lines[0] == "POST http://endpoint.invalid:8080/v1/chat/completions HTTP/1.1"
        assert "Host: endpoint.invalid:8080" in lines
        assert f"Proxy-Authorization: Basic {b64encode(b'me:secret').decode()}" in lines


@pytest.mark.parametrize("named", ["socks5://me:secret@127.0.0.1:9", "http://me:secret@[::1", "http://"])
async def test_a_proxy_that_cannot_be_used_is_refused_without_a_word_of_its_password(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", named)
    with pytest.raises(SettingError, match="https_proxy") as caught:
        endpoint_at("https://endpoint.invalid/v1")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("named", ["http://me:secret@127.0.0.1", "me:secret@127.0.0.1"])
@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"SSH-2.0-x\r\n", b""])
async def test_where_a_proxy_refuses_nothing_was_sent(
    answer: bytes, named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async with listening(refuse) as port:
        monkeypatch.setenv("https_proxy", f"{named}:{port}")
        endpoint = endpoint_at("https://endpoint.invalid/v1")
        heard = await endpoint.send(b"{}", "key-1")
        await endpoint.close()
    assert isinstance(heard, NotSent)
    assert heard.kind == "cannot_connect"
    assert "secret" not in heard.message


async def test_where_nobody_listens_the_address_and_the_reason_are_told() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        for host, why in (("127.0.0.1", "Connection refused"), ("nosuch.invalid", "")):
            endpoint = endpoint_at(f"http://{host}:{port}/v1")
            heard = await endpoint.send(b"{}", "key-1")
            await endpoint.close()
            assert isinstance(heard, NotSent)
            assert heard.message.startswith(f"cannot connect to {host}:{port}: {why}")


async def test_without_an_open_file_to_spare_nothing_was_sent_and_it_is_no_fault_of_the_endpoint() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    endpoint = endpoint_at("http://127.0.0.1:9/v1")
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))  # what is open stays so
    try:
        heard = await endpoint.send(b"{}", "key-1")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await endpoint.close()
    assert isinstance(heard, NotSent)
    assert heard.kind == NO_ROOM


def trusted(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context for endpoint.invalid, and the certificate to trust."""
    key, certificate = folder / "tls.key", folder / "tls.crt"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    names = ["-subj", "/CN=endpoint.invalid", "-addext", "subjectAltName=DNS:endpoint.invalid"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*make, *names, *files, "-days", "2"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


async def test_a_job_runs_over_tls_through_a_proxy(transport: str, tmp_path: Path) -> None:
    tunnels: list[bytes] = []
    recorder = Recorder()
    context, certificate = trusted(tmp_path)

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async with listening(recorder, context) as port:

        async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tunnels.append(await reader.readuntil(b"\r\n\r\n"))
            behind, before = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(pump(reader, before), pump(behind, writer))

        async with listening(tunnel) as proxy:
            (tmp_path / "in.csv").write_text("id,text\n" + "".join(f"{n},row {n}\n" for n in range(30)))
            process = await asyncio.create_subprocess_exec(
                *(BATCHJOB, "start", "in.csv", "--base-url", "https://endpoint.invalid/v1", "--model", "m"),
                *("--labels", "alpha,beta", "--rpm", "0", "--concurrency", "4"),
                cwd=tmp_path,
                env={
                    **os.environ,
                    "BATCHJOB_API_KEY": KEY,
                    "https_proxy": f"http://me:secret@127.0.0.1:{proxy}",
                    "SSL_CERT_FILE": str(certificate),
                },
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    requests = [seen for connection in recorder.connections for seen in connection]
    assert len(requests) == 30
    assert all(f"Authorization: Bearer {KEY}".encode() in head for head, _ in requests)
    assert all(json.loads(body)["model"] == "m" for _, body in requests)
    assert len(tunnels) == len(recorder.connections)
    assert (len(tunnels) < 30) == (transport == "fast")
    for head in tunnels:
        assert head.startswith(b"CONNECT endpoint.invalid:443 ")
        assert f"Proxy-Authorization: Basic {b64encode(b'me:secret').decode()}".encode() in head
        assert KEY.encode() not in head


def test_a_time_limit_holds_also_where_its_timer_is_due_at_once() -> None:
    uvloop = pytest.importorskip("uvloop")  # such a timer is a handle of another kind there

    async def waits() -> str:
        deadlines = Deadlines(0.0004)
        for _ in range(3):
            with pytest.raises(TimeoutError), deadlines.begin():
                await asyncio.sleep(5)
        return "over"

    assert uvloop.run(waits()) == "over"
