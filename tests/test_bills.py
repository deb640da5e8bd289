"""What a job is said to cost is what the endpoint bills, in whichever way it says so; and each request has its ID."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from batchjob.endpoints.replies import read_reply
from batchjob.model import Rejected
from tests.faults.server import Exchange, FaultServer, completion, http, label_of
from tests.test_faults import ask, command, place, run, write_rows  # noqa: F401

PRICED = '[prices."m"]\ninput = 1.0\noutput = 10.0\ncached_input = 0.1\n'
THINKING = {"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 502}
Capture = pytest.CaptureFixture[str]


def telling(usage: Any, **headers: str) -> Callable[[Exchange], Any]:
    """The right answer, with this usage and these headers."""

    async def act(x: Exchange) -> None:
        await x.send(http(completion(label_of(x.row), usage=usage), **headers))

    return act


def labelled(capfd: Capture, act: Callable[[Exchange], Any], *flags: str, rows: int = 20) -> tuple[int, str, int]:
    """A job's exit code, what it said, and how many requests the endpoint had."""
    write_rows(rows)
    server = FaultServer(act)
    with server.running():
        ran = run(capfd, *command(server.url, *flags))
    return ran.exit, ran.said, len(server.requests)


def cost(capfd: Capture) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(capfd, "status", "--json").said)["cost"]
    return found


def test_thinking_outside_the_usage_is_in_the_cost(capfd: Capture) -> None:
    Path("job.toml").write_text(PRICED)
    code, said, _ = labelled(capfd, telling(THINKING))
    assert code == 0, said
    assert cost(capfd)["usd"] == pytest.approx(20 * (100 * 1e-6 + 402 * 10e-6))


def test_thinking_outside_the_usage_passes_no_budget_but_for_what_was_in_flight(capfd: Capture) -> None:
    Path("job.toml").write_text(PRICED)
    code, said, requests = labelled(capfd, telling(THINKING), "--budget", "0.01", "--concurrency", "4")
    assert code == 5, said
    each = 100 * 1e-6 + 402 * 10e-6
    assert requests * each <= 0.01 + 3 * each
    assert cost(capfd)["usd"] == pytest.approx(requests * each)


@pytest.mark.parametrize("rows_per_request", ["1", "4"])
def test_an_answer_that_reports_too_little_makes_no_other_worst_case_smaller(
    rows_per_request: str, capfd: Capture
) -> None:
    """One says 3 tokens, the others a token a byte, as some tokenizers make of some texts."""
    Path("job.toml").write_text(PRICED)

    async def act(x: Exchange) -> None:
        size = sum(len(message["content"].encode()) for message in x.body["messages"])
        asked = [int(n) for n in re.findall(r"row (\d+)", x.body["messages"][-1]["content"])]
        usage = {"prompt_tokens": 3 if asked[0] == 1 else size, "completion_tokens": x.body["max_tokens"]}
        one = label_of(asked[0])
        many = json.dumps([{"n": n, "label": label_of(row)} for n, row in enumerate(asked, start=1)])
        await x.send(http(completion(many if len(asked) > 1 else one, usage=usage)))

    flags = ("--budget", "0.01", "--concurrency", "8", "--max-tokens", "20", "--rows-per-request", rows_per_request)
    code, said, _ = labelled(capfd, act, *flags, rows=200)
    assert code == 5, said
    assert 0.005 < cost(capfd)["usd"] <= 0.01
    assert "passed" not in said


def test_what_is_out_when_thinking_is_first_seen_counts_with_its_thoughts(capfd: Capture) -> None:
    """Eight are out when the first of them turns out to have thought; there is money for them, and for no other."""
    Path("job.toml").write_text(PRICED)
    more = asyncio.Event()

    async def act(x: Exchange) -> None:
        if x.row > 9:
            more.set()
        elif x.row > 2:
            with suppress(TimeoutError):
                await asyncio.wait_for(more.wait(), 0.3)
        await telling(THINKING if x.row > 1 else {"prompt_tokens": 100, "completion_tokens": 2})(x)

    each = 100 * 1e-6 + 402 * 10e-6
    budget = 9 * each
    code, said, requests = labelled(capfd, act, "--budget", f"{budget}", "--concurrency", "8", rows=40)
    assert (code, requests) == (5, 9), said
    assert cost(capfd)["usd"] <= budget
    assert "passed" not in said


def test_a_budget_that_is_passed_all_the_same_says_so(capfd: Capture) -> None:
    Path("job.toml").write_text(PRICED)
    code, said, _ = labelled(capfd, telling(THINKING), "--budget", "0.004", "--concurrency", "4")
    assert code == 5
    assert "budget_passed" in said
    assert "usd=0.00012" in said
    ((reason,),) = ask("SELECT reason FROM job")
    assert reason.startswith("0.0041 USD of the budget of 0.0040 USD are spent")


def test_a_reported_cost_comes_before_any_price_and_is_said_to_be_one(capfd: Capture) -> None:
    Path("job.toml").write_text(PRICED)
    code, said, _ = labelled(capfd, telling({"prompt_tokens": 100, "completion_tokens": 2, "cost": 0.00123}))
    assert code == 0
    assert "cost      0.0246 USD, as the endpoint reported it" in said
    found = cost(capfd)
    assert (found["usd"], found["known"], found["reported_requests"]) == (0.0246, True, 20)
    assert ask("SELECT DISTINCT cost_source FROM request") == [("reported",)]


def test_a_cost_in_a_header_is_known_without_a_price(capfd: Capture) -> None:
    _, said, _ = labelled(capfd, telling(None, x_litellm_response_cost="0.002"), rows=3)
    assert "cost      0.0060 USD, as the endpoint reported it" in said


def test_a_reported_cost_above_the_price_keeps_the_budget_all_the_same(capfd: Capture) -> None:
    Path("job.toml").write_text(PRICED)
    usage = {"prompt_tokens": 100, "completion_tokens": 2, "cost": 0.004}
    code, _, requests = labelled(capfd, telling(usage), "--budget", "0.01", "--concurrency", "1")
    assert (code, requests) == (5, 2)


def test_a_budget_needs_no_price_where_the_endpoint_tells_the_cost(capfd: Capture) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 2, "cost": 0.004}
    known = ("--provider", "openrouter", "--budget", "0.01")
    code, said, requests = labelled(capfd, telling(usage), *known, "--concurrency", "4")
    assert (code, requests) == (5, 2), said


@pytest.mark.parametrize("asked", ["profile", "try"])
def test_what_is_asked_before_a_job_needs_no_price_either_where_the_endpoint_tells_the_cost(
    asked: str, capfd: Capture
) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 2, "cost": 0.004}
    write_rows(3)
    with (server := FaultServer(telling(usage))).running():
        _, *task = command(server.url, "--provider", "openrouter", "--budget", "0.1")
        ran = run(capfd, asked, *task)
    assert ran.exit == 0, ran.said
    assert len(server.requests) == (3 if asked == "try" else 0)


def test_a_budget_on_the_word_of_an_endpoint_that_tells_no_cost_stops_after_one_answer(capfd: Capture) -> None:
    code, said, requests = labelled(capfd, telling(None), "--provider", "openrouter", "--budget", "0.01")
    assert (code, requests) == (3, 1)
    assert "--price IN,OUT" in said.split("next ")[1]


def test_a_usage_that_cannot_be_true_is_said_and_the_budget_counts_the_worst_case(capfd: Capture) -> None:
    Path("job.toml").write_text(PRICED)
    code, said, requests = labelled(capfd, telling({"prompt_tokens": -5, "completion_tokens": 2}), "--budget", "0.01")
    assert code == 5
    assert "usage_not_believed" in said
    assert f"{requests} answers with a usage that cannot be true" in said
    assert "cost      unknown: the endpoint told no usage that can be true" in said
    assert cost(capfd)["odd_usages"] == requests
    run(capfd, "export", "--requests", "-o", "requests.jsonl")
    ledger = [json.loads(line) for line in Path("requests.jsonl").read_text().splitlines()]
    assert json.loads(ledger[0]["odd_usage"]) == {"prompt_tokens": -5, "completion_tokens": 2}
    assert ledger[0]["cost_usd"] is None


def test_tokens_of_thinking_are_kept_and_shown(capfd: Capture) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 42, "completion_tokens_details": {"reasoning_tokens": 40}}
    _, said, _ = labelled(capfd, telling(usage), rows=2)
    assert "20 in, 84 out (80 thinking), as reported" in said
    assert ask("SELECT reasoning_tokens, output_tokens FROM request") == [(40, 42)] * 2
    assert "counters" not in run(capfd, "doctor", "--db", "batchjob.db").said.replace("ok        counters", "")


NAMES = ["x-request-id", "apim-request-id", "request-id", "x-oneapi-request-id", "x-litellm-call-id", "x-generation-id"]
NAMES += ["x-siliconcloud-trace-id", "x-amzn-requestid", "nvcf-reqid", "cf-ray"]


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("name", NAMES)
def test_a_request_has_its_providers_id_under_whatever_name(name: str, status: int) -> None:
    body = completion("alpha").replace(b"chatcmpl-1", b"") if status == 200 else b'{"error": {"message": "no"}}'
    reply = read_reply(status, CIMultiDict({name: "id-7"}), body, now=lambda: 0.0)
    assert reply.provider_id == "id-7"


@pytest.mark.parametrize(
    "body", [{"error": {"message": "no", "request_id": "id-7"}}, {"request_id": "id-7", "error": {"code": "x"}}]
)
def test_an_errors_own_json_may_hold_the_id(body: dict[str, Any]) -> None:
    reply = read_reply(429, CIMultiDict(), json.dumps(body).encode(), now=lambda: 0.0)
    assert isinstance(reply, Rejected)
    assert reply.provider_id == "id-7"


# ---------------------------------------------------------------- before the first label


async def cut(x: Exchange) -> None:
    await x.send(http(completion("alp", finish="length")))


def test_a_retry_pays_for_all_that_it_was_told_to(capfd: Capture) -> None:
    write_rows(9)
    server = FaultServer(cut)
    with server.running():
        ran = [run(capfd, *command(server.url)), run(capfd, "resume")]
        assert [one.exit for one in ran] == [3, 3]
        assert len(server.requests) == 4
        assert run(capfd, "retry").exit == 4
        assert len(server.requests) == 4 + 4  # all that failed, though none gives a label


def test_with_a_label_a_job_is_not_stopped_by_two_answers_in_vain(capfd: Capture) -> None:
    async def cut_but_the_first(x: Exchange) -> None:
        await (telling(None) if x.row == 1 else cut)(x)

    code, _, requests = labelled(capfd, cut_but_the_first, rows=9)
    assert (code, requests) == (4, 9)


# ---------------------------------------------------------------- paid twice, at most


def test_a_lost_request_that_is_turned_away_when_it_is_sent_again_was_paid_once(capfd: Capture) -> None:
    async def act(x: Exchange) -> None:
        if x.row == 2 and x.nth == 1:
            x.close()
        elif x.row == 2 and x.nth <= 4:
            refused = {"error": {"message": "no", "type": "requests"}}
            await x.send(http(json.dumps(refused).encode(), 429, retry_after="0.01"))
        else:
            await telling(None)(x)

    code, said, requests = labelled(capfd, act, rows=4)
    assert (code, requests) == (0, 8)
    assert "paid twice, at most: 1 request " in said
    assert "counters    equal to what they count" in run(capfd, "doctor").said
