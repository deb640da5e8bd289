"""Whatever an endpoint does, each row ends as tests/faults/cases.py says, and docs/reference/faults.md with it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest
from aiohttp.client_proto import ResponseHandler

from batchjob.cli import _run
from batchjob.endpoints.chat import ChatEndpoint
from batchjob.endpoints.choose import VARIABLE
from batchjob.endpoints.transport import MOST_BODY_BYTES
from batchjob.pace import gate
from batchjob.states import Outcome, State
from tests.faults.cases import CASES, Case, bombed, error, html, selected
from tests.faults.server import Act, Exchange, FaultServer, completion, http, label_of, well
from tests.faults.table import document
from tests.transports import PURE, need_fast

KEY = "sk-Test/4f1e+90aZbXqRw7LmNpKjHgFdSa"
BATCHJOB = Path(sys.executable).with_name("batchjob")
ROOT = Path(__file__).parent.parent
USUAL = ("--rpm", "0", "--timeout", "5", "--max-outage", "2", "--max-attempts", "2", "--labels", "alpha,beta")

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and an environment that holds the key and no proxy."""
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("BATCHJOB_", "OPENAI_", "TOKENHUB_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("BATCHJOB_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def take_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "plain")


@pytest.fixture(params=["fast", "plain"])
def transport(request: pytest.FixtureRequest, place: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The transport that is taken; where a test does not ask, it is the fast one."""
    name: str = request.param
    if name == "plain":
        take_plain(monkeypatch)
    else:
        need_fast()
    return name


on_both_transports = pytest.mark.usefixtures("transport")


class Ran(NamedTuple):
    """What a run left behind."""

    exit: int
    said: str


def write_rows(n: int) -> None:
    Path("in.csv").write_text("id,text\n" + "".join(f"{i},row {i}\n" for i in range(1, n + 1)))


def command(url: str, *flags: str) -> list[str]:
    return ["start", "in.csv", "--base-url", url, "--model", "m", *USUAL, *flags]


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> Ran:
    """The command line, in this process."""
    capfd.readouterr()
    code = _run(list(arguments))
    out, err = capfd.readouterr()
    return Ran(code, out + err)


def ask(query: str, *values: object) -> list[tuple[Any, ...]]:
    db = sqlite3.connect("file:batchjob.db?mode=ro", uri=True)
    try:
        return db.execute(query, values).fetchall()
    finally:
        db.close()


def row(number: int) -> dict[str, Any]:
    names = ("state", "label", "source", "error_kind", "error", "attempts", "paid")
    (found,) = ask(f"SELECT {', '.join(names)} FROM row WHERE id & 1099511627775 = ?", number)
    return dict(zip(names, found, strict=True))


def tally(kind: str) -> dict[str, int]:
    return dict(ask("SELECT name, n FROM tally WHERE kind = ? AND n <> 0", kind))


# ---------------------------------------------------------------- where a case happens


def self_signed(folder: Path) -> ssl.SSLContext:
    key, certificate = str(folder / "tls.key"), str(folder / "tls.crt")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    subprocess.run(
        [*make, "-keyout", key, "-out", certificate, "-days", "2", *subject], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


@contextmanager
def full_backlog() -> Iterator[int]:
    """A port whose queue of connections is full: another one is neither made nor refused."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(listening.getsockname())
        yield listening.getsockname()[1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def endpoint(case: Case, folder: Path) -> Iterator[tuple[FaultServer, str]]:
    """The server of a case, and the URL it is given under."""
    server = FaultServer(selected(case), tls=self_signed(folder) if case.where == "tls" else None)
    with ExitStack() as stack:
        port = free_port()
        if case.where == "late":
            opening = threading.Timer(0.8, lambda: stack.enter_context(server.running(port=port)))
            opening.start()
            stack.callback(opening.join)
        elif case.where not in ("nobody", "nowhere", "full", "mute"):
            stack.enter_context(server.running())
            port = server.port
        if case.where == "mute":
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = listening.getsockname()[1]
        if case.where == "full":
            port = stack.enter_context(full_backlog())
        scheme = "https" if case.where in ("tls", "https_to_plain", "mute") else "http"
        host = "nosuch.invalid" if case.where == "nowhere" else "127.0.0.1"
        yield server, f"{scheme}://{host}:{port}/v1"


def interrupted(server: FaultServer, arguments: list[str]) -> Ran:
    """The installed command, stopped by a person once it has sent something and waits."""
    process = subprocess.Popen([BATCHJOB, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    deadline = time.monotonic() + 10
    while not server.requests and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=10)
    return Ran(process.returncode, said)


# ---------------------------------------------------------------- what must hold in each


@pytest.mark.parametrize("case", CASES, ids=str)
def test_fault_ends_as_the_table_says(case: Case, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    check_case(case, place, capfd)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_on_the_plain_transport_a_fault_ends_so_too(
    case: Case, place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    take_plain(monkeypatch)
    check_case(case, place, capfd)


def check_case(case: Case, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    if PURE and case.fault.startswith("rubbish behind the body, in the same bytes"):
        pytest.skip("aiohttp's parser in Python leaves unread what stands behind a body")
    write_rows(case.rows)
    elsewhere = FaultServer(well)
    with elsewhere.running(), endpoint(case, place) as (server, url):
        server.elsewhere = elsewhere.url.replace("127.0.0.1", "localhost")
        arguments = command(url, "--log-file", "log.txt", *case.flags)
        ran = interrupted(server, arguments) if case.interrupt else run(capfd, *arguments)
    assert ran.exit == case.exit, ran.said
    assert case.says in ran.said + str(row(2)["error"])
    assert "defect" not in ran.said
    assert "Traceback" not in ran.said
    assert len(server.requests) <= case.most
    assert elsewhere.connections == 0
    check_row(case)
    check_requests(case, server)
    check_other_rows(case)
    check_books(server)
    check_secret(place, ran)


def check_row(case: Case) -> None:
    found = row(4 if case.on == "after" else 2)
    assert found["state"] == case.state
    if case.state in (State.FAILED, State.UNCONFIRMED):
        assert found["error_kind"] == (case.kind if case.state is State.FAILED else "unconfirmed")
        assert found["error"]
        assert found["label"] is None
    elif case.state is State.DONE:
        assert found["source"] == ("fallback" if case.fallback else "model")
        assert found["label"] == ("alpha" if case.fallback else label_of(2))


def check_requests(case: Case, server: FaultServer) -> None:
    met = ask("SELECT outcome, error_kind FROM request WHERE (? OR rows = '[2]') ORDER BY id", case.on == "all")
    if case.on == "after":
        met = ask("SELECT outcome, error_kind FROM request WHERE error_kind IS NOT NULL ORDER BY id")
    kind = case.met or case.kind
    assert met[0] == (case.outcome, kind if kind not in ("", "off_list") else None)
    of_row = server.sent_for(2)
    if case.waits is not None:
        shortest, longest = case.waits
        assert shortest <= of_row[1].at - of_row[0].at <= longest
    if case.same_key is not None:
        assert (of_row[0].key == of_row[1].key) == case.same_key
    if case.input_tokens is not None:
        assert tally("usage").get("input_tokens", 0) == case.input_tokens


def check_other_rows(case: Case) -> None:
    """They get their own labels, and where the job stops they wait."""
    for number in range(1, case.rows + 1):
        found = row(number)
        if found["state"] == State.DONE and not case.fallback:
            assert found["label"] == label_of(number)
        if case.on in ("row", "once") and number != 2 and case.exit in (0, 4):
            assert found["state"] == State.DONE
        if case.exit in (1, 3) and case.outcome is not Outcome.ANSWERED:
            assert found["state"] in (State.PENDING, State.DONE)


def check_books(server: FaultServer) -> None:
    """The counters say what the rows and requests say, and these what the endpoint saw."""
    assert tally("row") == dict(ask("SELECT state, count(*) FROM row GROUP BY state"))
    outcomes = dict(ask("SELECT outcome, count(*) FROM request GROUP BY outcome"))
    counted = tally("request")
    assert {name: n for name, n in counted.items() if name not in ("sent", "resent", "resent_as_new")} == outcomes
    assert counted.get("sent", 0) == sum(outcomes.values()) - outcomes.get("not_sent", 0)
    assert len(server.requests) <= counted.get("sent", 0)
    times_sent = Counter(x.key for x in server.requests)
    turned_away = counted.get(
        "rejected", 0
    )  # one that repeats a lost request goes again under its key, and counts then
    assert sum(times_sent.values()) - len(times_sent) <= counted.get("resent", 0) + turned_away
    assert ask("PRAGMA integrity_check") == [("ok",)]


def check_secret(folder: Path, ran: Ran) -> None:
    """Neither the key nor half of it is anywhere."""
    for part in (KEY, KEY[:12], KEY[-12:], KEY.lower(), KEY.replace("/", "\\/")):
        assert part not in ran.said
        for file in folder.iterdir():
            assert part.encode() not in file.read_bytes(), f"the key is in {file.name}"


# ---------------------------------------------------------------- another aiohttp


def test_a_job_ends_as_ever_where_aiohttp_is_not_as_expected(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ResponseHandler, "should_close", False)  # with this the fast one would mix answers up
    write_rows(12)
    server = FaultServer(well)
    with server.running():
        assert run(capfd, *command(server.url)).exit == 0
    assert [row(number)["label"] for number in range(1, 13)] == [label_of(number) for number in range(1, 13)]
    assert len(server.requests) == server.connections == 12
    check_books(server)


def test_doctor_says_which_transport_is_taken_and_why(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = "warning   transport   plain, for aiohttp" if PURE else "ok        transport   fast"
    assert expected in run(capfd, "doctor").said
    take_plain(monkeypatch)
    assert "warning   transport   plain, for BATCHJOB_TRANSPORT asks for it" in run(capfd, "doctor").said
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setattr(ResponseHandler, "should_close", False)
    assert f"plain, for aiohttp {aiohttp.__version__} is not as expected" in run(capfd, "doctor").said
    monkeypatch.setenv(VARIABLE, "slow")
    ran = run(capfd, "doctor")
    assert ran.exit == 2
    assert "BATCHJOB_TRANSPORT=slow" in ran.said


# ---------------------------------------------------------------- idempotency keys, one fault after another


def scripted(*acts: Act) -> Act:
    """The nth request of row 2 meets the nth of these; all others are answered as they should."""

    async def act(x: Exchange) -> None:
        await (acts[x.nth - 1] if x.row == 2 and x.nth <= len(acts) else well)(x)

    return act


def answer(data: bytes) -> Act:
    async def act(x: Exchange) -> None:
        await x.send(data)

    return act


async def dropped(x: Exchange) -> None:
    x.close()


LIMITED = answer(error(429, headers={"retry-after-ms": "10"}))


@pytest.mark.parametrize(
    ("acts", "keys", "resent"),
    [
        ((dropped, LIMITED), "aaa", 1),
        ((dropped, answer(error(409))), "aaa", 1),
        ((dropped, dropped), "aaa", 2),
        ((dropped, answer(html(502))), "aaa", 2),
        ((dropped, answer(error(500))), "aab", 1),
        ((dropped, answer(error(500)), LIMITED), "aabc", 1),
        ((answer(error(500)), dropped), "abb", 1),
        ((answer(error(503)), answer(error(500))), "abc", 0),
    ],
    ids=["lost-429", "lost-409", "lost-lost", "lost-html", "lost-500", "lost-500-429", "500-lost", "503-500"],
)
def test_a_key_is_used_again_until_a_failure_was_answered(
    acts: tuple[Act, ...], keys: str, resent: int, capfd: pytest.CaptureFixture[str]
) -> None:
    write_rows(3)
    server = FaultServer(scripted(*acts))
    with server.running():
        ran = run(capfd, *command(server.url, "--max-attempts", "9"))
    assert ran.exit == 0, ran.said
    names: dict[str, str] = {}
    assert "".join(names.setdefault(x.key, "abcd"[len(names)]) for x in server.sent_for(2)) == keys
    assert tally("request").get("resent", 0) == resent


def test_a_key_is_used_again_after_a_lost_request_and_one_that_could_not_be_sent(
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_rows(3)
    port = free_port()
    first = FaultServer(scripted(dropped, dropped, dropped))
    second = FaultServer(well)
    with first.running(port=port):
        assert run(capfd, *command(first.url, "--max-attempts", "2")).exit == 4
    key = first.sent_for(2)[0].key
    assert run(capfd, "retry", "--max-outage", "0.5").exit == 1
    assert row(2)["state"] == State.PENDING
    with second.running(port=port):
        assert run(capfd, "resume").exit == 0
    assert [x.key for x in second.requests] == [key]


def test_a_held_row_goes_out_again_under_its_key_when_the_user_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    write_rows(3)
    server = FaultServer(scripted(dropped))
    with server.running():
        assert run(capfd, *command(server.url, "--on-unconfirmed", "hold")).exit == 4
        assert len(server.requests) == 3
        assert run(capfd, "resume", "in").exit == 4
        assert run(capfd, "retry").exit == 1
        assert len(server.requests) == 3
        assert run(capfd, "retry", "--kind", "unconfirmed").exit == 0
    first, second = server.sent_for(2)
    assert first.key == second.key


# ---------------------------------------------------------------- how much is read


@on_both_transports
def test_a_gzip_bomb_is_read_to_the_cap_and_memory_stays_flat() -> None:
    write_rows(3)
    peaks = {}
    for name, act in (("well", well), ("bombed", bombed)):
        server = FaultServer(act)
        with server.running():
            arguments = command(server.url, "--db", f"{name}.db", "--concurrency", "1")
            process = subprocess.Popen([BATCHJOB, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        peaks[name] = used.ru_maxrss * 1024
        assert process.returncode == {"well": 0, "bombed": 4}[name]
    assert peaks["bombed"] - peaks["well"] < 4 * MOST_BODY_BYTES


# ---------------------------------------------------------------- the key, and other things of one's own


@pytest.mark.parametrize("key", ["sk-two\nlines-of-a-key", "sk-\x01control-in-the-key"])
def test_a_key_that_cannot_be_a_header_is_refused_before_anything_is_sent(
    key: str, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHJOB_API_KEY", key)
    write_rows(3)
    server = FaultServer(well)
    with server.running():
        ran = run(capfd, *command(server.url))
    assert ran.exit in (1, 2)
    assert server.requests == []
    assert key not in ran.said
    assert key[-10:] not in ran.said


def test_a_short_dummy_key_changes_no_answer(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BATCHJOB_API_KEY", "a")
    write_rows(3)
    server = FaultServer(well)
    with server.running():
        assert run(capfd, *command(server.url)).exit == 0
    assert [row(number)["label"] for number in (1, 2, 3)] == [label_of(number) for number in (1, 2, 3)]


# ---------------------------------------------------------------- a late second answer


@on_both_transports
def test_an_answer_nobody_asked_for_is_never_taken_for_the_next_row(capfd: pytest.CaptureFixture[str]) -> None:
    async def twice(x: Exchange) -> None:
        await well(x)
        writer, wrong = x.writer, http(completion(label_of(x.row)))
        server._loop.call_later(0.05, lambda: None if writer.is_closing() else writer.write(wrong))

    write_rows(6)
    server = FaultServer(twice)
    with server.running():
        # So far apart that the second answer is there before the next request, also on a machine with much to do.
        ran = run(capfd, *command(server.url, "--concurrency", "1", "--rpm", "150"))
    assert ran.exit == 0, ran.said
    assert [row(number)["label"] for number in range(1, 7)] == [label_of(number) for number in range(1, 7)]
    assert len(server.requests) == 6


@on_both_transports
async def test_a_second_answer_right_behind_the_first_is_not_taken_for_the_next_request() -> None:
    async def echo_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                asked = json.loads(await reader.readexactly(length))["messages"][-1]["content"]
                await asyncio.sleep(0.003)  # longer than the second answer to the request before takes
                writer.write(http(completion(asked)))
                asyncio.get_running_loop().call_later(0.001, writer.write, http(completion(asked)))

    server = await asyncio.start_server(echo_twice, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    endpoint = ChatEndpoint(url, key=None, timeout=5, connect_timeout=5)
    heard = []
    for n in range(20):  # one behind the other, with no pause between but for what holds the whole loop up
        if n % 2:
            time.sleep(0.008)
        messages = [("user", str(n))]
        body = endpoint.body(messages, model="m", max_tokens=5, temperature=0, response_format=None)
        heard.append(getattr(await endpoint.send(body, f"k{n}"), "content", None))
    await endpoint.close()
    server.close()
    assert heard == [str(n) for n in range(20)]


@on_both_transports
async def test_a_proxy_is_not_given_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.close()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    endpoint = ChatEndpoint("https://endpoint.invalid/v1", key=KEY, timeout=5, connect_timeout=5)
    await endpoint.send(b"{}", "k1")
    await endpoint.close()
    proxy.close()
    assert seen
    assert seen[0].startswith(b"CONNECT endpoint.invalid:443")
    assert KEY.encode() not in seen[0]


# ---------------------------------------------------------------- all at once


# The 429s are not in it: they come in bursts, as from a quota that is used up.
MIX = {"500": 0.03, "html": 0.01, "drop": 0.01, "cut": 0.005, "null": 0.005}


def test_a_mix_of_faults_loses_no_row_and_every_failure_is_in_the_counts(capfd: pytest.CaptureFixture[str]) -> None:
    dice, happened = random.Random(7), Counter[str]()
    refusing_until = 0.0

    async def act(x: Exchange) -> None:
        nonlocal refusing_until
        (fault,) = dice.choices([*MIX, "well"], [*MIX.values(), 1 - sum(MIX.values())])
        if len(server.requests) % 500 == 250:
            refusing_until = x.at + 0.03
        if x.at < refusing_until:
            fault = "429"
        happened[fault] += 1
        right = completion(label_of(x.row))
        await {
            "429": LIMITED,
            "500": answer(error(500)),
            "html": answer(html(502)),
            "drop": dropped,
            "cut": answer(http(right[:-25])),
            "null": answer(http(completion(None))),
            "well": well,
        }[fault](x)

    write_rows(3000)
    server = FaultServer(act)
    with server.running():
        ran = run(
            capfd, *command(server.url, "--concurrency", "40", "--max-attempts", "9", "--max-outage", "60", "--quiet")
        )
    assert ran.exit == 4, ran.said
    status = json.loads(run(capfd, "status", "--json").said)
    nulls = happened["null"]
    assert min(happened[fault] for fault in (*MIX, "429")) > 0
    assert status["rows"] == {"total": 3000, "pending": 0, "in_flight": 0, "done": 3000 - nulls} | {
        "failed": nulls,
        "unconfirmed": 0,
    }
    assert [(kind["kind"], kind["count"]) for kind in status["errors"]] == [("empty_answer", nulls)]
    assert status["requests"]["answered"] == happened["well"] + nulls
    assert status["requests"]["rejected"] == happened["429"] + happened["500"]
    assert status["requests"]["lost"] == happened["html"] + happened["drop"] + happened["cut"]
    assert status["requests"]["sent"] == sum(happened.values()) == len(server.requests)
    assert status["usage"]["input_tokens"] == 10 * status["requests"]["answered"]
    labels = ask("SELECT id & 1099511627775, label FROM row WHERE state = 'done'")
    assert all(label == label_of(number) for number, label in labels)
    check_books(server)


def test_retry_sends_the_poisoned_rows_and_no_other(capfd: pytest.CaptureFixture[str]) -> None:
    async def poisoned(x: Exchange) -> None:
        bad = x.row % 50 == 7
        await (answer(error(400, code="content_filter")) if bad else well)(x)

    write_rows(1000)
    sick, healed = FaultServer(poisoned), FaultServer(well)
    with sick.running():
        assert run(capfd, *command(sick.url, "--concurrency", "20")).exit == 4
    assert tally("error") == {"content_filter": 20}
    assert len(sick.requests) == 1000
    with healed.running():
        assert run(capfd, "retry", "--base-url", healed.url).exit == 0
    assert sorted(x.row for x in healed.requests) == list(range(7, 1000, 50))
    assert tally("row") == {"done": 1000}
    assert tally("error") == {}


@pytest.mark.parametrize("data", [error(401), error(404, code="model_not_found")], ids=["key", "model"])
def test_a_wrong_key_or_model_costs_two_requests_at_most(data: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    write_rows(200)
    server = FaultServer(answer(data))
    with server.running():
        ran = run(capfd, *command(server.url, "--concurrency", "40"))
    assert ran.exit == 3
    assert len(server.requests) <= 2
    assert tally("row") == {"pending": 200}
    assert ask("SELECT state FROM job") == [("refused",)]


def test_what_stopped_the_job_once_mended_labels_every_row(capfd: pytest.CaptureFixture[str]) -> None:
    write_rows(30)
    server = FaultServer(answer(error(400, "hm")))
    with server.running():
        assert run(capfd, *command(server.url)).exit == 3
        server.act = well
        assert run(capfd, "resume").exit == 0
    assert tally("row") == {"done": 30}


def test_rows_survive_an_outage_in_the_middle_of_the_job(capfd: pytest.CaptureFixture[str]) -> None:
    down = threading.Event()

    async def act(x: Exchange) -> None:
        if len(server.requests) == 300:
            down.set()
            server._loop.call_later(1.2, down.clear)
        await (dropped if down.is_set() else well)(x)

    write_rows(600)
    server = FaultServer(act)
    with server.running():
        ran = run(capfd, *command(server.url, "--max-outage", "30", "--max-attempts", "5", "--concurrency", "20"))
    assert ran.exit == 0, ran.said
    assert tally("row") == {"done": 600}


def test_an_address_where_nobody_ever_was_ends_the_job_with_what_to_check(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "FIRST_CONTACT_SECONDS", 0.5)
    write_rows(30)
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))  # and nobody listens
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1"
        ran = run(capfd, "start", "in.csv", "--base-url", url, "--model", "m", "--labels", "alpha,beta")
    assert ran.exit == 3, ran.said
    assert "refused - no connection in " in ran.said
    assert "check the address, that something listens there" in ran.said
    assert tally("row") == {"pending": 30}
    tries = f"{tally('request')['not_sent']:,} got no connection"
    assert f"requests  none were sent; {tries}\n" in ran.said
    assert re.search(rf"this run  .*, no requests; {tries}\n", ran.said)


def test_an_outage_is_told_in_status_and_in_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    """The endpoint goes away when it has answered 20 requests, and is back when `status` has told of that."""
    write_rows(60)
    server = FaultServer(well)
    told: dict[str, Any] = {}

    async def act(x: Exchange) -> None:
        await (well if len(server.requests) <= 20 or told else dropped)(x)

    def watch() -> None:
        deadline = time.monotonic() + 15
        while not told and time.monotonic() < deadline:
            asked = subprocess.run([BATCHJOB, "status", "--json"], capture_output=True, text=True)
            status = json.loads(asked.stdout) if asked.returncode == 0 else {}
            if status.get("outage"):
                lines = subprocess.run([BATCHJOB, "status"], capture_output=True, text=True).stdout
                told.update(status, lines=lines)

    server.act = act
    with server.running():
        watching = threading.Thread(target=watch)
        watching.start()
        ran = run(capfd, *command(server.url, "--max-outage", "600", "--max-attempts", "9"))
        watching.join()
    assert ran.exit == 0, ran.said
    outage = told["outage"]
    assert outage["since"] < outage["next_try"] <= outage["until"]
    assert abs(outage["until"] - outage["since"] - 600) < 5
    assert outage["error"]
    assert told["rate"]["eta_seconds"] is None
    assert "outage    no answer since " in told["lines"]
    assert " gives up " in told["lines"]
    assert "outage_noticed" in ran.said
    assert "outage_over" in ran.said


ANSWERS_AT_A_TIME = 5


@contextmanager
def often_away() -> Iterator[tuple[int, list[int]]]:
    """A port where nobody listens after each fifth answer, until a connection was refused; and how many were by then.

    One request is answered on each connection.
    """
    answered = 0
    refused: list[int] = []

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal answered
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r")[0]))
        writer.write(http(completion("alpha"), Connection="close"))
        writer.close()
        answered += 1

    async def serve(port: list[int], ready: threading.Event, over: threading.Event) -> None:
        while not over.is_set():
            async with await asyncio.start_server(once, "127.0.0.1", *port or [0], reuse_address=True) as server:
                port[:] = [server.sockets[0].getsockname()[1]]
                ready.set()
                enough = answered + ANSWERS_AT_A_TIME
                while answered < enough and not over.is_set():
                    await asyncio.sleep(0.002)
            before = refused[-1] if refused else 0
            while (now := tally("request").get("not_sent", 0)) == before and not over.is_set():
                await asyncio.sleep(0.005)
            refused.append(now)

    port: list[int] = []
    ready, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=lambda: asyncio.run(serve(port, ready, over)))
    thread.start()
    try:
        assert ready.wait(5)
        yield port[0], refused
    finally:
        over.set()
        thread.join()


def test_connections_refused_now_and_then_fail_no_row(capfd: pytest.CaptureFixture[str]) -> None:
    write_rows(60)
    more = ("--max-attempts", "1", "--max-outage", "20", "--concurrency", "4")
    with often_away() as (port, refused):
        ran = run(capfd, *command(f"http://127.0.0.1:{port}/v1", *more))
    requests = tally("request")
    # What waits in a queue of connections when that is closed was sent: those rows fail by their one attempt.
    assert ask("SELECT error_kind FROM row WHERE state <> 'done' AND error_kind <> 'connection_lost'") == []
    assert tally("row")["done"] > 30
    assert len(set(refused)) >= 3, "each time nobody listened it was refused, and at most 13 rows are over by then"
    unsent = f"; {requests['not_sent']:,} more got no connection\n"
    assert re.search(rf"requests  {requests['sent']} sent: .*{unsent}", ran.said)
    assert re.search(rf"this run  .*, {requests['sent']} requests{unsent}", ran.said)


# ---------------------------------------------------------------- the table as text


def test_docs_faults_md_is_what_the_table_says() -> None:
    assert (ROOT / "docs" / "reference" / "faults.md").read_text() == document(), "run: make reference"


def test_every_fault_has_a_name_of_its_own() -> None:
    assert [name for name, n in Counter(map(str, CASES)).items() if n > 1] == []
