"""The first request teaches how a model wants to be asked: each refusal is met once, said, and known from then on."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from batchjob.cli import _run
from batchjob.settings.config import settings_of
from batchjob.stores import open_reader
from tests.faults.cases import error
from tests.faults.server import Act, Exchange, FaultServer, completion, http, label_of, well


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """An endpoint, and three rows for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHJOB_API_KEY", "sk-1234567890abcdef")
    write("in.csv", 1, 2, 3)
    with FaultServer(well).running() as server:
        yield server


def write(name: str, *rows: int) -> None:
    Path(name).write_text("id,text\n" + "".join(f"{n},row {n}\n" for n in rows))


def start(server: FaultServer, *flags: str, name: str = "in.csv", code: int = 0) -> None:
    usual = ("--labels", "alpha,beta", "--model", "m", "--rpm", "0", "--quiet")
    assert _run(["start", name, "--base-url", server.url, *usual, *flags]) == code


def status(*arguments: str, capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capfd.readouterr()
    assert _run(["status", *arguments, "--json"]) == 0
    found: dict[str, Any] = json.loads(capfd.readouterr().out)
    return found


def paid() -> list[int]:
    db = sqlite3.connect("file:batchjob.db?mode=ro", uri=True)
    found = [n for (n,) in db.execute("SELECT paid FROM row ORDER BY id")]
    db.close()
    return found


def refusing(*names: str) -> Act:
    """As OpenAI refuses parameters that a model does not take, one at a time."""

    async def act(x: Exchange) -> None:
        found = next((name for name in names if name in x.body), None)
        if found is None:
            await well(x)
        else:
            fields = {"type": "invalid_request_error", "param": found, "code": "unsupported_parameter"}
            await x.send(error(400, f"Unsupported parameter: '{found}' is not supported with this model.", **fields))

    return act


async def thinking(x: Exchange) -> None:
    """A model whose thoughts need more than the usual room, told nowhere before."""
    if x.body["max_tokens"] < 500:
        used = {"prompt_tokens": 10, "completion_tokens": 53, "completion_tokens_details": {"reasoning_tokens": 53}}
        await x.send(http(completion(None, finish="length", usage=used, reasoning_content="The customer may")))
    else:
        await x.send(http(completion(label_of(x.row), reasoning_content="The customer may want alpha.")))


def test_each_refusal_is_met_once_said_and_known_to_the_next_job(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint.act = refusing("max_tokens", "temperature")
    start(endpoint)
    assert len(endpoint.requests) == 2 + 3
    said = capfd.readouterr().err
    assert said.count("asked_otherwise") == 2
    assert "max_completion_tokens for max_tokens" in said
    assert "1 request refused, not paid" in said
    found = status(capfd=capfd)
    assert found["learned"] == {
        "m": "max_tokens as max_completion_tokens (the endpoint); no temperature (the endpoint)"
    }
    assert (found["rows"]["done"], found["requests"]["rejected"]) == (3, 2)
    write("more.csv", 3, 4)
    start(endpoint, name="more.csv")  # row 3 is remembered under the question as it was sent
    assert len(endpoint.requests) == 2 + 3 + 1
    start(endpoint, "--new")
    assert len(endpoint.requests) == 2 + 3 + 1


def test_without_adapting_the_first_refusal_ends_the_job_with_what_to_type(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint.act = refusing("temperature")
    start(endpoint, "--no-adapt", code=3)
    assert len(endpoint.requests) == 1
    assert "--param temperature=omit, or leave out --no-adapt" in status(capfd=capfd)["reason"]
    start(endpoint, "--no-adapt", "--param", "temperature=omit")


def test_a_refusal_that_the_changes_do_not_meet_ends_the_job(endpoint: FaultServer) -> None:
    endpoint.act = refusing("max_tokens", "max_completion_tokens")
    start(endpoint, code=3)
    assert len(endpoint.requests) == 2
    assert paid() == [0, 0, 0]


def test_a_request_that_is_shown_is_asked_as_the_endpoint_taught(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint.act = refusing("temperature")
    start(endpoint)
    write("more.csv", 7)
    capfd.readouterr()
    usual = ("--labels", "alpha,beta", "--model", "m", "--base-url", endpoint.url, "--rpm", "0", "--quiet")
    assert _run(["try", "more.csv", *usual]) == 0
    shown = capfd.readouterr().out
    assert "POST " in shown
    assert "temperature" not in shown
    assert _run(["start", "more.csv", *usual, "--show-prompt"]) == 0
    assert capfd.readouterr().out.rstrip("\n") in shown
    assert "temperature" not in endpoint.requests[-1].body


def test_rows_of_the_same_text_are_paid_for_once_also_where_the_first_request_was_met(endpoint: FaultServer) -> None:
    endpoint.act = refusing("temperature")
    write("in.csv", *([1, 2] * 600))
    start(endpoint)
    assert len(endpoint.requests) == 1 + 2


def test_an_answer_that_was_cut_in_its_thoughts_gets_room_and_is_the_only_one_in_vain(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint.act = thinking
    start(endpoint)
    assert len(endpoint.requests) == 4
    assert paid() == [2, 1, 1]
    assert "1 answer paid in vain" in capfd.readouterr().err
    write("more.csv", 4)
    start(endpoint, name="more.csv")
    assert len(endpoint.requests) == 5


def test_thoughts_without_an_end_are_a_kind_of_their_own_with_what_to_type(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    endpoint.act = thinking
    start(endpoint, "--max-tokens", "100", "--limit", "1", code=4)
    (found,) = status(capfd=capfd)["errors"]
    assert found["kind"] == "thought_only"
    assert "all 53 tokens went into thinking: 'The customer may'" in found["example"]
    endpoint.requests.clear()
    assert _run(["retry", "--kind", "thought_only", "--max-tokens", "2000", "--quiet"]) == 0


@pytest.mark.parametrize("refused", ["system", "switch"])
def test_a_system_message_goes_into_the_users_and_thinking_off_where_the_endpoint_says_so(
    endpoint: FaultServer, refused: str
) -> None:
    async def act(x: Exchange) -> None:
        if refused == "system" and x.body["messages"][0]["role"] == "system":
            await x.send(error(400, "System role not supported"))
        elif refused == "switch" and x.body.get("enable_thinking") is not False:
            said = "parameter.enable_thinking must be set to false for non-streaming calls"
            await x.send(error(400, said, code="invalid_parameter_error"))
        else:
            await well(x)

    endpoint.act = act
    start(endpoint)
    assert len(endpoint.requests) == 4
    last = endpoint.requests[-1].body
    assert [m["role"] for m in last["messages"]] == (["user"] if refused == "system" else ["system", "user"])
    assert "alpha" in last["messages"][0]["content"]


def test_each_model_of_a_job_is_asked_alone_first(endpoint: FaultServer) -> None:
    async def act(x: Exchange) -> None:
        await (refusing("temperature") if x.body["model"] == "n" else well)(x)

    endpoint.act = act
    Path("job.toml").write_text('[[routes]]\nname = "odd"\nmodel = "n"\npattern = "[13579]$"\n')
    write("in.csv", *range(2, 82, 2), *range(1, 41, 2))  # the other model is under way when this one is asked first
    start(endpoint)
    assert len(endpoint.requests) == 1 + 60


def test_many_rows_a_request_are_asked_again_together(endpoint: FaultServer) -> None:
    async def act(x: Exchange) -> None:
        if "temperature" in x.body:
            await x.send(error(400, "temperature is not supported", param="temperature"))
            return
        rows = json.loads(x.body["messages"][-1]["content"])
        labels = {number: label_of(int(text.split()[1])) for number, text in rows.items()}
        await x.send(http(completion(json.dumps(labels))))

    endpoint.act = act
    start(endpoint, "--rows-per-request", "3")
    assert len(endpoint.requests) == 2
    assert "response_format" in endpoint.requests[1].body


def test_a_schema_that_is_given_up_for_good_changes_no_other_setting_of_the_job(
    endpoint: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def act(x: Exchange) -> None:
        if "response_format" in x.body:
            await x.send(error(400, "no"))
            return
        rows = json.loads(x.body["messages"][-1]["content"])
        await x.send(http(completion(json.dumps(dict.fromkeys(rows, "alpha")))))

    endpoint.act = act
    monkeypatch.setattr("batchjob.cli.run._most_in_flight", lambda config: 3)  # as ulimit -n has it on this machine
    start(endpoint, "--rows-per-request", "3", "--concurrency", "40")
    with open_reader("batchjob.db") as reader:
        kept = settings_of(reader.job("in"))
    assert (kept.response_format, kept.concurrency) == (False, 40)
