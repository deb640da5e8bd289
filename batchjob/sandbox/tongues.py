"""How the sandbox speaks as a provider does: what it refuses, how its models think, what its bill says, its errors.

The facts and their sources are those of providers/providers.toml; here they are told from the other side, so that the
one can be tried against the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from batchjob.sandbox.wire import Completion, Refusal

THOUGHT = "The customer may want one of them. Let me look at each label, and at the text once more."
THOUGHT_TOKENS = 200

Asked = Mapping[str, Any]
"""A request's JSON."""


def _nothing(asked: Asked) -> Refusal | None:
    return None


def _never(asked: Asked) -> bool:
    return False


def _as_openai(error: dict[str, Any], status: int) -> Any:
    return {"error": error}


def _inside(usage: dict[str, Any], thoughts: int) -> None:
    """Thoughts are a part of completion_tokens, as OpenAI counts them."""
    usage["completion_tokens"] += thoughts
    usage["completion_tokens_details"] = {"reasoning_tokens": thoughts}
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]


class Tongue(msgspec.Struct, frozen=True):
    """A provider's way of speaking. What is not said is as OpenAI's older models have it."""

    base_path: str = "/v1"
    query: str = ""  # that an address must carry
    key_header: str = "authorization"
    id_header: str = "x-request-id"
    refuses: Callable[[Asked], Refusal | None] = _nothing
    thinks: Callable[[Asked], bool] = _never
    thought_field: str = ""  # of the message, where thoughts are shown
    counts: Callable[[dict[str, Any], int], None] = _inside  # how a usage tells the thoughts
    error: Callable[[dict[str, Any], int], Any] = _as_openai  # the JSON of an error with this status

    def answer(self, completed: Completion, asked: Asked) -> Completion:
        """An answer as this provider gives it: with thoughts, which may leave no room for it."""
        body = msgspec.json.decode(completed.body)
        choice, usage = body["choices"][0], body["usage"]
        thoughts = THOUGHT_TOKENS if self.thinks(asked) else 0
        rows = completed.rows
        if thoughts:
            most = asked.get("max_completion_tokens") or asked.get("max_tokens") or THOUGHT_TOKENS * 100
            if self.thought_field:
                choice["message"][self.thought_field] = THOUGHT
            if most < thoughts + usage["completion_tokens"]:
                choice["message"]["content"], choice["finish_reason"] = "", "length"
                thoughts, usage["completion_tokens"] = min(thoughts, most), 0
                rows = tuple((text, None) for text, _ in rows)
        self.counts(usage, thoughts)
        output = usage["total_tokens"] - usage["prompt_tokens"]
        return Completion(msgspec.json.encode(body), rows, completed.input_tokens, output)


# ---------------------------------------------------------------- what is refused


def _unsupported(name: str, instead: str) -> Refusal:
    message = f"Unsupported parameter: '{name}' is not supported with this model. Use '{instead}' instead."
    return Refusal(400, message, code="unsupported_parameter", param=name)


def _reasoning(asked: Asked) -> Refusal | None:
    """As gpt-5, gpt-6 and the o-series do, one refusal at a time."""
    if "max_tokens" in asked:
        return _unsupported("max_tokens", "max_completion_tokens")
    if asked.get("temperature", 1) != 1:
        message = (
            f"Unsupported value: 'temperature' does not support {asked['temperature']} with this model. "
            f"Only the default (1) value is supported."
        )
        return Refusal(400, message, code="unsupported_value", param="temperature")
    return None


def _no_schema(asked: Asked) -> Refusal | None:
    """As DeepSeek does."""
    wanted = asked.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") == "json_schema":
        return Refusal(400, "This response_format type is unavailable now")
    return None


def _no_thinking(asked: Asked) -> Refusal | None:
    """As the open Qwen3 models on DashScope do."""
    if asked.get("enable_thinking") is not False:
        message = "parameter.enable_thinking must be set to false for non-streaming calls"
        return Refusal(400, message, code="invalid_parameter_error")
    return None


_GEMINI_KNOWS = frozenset(
    {
        *("model", "messages", "max_tokens", "max_completion_tokens", "temperature", "top_p", "stop", "stream", "n"),
        *("response_format", "reasoning_effort", "tools", "tool_choice", "seed", "user", "logprobs", "top_logprobs"),
    }
)


def _known_fields(asked: Asked) -> Refusal | None:
    """As Gemini does."""
    unknown = next((name for name in asked if name not in _GEMINI_KNOWS), None)
    if unknown is None:
        return None
    message = f'Invalid JSON payload received. Unknown name "{unknown}": Cannot find field.'
    return Refusal(400, message, type="INVALID_ARGUMENT")


# ---------------------------------------------------------------- who thinks, and how it is billed


def _always(asked: Asked) -> bool:
    return True


def _unless_disabled(asked: Asked) -> bool:
    switch = asked.get("thinking")
    return not (isinstance(switch, dict) and switch.get("type") == "disabled")


def _unless_no_effort(asked: Asked) -> bool:
    return asked.get("reasoning_effort") != "none"


def _where_asked(asked: Asked) -> bool:
    """As OpenRouter does with a model that can think."""
    switch = asked.get("reasoning")
    return isinstance(switch, dict) and switch.get("enabled") is not False and bool(switch)


def _with_cache(usage: dict[str, Any], thoughts: int) -> None:
    """As DeepSeek counts."""
    _inside(usage, thoughts)
    usage["prompt_cache_hit_tokens"], usage["prompt_cache_miss_tokens"] = 0, usage["prompt_tokens"]


def _with_cost(usage: dict[str, Any], thoughts: int) -> None:
    """As OpenRouter counts: with what is charged."""
    _inside(usage, thoughts)
    usage["cost"] = round(usage["prompt_tokens"] * 1e-7 + usage["completion_tokens"] * 4e-7, 10)


def _outside(usage: dict[str, Any], thoughts: int) -> None:
    """As Gemini counts: thoughts are in the total alone."""
    usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"] + thoughts


# ---------------------------------------------------------------- errors


def _as_google(error: dict[str, Any], status: int) -> Any:
    return [{"error": {"code": status, "message": error["message"], "status": "INVALID_ARGUMENT"}}]


def _as_azure(error: dict[str, Any], status: int) -> Any:
    if status == 401:
        message = "Access denied due to invalid subscription key or wrong API endpoint. Send it in the header api-key."
        return {"error": {"code": "401", "message": message}}
    return {"error": error}


PLAIN = Tongue()

TONGUES: dict[str, Tongue] = {
    "openai-reasoning": Tongue(refuses=_reasoning, thinks=_always),
    "azure": Tongue(
        base_path="/openai/deployments/sandbox",
        query="api-version=2024-10-21",
        key_header="api-key",
        id_header="apim-request-id",
        error=_as_azure,
    ),
    "deepseek": Tongue(
        refuses=_no_schema, thinks=_unless_disabled, thought_field="reasoning_content", counts=_with_cache
    ),
    "qwen": Tongue(refuses=_no_thinking),
    "openrouter": Tongue(thinks=_where_asked, thought_field="reasoning", counts=_with_cost),
    "gemini": Tongue(refuses=_known_fields, thinks=_unless_no_effort, counts=_outside, error=_as_google),
}
"""By the names that `batchjob sandbox --as` takes."""
