"""An endpoint sends the key back, in every spelling and place: it is in nothing that is kept or said."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import pytest

from batchjob.cli import _run
from batchjob.cli.options import database, db_flag
from batchjob.cli.status import command
from batchjob.endpoints.models import ModelsEndpoint
from batchjob.endpoints.secrets import BLOT, LEAST_PART, Secrets
from batchjob.settings.pairs import is_variable
from tests.faults.server import Exchange, FaultServer, completion, http, well

KEY = "sk-Test/4f1e+90aZbXqRw7LmNpKjHgFdSa"

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "JSON's escapes": lambda key: "".join(f"\\u{ord(c):04x}" for c in key),
    "JSON in JSON in JSON": lambda key: "".join(f"\\\\\\\\u{ord(c):04X}" for c in key),
    "slashes escaped": lambda key: key.replace("/", "\\\\/"),
    "a URL's escapes": lambda key: quote(key, safe=""),
    "all of a URL's escapes, twice": lambda key: "".join(f"%25{ord(c):02X}" for c in key),
    "HTML's numbers": lambda key: "".join(f"&#{ord(c)};" if n % 2 else f"&#x{ord(c):x};" for n, c in enumerate(key)),
    "HTML's names": lambda key: key.replace("/", "&sol;").replace("+", "&amp;plus;"),
    "escaped bytes": lambda key: "".join(f"\\x{ord(c):02x}" if n % 2 else f"\\{ord(c):03o}" for n, c in enumerate(key)),
    "two bytes a character": lambda key: key.encode("utf-16-le").decode("latin-1"),
    "base64": lambda key: b64encode(f"Bearer {key}".encode()).decode(),
    "base64 for a URL": lambda key: urlsafe_b64encode(f"Authorization: Bearer {key}".encode()).decode(),
    "hexadecimal": lambda key: key.encode().hex(),
    "cut by somebody": lambda key: key[:20] + "...",
}


def error(status: int = 400, **fields: Any) -> bytes:
    return http(json.dumps({"error": {"message": "no", **fields}}).encode(), status)


def answer(**fields: Any) -> bytes:
    return http(json.dumps({**json.loads(completion("alpha")), **fields}).encode())


def streamed(told: str) -> bytes:
    """One character in each event."""
    events = [{"choices": [{"index": 0, "delta": {"content": c}}]} for c in told]
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return http("".join([*lines, "data: [DONE]\n\n"]).encode(), type="text/event-stream")


PLACES: dict[str, Callable[[str], bytes]] = {
    "an error's message": lambda told: error(message=f"key {told} is odd"),
    "where a message is cut": lambda told: error(message="x" * 485 + told),
    "an error's code": lambda told: error(code=told),
    "where a code is cut": lambda told: error(code="x" * 85 + told),
    "an error's type and param": lambda told: error(type=told, param=told),
    "an error's details": lambda told: http(json.dumps({"detail": [{"input": {"Authorization": told}}]}).encode(), 422),
    "an error's own ID": lambda told: error(request_id="x" * 185 + told),
    "an answer": lambda told: http(completion(f"I got {told} from you")),
    "where an answer is cut": lambda told: http(completion("x" * 1985 + told)),
    "parts of an answer": lambda told: http(completion([{"type": "text", "text": c} for c in told])),
    "a stream": streamed,
    "a label among many": lambda told: http(completion(json.dumps({"label": told}))),
    "a refusal": lambda told: http(completion(None, refusal=told)),
    "how it ended": lambda told: http(completion("alpha", finish=told)),
    "an answer's ID": lambda told: answer(id=told),
    "a usage": lambda told: answer(usage={"prompt_tokens": told}),
    "where a usage is cut": lambda told: answer(usage={"x" * 270: told, "prompt_tokens": "?"}),
}
HEADERS = {"as it is": str, "cut": lambda key: "x" * 185 + key, "a URL's escapes": SPELLINGS["a URL's escapes"]}


def acts() -> dict[int, bytes]:
    """What rows with odd numbers are answered; the others get their label, so that nothing stops the job."""
    made = [place(spell(KEY)) for spell in SPELLINGS.values() for place in PLACES.values()]
    made += [http(completion("what?"), x_request_id=spell(KEY)) for spell in HEADERS.values()]
    return {2 * n + 1: data for n, data in enumerate(made)}


def traces() -> list[str]:
    """How the key would be recognised, whole or half."""
    found = []
    for spell in SPELLINGS.values():
        told = spell(KEY).lower()
        found += [told, told[: len(told) // 2], told[len(told) // 2 :]]
    return [*found, KEY[:15].lower(), KEY[-15:].lower()]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BATCHJOB_API_KEY", KEY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def kept() -> str:
    """All that is in the database."""
    with sqlite3.connect("file:batchjob.db?mode=ro", uri=True) as db:
        tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        cells = [cell for table in tables for row in db.execute(f"SELECT * FROM {table}") for cell in row]
    return "\n".join(cell.decode("latin-1") if isinstance(cell, bytes) else str(cell) for cell in cells)


@pytest.mark.parametrize("per_request", ["1", "2"])
def test_the_key_comes_back_in_every_spelling_and_place_and_is_neither_kept_nor_said(
    per_request: str, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    told = acts()

    async def act(x: Exchange) -> None:
        await (x.send(told[x.row]) if x.row in told else well(x))

    Path("in.csv").write_text("text\n" + "".join(f"row {n}\n" for n in range(1, 2 * len(told) + 1)))
    with FaultServer(act).running() as server:
        flags = ("--rpm", "0", "--max-attempts", "1", "--labels", "alpha,beta", "--rows-per-request", per_request)
        log = ("--log-file", "log.jsonl", "--log-format", "json", "--concurrency", "8", "--name", "j")
        assert _run(["start", "in.csv", "--base-url", server.url, "--model", "m", *flags, *log]) == 4
    for name in ("errors", "status"):
        _run([name, "j"])
        _run([name, "j", "--json"])
    _run(["export", "j", "-o", "out.csv"])
    _run(["export", "j", "--requests", "-o", "requests.jsonl"])
    out, err = capfd.readouterr()
    files = "".join(Path(name).read_text() for name in ("out.csv", "requests.jsonl", "log.jsonl"))
    everything = (kept() + out + err + files).lower()
    while "\\\\" in everything:  # one more for each document it was written into
        everything = everything.replace("\\\\", "\\")
    assert everything.count(BLOT) > len(told)
    assert [trace for trace in traces() if trace.replace("\\\\", "\\") in everything] == []


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_a_list_of_models_shows_no_key(spelling: str) -> None:
    async def act(x: Exchange) -> None:
        await x.send(http(json.dumps({"data": [{"id": SPELLINGS[spelling](KEY)}, {"id": "m"}]}).encode()))

    with FaultServer(act).running() as server:
        endpoint = ModelsEndpoint(server.url, key=KEY, timeout=5)
        (shown, other) = tuple(await endpoint.models())
        await endpoint.close()
    assert BLOT in shown
    assert other == "m"
    assert not any(trace in shown.lower() for trace in traces())


def test_what_is_not_the_key_stays_letter_for_letter() -> None:
    secrets = Secrets((KEY, None, "EMPTY"))
    for text in ("EMPTY", "100% \\ & ü İ", "sk-Test/4f", KEY[: LEAST_PART - 1], "\\u0061&#98;%63", "x" * 5000):
        assert secrets.blotted(text) == text
    assert secrets.blotted(f"ü\\n{KEY}, &amp; İ{KEY}") == f"ü\\n{BLOT}, &amp; İ{BLOT}"
    assert secrets.blotted(f"{KEY[:LEAST_PART]}|{KEY[-LEAST_PART:]}") == f"{BLOT}|{BLOT}"


def test_each_key_that_was_renewed_is_blotted() -> None:
    secrets = Secrets(("the-first-key",))
    assert secrets.blotted("the-second-key") == "the-second-key"
    secrets.add("the-second-key")
    assert secrets.blotted("the-first-key the-second-key") == f"{BLOT} {BLOT}"


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--db", "postgresql://me:pa/ss@w0rd@host/jobs"),
        ("jobs", "--db", "sqlite:/me:pa/ss@w0rd@host/jobs"),
        ("jobs", "--db", "postgresql:me:pass@w0rd@host/jobs"),
        ("start", "in.csv", "--labels", "a,b", "--sandbox", "--db", "host=127.0.0.1 user=me password=pass@w0rd"),
        ("move", "j", "--to", "host=127.0.0.1 user=me password=pass@w0rd"),
        ("status", "--db", "postgresql://me@127.0.0.1:1/jobs?sslmode=disable&password=pass@w0rd"),
        ("start", "https://me:pa/ss@w0rd@host/in.csv", "--labels", "a,b"),
        ("start", "in.csv", "--labels-file", "https://me:pa/ss@w0rd@host/x"),
        ("start", "in.csv", "--config", "https://me:pa/ss@w0rd@host/x"),
        ("export", "j", "-o", "https://me:pa/ss@w0rd@host/out.csv"),
        ("resume", "https://me:pa/ss@w0rd@host"),
        ("https://me:pa/ss@w0rd@host",),
    ],
)
def test_a_password_in_an_address_is_in_no_error(
    arguments: tuple[str, ...], place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("in.csv").write_text("text\na\n")
    assert _run(list(arguments)) in (1, 2)
    said = "".join(capfd.readouterr())
    assert said.startswith(("batchjob:", "Usage:"))
    assert "ss@w" not in said


def test_the_next_command_names_an_address_without_its_password() -> None:
    with click.Context(command):
        database("postgresql://me:pass@host:5432/jobs")
        assert db_flag() == "--db postgresql://me@host:5432/jobs"
        database("postgresql://me@host/jobs?password=pass&sslmode=disable")
        assert db_flag() == "--db 'postgresql://me@host/jobs?password=PASSWORD&sslmode=disable'"


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("headers", ("--header", f"X-K={KEY}")),
        ("params", ("--param", f"user={KEY}")),
        ("prompt", ("--prompt", f"{KEY}: {{text}} {{labels}}")),
        ("name", ("--name", KEY.replace("/", "-"))),
    ],
)
@pytest.mark.parametrize("command", [False, True])
def test_a_key_that_a_setting_holds_too_is_refused_before_anything_is_stored(
    batchjob: Any, name: str, given: tuple[str, str], *, command: bool
) -> None:
    key = given[1] if name == "name" else KEY
    (batchjob.folder / "in.csv").write_text("text\na\n")
    how = ("--api-key-command", 'printf "%s" "$SOME_KEY"') if command else ("--api-key-env", "SOME_KEY")
    task = ("--labels", "a,b", "--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--max-outage", "0")
    ended = batchjob("start", "in.csv", *task, *how, *given, env={"SOME_KEY": key})
    assert ended.code == 2
    assert f"{name} holds the API key, and settings are stored" in ended.err
    assert key not in ended.out + ended.err
    assert not (batchjob.folder / "batchjob.db").exists()


KEYS = (
    "sk-proj-4f1e90aZbXqRw7LmNpKjH",
    "gsk_" + "x9Qa" * 13,
    "hf_" + "AbCdEfGhIj" * 4,
    "0a1b2c3d" * 4,
    "f1b2c3d4e5f6",
    "a b",
)
NAMES = ("OPENAI_API_KEY", "AZURE_OPENAI_API_KEY_2", "my_key", "_", "S3_TOKEN", "AZUREOPENAISERVICEKEY", "MyKey2")


def test_a_name_of_a_variable_is_told_from_a_key() -> None:
    assert [key for key in KEYS if is_variable(key)] == []
    assert [name for name in NAMES if not is_variable(name)] == []


TASK = ("--labels", "a,b", "--model", "m", "--base-url", "http://127.0.0.1:9/v1", "--max-outage", "0")


@pytest.mark.parametrize(
    ("file", "given"),
    [
        ("", ("start", "in.csv", *TASK, "--api-key-env", KEY)),
        ("", ("start", "in.csv", "--labels", "a,b", "--sandbox", "--api-key-env", KEY)),
        ("", ("start", "in.csv", *TASK, "--auth", "none", "--api-key-env", KEY)),
        ("", ("start", "in.csv", *TASK, "--api-key-command", "echo 1", "--api-key-env", KEY)),
        ("", ("start", "in.csv", *TASK, "--api-key-command", "sk-Test4f1e90aZbXqRw7LmNpKjHgFdSa")),
        ("", ("start", "in.csv", *TASK, "--header", f"X-Token=env:{KEY}")),
        (f'api_key_env = "{KEY}"', ("start", "in.csv", *TASK)),
        (f'api_key = "{KEY}"', ("start", "in.csv", *TASK)),
        (f'headers = {{ X-Token = "env:{KEY}" }}', ("start", "in.csv", *TASK)),
        ("", ("doctor", "--api-key-env", KEY)),
        (f'api_key_env = "{KEY}"', ("doctor",)),
    ],
)
def test_a_key_that_stands_where_a_name_belongs_is_neither_shown_nor_stored(
    file: str, given: tuple[str, ...], place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("in.csv").write_text("text\na\n")
    Path("job.toml").write_text(file)
    ended = _run([*given])
    assert ended in ((1, 2) if "doctor" in given else (2,))
    assert "sk-Test" not in "".join(capfd.readouterr())
    assert not Path("batchjob.db").exists()
