"""Costs are exact, a price always says where it comes from, and an unknown one is never 0."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.cli import options
from batchjob.endpoints.usage import read_usage
from batchjob.errors import SettingError
from batchjob.model import Usage
from batchjob.money.budget import Budget
from batchjob.money.cost import PICO, KnownPrice, cost_picousd, usd, worst_case_picousd
from batchjob.money.prices import load_prices, parse_prices, price_for
from batchjob.settings.endpoint import SANDBOX_URL
from batchjob.settings.tables import Price

OPENAI = "https://api.openai.com/v1"
USAGE_FIELDS = [
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
    "cached_tokens",
    "reasoning_tokens",
    "cost",
    "is_byok",
    "cost_details",
    "cost_in_usd_ticks",
]
MINI = KnownPrice(150_000, 75_000, 600_000, "a test")

tokens = st.integers(0, 10**7)
prices = st.builds(KnownPrice, *[st.integers(0, 10**9)] * 3, st.just("a test"))


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    total = draw(tokens)
    return Usage(total, draw(st.integers(0, total)), draw(tokens))


# ---------------------------------------------------------------- costs


def test_a_cost_is_what_one_reckons_by_hand() -> None:
    usage = Usage(input_tokens=1000, cached_input_tokens=400, output_tokens=10)
    assert cost_picousd(usage, MINI) == 600 * 150_000 + 400 * 75_000 + 10 * 600_000
    assert usd(cost_picousd(usage, MINI)) == 0.000126


@given(st.lists(usages(), max_size=20), prices)
def test_the_sum_of_costs_is_the_cost_of_the_sum(many: list[Usage], price: KnownPrice) -> None:
    together = Usage(
        sum(usage.input_tokens for usage in many),
        sum(usage.cached_input_tokens for usage in many),
        sum(usage.output_tokens for usage in many),
    )
    assert sum(cost_picousd(usage, price) for usage in many) == cost_picousd(together, price)


@given(usages(), prices, st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_request_costs_more_than_its_worst_case(
    usage: Usage, price: KnownPrice, spare_bytes: int, spare_tokens: int
) -> None:
    worst = worst_case_picousd(usage.input_tokens + spare_bytes, usage.output_tokens + spare_tokens, price)
    assert 0 <= cost_picousd(usage, price) <= worst


def test_more_cached_tokens_than_input_tokens_make_no_negative_cost() -> None:
    assert cost_picousd(Usage(input_tokens=10, cached_input_tokens=99), MINI) == 10 * 75_000


@pytest.mark.parametrize(
    ("told", "billed"),
    [
        ({"prompt_tokens": 100, "completion_tokens": 2}, Usage(100, 0, 2)),
        ({"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 102}, Usage(100, 0, 2)),
        # Gemini: thinking is in the total alone
        ({"prompt_tokens": 100, "completion_tokens": 2, "total_tokens": 502}, Usage(100, 0, 402)),
        # xAI: beside completion_tokens
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 2,
                "total_tokens": 502,
                "completion_tokens_details": {"reasoning_tokens": 400},
            },
            Usage(100, 0, 402, 400),
        ),
        (
            {"prompt_tokens": 100, "completion_tokens": 2, "completion_tokens_details": {"reasoning_tokens": 400}},
            Usage(100, 0, 402, 400),
        ),
        # OpenAI: a part of it
        (
            {"prompt_tokens": 100, "completion_tokens": 402, "completion_tokens_details": {"reasoning_tokens": 400}},
            Usage(100, 0, 402, 400),
        ),
        ({"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 90}}, Usage(100, 90)),
        ({"prompt_tokens": 100, "prompt_cache_hit_tokens": 64}, Usage(100, 64)),
        ({"prompt_tokens": 100, "cached_tokens": 64}, Usage(100, 64)),
        # beside the prompt: more than it, or by the total
        ({"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 90, "total_tokens": 12}, Usage(100, 90, 2)),
        ({"prompt_tokens": 10, "completion_tokens": 2, "cached_tokens": 90, "total_tokens": 102}, Usage(100, 90, 2)),
        ({"prompt_tokens": 100, "completion_tokens": 2, "cached_tokens": 90, "total_tokens": 192}, Usage(190, 90, 2)),
        ({"prompt_tokens": -1, "completion_tokens": 2}, None),
        ({"prompt_tokens": 0, "completion_tokens": 0}, None),
        ({"prompt_tokens": "10", "completion_tokens": 2}, None),
        ({"prompt_tokens": 10, "completion_tokens": 1e30}, None),
        ("many", None),
    ],
)
def test_tokens_are_counted_as_they_are_billed(told: Any, billed: Usage | None) -> None:
    found = read_usage(told, {})
    assert found.usage == billed
    assert (found.odd is None) == (billed is not None)


odd_values = st.sampled_from([None, -1, 0, 1, 10, 10**12, 1.5, math.nan, math.inf, "10", True, [], {}])
told_usages = st.dictionaries(st.sampled_from(USAGE_FIELDS), odd_values | st.integers(0, 99), max_size=6)


@given(told_usages)
def test_whatever_a_usage_holds_is_no_error_and_no_negative_cost(told: dict[str, Any]) -> None:
    found = read_usage(told, {})
    assert found.cost is None or found.cost >= 0
    assert found.usage is None or cost_picousd(found.usage, MINI) >= 0
    assert found.usage is None or found.usage.cached_input_tokens <= found.usage.input_tokens
    assert found.usage is None or found.usage.reasoning_tokens <= found.usage.output_tokens


@pytest.mark.parametrize(
    ("told", "headers", "usd_told"),
    [
        ({"cost": 0.00123}, {}, 0.00123),
        ({"cost": 0}, {}, 0.0),
        ({"cost": 0.00123, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.02}}, {}, 0.02123),
        ({"cost": 0.00123, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.001}}, {}, 0.00123),
        ({"cost": {"total_cost": 0.006}}, {}, 0.006),
        ({"estimated_cost": 2e-6}, {}, 2e-6),
        ({"cost_in_usd_ticks": 37756000}, {}, 0.0037756),
        ({}, {"x-litellm-response-cost": "1.5e-05"}, 1.5e-5),
        (None, {"x-litellm-response-cost": "1.5e-05"}, 1.5e-5),
        ({}, {"x-litellm-response-cost": "0.0"}, None),
        ({}, {"x-litellm-response-cost": "None"}, None),
        ({"cost": "dear"}, {}, None),
        ({"cost": -1}, {}, None),
        ({"cost": True}, {}, None),
        ({}, {}, None),
    ],
)
def test_a_cost_is_read_wherever_the_endpoint_tells_it(
    told: Any, headers: dict[str, str], usd_told: float | None
) -> None:
    usage = told if told is None else {"prompt_tokens": 10, "completion_tokens": 2, **told}
    found = read_usage(usage, headers).cost
    assert (None if found is None else usd(found)) == usd_told


# ---------------------------------------------------------------- where a price comes from


def test_the_price_in_the_settings_wins_and_says_so() -> None:
    given_price = price_for(OPENAI, "gpt-4o-mini", {"gpt-4o-mini": Price(input=0.1, output=0.2)})
    assert given_price == KnownPrice(100_000, 100_000, 200_000, "job.toml")


def test_a_listed_price_says_its_date_and_source() -> None:
    found = price_for(OPENAI, "gpt-4o-mini", {"another": Price(input=9, output=9)})
    assert found is not None
    assert (found.input, found.cached_input, found.output) == (150_000, 75_000, 600_000)
    assert re.match(r"batchjob's price list of \d{4}-\d\d-\d\d: \S", found.source)


@pytest.mark.parametrize(
    ("base_url", "model"),
    [
        (OPENAI, "gpt-99"),
        (OPENAI, "gpt-4o-audio-preview"),
        (OPENAI, "ft:gpt-4o-mini-2024-07-18:acme::abc"),
        (OPENAI, "gpt-99-2024-07-18"),
        (OPENAI, ""),
        ("https://eu.api.openai.com/v1", "gpt-4o-mini"),
        ("https://api.openai.com.example.org/v1", "gpt-4o-mini"),
        ("https://notapi.openai.com/v1", "gpt-4o-mini"),
        ("https://example.org/api.openai.com", "gpt-4o-mini"),
        ("https://openrouter.ai/api/v1", "gpt-4o-mini"),
        ("http://127.0.0.1:8000/v1", "gpt-4o-mini"),
        ("http://[broken/v1", "gpt-4o-mini"),
        (SANDBOX_URL, "sandbox"),
        ("", "gpt-4o-mini"),
    ],
)
def test_an_unknown_price_is_unknown_and_not_nothing(base_url: str, model: str) -> None:
    assert price_for(base_url, model, {}) is None


def test_a_price_of_nothing_is_known_when_it_is_given() -> None:
    assert price_for("http://127.0.0.1:8000/v1", "local", {"local": Price(input=0, output=0)}) == KnownPrice(
        0, 0, 0, "job.toml"
    )


def test_a_dated_model_has_the_price_of_its_name_at_openai() -> None:
    assert price_for(OPENAI, "gpt-4o-mini-2024-07-18", {}) == price_for(OPENAI, "gpt-4o-mini", {})
    assert price_for("https://API.OpenAI.com:443/v1/", "gpt-4.1-nano-2025-04-14", {}) is not None


def test_a_dated_model_with_a_price_of_its_own_keeps_it() -> None:
    found = price_for(OPENAI, "gpt-4o-2024-05-13", {})
    assert found is not None
    assert (found.input, found.cached_input, found.output) == (5_000_000, 5_000_000, 15_000_000)


def test_at_other_hosts_a_dated_model_is_another_model() -> None:
    listed = parse_prices('[[prices]]\nhost="h"\nmodel="m"\ninput=1.0\noutput=2.0\ndate="2026-01-01"\nsource="s"')
    assert list(listed) == [("h", "m")]
    assert price_for("https://h/v1", "m-2026-01-01", {}) is None


@pytest.mark.parametrize("amount", [math.inf, math.nan])
def test_a_price_that_is_no_number_is_refused(amount: float) -> None:
    with pytest.raises(SettingError, match="prices: that of 'm'"):
        price_for(OPENAI, "m", {"m": Price(input=amount, output=1)})


@given(st.decimals(0, 10**4, places=6))
def test_a_price_with_six_decimals_is_kept_to_the_digit(amount: Decimal) -> None:
    found = price_for("", "m", {"m": Price(input=float(amount), output=0)})
    assert found is not None
    assert found.input == amount * (PICO // 10**6)


def test_a_price_too_small_for_a_picodollar_is_not_rounded_to_nothing() -> None:
    found = price_for("", "m", {"m": Price(input=1e-9, output=1e-9)})
    assert found is not None
    assert found.input == found.output == 1


# ---------------------------------------------------------------- a budget


def test_an_answer_that_tells_no_usage_keeps_its_worst_case() -> None:
    budget = Budget({}, allowance=100)
    budget.reserve(60)
    budget.correct(60, None)
    assert budget.affords(40)
    assert not budget.affords(41)
    budget.correct(60, 10)
    assert budget.affords(90)


def test_while_more_is_asked_for_no_more_is_put_aside() -> None:
    budget = Budget({}, allowance=100)
    budget.reserve(60)
    assert budget.hold_back() == 60  # others may have the rest meanwhile
    assert not budget.affords(1)
    budget.allow(70, spent=500)
    assert budget.affords(10)
    assert not budget.affords(11)


# ---------------------------------------------------------------- the list


def test_every_listed_price_is_plausible_and_cached_input_costs_no_more() -> None:
    assert load_prices()
    for (host, model), price in load_prices().items():
        assert host == host.lower()
        assert 0 < price.cached_input <= price.input <= price.output < 10**9, (host, model)


def test_the_list_agrees_with_genai_prices() -> None:
    genai_prices = pytest.importorskip("genai_prices")
    million = 10**6
    for (host, model), price in load_prices().items():
        for usage in (Usage(million, 0, 0), Usage(million, million, 0), Usage(0, 0, million)):
            theirs = genai_prices.calc_price(
                genai_prices.Usage(
                    input_tokens=usage.input_tokens,
                    cache_read_tokens=usage.cached_input_tokens,
                    output_tokens=usage.output_tokens,
                ),
                model_ref=model,
                provider_api_url=f"https://{host}/v1",
            )
            assert Decimal(cost_picousd(usage, price)) / PICO == theirs.total_price, model


@pytest.mark.parametrize("typed", ["1", "1,2,3", "a,b", ""])
def test_a_price_on_the_command_line_is_two_amounts(typed: str) -> None:
    assert options.given({"price": "0.15,0.60"}) == {"price": [0.15, 0.6]}
    with pytest.raises(SettingError, match=r"give two amounts in USD per million tokens, sent and answered"):
        options.given({"price": typed})
