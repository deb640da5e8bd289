"""What an answer says it used and cost, as the bill will have it.

Endpoints count in different ways: thinking beside `completion_tokens`, cached tokens beside `prompt_tokens`. Where the
numbers leave two readings, the dearer one is taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, lru_cache
from math import isfinite
from typing import Any, NamedTuple

import msgspec

from batchjob.model import Usage
from batchjob.money.cost import PICO
from batchjob.providers.table import Cost, known

MOST_TOKENS = 10**9
"""No request has more, in or out."""
LONGEST_KEPT = 500
"""Bytes of a usage that is kept in case it comes again."""
MOST_USD = 10**6

_PROMPT, _COMPLETION, _TOTAL = "prompt_tokens", "completion_tokens", "total_tokens"
_CACHED = ("prompt_cache_hit_tokens", "cached_tokens")  # DeepSeek's and Moonshot's names, outside of the details
_INTEGERS = {int}
_PART_OF_BODY = "usage."


class Reported(NamedTuple):
    """What an answer reported. `cost` is picodollars; None: nothing was told, or nothing that can be true."""

    usage: Usage | None = None
    cost: int | None = None
    odd: str | None = None  # the usage as it was told, where it cannot be true


def read_usage(given: Any, headers: Mapping[str, str]) -> Reported:
    """What was reported: `given` is the usage in the JSON, of whatever kind; the cost may stand in a header too.

    JSON not yet read is given as bytes: texts alike use as many tokens, and what was read once is known then.

    Raises:
        msgspec.DecodeError: the bytes are no JSON.
    """
    if not isinstance(given, bytes):
        reported = _reported(given)
    else:
        reported = _reported_before(given) if len(given) <= LONGEST_KEPT else _reported(msgspec.json.decode(given))
    if reported.cost is None:
        for cost in _in_headers():
            if (told := headers.get(cost.header)) is not None:
                # A proxy that knows no price says 0.
                return reported._replace(cost=_amount(told, cost.usd) or None)
    return reported


@lru_cache(4096)
def _reported_before(given: bytes) -> Reported:
    return _reported(msgspec.json.decode(given))


def _reported(given: Any) -> Reported:
    fields = given if isinstance(given, dict) else {}
    cost = _cost(fields)
    if given is None or (fields and fields.get(_PROMPT) is None and fields.get(_COMPLETION) is None):
        return Reported(None, cost)
    usage = _tokens(fields)
    return Reported(usage, cost, None if usage is not None else json.dumps(given, default=str))


def _tokens(fields: Mapping[str, Any]) -> Usage | None:
    """The tokens as they will be billed; None where they cannot be true."""
    prompt, completion, total = fields.get(_PROMPT) or 0, fields.get(_COMPLETION) or 0, fields.get(_TOTAL) or 0
    inner, outer = fields.get("prompt_tokens_details"), fields.get("completion_tokens_details")
    cached = inner.get("cached_tokens") if type(inner) is dict else None
    cached = cached or fields.get(_CACHED[0]) or fields.get(_CACHED[1]) or 0
    reasoning = outer.get("reasoning_tokens") if type(outer) is dict else None
    reasoning = reasoning or fields.get("reasoning_tokens") or 0
    numbers = (prompt, completion, total, cached, reasoning)
    if {*map(type, numbers)} != _INTEGERS or min(numbers) < 0 or max(numbers) > MOST_TOKENS:
        return None
    if not prompt + cached:
        return None  # there is no request without a token
    besides = total - prompt - completion
    if cached > prompt or (besides == cached and besides != reasoning):
        prompt += cached  # they are counted beside the others
    output = max(completion, total - prompt)
    if reasoning > output:
        output += reasoning  # so it cannot be a part of it
    return Usage(prompt, cached, output, reasoning)


def _cost(fields: Mapping[str, Any]) -> int | None:
    """What the usage itself says it cost, in picodollars; None where it does not."""
    for place, cost in _in_usage():
        if (told := fields.get(place)) is not None:
            amount = _amount(told.get("total_cost") if isinstance(told, dict) else told, cost.usd)  # Perplexity's form
            details = fields.get("cost_details")
            if amount is not None and fields.get("is_byok") is True and isinstance(details, dict):
                # OpenRouter: the provider bills the user's own key besides
                amount += _amount(details.get("upstream_inference_cost"), cost.usd) or 0
            return amount
    return None


@cache
def _in_usage() -> tuple[tuple[str, Cost], ...]:
    """Where providers tell a cost in the usage: the key there, and its unit."""
    costs = [one.cost for one in known().providers if one.cost and one.cost.path.startswith(_PART_OF_BODY)]
    return tuple((cost.path.removeprefix(_PART_OF_BODY), cost) for cost in costs)


@cache
def _in_headers() -> tuple[Cost, ...]:
    return tuple(one.cost for one in known().providers if one.cost and one.cost.header)


def _amount(value: Any, unit: float) -> int | None:
    """A cost of so many units (in USD) in picodollars; None where it is no amount."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value) * unit
    except (ValueError, OverflowError):
        return None
    return round(number * PICO) if isfinite(number) and 0 <= number <= MOST_USD else None
