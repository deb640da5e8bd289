"""Usage x price -> cost. Amounts are picodollars (1e-12 USD): integers, so that sums are exact."""

from __future__ import annotations

from batchjob.model import Usage, Value

PICO = 10**12
"""Picodollars in a dollar."""

REQUEST_TOKENS = 32
"""Input tokens a request can have beyond the bytes of its body: what an endpoint puts around messages."""


class KnownPrice(Value, frozen=True):
    """What a model's tokens cost, in picodollars a token, and what says so."""

    input: int
    cached_input: int
    output: int
    source: str


def cost_picousd(usage: Usage, price: KnownPrice) -> int:
    """What these tokens cost. Cached tokens are a part of the input tokens, as endpoints report them."""
    cached = min(usage.cached_input_tokens, usage.input_tokens)
    return (
        (usage.input_tokens - cached) * price.input + cached * price.cached_input + usage.output_tokens * price.output
    )


def worst_case_picousd(body_bytes: int, max_tokens: int, price: KnownPrice) -> int:
    """The most a request with such a body can cost: no tokenizer makes more tokens than there are bytes."""
    return (body_bytes + REQUEST_TOKENS) * max(price.input, price.cached_input) + max_tokens * price.output


def picousd(usd: float) -> int:
    """Dollars as an amount."""
    return round(usd * PICO)


def usd(pico: int) -> float:
    """An amount in dollars, to be shown."""
    return pico / PICO
