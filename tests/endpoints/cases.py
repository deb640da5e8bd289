"""CASES: endpoints as people have them, imitated on loopback, and what must come of the first command there."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from batchjob.sandbox.tongues import TONGUES
from batchjob.sandbox.wire import Completion
from tests.faults.cases import error, google, html, minimax, raw
from tests.faults.server import Act, Exchange, completion, http, label_of, well

ROWS = 6
THOUGHT = "The customer may want alpha or beta, let me see."


@dataclass(frozen=True, kw_only=True)
class Case:
    """An endpoint, and what comes of `start` with --base-url, --model and --labels alone, at an address nobody knows.

    `known` names its entry in providers.toml: the same command at its own address is tried with --provider.
    """

    endpoint: str
    does: str
    act: Act
    refused: int = 0  # requests refused, not paid, until all rows are labelled
    vain: int = 0  # answers paid in vain until then
    code: int = 0  # of the first command
    says: str = ""  # what it says where it does not end well
    then: tuple[str, ...] = ()  # what that says to type
    stops: str = ""  # the endpoint's own words, where one request ends the job: its rows stay pending
    model: str = "m"
    known: str = ""
    known_refused: int = 0
    known_vain: int = 0

    def __str__(self) -> str:
        return "-".join(f"{self.endpoint} {self.does}".lower().split())[:70]


CASES: list[Case] = []


def add(endpoint: str, does: str, act: Act, **more: Any) -> None:
    CASES.append(Case(endpoint=endpoint, does=does, act=act, **more))


# ---------------------------------------------------------------- acts


def speaks(name: str) -> Act:
    """As the sandbox does with `--as NAME`."""
    tongue = TONGUES[name]

    async def act(x: Exchange) -> None:
        refusal = tongue.refuses(x.body)
        if tongue.key_header not in x.headers:
            await x.send(http(json.dumps(tongue.error({"message": "no key"}, 401)).encode(), 401))
        elif refusal is not None:
            body = json.dumps(tongue.error(refusal.error, refusal.status))
            await x.send(http(body.encode(), refusal.status))
        else:
            done = Completion(completion(label_of(x.row)), (("", None),), 10, 2)
            await x.send(http(tongue.answer(done, x.body).body))

    return act


def unless(taken: Callable[[dict[str, Any]], bool], refusal: bytes, then: Act = well) -> Act:
    """Refuses every request that is not as it wants it."""

    async def act(x: Exchange) -> None:
        await (then(x) if taken(x.body) else x.send(refusal))

    return act


def without(name: str, message: str, then: Act = well, **fields: Any) -> Act:
    return unless(lambda body: name not in body, error(400, message, **fields), then)


def answers(make: Callable[[str], bytes]) -> Act:
    """The right label, in a form of its own."""

    async def act(x: Exchange) -> None:
        await x.send(http(make(label_of(x.row))))

    return act


def thinks(field: str, *, off: Callable[[dict[str, Any]], bool] = lambda body: False, tokens: int = 60) -> Act:
    """A model that thinks first, in a field of the message or (content) in the answer itself."""

    async def act(x: Exchange) -> None:
        most = x.body.get("max_completion_tokens") or x.body.get("max_tokens") or 10**6
        if off(x.body):
            await well(x)
            return
        cut = most < tokens
        used = {"prompt_tokens": 10, "completion_tokens": min(most, tokens + 2)}
        thought = f"<think>{THOUGHT}" if field == "content" else ""
        if field == "content":
            content: Any = thought if cut else f"{thought}</think>\n\n{label_of(x.row)}"
            more = {}
        else:
            content, more = (None if cut else label_of(x.row)), {field: THOUGHT}
        await x.send(http(completion(content, finish="length" if cut else "stop", usage=used, **more)))

    return act


def now_and_then(fault: Act, every: int = 3) -> Act:
    """A fault that meets the first request of every third row; else all is well."""

    async def act(x: Exchange) -> None:
        await (fault if x.row % every == 0 and x.nth == 1 else well)(x)

    return act


# ---------------------------------------------------------------- the table


def fill() -> None:
    """All lines of the table, by endpoint."""
    _openai()
    _asia()
    _gateways()
    _servers()
    _others()
    _hiccups()
    _mistakes()


def _openai() -> None:
    add("OpenAI gpt-4o, 4.1", "the form that all others take", well, model="gpt-4o-mini", known="openai")
    add(
        "OpenAI gpt-5, o-series",
        "refuses max_tokens, then temperature; thinks, and says nothing of it but in the usage",
        speaks("openai-reasoning"),
        refused=2,
        vain=1,
        model="gpt-5-nano",
        known="openai",
    )
    limit = "Could not finish the message because max_tokens or model output limit was reached. Please try again."
    enough = unless(lambda body: body.get("max_completion_tokens", 0) > 500, error(400, limit))
    add(
        "OpenAI gpt-6-astra",
        "refuses temperature without a code; a limit that is too small is a 400",
        without(
            "max_tokens",
            "no",
            without("temperature", "no temperature", enough, param="temperature"),
            param="max_tokens",
        ),
        refused=3,
        model="gpt-6-astra",
        known="openai",
    )
    add(
        "Azure, classic address",
        "wants the key in the header api-key, and ?api-version=",
        speaks("azure"),
        refused=1,
        code=3,
        says="resume with --auth api-key",
        then=("resume", "--auth", "api-key"),
        known="azure",
    )
    extra = {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs"}]}
    add(
        "Mistral",
        "strict: 422 for every field that it does not know",
        unless(
            lambda body: body.keys() <= {"model", "messages", "temperature", "max_tokens", "stream", "response_format"},
            http(json.dumps({"object": "error", "message": extra}).encode(), 422),
        ),
        known="mistral",
    )
    add(
        "Anthropic, new models",
        'refuses temperature: "`temperature` is deprecated for this model."',
        without("temperature", "`temperature` is deprecated for this model.", type="invalid_request_error"),
        refused=1,
        model="claude-opus-4-7",
        known="anthropic",
    )
    add(
        "Gemini",
        "thoughts stand in the total alone; errors are in a list",
        speaks("gemini"),
        vain=1,
        model="gemini-2.5-flash",
        known="gemini",
        known_vain=0,
    )
    add("xAI", "total = prompt + completion + thoughts", thinks("reasoning_content"), vain=1)


def _asia() -> None:
    add("DeepSeek V4", "thinks unless it is told not to", speaks("deepseek"), vain=1, known="deepseek")
    kimi = thinks("reasoning_content", off=lambda body: body.get("thinking") == {"type": "disabled"})
    fixed = "invalid temperature: only 1 is allowed for this model"
    add(
        "Moonshot, Kimi",
        "temperature is fixed; thinks",
        without("temperature", fixed, kimi),
        refused=1,
        vain=1,
        known="moonshot",
    )
    add("Qwen on DashScope", "enable_thinking must be false", speaks("qwen"), refused=1, model="qwen3-8b", known="qwen")
    glm = thinks("reasoning_content", off=lambda body: body.get("thinking") == {"type": "disabled"})
    add("Zhipu, Z.ai", "thinks unless it is told not to", glm, vain=1, known="zhipu")
    add("MiniMax", "thinks aloud in the answer", thinks("content"), vain=1, known="minimax")


def _gateways() -> None:
    add("OpenRouter", "reports its own cost", speaks("openrouter"), known="openrouter")
    mandatory = error(400, "Reasoning is mandatory for this endpoint and cannot be disabled.", code=400)
    add(
        "OpenRouter, a model that must think",
        "refuses to have thinking switched off",
        unless(lambda body: "reasoning" not in body, mandatory),
        known="openrouter",
        known_refused=1,
    )
    broken = answers(lambda label: completion("alp", finish="error", error={"code": 502, "message": "Provider"}))
    add(
        "OpenRouter, a provider breaks off",
        "half an answer with finish_reason error",
        now_and_then(broken),
        vain=2,
        known="openrouter",
        known_vain=2,
    )
    unsupported = "litellm.UnsupportedParamsError: openai does not support parameters: {'temperature': 0.0}"
    add(
        "LiteLLM proxy",
        "refuses what its table does not have for the model",
        without("temperature", unsupported, code="400", type="None"),
        refused=1,
        known="litellm",
        known_refused=1,
    )
    stream = b"data: %s\n\ndata: [DONE]\n\n"
    add(
        "Gateways that stream",
        "answer with events although stream is false",
        answers(lambda label: stream % completion(label)),
    )
    add("HF router, NIM", "the form that all others take", well, known="nvidia")


def _servers() -> None:
    close = answers(lambda label: completion(f"{THOUGHT}\n</think>\n\n{label}"))
    add("vLLM, no parser", "thinks aloud, and only the end of that is marked", close, known="vllm")
    add(
        "vLLM, Gemma's template",
        "System role not supported",
        unless(lambda body: body["messages"][0]["role"] == "user", error(400, "System role not supported")),
        refused=1,
        known="vllm",
        known_refused=1,
    )
    kwargs = {"enable_thinking": False}
    add(
        "vLLM, SGLang, llama.cpp with a parser",
        "thinks beside the answer",
        thinks("reasoning_content", off=lambda body: body.get("chat_template_kwargs") == kwargs),
        vain=1,
        known="vllm",
    )
    add(
        "Ollama",
        "thinks unless reasoning_effort is none",
        thinks("reasoning", off=lambda body: body.get("reasoning_effort") == "none"),
        vain=1,
        known="ollama",
    )
    harmony = answers(
        lambda label: completion(
            f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{label}"
        )
    )
    add("gpt-oss without a parser", "Harmony channels in the answer", harmony)
    add(
        "Bedrock, gpt-oss",
        "the answer begins with <reasoning>",
        answers(lambda label: completion(f"<reasoning>{THOUGHT}</reasoning>{label}")),
    )
    add("TGI, LM Studio", "errors as text, and none in the way", well, known="lmstudio")


def _others() -> None:
    add(
        "Cerebras",
        "only the end of a thought is marked",
        answers(lambda label: completion(f"billing or refund?\n</think>\n\n{label}")),
        known="cerebras",
    )
    parts = answers(lambda label: completion([{"type": "thinking", "thinking": []}, {"type": "text", "text": label}]))
    add("Mistral's thinking models", "the answer is a list of parts", parts, known="mistral")


def _hiccups() -> None:
    wait = {"Retry-After": "0.05"}
    busy = error(402, "in flight", code=402, metadata={"reason": "in_flight_budget_exhausted"}, headers=wait)
    add("OpenRouter, many requests out", "402 with Retry-After now and then", now_and_then(raw(busy)), refused=2)
    capacity = error(498, "Capacity exceeded", code="capacity_exceeded")
    add("Groq flex", "498 capacity_exceeded now and then", now_and_then(raw(capacity)), refused=2)
    add("Cloudflare before an endpoint", "a page with status 403 now and then", now_and_then(raw(html(403))), refused=2)


def _mistakes() -> None:
    """One request, and the job ends with the endpoint's own words."""
    own = "does not work as it is: no money, no quota, no such model, a wrong key"
    per_day = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}
    spent = "Your team has either used all available credits or reached its monthly spending limit."
    for endpoint, data, words in (
        ("OpenAI, spend limit", error(429, "You have spent it", code="project_spend_limit_exceeded"), "You have spent"),
        ("Moonshot, no money", error(429, "suspended", type="exceeded_current_quota_error"), "suspended"),
        ("Zhipu, no money", error(429, "余额不足或无可用资源包,请充值。", code="1113"), "余额不足"),
        ("Zhipu, a day's quota", error(429, "Reset at 20:00", code="1308"), "Reset at 20:00"),
        ("MiniMax, no money, in a 200", minimax(1008, "insufficient balance"), "insufficient balance"),
        ("MiniMax, no money, as a 500", error(500, "insufficient balance (1008)"), "insufficient balance (1008)"),
        ("LiteLLM, budget", error(429, "Budget has been exceeded!", type="budget_exceeded"), "Budget has been"),
        ("new-api, wrong model", error(503, "No channel for gpt-9", code="model_not_found"), "No channel for gpt-9"),
        ("new-api, no money", error(403, "not enough quota", code="insufficient_user_quota"), "not enough quota"),
        ("Gemini, a day's quota", google(429, "You exceeded it", per_day), "--wait-for-quota"),
        ("Gemini, wrong key", google(400, "API key not valid.", {"reason": "API_KEY_INVALID"}), "API key not valid"),
        ("Cohere, trial key", error(429, "limited to 1000 API calls / month"), "1000 API calls / month"),
        ("Anthropic, no money", error(400, "Your credit balance is too low"), "credit balance is too low"),
        ("xAI, no money", http(json.dumps({"code": "x", "error": spent}).encode(), 403), "spending limit"),
        ("xAI, wrong key", http(b'{"code": "x", "error": "Incorrect API key provided: y."}', 400), "Incorrect API"),
        ("OpenRouter, no money", error(402, "Insufficient credits"), "Insufficient credits"),
        ("SiliconFlow, wrong model", http(b'{"code": 20012, "message": "Model does not exist."}', 400), "not exist"),
    ):
        add(endpoint, own, raw(data), refused=1, code=3, stops=words)


fill()
