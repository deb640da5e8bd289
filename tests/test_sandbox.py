"""The sandbox is the oracle of the other tests: what it says, bills and breaks must be exactly so."""

from __future__ import annotations

import asyncio
import csv
import errno
import json
import os
import signal
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner

from batchjob.cli.sandbox import command
from batchjob.errors import BatchjobError, SettingError
from batchjob.sandbox.classifier import EXAMPLES as LEARNED
from batchjob.sandbox.classifier import classify
from batchjob.sandbox.faults import FAULTS, Dice
from batchjob.sandbox.quota import Quota, duration
from batchjob.sandbox.server import RunningSandbox, _is_of_host, _reason, serve
from batchjob.sandbox.settings import SandboxSettings

SYSTEM = "Pick one.\n\nLabels:\n- card_arrival\n- change_pin\n- exchange_rate"
TEXT = "please change my pin"
EXAMPLES = Path(__file__).parent.parent / "examples"
Serve = Callable[..., Awaitable[RunningSandbox]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Serve]:
    running: list[RunningSandbox] = []

    async def start(**settings: Any) -> RunningSandbox:
        settings = {"ledger": str(tmp_path / "ledger.jsonl"), **settings}
        running.append(await serve(SandboxSettings(**settings)))
        return running[-1]

    yield start
    for sandbox in running:
        await sandbox.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session


def question(text: str = TEXT, *, system: str | None = SYSTEM, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    if system is not None:
        messages.insert(0, {"role": "system", "content": system})
    return {"model": "m", "messages": messages, "max_tokens": 20, **more}


async def ask(
    http: aiohttp.ClientSession, sandbox: RunningSandbox, body: dict[str, Any] | None = None, **headers: str
) -> tuple[int, Any, Any]:
    """(status, headers, decoded body); header names are given with _ for -."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    url = f"{sandbox.url}/chat/completions"
    async with http.post(url, json=body or question(), headers=named) as answer:
        return answer.status, answer.headers, json.loads(await answer.read())


def said(body: Any) -> Any:
    return body["choices"][0]["message"]["content"]


def ledger(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]


# ---------------------------------------------------------------- answers


async def test_an_answer_has_the_shape_that_openai_clients_read(start: Serve, http: aiohttp.ClientSession) -> None:
    status, headers, body = await ask(http, await start())
    assert status == 200
    assert headers["Content-Type"].startswith("application/json")
    assert headers["x-request-id"].startswith("req_")
    assert body["object"] == "chat.completion"
    assert body["id"] == "chatcmpl-sandbox-1"
    assert body["model"] == "m"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert said(body) == "change_pin"
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0}


async def test_request_ids_never_repeat_even_over_a_restart(start: Serve, http: aiohttp.ClientSession) -> None:
    first, second = await start(), await start()
    ids = [(await ask(http, sandbox))[1]["x-request-id"] for sandbox in (first, first, second, second)]
    assert len(set(ids)) == 4


async def test_usage_counts_chinese_by_characters_and_not_by_bytes(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start(labels=("a",))
    ascii_only = (await ask(http, sandbox, question("x" * 430, system=None)))[2]
    chinese = (await ask(http, sandbox, question("卡" * 400, system=None)))[2]
    assert ascii_only["usage"]["prompt_tokens"] == 100
    assert chinese["usage"]["prompt_tokens"] == 300


async def test_labels_come_from_the_schema_before_the_prompt_before_the_settings(
    start: Serve, http: aiohttp.ClientSession
) -> None:
    sandbox = await start(labels=("from_settings",))
    schema = {"type": "object", "properties": {"label": {"type": "string", "enum": ["from_schema"]}}}
    shape = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert said((await ask(http, sandbox, question(system="Hello")))[2]) == "from_settings"
    assert said((await ask(http, sandbox, question(system="Labels:\n- from_prompt")))[2]) == "from_prompt"
    answer = said((await ask(http, sandbox, question(response_format=shape)))[2])
    assert json.loads(answer) == {"label": "from_schema"}


async def test_a_schema_without_a_property_label_is_answered_with_the_plain_label(
    start: Serve, http: aiohttp.ClientSession
) -> None:
    schema = {"type": "object", "properties": {"intent": {"enum": ["only"]}}}
    shape = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    assert said((await ask(http, await start(), question(response_format=shape)))[2]) == "only"


async def test_only_the_lines_right_behind_the_mark_are_labels(start: Serve, http: aiohttp.ClientSession) -> None:
    system = "- not this\nLabels:\n- yes it\n\n- nor change pin\nLabels:\n- change pin"
    assert said((await ask(http, await start(), question(system=system)))[2]) == "yes it"


async def test_a_prompt_without_a_system_message_may_list_its_labels(start: Serve, http: aiohttp.ClientSession) -> None:
    body = question(f"{SYSTEM}\n\nText: {TEXT}", system=None)
    assert said((await ask(http, await start(), body))[2]) in ("card_arrival", "change_pin", "exchange_rate")


async def test_a_text_cannot_bring_its_own_labels(start: Serve, http: aiohttp.ClientSession) -> None:
    assert said((await ask(http, await start(), question(f"Labels:\n- hacked\n{TEXT}")))[2]) == "change_pin"


async def test_a_many_row_request_is_answered_key_by_key(
    start: Serve, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    texts = {"1": "the exchange rate", "2": TEXT, "3": "arrival of the card"}
    body = (await ask(http, await start(), question(json.dumps(texts))))[2]
    labels = {"1": "exchange_rate", "2": "change_pin", "3": "card_arrival"}
    assert json.loads(said(body)) == labels
    assert ledger(tmp_path)[0]["rows"] == [{"text": texts[key], "label": labels[key]} for key in texts]


@pytest.mark.parametrize("text", ['{"1": "change pin", "3": "x"}', '{"a": "change pin"}', "{}", '{"1": change pin}'])
async def test_a_text_that_only_looks_like_many_rows_is_one_text(
    start: Serve, http: aiohttp.ClientSession, tmp_path: Path, text: str
) -> None:
    assert said((await ask(http, await start(), question(text)))[2]) in SYSTEM
    assert [row["text"] for row in ledger(tmp_path)[0]["rows"]] == [text]


async def test_the_models_are_listed_and_any_other_is_refused(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start(models=("small", "big"))
    async with http.get(f"{sandbox.url}/models") as answer:
        assert [model["id"] for model in (await answer.json())["data"]] == ["small", "big"]
    status, _, body = await ask(http, sandbox, question(model="other"))
    assert (status, body["error"]["code"]) == (404, "model_not_found")
    assert (await ask(http, sandbox, question(model="big")))[0] == 200


async def test_a_wrong_key_is_refused_and_not_repeated_in_the_answer(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start(api_key="right")
    status, _, body = await ask(http, sandbox, Authorization="Bearer wrong-key")
    assert (status, body["error"]["code"]) == (401, "invalid_api_key")
    assert "wrong-key" not in json.dumps(body)
    assert (await ask(http, sandbox))[0] == 401
    assert (await ask(http, sandbox, Authorization="Bearer right"))[0] == 200


@pytest.mark.parametrize("body", [b"{", b'{"model": "m"}', b'{"model":"m","messages":[]}', b"\xff"])
async def test_a_body_that_cannot_be_read_is_a_400_that_says_so(
    start: Serve, http: aiohttp.ClientSession, tmp_path: Path, body: bytes
) -> None:
    async with http.post(f"{(await start()).url}/chat/completions", data=body) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["message"]
    assert [(line["status"], line["billed"]) for line in ledger(tmp_path)] == [(400, False)]


async def test_a_prompt_without_any_labels_is_refused(start: Serve, http: aiohttp.ClientSession) -> None:
    status, _, body = await ask(http, await start(), question(system="Classify."))
    assert (status, body["error"]["code"]) == (400, "no_labels")


async def test_another_path_or_method_is_a_json_error(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start()
    async with http.post(f"{sandbox.url}/completions", json={}) as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (404, "unknown_url")
    async with http.get(f"{sandbox.url}/chat/completions") as answer:
        assert answer.status == 405


# ---------------------------------------------------------------- the ledger


async def test_the_ledger_says_what_the_answer_says(start: Serve, http: aiohttp.ClientSession, tmp_path: Path) -> None:
    sandbox = await start()
    _, headers, body = await ask(http, sandbox, Idempotency_Key="k1")
    (line,) = ledger(tmp_path)
    assert line.pop("at") > 1_600_000_000
    assert line == {
        "n": 1,
        "client_key": "k1",
        "request_id": headers["x-request-id"],
        "billed": True,
        "replayed": False,
        "fault": None,
        "status": 200,
        "model": "m",
        "rows": [{"text": TEXT, "label": "change_pin"}],
        "input_tokens": body["usage"]["prompt_tokens"],
        "output_tokens": body["usage"]["completion_tokens"],
    }
    assert sandbox.billed == 1


async def test_the_ledger_is_appended_to_and_only_its_owner_may_read_it(
    start: Serve, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    for _ in range(2):
        await ask(http, await start())
    assert len(ledger(tmp_path)) == 2
    assert stat.S_IMODE((tmp_path / "ledger.jsonl").stat().st_mode) == 0o600


async def test_the_bill_is_on_file_when_the_first_byte_of_the_answer_arrives(start: Serve, tmp_path: Path) -> None:
    sandbox = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", int(sandbox.url.split(":")[2].split("/")[0]))
    body = json.dumps(question()).encode()
    writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert await reader.readexactly(1) == b"H"
    assert [line["billed"] for line in ledger(tmp_path)] == [True]
    writer.close()


async def test_work_goes_on_and_is_billed_when_the_client_goes_away(
    start: Serve, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    sandbox = await start(latency=(0.3, 0.3))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(ask(http, sandbox), 0.1)
    assert ledger(tmp_path) == []
    await asyncio.sleep(0.5)
    assert [line["billed"] for line in ledger(tmp_path)] == [True]


async def test_a_ledger_that_cannot_be_written_bills_nothing_and_answers_500(
    start: Serve, http: aiohttp.ClientSession
) -> None:
    sandbox = await start(ledger="/dev/full", idempotent=True)
    assert (await ask(http, sandbox, Idempotency_Key="k"))[0] == 500
    assert sandbox.billed == 0


async def test_a_ledger_in_no_folder_is_one_sentence(start: Serve, tmp_path: Path) -> None:
    with pytest.raises(BatchjobError, match="cannot write the ledger"):
        await start(ledger=str(tmp_path / "none" / "ledger.jsonl"))


# ---------------------------------------------------------------- idempotency


async def test_a_repeated_key_replays_the_same_bytes_unbilled(
    start: Serve, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    sandbox = await start(idempotent=True)
    first, second = [await ask(http, sandbox, Idempotency_Key="k") for _ in range(2)]
    assert first[2] == second[2]
    assert first[1]["x-request-id"] != second[1]["x-request-id"]
    one, two = ledger(tmp_path)
    assert (one["billed"], one["replayed"]) == (True, False)
    assert (two["billed"], two["replayed"]) == (False, True)
    assert two["rows"] == one["rows"]
    assert sandbox.billed == 1


async def test_a_key_repeated_while_the_first_is_worked_on_waits_for_it(
    start: Serve, http: aiohttp.ClientSession
) -> None:
    sandbox = await start(idempotent=True, latency=(0.2, 0.2))
    answers = await asyncio.gather(*(ask(http, sandbox, Idempotency_Key="k") for _ in range(5)))
    assert {answer[2]["id"] for answer in answers} == {answers[0][2]["id"]}
    assert sandbox.billed == 1


async def test_without_idempotency_every_repetition_is_billed(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start()
    for _ in range(2):
        await ask(http, sandbox, Idempotency_Key="k")
    assert sandbox.billed == 2


async def test_requests_without_a_key_are_never_replayed(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start(idempotent=True)
    for _ in range(2):
        await ask(http, sandbox)
    assert sandbox.billed == 2


async def test_a_key_with_another_body_is_refused(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start(idempotent=True)
    await ask(http, sandbox, Idempotency_Key="k")
    status, _, body = await ask(http, sandbox, question("another text"), Idempotency_Key="k")
    assert (status, body["error"]["code"]) == (422, "idempotency_key_reused")
    assert sandbox.billed == 1


async def test_the_oldest_keys_are_forgotten_first(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start(idempotent=True, remembered_keys=2)
    for key in ("a", "b", "a", "c", "a", "b"):  # c drives out b, which was used less lately than a
        await ask(http, sandbox, Idempotency_Key=key)
    assert sandbox.billed == 4


@pytest.mark.parametrize("kind", ["dropped", "cut", "slow"])
async def test_a_lost_answer_was_billed_once_and_its_resend_brings_it(
    start: Serve, http: aiohttp.ClientSession, tmp_path: Path, kind: str
) -> None:
    sandbox = await start(idempotent=True, faults={kind: 1.0})
    with pytest.raises((aiohttp.ClientError, TimeoutError, json.JSONDecodeError)):
        await asyncio.wait_for(ask(http, sandbox, Idempotency_Key="k"), 0.5)
    assert [(line["fault"], line["billed"]) for line in ledger(tmp_path)] == [(kind, True)]
    status, _, body = await ask(http, sandbox, Idempotency_Key="k")
    assert (status, said(body)) == (200, "change_pin")
    assert sandbox.billed == 1
    assert ledger(tmp_path)[0]["output_tokens"] == body["usage"]["completion_tokens"]


async def test_a_rejection_leaves_its_key_free(start: Serve, http: aiohttp.ClientSession) -> None:
    seed = next(seed for seed in range(99) if first_faults(seed) == ["500", None])
    sandbox = await start(idempotent=True, faults={"500": 0.5}, seed=seed)
    assert (await ask(http, sandbox, Idempotency_Key="k"))[0] == 500
    assert (await ask(http, sandbox, Idempotency_Key="k"))[0] == 200
    assert sandbox.billed == 1


def first_faults(seed: int) -> list[str | None]:
    dice = Dice({"500": 0.5}, seed)
    return [fault and fault.kind for fault in (dice.fault(), dice.fault())]


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("kind", [fault.kind for fault in FAULTS.values() if fault.way == "error"])
async def test_a_json_error_has_its_status_and_is_not_billed(
    start: Serve, http: aiohttp.ClientSession, tmp_path: Path, kind: str
) -> None:
    sandbox = await start(faults={kind: 1.0}, retry_after_seconds=2.5)
    status, headers, body = await ask(http, sandbox)
    assert status == FAULTS[kind].status
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert headers.get("Retry-After") == ("2.5" if kind in ("429", "503") else None)
    (line,) = ledger(tmp_path)
    assert (line["billed"], line["fault"], line["status"]) == (False, kind, status)
    assert line["rows"] == [{"text": TEXT, "label": None}]
    assert sandbox.billed == 0


async def test_html_is_a_proxys_page_with_502_and_not_billed(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults={"html": 1.0})
    async with http.post(f"{sandbox.url}/chat/completions", json=question()) as answer:
        assert (answer.status, answer.content_type) == (502, "text/html")
        assert "<html>" in await answer.text()
    assert sandbox.billed == 0


async def test_dropped_closes_the_connection_without_a_byte(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults={"dropped": 1.0})
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await ask(http, sandbox)
    assert sandbox.billed == 1


async def test_cut_is_a_whole_http_answer_with_half_a_json_body(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start(faults={"cut": 1.0})
    async with http.post(f"{sandbox.url}/chat/completions", json=question()) as answer:
        body = await answer.read()
        assert (answer.status, int(answer.headers["Content-Length"])) == (200, len(body))
    assert body.startswith(b'{"id"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(body)
    assert sandbox.billed == 1


@pytest.mark.parametrize(
    ("kind", "content", "finish_reason", "label"),
    [
        ("null", None, "stop", None),
        ("empty", "", "stop", None),
        ("length", "chang", "length", None),
        ("off_list", "something_else_entirely", "stop", None),
        ("prose", "I would say the label is change_pin.", "stop", "change_pin"),
        ("refusal", None, "stop", None),
    ],
)
async def test_a_useless_completion_is_billed_with_its_usage(
    start: Serve,
    http: aiohttp.ClientSession,
    tmp_path: Path,
    kind: str,
    content: str | None,
    finish_reason: str,
    label: str | None,
) -> None:
    sandbox = await start(faults={kind: 1.0})
    status, _, body = await ask(http, sandbox)
    assert (status, said(body)) == (200, content)
    assert body["choices"][0]["finish_reason"] == finish_reason
    assert (body["choices"][0]["message"]["refusal"] is not None) == (kind == "refusal")
    (line,) = ledger(tmp_path)
    assert (line["billed"], line["fault"], line["rows"][0]["label"]) == (True, kind, label)
    assert line["output_tokens"] == body["usage"]["completion_tokens"] > 0


def test_the_same_seed_deals_the_same_faults_at_about_their_rates() -> None:
    rates = {"429": 0.1, "cut": 0.2}
    first, second, other = (
        [fault and fault.kind for fault in (dice.fault() for _ in range(5000))]
        for dice in (Dice(rates, 1), Dice(rates, 1), Dice(rates, 2))
    )
    assert first == second != other
    assert 400 < first.count("429") < 600
    assert 850 < first.count("cut") < 1150


async def test_a_poisoned_row_is_refused_always_and_its_neighbours_only_beside_it(
    start: Serve, http: aiohttp.ClientSession
) -> None:
    sandbox = await start(poison="(?i)bomb")
    for body in (question("a BOMB"), question('{"1": "change pin", "2": "a bomb"}')):
        status, _, answer = await ask(http, sandbox, body)
        assert (status, answer["error"]["code"]) == (400, "content_filter")
    assert (await ask(http, sandbox, question('{"1": "change pin"}')))[0] == 200
    assert sandbox.billed == 1


async def test_the_fault_of_poisoned_rows_can_be_chosen(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await start(poison="pin", poison_fault="503")
    assert (await ask(http, sandbox))[0] == 503


@pytest.mark.parametrize(
    "wrong",
    [
        {"faults": {"nonsense": 0.1}},
        {"faults": {"429": 1.5}},
        {"faults": {"429": 0.6, "500": 0.6}},
        {"poison": "("},
        {"poison_fault": "nonsense"},
        {"latency": (0.2, 0.1)},
        {"port": 70_000},
        {"rpm": -1},
        {"window_seconds": 0.0},
    ],
)
def test_a_setting_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(SettingError):
        SandboxSettings(**wrong)


# ---------------------------------------------------------------- quotas and time


@pytest.mark.parametrize(
    ("seconds", "written"),
    [(0, "0s"), (0.5, "500ms"), (1, "1s"), (8.64, "8.64s"), (360, "6m0s"), (86.4, "1m26.4s"), (0.0001, "1ms")],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_a_fixed_window_admits_its_limit_and_again_when_the_next_one_begins() -> None:
    quota = Quota(SandboxSettings(rpm=2, window_seconds=10))
    assert quota.admit(1, 101.0) is None
    assert quota.admit(1, 109.0) is None
    denied = quota.admit(1, 109.5)
    assert denied is not None
    assert denied.retry_after_seconds == pytest.approx(0.5)
    assert quota.admit(1, 110.0) is None


def test_a_sliding_window_admits_only_what_has_left_the_last_window() -> None:
    quota = Quota(SandboxSettings(rpm=2, window_seconds=10, window_kind="sliding"))
    assert quota.admit(1, 101.0) is None
    assert quota.admit(1, 109.0) is None
    denied = quota.admit(1, 110.0)
    assert denied is not None
    assert denied.retry_after_seconds == pytest.approx(1.0)
    assert quota.admit(1, 111.0) is None
    assert quota.admit(1, 112.0) is not None


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
def test_a_request_that_one_quota_denies_is_charged_to_neither(kind: Any) -> None:
    quota = Quota(SandboxSettings(rpm=2, tpm=100, window_kind=kind))
    assert quota.admit(60, 0.0) is None
    denied = quota.admit(60, 0.0)
    assert denied is not None
    assert denied.unit == "tokens"
    headers = quota.headers(0.0)
    assert (headers["x-ratelimit-remaining-requests"], headers["x-ratelimit-remaining-tokens"]) == ("1", "40")
    assert headers["x-ratelimit-reset-tokens"] == "1m0s"


@pytest.mark.parametrize("kind", ["fixed", "sliding"])
def test_after_the_wait_that_was_asked_for_there_is_room(kind: Any) -> None:
    quota = Quota(SandboxSettings(tpm=100, window_seconds=7, window_kind=kind))
    now, admitted = 3.3, 0
    for step in range(200):
        denied = quota.admit(20 + step % 40, now)
        now += denied.retry_after_seconds + 0.001 if denied else 0.4
        admitted += denied is None
        assert denied is None or quota.admit(0, now) is None
    assert admitted >= 100


async def test_over_the_quota_is_a_429_with_retry_after_and_the_limits(
    start: Serve, http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    sandbox = await start(rpm=1, tpm=100_000, window_kind="sliding", window_seconds=30)
    _, headers, body = await ask(http, sandbox)
    assert headers["x-ratelimit-limit-requests"] == "1"
    assert headers["x-ratelimit-remaining-requests"] == "0"
    charged = body["usage"]["prompt_tokens"] + 20
    assert headers["x-ratelimit-remaining-tokens"] == str(100_000 - charged)
    status, headers, body = await ask(http, sandbox)
    assert (status, body["error"]["code"], body["error"]["type"]) == (429, "rate_limit_exceeded", "requests")
    assert 25 < float(headers["Retry-After"]) <= 30
    assert headers["x-ratelimit-reset-requests"].endswith("s")
    assert [line["billed"] for line in ledger(tmp_path)] == [True, False]


async def test_without_a_quota_no_limits_are_told(start: Serve, http: aiohttp.ClientSession) -> None:
    assert not [name for name in (await ask(http, await start()))[1] if name.lower().startswith("x-ratelimit")]


async def test_an_answer_takes_the_latency_and_requests_wait_side_by_side(
    start: Serve, http: aiohttp.ClientSession
) -> None:
    sandbox = await start(latency=(0.2, 0.25))
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(ask(http, sandbox) for _ in range(20)))
    assert 0.2 <= asyncio.get_running_loop().time() - began < 1.5


# ---------------------------------------------------------------- classifiers


def test_the_first_of_equally_good_labels_is_taken() -> None:
    assert classify("nothing in common", ("zzz", "qqq")) == "zzz"
    assert classify("", ("b", "a")) == "b"


def test_a_label_that_no_example_has_goes_by_its_name_and_what_few_labels_share_weighs_more() -> None:
    assert classify("the invoice was sent twice", ("refund", "invoices", "other")) == "invoices"
    assert classify("my parcel: arrival?", ("parcel_top", "parcel_arrival")) == "parcel_arrival"


@pytest.mark.parametrize("written", ["age_limit", "Age limit", "AGE-LIMIT"])
def test_a_label_is_known_by_its_examples_however_it_is_written(written: str) -> None:
    assert classify("Can my children have an account?", ("open_account", written)) == written


def test_the_examples_of_the_classifier_are_not_the_rows_it_is_shown_on() -> None:
    with (EXAMPLES / "tickets.csv").open(newline="", encoding="utf-8") as file:
        shown = {row["text"] for row in csv.DictReader(file)}
    learned = [line.split("\t") for line in LEARNED.read_text(encoding="utf-8").splitlines() if "\t" in line]
    assert Counter(label for label, _ in learned) == dict.fromkeys({label for label, _ in learned}, 10)
    assert len({label for label, _ in learned}) == 77
    assert shown.isdisjoint(text for _, text in learned)


def test_nine_of_ten_example_tickets_get_their_right_label_in_every_process() -> None:
    code = (
        "import csv, sys; from batchjob.sandbox.classifier import classify\n"
        "labels = tuple(open(sys.argv[2]).read().split())\n"
        "for row in csv.DictReader(open(sys.argv[1])): print(classify(row['text'], labels) == row['gold'])"
    )
    files = [str(EXAMPLES / "tickets.csv"), str(EXAMPLES / "labels.txt")]
    said = [
        subprocess.run(
            [sys.executable, "-c", code, *files],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.split()
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert said[0].count("True") > 270


# ---------------------------------------------------------------- the socket and the command


async def test_closing_ends_hanging_requests_at_once(start: Serve, http: aiohttp.ClientSession) -> None:
    sandbox = await serve(SandboxSettings(faults={"slow": 0.5, "dropped": 0.5}))
    asked = [asyncio.create_task(ask(http, sandbox)) for _ in range(5)]
    await asyncio.sleep(0.3)
    await asyncio.wait_for(sandbox.close(), 2)
    assert sandbox.billed == 5
    assert all(isinstance(e, aiohttp.ClientError) for e in await asyncio.gather(*asked, return_exceptions=True))


async def test_a_port_in_use_is_one_sentence(start: Serve) -> None:
    port = int((await start()).url.split(":")[2].split("/")[0])
    why = os.strerror(errno.EADDRINUSE).lower()
    with pytest.raises(BatchjobError, match=rf"cannot listen on 127\.0\.0\.1:{port} \({why}\)"):
        await start(port=port)


@pytest.mark.parametrize("host", ["192.0.2.1", "nowhere.invalid", f"{'a' * 64}.invalid"])
async def test_a_host_that_is_not_this_machine_is_no_matter_of_ports(host: str) -> None:
    with pytest.raises(BatchjobError, match=rf"cannot listen on {host}:0 \(.*\): give a --host of this machine"):
        await serve(SandboxSettings(host=host))


def test_that_a_host_is_not_this_machine_is_known_without_the_systems_number_too() -> None:
    left_out = OSError("could not bind on any address out of [('192.0.2.1', 0)]")  # asyncio of Python 3.13 and later
    assert _is_of_host(left_out)
    assert _reason(left_out) == os.strerror(errno.EADDRNOTAVAIL).lower()
    assert not _is_of_host(OSError(errno.EADDRINUSE, "error while attempting to bind"))


def test_a_blank_host_is_refused_for_it_would_be_an_address_without_one() -> None:
    with pytest.raises(SettingError, match="a blank host is no address: give one of this machine"):
        SandboxSettings(host=" ")


def test_the_help_names_every_fault() -> None:
    help_text = " ".join(CliRunner().invoke(command, ["--help"]).output.split())
    listed = help_text.split("share of the requests:")[1].split(". ")[0]
    assert [kind.strip() for kind in listed.split(",")] == list(FAULTS)


def test_an_unknown_option_value_is_a_usage_error() -> None:
    for wrong in (["--fault", "429"], ["--latency", "soon"], ["--window-kind", "round"]):
        assert CliRunner().invoke(command, wrong).exit_code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_tells_its_address_first_and_a_signal_ends_it_with_0(tmp_path: Path, number: int) -> None:
    code = "from batchjob.cli.sandbox import command; command()"
    options = ["--fault", "slow=0.5", "--labels", "a,b", "--ledger", str(tmp_path / "l")]
    with subprocess.Popen(
        [sys.executable, "-c", code, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("sandbox: http://127.0.0.1:")
        os.kill(process.pid, number)
        assert process.wait(timeout=5) == 0
        assert "Traceback" not in process.communicate()[1]


def test_the_command_is_imported_without_aiohttp() -> None:
    code = "import sys, batchjob.cli.sandbox; print([m for m in ('aiohttp', 'msgspec', 'uvloop') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ---------------------------------------------------------------- the example


def test_the_example_holds_300_rows_and_twelve_labels() -> None:
    with (EXAMPLES / "tickets.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "text", "gold"]
    assert [row["id"] for row in rows] == [f"T-{n:04d}" for n in range(1, 301)]
    assert all(row["text"].strip() for row in rows)
    labels = (EXAMPLES / "labels.txt").read_text().split("\n")[:-1]
    assert len(labels) == 12
    assert {row["gold"] for row in rows} == set(labels)


def test_it_speaks_as_a_provider_does(sandbox: Callable[..., str], batchjob: Any) -> None:
    (batchjob.folder / "in.csv").write_text("text\nI want my money back\n")
    url = sandbox("--as", "azure", "--require-key", "toy-key-1234")
    assert url.endswith("/openai/deployments/sandbox?api-version=2024-10-21")
    command = ("start", "in.csv", "--base-url", url, "--model", "m", "--labels", "refund,other")
    env = {"BATCHJOB_API_KEY": "toy-key-1234"}
    assert "resume with --auth api-key" in batchjob(*command, env=env).err
    ended = batchjob(*command, "--auth", "api-key", "--param", "seed=1", "--log-file", "log.txt", env=env)
    assert ended.code == 0, ended.err
    ended = batchjob("export", "--requests", "-o", "-")
    assert "req_" in ended.out  # its id comes under Azure's name


def test_nobody_speaks_as_a_provider_that_is_not_known(batchjob: Any) -> None:
    ended = batchjob("sandbox", "--as", "nobody")
    assert ended.code == 2
    assert "one of openai-reasoning, azure" in ended.err
