"""What an answer says it used and cost, as the bill will have it.

Endpoints count in different ways: thinking beside `completion_tokens`, cached tokens beside `prompt_tokens`. Where the
numbers leave two readings, the dearer one is taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

import msgspec

from batchjob.model import Usage
from batchjob.money.cost import PICO

MOST_TOKENS = 10**9
"""No request has more, in or out."""
MOST_USD = 10**6
PICO_PER_TICK = 100
"""xAI's ticks are 1e-10 USD."""
COST_HEADER = "x-litellm-response-cost"


class _Input(msgspec.Struct, omit_defaults=True):
    cached_tokens: int | None = None


class _Output(msgspec.Struct, omit_defaults=True):
    reasoning_tokens: int | None = None


class RawUsage(msgspec.Struct, omit_defaults=True):
    """The `usage` of a completion, with the fields that some endpoint has."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    total_tokens: int | None = None
    prompt_tokens_details: _Input | None = None
    completion_tokens_details: _Output | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's name for cached tokens
    cached_tokens: int | None = None  # Moonshot's
    reasoning_tokens: int | None = None
    cost: Any = None  # OpenRouter: USD. Perplexity: an object
    is_byok: Any = None  # OpenRouter: the user's own key at the provider is billed besides
    cost_details: Any = None
    estimated_cost: Any = None  # DeepInfra: USD
    cost_in_usd_ticks: Any = None  # xAI


class Reported(NamedTuple):
    """What an answer reported. `cost` is picodollars; None: nothing was told, or nothing that can be true."""

    usage: Usage | None = None
    cost: int | None = None
    odd: str | None = None  # the usage as it was told, where it cannot be true


_NOTHING = Reported()


def read_usage(found: RawUsage | None, headers: Mapping[str, str]) -> Reported:
    """What was reported in the body, or of the cost in a header."""
    if found is None:
        return Reported(None, _amount(headers.get(COST_HEADER))) if COST_HEADER in headers else _NOTHING
    cost = _cost(found)
    if cost is None and COST_HEADER in headers:
        cost = _amount(headers[COST_HEADER]) or None  # a proxy that knows no price says 0
    if found.prompt_tokens is None and found.completion_tokens is None:
        return Reported(None, cost)
    usage = _tokens(found)
    return Reported(usage, cost, None if usage is not None else _shown(msgspec.to_builtins(found)))


def read_odd_usage(given: Any, headers: Mapping[str, str]) -> Reported:
    """The same, of a usage that may be of any kind."""
    try:
        return read_usage(msgspec.convert(given, RawUsage | None), headers)
    except msgspec.ValidationError:
        pass
    cost = None
    if isinstance(given, dict):  # the cost may be right all the same
        names = ("cost", "is_byok", "cost_details", "estimated_cost", "cost_in_usd_ticks")
        cost = _cost(RawUsage(**{name: given.get(name) for name in names}))
    return Reported(None, cost, _shown(given))


def _tokens(found: RawUsage) -> Usage | None:
    """The tokens as they will be billed; None where they cannot be true."""
    prompt, completion, total = found.prompt_tokens or 0, found.completion_tokens or 0, found.total_tokens or 0
    inner, outer = found.prompt_tokens_details, found.completion_tokens_details
    cached = (inner.cached_tokens if inner else 0) or found.prompt_cache_hit_tokens or found.cached_tokens or 0
    reasoning = (outer.reasoning_tokens if outer else 0) or found.reasoning_tokens or 0
    numbers = (prompt, completion, total, cached, reasoning)
    if min(numbers) < 0 or max(numbers) > MOST_TOKENS or not prompt + cached:
        return None
    besides = total - prompt - completion
    if cached > prompt or (besides == cached and besides != reasoning):
        prompt += cached  # they are counted beside the others
    output = max(completion, total - prompt)
    if reasoning > output:
        output += reasoning  # so it cannot be a part of it
    return Usage(prompt, cached, output, reasoning)


def _cost(found: RawUsage) -> int | None:
    if found.cost_in_usd_ticks is not None:
        return _amount(found.cost_in_usd_ticks, PICO_PER_TICK)
    cost = found.cost
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    amount = _amount(found.estimated_cost if cost is None else cost)
    if amount is not None and found.is_byok is True and isinstance(found.cost_details, dict):
        amount += _amount(found.cost_details.get("upstream_inference_cost")) or 0
    return amount


def _amount(value: Any, unit: int = PICO) -> int | None:
    """A cost in picodollars; None where it is no amount."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    amount = number * unit
    return round(amount) if isfinite(amount) and 0 <= amount <= MOST_USD * PICO else None


def _shown(given: Any) -> str:
    """A usage as JSON, fit to be stored."""
    return json.dumps(given, default=str)
