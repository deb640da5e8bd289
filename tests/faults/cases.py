"""CASES: everything an endpoint, or what lies before it, is known to do wrong, and what batchjob makes of it."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Literal

from batchjob.states import Outcome, State
from tests.faults.server import Act, Exchange, choices, completion, http, label_of, well

On = Literal["row", "once", "all", "after"]
Where = Literal["plain", "tls", "https_to_plain", "nobody", "late", "nowhere", "full", "mute"]

NOT_SENT, REJECTED, ANSWERED, LOST = Outcome.NOT_SENT, Outcome.REJECTED, Outcome.ANSWERED, Outcome.LOST
DONE, FAILED, PENDING, UNCONFIRMED = State.DONE, State.FAILED, State.PENDING, State.UNCONFIRMED

STOPS = "stops the job after this request"
AGAIN = "tries again, the row's attempts counted"
AGAIN_FREE = "the row waits, and all do where it is a quota's; costs the row no attempt"
FAILS = "fails this row; the others go on"
PAID = "keeps the usage; buys no second answer (--max-paid)"
RESENDS = "sends again with the same idempotency key, counted under paid twice, at most"
RESENDS_AS_NEW = "sends again with a new idempotency key, counted under paid twice, at most"
HOLDS = "holds the row until the user decides (--on-unconfirmed hold)"
TAKES = "takes the label"
LEFT_OUT = "asks once without it, as all rows from then on if that is taken; else stops the job"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault, and what must come of it.

    `on` says whom it meets: row 2 of the rows at each request (row), at its first alone (once), every request (all),
    or every one after the third (after). The endpoint answers all else as it should.
    """

    group: str
    fault: str
    act: Act
    outcome: Outcome
    does: str
    state: State  # of row 2 in the end
    kind: str  # of the first request that met the fault, which is the row's where it does not get its label
    exit: int
    most: int  # requests, of the whole job
    on: On = "row"
    says: str = ""  # somewhere in what is printed at the end
    rows: int = 3
    where: Where = "plain"
    flags: tuple[str, ...] = ()
    waits: tuple[float, float] | None = None  # between row 2's first request and its second, in seconds
    same_key: bool | None = None  # of row 2's first request and its second
    fallback: bool = False  # the label comes from --fallback
    input_tokens: int | None = None  # as reported in the end; the right answer has 10
    interrupt: bool = False  # a person stops the job once it waits
    met: str = ""  # the kind of that first request, where its row ends with another

    def __str__(self) -> str:
        return re.sub(r"[^a-z0-9]+", "-", f"{self.group} {self.fault}".lower()).strip("-")


CASES: list[Case] = []


def add(more: dict[str, Any], **usual: Any) -> None:
    """A case of the usual kind of its group, with more said of it."""
    CASES.append(Case(**{**usual, **more}))


# ---------------------------------------------------------------- what an endpoint does


def raw(data: bytes, *, close: bool = False, reset: bool = False, hang: bool = False) -> Act:
    """Answer with these bytes, and then perhaps end the connection, or keep silent."""

    async def act(x: Exchange) -> None:
        await x.send(data.replace(b"{elsewhere}", x.elsewhere.encode()))
        if hang:
            await asyncio.sleep(30)
        if reset:
            await asyncio.sleep(0.02)
            x.reset()
        elif close:
            x.close()

    return act


def error(status: int, message: str = "no", **fields: Any) -> bytes:
    """A JSON error as OpenAI words it."""
    headers = fields.pop("headers", {})
    return http(json.dumps({"error": {"message": message, **fields}}).encode(), status, **headers)


HTML = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"


def html(status: int) -> bytes:
    """A proxy's page."""
    return http(HTML, status, "text/html")


def built(make: Callable[[Exchange], bytes], *, close: bool = False) -> Act:
    """An answer made for the request."""

    async def act(x: Exchange) -> None:
        await raw(make(x), close=close)(x)

    return act


def right(**more: Any) -> Callable[[Exchange], bytes]:
    """The JSON of the right answer, with more in it."""
    return lambda x: completion(label_of(x.row), **more)


# ---------------------------------------------------------------- 1. rejected: the job stops


def stops(fault: str, data: bytes, kind: str, says: str, **more: Any) -> None:
    """Every request is answered so: one is enough."""
    add(
        more,
        group="the job is refused",
        fault=fault,
        act=raw(data),
        outcome=REJECTED,
        does=STOPS,
        state=PENDING,
        kind=kind,
        exit=3,
        says=says,
        most=1,
        on="all",
        rows=30,
    )


stops("401", error(401, "Incorrect API key", code="invalid_api_key"), "bad_key", "check the key")
stops("401 without a body", http(b"", 401), "bad_key", "HTTP 401")
stops("402", error(402, "Payment required"), "no_credit", "top up")
stops("403", error(403, "Not allowed in your country", code="unsupported_country"), "forbidden", "HTTP 403")
stops("404, model", error(404, "no such model", code="model_not_found"), "not_found", "--model")
stops("404, path, HTML", html(404), "not_found", "/v1")
stops("405", error(405, "Method not allowed"), "not_found", "HTTP 405")
stops("410", error(410, "This model was retired"), "not_found", "retired")
for status in (301, 302, 303, 307, 308):
    stops(
        f"{status} to another host (which is sent nothing, least of all the key)",
        http(b"", status, Location="{elsewhere}"),
        "redirected",
        "it points to http",
    )
stops("307 to the same host", http(b"", 307, Location="/v2/chat/completions"), "redirected", "/v2/chat/completions")
stops("429, insufficient_quota", error(429, "quota", code="insufficient_quota"), "no_credit", "top up")
stops("429, insufficient_quota as type", error(429, "quota", type="insufficient_quota", code=None), "no_credit", "top")
stops("429, billing_hard_limit_reached", error(429, code="billing_hard_limit_reached"), "no_credit", "top up")
stops("400, model not found", error(400, code="model_not_found"), "not_found", "model_not_found")
stops("400, param model", error(400, "bad model", param="model"), "bad_setting", "bad model")
for param, does in (
    ("temperature", LEFT_OUT),
    ("max_tokens", "sends max_completion_tokens instead; else stops the job"),
):
    data = error(400, f"bad {param}", param=param)
    stops(f"400, param {param}", data, "bad_setting", f"bad {param}", most=2, does=does)
    flags, does = ("--no-adapt",), "stops the job, with what to type"
    stops(f"400, param {param}, --no-adapt", data, "bad_setting", "or leave out --no-adapt", flags=flags, does=does)
stops(
    "400, param response_format",
    error(400, "bad format", param="response_format"),
    "bad_response_format",
    "--no-response-format",
)
stops("400, unsupported_parameter", error(400, "use x", code="unsupported_parameter"), "bad_setting", "unsupported_p")
stops(
    "422, param temperature",
    error(422, "too hot", param="temperature"),
    "bad_setting",
    "too hot",
    most=2,
    does=LEFT_OUT,
)
stops("401 once the job is under way", error(401, "revoked"), "bad_key", "revoked", on="after", most=13)
stops(
    "400 of an unknown kind, on every row",
    error(400, "hm"),
    "bad_request",
    "row after row failed alike",
    most=5,
    flags=("--concurrency", "1"),
    does="stops the job after five rows",
)
stops(
    "400 of an unknown kind, on every row, ten at once",
    error(400, "hm"),
    "bad_request",
    "row after row failed alike",
    most=5,
    does="stops the job after five rows: there is one request at a time until there is a label",
)
stops(
    "422 of an unknown kind, on every row",
    http(json.dumps({"detail": [{"loc": ["body", "messages"], "msg": "odd"}]}).encode(), 422),
    "bad_request",
    "odd",
    most=5,
    flags=("--concurrency", "1"),
    does="stops the job after five rows",
)
stops(
    "error 402 inside a 200",
    error(200, "Insufficient credits", code=402),
    "no_credit",
    "Insufficient credits",
)


def google(status: int, message: str, *details: dict[str, Any]) -> bytes:
    """A JSON error as Google words it."""
    fields = {"code": status, "message": message, "status": "INVALID_ARGUMENT", "details": details}
    return http(json.dumps([{"error": fields}]).encode(), status)


def minimax(code: int, message: str) -> bytes:
    """MiniMax's error in a 200."""
    return http(json.dumps({"choices": None, "base_resp": {"status_code": code, "status_msg": message}}).encode())


SERVER = "server_error"
PER_DAY = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
MONEY, QUOTA, OWN = "no_credit", "daily_quota", "stops the job after this request, in the endpoint's own words"

# Words for money, for a quota of a day, for a wrong model and a wrong key, from a host that nobody knows.
for fault, data, kind, says in (
    (
        "429, exceeded_current_quota_error",
        error(429, "suspended", type="exceeded_current_quota_error"),
        MONEY,
        "top up",
    ),
    ("429, code 1113", error(429, "余额不足或无可用资源包,请充值。", code="1113"), MONEY, "余额不足"),
    ("429, budget_exceeded", error(429, "Budget has been exceeded!", type="budget_exceeded"), MONEY, "Budget has been"),
    ("429, spend limit", error(429, "spent", code="project_spend_limit_exceeded", type="requests"), MONEY, "spent"),
    ("500, insufficient balance (1008)", error(500, "insufficient balance (1008)"), MONEY, "balance (1008)"),
    ("200, base_resp 1008", minimax(1008, "insufficient balance"), MONEY, "insufficient balance"),
    (
        "403, insufficient_user_quota",
        error(403, "user quota is not enough", code="insufficient_user_quota"),
        MONEY,
        "top",
    ),
    ("400, a credit balance that is too low", error(400, "Your credit balance is too low"), MONEY, "too low"),
    (
        "403, credits that are used up",
        http(
            b'{"code": "The caller does not have permission", "error": "Your team has either used all available '
            b'credits or reached its monthly spending limit."}',
            403,
        ),
        MONEY,
        "spending limit",
    ),
    ("412, a suspended account, of a known provider", error(412, "suspended"), MONEY, "suspended"),
    ("429, a quota of a day in its details", google(429, "quota", PER_DAY), QUOTA, "--wait-for-quota"),
    ("429, 1,000 calls a month", error(429, "limited to 1000 API calls / month"), QUOTA, "calls / month"),
    ("429, requests per day", error(429, "Limit reached on requests per day (RPD): Limit 200"), QUOTA, "Limit 200"),
    ("429, code 1308", error(429, "Reset at 20:00", code="1308"), QUOTA, "Reset at 20:00"),
    ("429, Retry-After: 20 hours", error(429, "later", headers={"Retry-After": "72000"}), QUOTA, "later"),
    ("503, model_not_found", error(503, "No channel for gpt-9", code="model_not_found"), "not_found", "for gpt-9"),
    ("503, no channel, in Chinese", error(503, "分组 default 下对于模型 gpt-9 无可用渠道"), "not_found", "gpt-9"),
    (
        "400, code 20012 for a model",
        http(b'{"code": 20012, "message": "Model does not exist."}', 400),
        "not_found",
        "does not exist",
    ),
    ("400, API_KEY_INVALID", google(400, "API key not valid.", {"reason": "API_KEY_INVALID"}), "bad_key", "not valid"),
    (
        "400, incorrect API key",
        http(b'{"code": "Client specified an invalid argument", "error": "Incorrect API key provided: x."}', 400),
        "bad_key",
        "check the key",
    ),
):
    known = ("--provider", "fireworks") if "known provider" in fault else ()
    stops(fault, data, kind, says, does=OWN, flags=known)
stops(
    "no money once the job is under way",
    error(429, "Budget has been exceeded!", type="budget_exceeded"),
    MONEY,
    "Budget has been exceeded!",
    on="after",
    most=13,
    does="stops the job with what was in flight",
)
stops(
    "insufficient_quota once the job is under way, from then on",
    error(429, "quota", code="insufficient_quota", headers={"retry-after-ms": "100"}),
    MONEY,
    "top up",
    on="after",
    most=14,
    does="asks once more after a pause; refused again, it is money, and the job stops",
)
stops(
    "403 once the job is under way, from then on",
    error(403, "no", headers={"retry-after-ms": "100"}),
    "forbidden",
    "check its permissions",
    on="after",
    most=14,
    does="asks once more after a pause; refused again, the job stops",
)


# ---------------------------------------------------------------- 2. rejected: the row fails


def fails(fault: str, data: bytes, kind: str, says: str = "", **more: Any) -> None:
    """Row 2 is always answered so."""
    add(
        more,
        group="the row is refused",
        fault=fault,
        act=raw(data),
        outcome=REJECTED,
        does=FAILS,
        state=FAILED,
        kind=kind,
        exit=4,
        most=3,
        says=says or kind,
    )


fails("400, context_length_exceeded", error(400, code="context_length_exceeded", param="messages"), "too_long")
fails("400, string_above_max_length", error(400, code="string_above_max_length"), "too_long")
fails("400, exceed_context_size_error", error(400, type="exceed_context_size_error"), "too_long")
fails("400, param input_tokens", error(400, type="BadRequestError", param="input_tokens"), "too_long")
for status in (403, 500, 503):
    fails(f"{status}, context_length_exceeded", error(status, code="context_length_exceeded"), "too_long")
fails("413", error(413, "Too large"), "too_long")
fails("413, HTML", html(413), "too_long")
fails("400, content_filter", error(400, "policy", code="content_filter"), "content_filter", "by hand")
fails("400, content_policy_violation", error(400, code="content_policy_violation"), "content_filter")
fails("403, moderation", error(403, "flagged", code="content_policy_violation"), "content_filter")
fails(
    "403, moderation, told by its metadata",
    error(403, "flagged", code=403, metadata={"reasons": ["violence"], "flagged_input": "row 2"}),
    "content_filter",
)
fails("400 of an unknown kind", error(400, "what is this?", code="odd"), "bad_request", "what is this?")
fails(
    "403 to one row alone",
    error(403, "blocked", headers={"retry-after-ms": "50"}),
    "bad_request",
    "blocked",
    most=4,
    met="forbidden",
    does="asks for it once more; fails it where others are answered meanwhile",
)
fails("422 about the content", error(422, "cannot be read", param="messages"), "bad_request", "cannot be read")
fails("400, HTML", html(400), "bad_request", "HTTP 400")
fails("400, a JSON list", http(b'[{"error": {"message": "in a list", "code": 400}}]', 400), "bad_request", "in a list")
fails("400, JSON null", http(b"null", 400), "bad_request")
fails("400, an endless body", http(b"x" * 9_000_000, 400), "bad_request")
fails("400, nested 100,000 deep", http(b"[" * 100_000, 400), "bad_request")
fails("400, its message no text", error(400, {"a": [1]}), "bad_request")  # type: ignore[arg-type]
fails("400, lone surrogates in it", http(b'{"error": {"message": "\\ud800", "code": "\\udfff"}}', 400), "bad_request")
fails("400, terminal escapes in it", error(400, "\x1b[2J\x1b]0;gone\x07 \r\nnext"), "bad_request")


# ---------------------------------------------------------------- 3. rejected: tried again


def again(fault: str, data: bytes, kind: str, **more: Any) -> None:
    """Row 2 is answered so once, then as it should."""
    add(
        more,
        group="the endpoint is busy or broken",
        fault=fault,
        act=raw(data),
        outcome=REJECTED,
        kind=kind,
        does=AGAIN,
        state=DONE,
        exit=0,
        most=4,
        on="once",
    )


def busy(fault: str, wait: tuple[float, float], **headers: str) -> None:
    """A 429, once."""
    again(f"429, {fault}", error(429, headers=headers), "rate_limited", waits=wait, does=AGAIN_FREE)


def year(n: int) -> str:
    """An HTTP date, n seconds into a year that is not this one."""
    return formatdate(1_000_000_000 + n, usegmt=True)


busy("retry-after-ms: 300", (0.3, 0.9), retry_after_ms="300", Retry_After="60")
busy("Retry-After: 1", (1.0, 1.6), Retry_After="1")
busy("Retry-After: 0.3", (0.3, 0.9), Retry_After="0.3")
busy("Retry-After: a date, 1 s after the answer's own", (1.0, 1.6), Retry_After=year(1), Date=year(0))
busy("Retry-After: a date that has passed", (0.2, 0.9), Retry_After=year(0), Date=year(9))
busy("Retry-After: -5", (0.2, 0.9), Retry_After="-5")
busy("Retry-After: nan", (0.2, 0.9), Retry_After="nan")
busy("Retry-After: inf", (0.2, 0.9), Retry_After="inf")
busy("Retry-After: soon", (0.2, 0.9), Retry_After="soon")
busy("no Retry-After", (0.2, 0.9))
again(
    "429, Retry-After: a year",
    error(429, headers={"Retry-After": "31536000"}),
    "rate_limited",
    on="all",
    most=1,
    rows=30,
    state=PENDING,
    exit=130,
    says="batchjob resume",
    interrupt=True,
    does="waits an hour at most before it asks again; can be stopped at any time",
)
again(
    "429 to row 2 each time",
    error(429, headers={"retry-after-ms": "30"}),
    "rate_limited",
    on="row",
    most=400,
    state=PENDING,
    exit=1,
    says="--max-outage",
    does="tries again until --max-outage; no row fails for a rate limit",
)
for status in (408, 409, 425):
    again(f"{status}", error(status), "conflict")
again("500, JSON", error(500, "oops"), "server_error", same_key=False)
for status in (502, 503, 504, 529):
    again(f"{status}, JSON", error(status, "overloaded"), "unavailable", same_key=False)
for _hold in ((), ("--on-unconfirmed", "hold")):
    again(
        f"503, a proxy's HTML, --unpaid-status 503{', hold' if _hold else ''}",
        html(503),
        "unavailable",
        flags=("--unpaid-status", "503", *_hold),
        does="tries again: nothing was paid, by the user's word; costs the row no attempt unless others are served",
        same_key=False,
    )
again("503 with Retry-After: 1", error(503, headers={"Retry-After": "1"}), "unavailable", waits=(1.0, 1.7))
again("500, a JSON list", http(b'[{"error": {"message": "oops"}}]', 500), "server_error", same_key=False)
again("500 to row 2 each time", error(500), "server_error", on="row", state=FAILED, exit=4, does=AGAIN + "; then fails")
again("409 to row 2 each time", error(409), "conflict", on="row", state=FAILED, exit=4, does=AGAIN + "; then fails")
again(
    "503 to all",
    error(503, "overloaded"),
    "unavailable",
    on="all",
    rows=30,
    state=PENDING,
    exit=1,
    most=60,
    says="--max-outage",
    does="waits and probes at growing intervals, until --max-outage; no row fails for it",
)
again("402 with Retry-After", error(402, headers={"Retry-After": "0.2"}), "rate_limited", does=AGAIN_FREE)
again(
    "402, in_flight_budget_exhausted",
    error(402, metadata={"reason": "in_flight_budget_exhausted"}, headers={"retry-after-ms": "100"}),
    "rate_limited",
    does=AGAIN_FREE,
)
again("498, capacity_exceeded", error(498, code="capacity_exceeded"), "unavailable")
again("403, a firewall's page in the middle", html(403), "unavailable")
again("404, a proxy's page in the middle", html(404), "unavailable")
again("503, model_not_found, in the middle", error(503, code="model_not_found"), "unavailable")
again(
    "200, base_resp 1002", minimax(1002, "rate limit"), "rate_limited", does=AGAIN_FREE, flags=("--provider", "minimax")
)
again(
    "429, insufficient_quota for the tokens of a minute",
    error(429, "You exceeded your current quota", code="insufficient_quota", headers={"retry-after-ms": "200"}),
    "no_credit",
    waits=(0.2, 2.0),
    does="asks once more after a pause; answered, it was no money",
)
again(
    "429, insufficient_quota of a provider that means a minute's tokens by it",
    error(429, code="insufficient_quota", headers={"retry-after-ms": "200"}),
    "rate_limited",
    flags=("--provider", "qwen"),
    does=AGAIN_FREE,
)
again(
    "429, a quota of a day, with --wait-for-quota",
    error(429, "limited to 1000 API calls / month", headers={"retry-after-ms": "200"}),
    "daily_quota",
    flags=("--wait-for-quota", "--provider", "cohere"),
    waits=(0.2, 2.0),
    does="waits until it is new, however long; costs the row no attempt",
)
again("200 with an error in it", error(200, "overloaded"), "server_error", same_key=False)
again("200 with error 429 in it", error(200, "slow down", code=429), "rate_limited")
again(
    "200 with an error in it each time",
    error(200, "overloaded"),
    "server_error",
    on="row",
    state=FAILED,
    exit=4,
    does=AGAIN + "; then fails",
)
again("200 with an error in it whose code is text", error(200, "slow down", code="429"), "rate_limited")
for fault, body, kind in (
    ("object: error", {"object": "error", "message": "overloaded", "type": "x", "param": None, "code": 40303}, SERVER),
    ("object: error and the code 429", {"object": "error", "message": "slow down", "code": 429}, "rate_limited"),
    ("success: false", {"success": False, "msg": "busy", "code": 500}, SERVER),
    ("errors", {"success": False, "errors": [{"code": 7505, "message": "busy"}], "result": None}, SERVER),
    ("error_code", {"error_code": 336100, "error_msg": "try again later"}, SERVER),
):
    again(f"200 with {fault}", http(json.dumps(body).encode()), kind)
again(
    "200 with an error, and choices that are null",
    http(b'{"error": {"message": "x"}, "choices": null}'),
    "server_error",
)


# ---------------------------------------------------------------- 4. answered: paid, usable or not


def streamed(*contents: str) -> bytes:
    """Whole answers as events of one stream."""
    events = [json.dumps({"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}) for said in contents]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()


def broken_stream() -> bytes:
    """A part of an answer, and then an error as an event of its own."""
    part = {"choices": [{"index": 0, "delta": {"content": "alpha"}}]}
    events = [json.dumps(part), json.dumps({"object": "error", "message": "out of memory", "code": 500}), "[DONE]"]
    return "".join(f"data: {event}\n\n" for event in events).encode()


def in_vain(fault: str, body: bytes, kind: str, *, tokens: int = 30, **more: Any) -> None:
    """A 200 for row 2 that gives no label."""
    add(
        more,
        group="paid, and of no use",
        fault=fault,
        act=raw(http(body)),
        outcome=ANSWERED,
        kind=kind,
        input_tokens=tokens,
        does=PAID,
        state=FAILED,
        exit=4,
        most=3,
    )


in_vain("content null", completion(None), "empty_answer")
in_vain("content empty", completion(""), "empty_answer")
in_vain("content white space", completion(" \n\t "), "empty_answer")
in_vain("content a number", completion(5), "empty_answer")
in_vain("choices missing", b'{"usage": {"prompt_tokens": 10, "completion_tokens": 2}}', "empty_answer")
in_vain("choices empty", b'{"choices": [], "usage": {"prompt_tokens": 10}}', "empty_answer")
in_vain("choices of the wrong kind", b'{"choices": [7], "usage": {"prompt_tokens": 10}}', "empty_answer")
in_vain("message missing", b'{"choices": [{}]}', "empty_answer", tokens=20)
in_vain("an empty object", b"{}", "empty_answer", tokens=20)
in_vain("finish_reason length", completion("alph", finish="length"), "truncated_answer", says="--max-tokens")
in_vain("finish_reason length, content null", completion(None, finish="length"), "thought_only")
in_vain("finish_reason content_filter", completion("", finish="content_filter"), "filtered_answer")
in_vain("a refusal", completion(None, refusal="I cannot help with that"), "refused_by_model")
in_vain("tool calls in place of content", completion(None, finish="tool_calls", tool_calls=[{}]), "empty_answer")
for how, indexes in (("of index 0", (0, 0)), ("of index 0 and 1", (0, 1)), ("without an index", (None, None))):
    in_vain(f"two choices {how} that differ", choices("alpha", "beta", indexes=indexes), "several_answers")
in_vain(
    "two choices that differ, in an odd shape",
    choices("alpha", [{"text": "beta"}], indexes=("0", 1)),
    "several_answers",
)
in_vain("a stream of two whole answers that differ", streamed("alpha", "beta"), "several_answers", tokens=20)
in_vain("a label off the list", completion("gamma"), "off_list", says="--fallback")
in_vain("two labels", completion("alpha or beta"), "off_list")
in_vain("a denial", completion("not alpha"), "off_list")
in_vain("a label in a sentence", completion("The label is alpha."), "off_list")
in_vain("a thought without an end", completion("<think>alpha, I would say"), "off_list")
in_vain("half an answer, and a finish_reason nobody knows", completion("Alpha.", finish="odd"), "off_list")
in_vain("finish_reason MAX_TOKENS", completion("alpha", finish="MAX_TOKENS"), "truncated_answer")
in_vain("finish_reason sensitive", completion("alpha", finish="sensitive"), "filtered_answer")
in_vain("finish_reason content_filter: X", completion("", finish="content_filter: X"), "filtered_answer")
in_vain(
    "an answer that begins with a label and goes on for 7 MB", completion("alpha " + "x" * 7_000_000), "huge_answer"
)
in_vain("lone surrogates", b'{"choices": [{"message": {"content": "\\ud800\\udc00\\ud800"}}]}', "off_list", tokens=20)
in_vain("a NUL in it", completion("gam\0ma"), "off_list")
in_vain("terminal escapes", completion("\x1b]0;title\x07\x1b[2J gamma\r\n"), "off_list")
in_vain("ten MB of label", completion("a" * 10_000_000), "huge_answer", tokens=20)
in_vain(
    "a label off the list, with --fallback",
    completion("gamma"),
    "",
    flags=("--fallback", "alpha"),
    does="takes the fallback, marked as such",
    state=DONE,
    exit=0,
    fallback=True,
)
in_vain(
    "content null, with --fallback",
    completion(None),
    "empty_answer",
    flags=("--fallback", "alpha"),
    does=PAID + "; an empty answer is no answer",
)
in_vain(
    "a label off the list, with --max-paid 2",
    completion("gamma"),
    "",
    on="once",
    most=4,
    flags=("--max-paid", "2"),
    tokens=40,
    does="buys one more answer, with a new idempotency key",
    state=DONE,
    exit=0,
    same_key=False,
)
in_vain(
    "content null, with --max-paid 2",
    completion(None),
    "empty_answer",
    on="once",
    most=4,
    flags=("--max-paid", "2"),
    tokens=40,
    does="buys one more answer, with a new idempotency key",
    state=DONE,
    exit=0,
    same_key=False,
)
in_vain(
    "a label off the list, for every row",
    completion("gamma"),
    "off_list",
    on="all",
    rows=30,
    most=5,
    tokens=50,
    exit=3,
    says="row after row failed alike",
    does="stops the job after five rows, before it pays for more",
)
in_vain(
    "a label off the list for every row, with --fallback",
    completion("gamma"),
    "",
    on="all",
    rows=8,
    most=8,
    tokens=80,
    state=DONE,
    exit=0,
    fallback=True,
    flags=("--fallback", "alpha"),
    does="takes the fallback, one row at a time: it is no label of the model's, and no reason to stop",
)
for said, finish, kind in (("alp", "length", "truncated_answer"), (None, "stop", "empty_answer")):
    in_vain(
        f"content {said or 'null'} and finish_reason {finish}, for every row",
        completion(said, finish=finish),
        kind,
        on="all",
        rows=30,
        most=2,
        tokens=20,
        exit=3,
        says="2 paid answers alike gave no label",
        does="stops the job after two, while it has no label",
    )
in_vain(
    "content null and finish_reason length, for every row",
    completion(None, finish="length"),
    "thought_only",
    on="all",
    rows=30,
    most=3,
    tokens=30,
    exit=3,
    says="2 paid answers alike gave no label",
    does="makes room for thoughts once; then stops the job after two, while it has no label",
)


# ---------------------------------------------------------------- 5. answered, in an odd way, with a label


def odd(fault: str, act: Act, *, tokens: int = 30, **more: Any) -> None:
    """An answer for row 2 that looks wrong and has a label all the same."""
    add(
        more,
        group="odd, but an answer",
        fault=fault,
        act=act,
        outcome=ANSWERED,
        does=TAKES,
        state=DONE,
        kind="",
        exit=0,
        input_tokens=tokens,
        most=3,
    )


def usage(fault: str, text: str, tokens: int = 20, does: str = "") -> None:
    """A right answer with such a usage."""
    odd(
        f"usage {fault}",
        built(lambda x: http(right(usage="USAGE")(x).replace(b'"USAGE"', text.encode()))),
        tokens=tokens,
        says="" if does else "a usage that cannot be true",
        does=TAKES + (does or "; says that the usage cannot be true; a budget counts the worst case"),
    )


def content(make: Callable[[str], str]) -> Act:
    """An answer made of the right label."""
    return built(lambda x: http(completion(make(label_of(x.row)))))


async def _dripped(x: Exchange) -> None:
    for byte in http(right()(x)):
        await x.send(bytes([byte]))
        await asyncio.sleep(0.0005)


async def _continued(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
    await asyncio.sleep(0.02)
    await well(x)


async def _twice_late(x: Exchange) -> None:
    await well(x)
    await asyncio.sleep(0.0)
    await x.send(http(completion(label_of(x.row + 1))))


async def _closed_when_idle(x: Exchange) -> None:
    await well(x)
    x.close()


async def _dead_when_used(x: Exchange) -> None:
    await well(x)
    await x.reader.read(1)
    x.reset()


def _chunked(x: Exchange) -> bytes:
    body = right()(x)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:]))
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def _out_of_order(x: Exchange) -> bytes:
    answer = json.loads(right()(x))
    silent = {"index": 1, "message": {"content": None}, "finish_reason": "tool_calls"}
    return json.dumps({**answer, "choices": [silent, {**answer["choices"][0], "index": 0}]}).encode()


def _twice_the_same(x: Exchange) -> bytes:
    answer = json.loads(right()(x))
    (choice,) = answer["choices"]
    again = {**choice, "message": {"content": f" {choice['message']['content']}\n"}}
    return json.dumps({**answer, "choices": [choice, again]}).encode()


def _deltas(x: Exchange, *, end: bool = True) -> bytes:
    answer = json.loads(right()(x))
    said = answer["choices"][0]["message"]["content"]
    events = [{"choices": [{"index": 0, "delta": {"content": part}}]} for part in (said[:2], said[2:])]
    events += [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": answer["usage"]},
    ]
    lines = [f"data: {json.dumps(event)}\r\n\r\n" for event in (events if end else events[:1])]
    return "".join([": ping\n\n", *lines, "data: [DONE]\n\n" if end else ""]).encode()


odd("content type text/html", built(lambda x: http(right()(x), type="text/html")))
odd("no content type", built(lambda x: http(right()(x), type="")))
odd("status 201", built(lambda x: http(right()(x), 201)))
odd("a BOM before the JSON", built(lambda x: http(b"\xef\xbb\xbf" + right()(x))))
odd("content in parts", built(lambda x: http(completion([{"type": "text", "text": label_of(x.row)}]))))
odd("a finish_reason that is no text", built(lambda x: http(right(finish=7)(x))))
odd(
    "nothing but the label",
    built(lambda x: http(b'{"choices":[{"message":{"content":"%s"}}]}' % label_of(x.row).encode())),
    tokens=20,
)
COUNTED_BESIDE = "; counts it beside what it is not a part of"
usage("missing", "null", does="; a budget counts the worst case")
usage("of nulls", '{"prompt_tokens": null, "completion_tokens": null}', does="; a budget counts the worst case")
usage("of zeros", '{"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}')
usage("of the wrong kind", '"many"')
usage("NaN", '{"prompt_tokens": NaN, "completion_tokens": 2}')
usage("negative", '{"prompt_tokens": -5, "completion_tokens": 2}')
usage("as text", '{"prompt_tokens": "10", "completion_tokens": "2"}')
usage("huge", '{"prompt_tokens": 1e30, "completion_tokens": 2}')
usage("of a hundred digits", '{"prompt_tokens": ' + "9" * 100 + "}")
usage(
    "with more cached than there are",
    '{"prompt_tokens": 10, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 99}}',
    129,
    COUNTED_BESIDE,
)
usage(
    "whose thinking is in its total alone",
    '{"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 412}',
    30,
    COUNTED_BESIDE,
)
usage(
    "with nulls in its details",
    '{"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": null}}',
    30,
    "; the usage is counted",
)
odd("the label in quotes, capitals and with a dot", content(lambda label: f'"{label.upper()}."'))
odd("the label with newlines around it", content(lambda label: f"\n\n{label}\r\n"))
odd(
    "the label with control characters around it",
    content(lambda label: f"\x1b[1m\t{label}\x07"),
)
odd("the label in bold below a blank line", content(lambda label: f"Let me see.\n\n**{label}**"))
odd("the label behind a tag nobody opened", content(lambda label: f"alpha or beta?\n</think>\n\n{label}"))
odd("JSON whose reason names another label", content(lambda label: f'{{"label": "{label}", "reason": "not gamma"}}'))
odd("a finish_reason nobody knows", built(lambda x: http(right(finish="odd")(x))))
odd("a single choice with index 1", built(lambda x: http(right()(x).replace(b'"index": 0', b'"index": 1'))))
odd("an empty error beside the choice", built(lambda x: http(b'{"error": {"message": ""}, ' + right()(x)[1:])))
odd("choices out of order, one of them silent", built(lambda x: http(_out_of_order(x))))
odd("two choices that say the same", built(lambda x: http(_twice_the_same(x))))
odd("a stream of one whole answer", built(lambda x: http(b"data: " + right()(x) + b"\n\ndata: [DONE]\n\n")))
odd("a stream of deltas", built(lambda x: http(_deltas(x), type="text/event-stream")))
odd("an answer with the end of a stream behind it", built(lambda x: http(right()(x) + b"\n\ndata: [DONE]\n\n")))
odd("the label behind its thinking", content(lambda label: f"<think>alpha or beta?</think>\n{label}"))
odd("chunked", built(_chunked))
odd("byte by byte", _dripped)
odd("HTTP/1.0, closed behind the body", built(lambda x: b"HTTP/1.0 200 OK\r\n\r\n" + right()(x), close=True))
odd("100 and 103 before the answer", _continued)
odd("gzip", built(lambda x: http(gzip.compress(right()(x)), Content_Encoding="gzip")))
odd("x-request-id that is no UTF-8", built(lambda x: http(right()(x), x_request_id="\xff\xfe")))
odd(
    "x-ratelimit headers that make no sense",
    built(
        lambda x: http(
            right()(x),
            x_ratelimit_limit_requests="nan",
            x_ratelimit_remaining_requests="-1",
            x_ratelimit_reset_requests="9" * 400 + "s",
            x_ratelimit_reset_tokens="soon",
        )
    ),
)
odd(
    "the connection is closed as soon as it is idle",
    _closed_when_idle,
    on="all",
    rows=30,
    most=40,
    tokens=300,
    does=TAKES + "; a dead connection is not used again",
)
odd(
    "a second answer in the same bytes",
    built(lambda x: http(right()(x)) + http(completion(label_of(x.row + 1)))),
    on="all",
    rows=30,
    most=30,
    tokens=300,
    does=TAKES + " of the first; the connection is not used again",
)
odd(
    "a second answer right behind the first",
    _twice_late,
    on="all",
    rows=30,
    most=30,
    tokens=300,
    does=TAKES + " of the first; the connection is not used again",
)


# ---------------------------------------------------------------- 6. lost: sent, and no whole answer


def lost(fault: str, act: Act, kind: str, **more: Any) -> None:
    """Row 2's first request is lost so; once with resend, once with hold."""
    common: dict[str, Any] = {"group": "lost", "act": act, "outcome": LOST, "kind": kind, "on": "once", **more}
    CASES.append(
        Case(
            fault=fault,
            does=RESENDS if more.get("same_key", True) else RESENDS_AS_NEW,
            state=DONE,
            exit=0,
            most=4,
            says="paid twice, at most: 1",
            **{"same_key": True, **common},
        )
    )
    flags = (*more.get("flags", ()), "--on-unconfirmed", "hold")
    common.update(flags=flags, same_key=None)
    CASES.append(
        Case(fault=f"{fault}, hold", does=HOLDS, state=UNCONFIRMED, exit=4, most=3, says="may have been paid", **common)
    )


def _error_beside() -> bytes:
    return json.dumps({**json.loads(completion("alpha")), "error": {"message": "the provider is gone"}}).encode()


def _choice_error() -> bytes:
    answer = json.loads(completion("alpha"))
    answer["choices"][0]["error"] = {"code": 502, "message": "Provider returned error"}
    return json.dumps(answer).encode()


async def _dripped_forever(x: Exchange) -> None:
    await x.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
    for _ in range(100):
        await x.send(b" ")
        await asyncio.sleep(0.05)


def _cut(how: str) -> Act:
    def make(x: Exchange) -> bytes:
        body = right()(x)
        if how == "chunked":
            return _chunked(x)[:-40]
        return http(body[:-20], length=len(body) if how == "length" else None)

    return built(make, close=True)


async def _reset_in_the_body(x: Exchange) -> None:
    await raw(http(right()(x)[:40], length=500), reset=True)(x)


async def _closed_unanswered(x: Exchange) -> None:
    x.close()


async def _reset_unanswered(x: Exchange) -> None:
    x.reset()


IMPATIENT = ("--timeout", "0.4")

for _reason in ("error", "insufficient_system_resource", "abort"):
    lost(
        f"finish_reason {_reason}", raw(http(completion("alpha", finish=_reason))), "broken_off_answer", same_key=False
    )
lost("a choice with an error in it", raw(http(_choice_error())), "broken_off_answer", same_key=False)
lost("an error beside a choice", raw(http(_error_beside())), "broken_off_answer", same_key=False)
lost("a stream with an error at its end", raw(http(broken_stream())), "broken_off_answer", same_key=False)
lost("a stream that breaks off", built(lambda x: http(_deltas(x, end=False))), "garbled_answer")
lost("closed without an answer", _closed_unanswered, "connection_lost")
lost("reset without an answer", _reset_unanswered, "connection_lost")
lost("reset in the body", _reset_in_the_body, "garbled_answer")
lost("closed in a chunked body", _cut("chunked"), "garbled_answer")
lost("closed before Content-Length", _cut("length"), "garbled_answer")
lost("half of the JSON, with a Content-Length that fits", _cut("json"), "garbled_answer")
lost("half of the head", raw(b"HTTP/1.1 200 OK\r\nContent-", close=True), "connection_lost")
lost("never answered", raw(b"", hang=True), "timeout", flags=IMPATIENT)
lost(
    "a head, and then nothing",
    raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", hang=True),
    "timeout",
    flags=IMPATIENT,
)
lost("a slow drip past --timeout", _dripped_forever, "timeout", flags=IMPATIENT)
lost("a status line that is rubbish", raw(b"\x16\x03\xff\xfe rubbish\r\n\r\n", close=True), "garbled_answer")
lost("a status that is rubbish", raw(b"HTTP/1.1 OK 200\r\n\r\n", close=True), "garbled_answer")
lost("a header of 100 KB", raw(http(b"{}", X_Long="x" * 100_000), close=True), "garbled_answer")
lost("a thousand headers", raw(http(b"{}", **{f"X{n}": "x" for n in range(1000)}), close=True), "garbled_answer")
lost(
    "bad chunk sizes", raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", close=True), "garbled_answer"
)
lost("gzip that is none", raw(http(b"no gzip at all", Content_Encoding="gzip")), "garbled_answer")
lost("502, a proxy's HTML", raw(html(502)), "garbled_answer")
lost("503, a proxy's HTML", raw(html(503)), "garbled_answer")
lost("504 without a body", raw(http(b"", 504)), "garbled_answer")
lost("200, a proxy's HTML", raw(html(200)), "garbled_answer")
lost("200 without a body", raw(http(b"")), "garbled_answer")
STILL_AT_WORK = raw(http(b'{"status":"pending-evaluation"}', 202))
CASES.extend(
    Case(
        group="lost",
        fault=f"{fault}, for every row",
        act=act,
        outcome=LOST,
        does="stops the job after two, while it has no label: they may have been paid",
        state=PENDING,
        kind="garbled_answer",
        exit=3,
        most=2,
        on="all",
        rows=30,
        says="check what answers at --base-url",
    )
    for fault, act in {
        "200, a proxy's HTML": raw(html(200)),
        "202, still at work": STILL_AT_WORK,
        "a status that is rubbish": raw(b"HTTP/1.1 OK 200\r\n\r\n", close=True),
        "204 without a body": raw(b"HTTP/1.1 204 No Content\r\n\r\n"),
    }.items()
)
lost("202, still at work", STILL_AT_WORK, "garbled_answer")
lost("200, JSON null", raw(http(b"null")), "garbled_answer")
lost("200, nested 100,000 deep", raw(http(b'{"choices":' + b"[" * 100_000)), "garbled_answer")
lost(
    "200, a stream of events",
    raw(http(b'data: {"choices":[]}\n\ndata: [DONE]\n\n', type="text/event-stream")),
    "garbled_answer",
)
lost("rubbish behind the body, in the same bytes", built(lambda x: http(right()(x)) + b"\0\xff" * 99), "garbled_answer")
CASES.append(
    Case(
        group="lost",
        fault="closed without an answer, each time",
        act=_closed_unanswered,
        outcome=LOST,
        does=RESENDS + "; fails after --max-attempts",
        state=FAILED,
        kind="connection_lost",
        exit=4,
        most=4,
        same_key=True,
        says="broke before the answer each time: retry",
    )
)
CASES.append(
    Case(
        group="lost",
        fault="a kept connection is dead when it is used again",
        act=_dead_when_used,
        outcome=ANSWERED,
        does=RESENDS,
        state=DONE,
        kind="",
        exit=0,
        most=24,
        rows=8,
        on="all",
        flags=("--max-attempts", "9"),
    )
)


def _bomb() -> bytes:
    """Half a gigabyte of zeros in two megabytes; one block is packed, and said again: packing all takes a second."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    first, again = (packer.compress(zeros) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + 511 * again + packer.flush()


async def bombed(x: Exchange) -> None:
    """Answer with a gzip bomb."""
    await x.send(http(_bomb(), Content_Encoding="gzip"))


in_vain("a body of more than 8 MiB", b'{"choices": [], "x": "' + b"x" * 9_000_000, "huge_answer", tokens=20)
CASES.append(
    Case(
        group="paid, and of no use",
        fault="a gzip bomb of 512 MiB (memory stays flat)",
        act=bombed,
        outcome=ANSWERED,
        does=PAID + "; reads 8 MiB of it",
        state=FAILED,
        kind="huge_answer",
        exit=4,
        most=3,
    )
)


# ---------------------------------------------------------------- 7. not sent


def unsent(fault: str, where: Where, kind: str, says: str, **more: Any) -> None:
    """Nobody is reached."""
    add(
        more,
        group="not sent",
        fault=fault,
        act=well,
        outcome=NOT_SENT,
        kind=kind,
        where=where,
        says=says,
        does="waits and probes until --max-outage; costs no attempt",
        state=PENDING,
        exit=1,
        most=0,
        on="all",
        rows=30,
        flags=("--max-outage", "1"),
    )


unsent("connection refused", "nobody", "cannot_connect", "--max-outage")
unsent("a name that is unknown", "nowhere", "cannot_connect", "nosuch.invalid")
unsent(
    "no connection in time",
    "full",
    "cannot_connect",
    "--connect-timeout",
    flags=("--max-outage", "0.5", "--connect-timeout", "0.6", "--timeout", "9"),
)
unsent(
    "no connection in time, --timeout shorter than --connect-timeout",
    "full",
    "cannot_connect",
    "no connection in time",
    flags=("--max-outage", "0.5", "--connect-timeout", "9", "--timeout", "0.6"),
)
unsent("a certificate that is not trusted", "tls", "bad_certificate", "certificate", exit=3, does=STOPS)
unsent("plain HTTP at an https address", "https_to_plain", "bad_certificate", "secure", exit=3, does=STOPS)
unsent(
    "a TLS handshake that is never answered",
    "mute",
    "cannot_connect",
    "no connection in time",
    flags=("--max-outage", "0.5", "--connect-timeout", "0.6"),
)
unsent(
    "connection refused, for a while",
    "late",
    "cannot_connect",
    "",
    flags=("--max-outage", "20"),
    rows=3,
    state=DONE,
    exit=0,
    most=3,
)


# ---------------------------------------------------------------- 8. an endpoint that repeats the key

SECRETLY = "blots the key out of all that is kept or said"


def echo(fault: str, make: Callable[[Exchange], bytes], **more: Any) -> None:
    """The key comes back in what is answered to row 2."""
    add(
        more,
        group="the key comes back",
        fault=fault,
        act=built(make),
        outcome=REJECTED,
        does=SECRETLY,
        state=FAILED,
        kind="bad_request",
        exit=4,
        most=3,
    )


echo("in a message", lambda x: error(400, f"key {x.secret} is odd"))
echo("where a message is cut", lambda x: error(400, "x" * 490 + x.secret))
echo("as code and type", lambda x: error(400, code=x.secret, type=x.secret))
echo(
    "with its slashes escaped",
    lambda x: http(json.dumps({"message": f"key {x.secret} is odd"}).replace("/", "\\/").encode(), 400),
)
echo("as x-request-id", lambda x: error(400, headers={"x-request-id": x.secret}))
echo("in a 401", lambda x: error(401, f"Incorrect API key provided: {x.secret}"), kind="bad_key", state=PENDING, exit=3)
echo(
    "in Location",
    lambda x: http(b"", 302, Location=f"http://x/?k={x.secret}"),
    kind="redirected",
    state=PENDING,
    exit=3,
)
echo("in HTML", lambda x: http(x.secret.encode(), 400, "text/html"))
echo(
    "in a garbage head",
    lambda x: f"HTTP/1.1 {x.secret}\r\n{x.secret}\r\n\r\n".encode(),
    outcome=LOST,
    kind="garbled_answer",
    most=4,
)
echo("in an answer", lambda x: http(completion(f"key {x.secret}")), outcome=ANSWERED, kind="off_list")
echo(
    "in an answer with odd JSON",
    lambda x: http(completion(f"key {x.secret}", finish=7)),
    outcome=ANSWERED,
    kind="off_list",
)
echo(
    "as the ID of an answer",
    lambda x: http(right()(x).replace(b"chatcmpl-1", x.secret.encode())),
    outcome=ANSWERED,
    kind="",
    state=DONE,
    exit=0,
)


def selected(case: Case) -> Act:
    """What the endpoint does in this case, to whomever it meets."""

    async def act(x: Exchange) -> None:
        met = {
            "row": x.row == 2,
            "once": x.row == 2 and x.nth == 1,
            "all": True,
            "after": x.row > 3,
        }[case.on]
        await (case.act if met else well)(x)

    return act
