"""What is sent besides the question: parameters, headers and the key, by the user's word or by what is known."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.cli import _run
from batchjob.errors import SettingError
from batchjob.exchange.question import most_tokens
from batchjob.providers.dialect import Dialect, Learned, check_dialects, dialect_of, differences
from batchjob.settings.complete import check
from batchjob.settings.config import merge
from batchjob.settings.pairs import read_params
from batchjob.task.asked import prompt_of
from batchjob.task.identity import Keys, Task
from tests.faults.server import Exchange, FaultServer, completion, http, label_of, well

if TYPE_CHECKING:
    from tests.conftest import BatchJob

KEY = "sk-1234567890abcdef"
PLAIN = {"base_url": "http://host/v1", "model": "m", "labels": ["alpha", "beta"]}


@pytest.fixture
def endpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """An endpoint that answers well, three rows, and a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHJOB_API_KEY", KEY)
    Path("in.csv").write_text("id,text\n1,row 1\n2,row 2\n3,row 3\n")
    with FaultServer(well).running() as server:
        yield server


def start(server: FaultServer, *flags: str, query: str = "", code: int = 0) -> None:
    usual = ("--labels", "alpha,beta", "--model", "m", "--rpm", "0", "--quiet")
    assert _run(["start", "in.csv", "--base-url", server.url + query, *usual, *flags]) == code


def dialect(**settings: Any) -> Dialect:
    config = merge({**PLAIN, **settings})
    return dialect_of(config, config.model)


def stored() -> str:
    """All that the database holds, as text."""
    db = sqlite3.connect("file:batchjob.db?mode=ro", uri=True)
    dump = "\n".join(db.iterdump())
    db.close()
    return dump


# ---------------------------------------------------------------- parameters


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["seed=7"], {"seed": 7}),
        (["reasoning_effort=low"], {"reasoning_effort": "low"}),
        (["a.b=true", "a.c=[1, 2]"], {"a": {"b": True, "c": [1, 2]}}),
        (["logit_bias.50256=-100"], {"logit_bias": {"50256": -100}}),
        (["stop=a=b"], {"stop": "a=b"}),
        (['top="1"'], {"top": "1"}),
        (["provider.order=['a', 'b']"], {"provider": {"order": ["a", "b"]}}),
    ],
)
def test_a_parameter_is_toml_or_else_text_and_dots_lead_into_tables(given: list[str], found: dict[str, Any]) -> None:
    assert read_params(given) == found


@pytest.mark.parametrize(
    ("params", "says"),
    [
        *(({name: 1}, f"{name} cannot be given") for name in ("model", "messages", "stream", "n", "tools")),
        ({"temperature": 0.5}, "give --temperature 0.5"),
        ({"max_tokens": 0}, "1 or more, or omit"),
        ({"a": {"b": float("nan")}}, "a.b is of a kind that JSON has not"),
    ],
)
def test_a_parameter_that_would_ask_otherwise_is_refused_with_what_to_give(params: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        check(merge({**PLAIN, "params": params}))


def test_parameters_and_headers_of_file_and_flags_go_out_together(endpoint: FaultServer) -> None:
    Path("job.toml").write_text(
        '[params]\nseed = 1\nreasoning.effort = "low"\n[models.m.params]\ntop_k = 3\n[headers]\nX-Title = "a"\n'
    )
    start(endpoint, "--param", "seed=2", "--param", "reasoning.exclude=true", "--param", "temperature=omit")
    sent = endpoint.requests[0]
    assert sent.headers["x-title"] == "a"
    assert {key: sent.body.get(key) for key in ("seed", "top_k", "temperature")} == {
        "seed": 2,
        "top_k": 3,
        "temperature": None,
    }
    assert sent.body["reasoning"] == {"effort": "low", "exclude": True}


def test_a_parameter_makes_another_question_and_one_that_changes_no_answer_does_not() -> None:
    def question(**params: Any) -> str:
        return Task.of(merge({**PLAIN, "params": params})).question

    assert question(seed=1) != question(seed=2) != question()
    assert question(service_tier="flex", user="me") == question()


# ---------------------------------------------------------------- headers and the key


def test_a_secret_header_is_read_from_the_environment_sent_and_stored_nowhere(
    endpoint: FaultServer, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKSPACE", "wrkspc-secret-1")

    async def mirror(x: Exchange) -> None:
        await x.send(http(json.dumps({"error": {"message": f"who is {x.headers['x-key']}?"}}).encode(), 401))

    endpoint.act = mirror
    start(endpoint, "--header", "X-Key=env:WORKSPACE", code=3)
    assert endpoint.requests[0].headers["x-key"] == "wrkspc-secret-1"
    assert "wrkspc-secret-1" not in stored() + "".join(capfd.readouterr())
    assert "who is [key]?" in stored()


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("X-Auth-Token=abc123", "named like a secret"),
        ("Content-Type=text/plain", "set by batchjob"),
        ("X Y=1", "no name of a header"),
        ("X-Y=env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE, which is not set"),
        ("=1", "NAME=VALUE"),
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_and_its_value_is_not_shown(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str], header: str, says: str
) -> None:
    start(endpoint, "--header", header, code=2)
    said = capfd.readouterr().err
    assert says in said
    assert "abc123" not in said
    assert not endpoint.requests


@pytest.mark.parametrize(
    ("flags", "name", "value"),
    [
        ((), "authorization", f"Bearer {KEY}"),
        (("--auth", "api-key"), "api-key", KEY),
        (("--auth", "x-api-key"), "x-api-key", KEY),
        (("--provider", "azure"), "api-key", KEY),
        (("--provider", "azure", "--auth", "bearer"), "authorization", f"Bearer {KEY}"),
        (("--auth", "none"), "", ""),
    ],
)
def test_the_key_goes_as_the_user_says_else_as_the_provider_wants_it(
    endpoint: FaultServer, flags: tuple[str, ...], name: str, value: str
) -> None:
    start(endpoint, *flags)
    sent = endpoint.requests[0].headers
    assert [(key, sent[key]) for key in ("authorization", "api-key", "x-api-key") if key in sent] == (
        [(name, value)] if name else []
    )


def test_an_address_may_carry_its_api_version_and_nothing_else(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    start(endpoint, query="?api-version=2024-10-21")
    assert endpoint.requests[0].line == "POST /v1/chat/completions?api-version=2024-10-21 HTTP/1.1"
    start(endpoint, query="?key=abc", code=2)
    assert "only ?api-version=DATE" in capfd.readouterr().err


def test_a_command_gives_the_key_and_another_after_a_401(endpoint: FaultServer) -> None:
    Path("key.py").write_text(
        "import pathlib; p = pathlib.Path('n'); n = int(p.read_text()) + 1 if p.exists() else 1; p.write_text(str(n))\n"
        "print(f'token-number-{n}')\n"
    )

    async def wants_the_second(x: Exchange) -> None:
        if x.secret == "token-number-2":
            await well(x)
        else:
            await x.send(http(b'{"error": {"message": "expired"}}', 401))

    endpoint.act = wants_the_second
    command = f"{sys.executable} key.py"
    start(endpoint, "--api-key-command", command)
    assert [x.secret for x in endpoint.requests][:2] == ["token-number-1", "token-number-2"]
    assert Path("n").read_text() == "2"
    assert "token-number" not in stored()
    assert "key.py" not in stored()


def test_a_command_for_the_key_counts_in_no_file_that_nobody_named(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("job.toml").write_text('api_key_command = "touch ran; echo token-1"\n')
    start(endpoint, code=2)
    assert "give --config job.toml" in capfd.readouterr().err
    assert not Path("ran").exists()
    start(endpoint, "--config", "job.toml")
    assert endpoint.requests[0].secret == "token-1"


@pytest.mark.parametrize("command", ["exit 3", "true", "printf 'a\\nb'"])
def test_a_command_that_gives_no_key_ends_the_command_before_anything_is_made(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str], command: str
) -> None:
    start(endpoint, "--api-key-command", command, code=2)
    assert "--api-key-command" in capfd.readouterr().err
    assert not Path("batchjob.db").exists()


# ---------------------------------------------------------------- how a model is asked


OPENAI, DEEPSEEK = "https://api.openai.com/v1", "https://api.deepseek.com"


def test_an_endpoint_of_which_nothing_is_known_is_asked_in_openais_form() -> None:
    assert dialect() == Dialect()


@pytest.mark.parametrize(
    ("settings", "how"),
    [
        ({"base_url": OPENAI, "model": "gpt-4o-mini"}, ""),
        (
            {"base_url": OPENAI, "model": "gpt-5-mini"},
            "max_tokens as max_completion_tokens (openai); no temperature (openai); "
            "thinks as it likes, with room for 2,000 tokens (openai)",
        ),
        (
            {"base_url": OPENAI, "model": "gpt-5.2"},
            "max_tokens as max_completion_tokens (openai); thinking off (reasoning_effort=none) (openai)",
        ),
        (
            {"base_url": OPENAI, "model": "gpt-5.2", "thinking": "low"},
            "max_tokens as max_completion_tokens (openai); no temperature (openai); "
            "thinking low (reasoning_effort=low) (you)",
        ),
        (
            {"base_url": DEEPSEEK, "model": "deepseek-v4-flash"},
            "no response_format (deepseek); thinking off (thinking.type=disabled) (deepseek)",
        ),
        (
            {"base_url": DEEPSEEK, "params": {"thinking": {"type": "enabled"}}},
            "no response_format (deepseek); thinks as it likes, with room for 2,000 tokens (deepseek); "
            'thinking={"type":"enabled"} (you)',
        ),
        (
            {"learned": Learned(token_field="max_completion_tokens", temperature=False, room=2000)},
            "max_tokens as max_completion_tokens (the endpoint); no temperature (the endpoint); "
            "room for 2,000 tokens of thought (the endpoint)",
        ),
        ({"learned": Learned(temperature=False), "temperature": 0.5}, ""),
        ({"learned": Learned(response_format=False), "response_format": True}, ""),
        (
            {"learned": Learned(thinking={"enable_thinking": False}), "params": {"enable_thinking": True}},
            "enable_thinking=true (you)",
        ),
        ({"params": {"max_completion_tokens": 99}}, "max_completion_tokens=99 (you)"),
    ],
)
def test_the_user_counts_before_the_endpoint_and_that_before_what_is_known(settings: dict[str, Any], how: str) -> None:
    learned = settings.pop("learned", None)
    config = merge({**PLAIN, **settings})
    assert differences(dialect_of(config, config.model, learned)) == how


def test_room_for_thoughts_is_left_unless_the_user_says_how_much() -> None:
    for settings, most in (
        ({}, 53),
        ({"base_url": OPENAI, "model": "o4-mini"}, 2053),
        ({"base_url": OPENAI, "model": "o4-mini", "max_tokens": 100}, 100),
        ({"params": {"max_completion_tokens": 99}}, 99),
        ({"base_url": DEEPSEEK, "thinking": "default"}, 2053),
    ):
        config = merge({**PLAIN, **settings})
        assert most_tokens(config, prompt_of(config, None), dialect_of(config, config.model), 1) == most, settings


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"thinking": "off"}, "give --provider NAME"),
        ({"thinking": "low", "base_url": DEEPSEEK}, "no 'low' at deepseek for m .known: off, high."),
        ({"thinking": "off", "base_url": OPENAI, "model": "gpt-5"}, "known: low, medium, high"),
        ({"params": {"max_tokens": "omit"}, "budget": 1}, "a budget cannot be kept"),
        ({"provider": "nobody"}, "'nobody' is not known"),
    ],
)
def test_what_nobody_knows_how_to_ask_is_refused_before_anything_is_sent(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingError, match=says):
        check_dialects(merge({**PLAIN, **settings}))


def test_a_label_is_remembered_under_the_question_as_it_was_sent() -> None:
    def key(learned: Learned | None = None, **settings: Any) -> object:
        config = merge({**PLAIN, **settings})
        keys = Keys("q", sent=lambda model: dialect_of(config, model, learned).asked)
        return keys.of("m", "a text")

    assert key() == Keys("q").of("m", "a text")
    assert key(Learned(token_field="max_completion_tokens", room=2000, response_format=False)) == key()
    assert len({key(), key(Learned(temperature=False)), key(Learned(system=False)), key(base_url=DEEPSEEK)}) == 4
    assert key(params={"temperature": "omit"}) == key()  # the question says it already


# ---------------------------------------------------------------- answers held to the labels, and how sure they are


@pytest.mark.parametrize(
    ("flags", "rows", "sent"),
    [
        ((), "1", {}),
        (("--response-format",), "1", {"response_format": {"label": ["alpha", "beta"]}}),
        (("--response-format", "--provider", "vllm"), "1", {"structured_outputs": {"choice": ["alpha", "beta"]}}),
        (("--response-format", "--provider", "deepseek"), "1", {"response_format": {"label": ["alpha", "beta"]}}),
        (("--confidence",), "1", {"logprobs": True}),
    ],
)
def test_one_row_is_held_to_the_labels_only_where_that_is_asked_for(
    endpoint: FaultServer, flags: tuple[str, ...], rows: str, sent: dict[str, Any]
) -> None:
    start(endpoint, *flags, "--rows-per-request", rows)
    body = endpoint.requests[0].body
    found = {name: body[name] for name in ("structured_outputs", "logprobs") if name in body}
    if "response_format" in body:
        schema = body["response_format"]["json_schema"]["schema"]
        found["response_format"] = {name: one["enum"] for name, one in schema["properties"].items()}
    assert found == sent


def test_a_label_in_the_object_that_was_asked_for_is_not_counted_as_near(batchjob: BatchJob) -> None:
    (batchjob.folder / "in.csv").write_text("text\none\ntwo\n")
    ended = batchjob("start", "in.csv", "--sandbox", "--labels", "alpha,beta", "--response-format")
    assert (ended.code, "near" in ended.out) == (0, False), ended.err
    rows = batchjob("export", "-o", "-", "--details", "--format", "jsonl").out.splitlines()
    assert {json.loads(row)["answer"] for row in rows} <= {'{"label":"alpha"}', '{"label":"beta"}'}


def test_how_sure_the_model_was_stands_beside_each_label(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    async def sure(x: Exchange) -> None:
        body = json.loads(completion(label_of(x.row)))
        if x.row != 3:
            logprobs = [
                {"token": label_of(x.row)[:2], "logprob": -0.5},
                {"token": label_of(x.row)[2:], "logprob": -0.25},
            ]
            body["choices"][0]["logprobs"] = {"content": logprobs}
        await x.send(http(json.dumps(body).encode()))

    endpoint.act = sure
    start(endpoint, "--confidence", "--output", "out.jsonl")
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["confidence"] for row in rows] == [0.472367, 0.472367, None]
    assert capfd.readouterr().err.count("confidence_unknown") == 1
    assert _run(["export", "-o", "-", "--columns", "id,confidence"]) == 0
    assert capfd.readouterr().out.splitlines() == ["id,confidence", "1,0.472367", "2,0.472367", "3,"]


def test_a_dry_run_says_how_a_model_would_be_asked_and_that_it_thinks(
    endpoint: FaultServer, capfd: pytest.CaptureFixture[str]
) -> None:
    start(endpoint, "--provider", "minimax", "--dry-run")
    said = capfd.readouterr().out
    assert "asked     m: thinks as it likes, with room for 2,000 tokens (minimax); its thoughts are reckoned in" in said
    assert not endpoint.requests
