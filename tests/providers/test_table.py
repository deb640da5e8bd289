"""The providers are data: dated, sourced, and read as they were meant."""

from __future__ import annotations

import re

import msgspec
import pytest

from batchjob.endpoints.headers import limits
from batchjob.errors import SettingError
from batchjob.model import Limits, Quota
from batchjob.providers.meanings import meaning_of
from batchjob.providers.table import PLAIN, Provider, known, parse_providers, provider_of

ALL = known().providers


@pytest.mark.parametrize("provider", ALL, ids=lambda provider: provider.name)
def test_every_provider_says_when_and_with_what_it_was_compared(provider: Provider) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", provider.date)
    assert len(provider.source) > 10
    for meaning, signs in provider.means.items():
        words = [*signs.codes, *signs.says]
        assert words or signs.statuses, meaning
        assert words == [word.lower() for word in words]
    for facts in (provider, *provider.models):
        assert not facts.thinking or provider.room, "a model that may think needs room for it"


def test_no_two_providers_share_a_name_or_a_host() -> None:
    names = [provider.name for provider in ALL]
    hosts = [host for provider in ALL for host in provider.hosts]
    assert len(set(names)) == len(names)
    assert len(set(hosts)) == len(hosts)


@pytest.mark.parametrize(
    ("base_url", "named", "name"),
    [
        ("https://api.openai.com/v1", None, "openai"),
        ("https://eu.api.openai.com/v1", None, "openai"),
        ("https://mine.openai.azure.com/openai/deployments/d", None, "azure"),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", None, "qwen"),
        ("http://localhost:11434/v1", None, "ollama"),
        ("http://localhost:8000/v1", None, ""),
        ("https://api.openai.com.evil.example/v1", None, ""),
        ("https://llm.example.org/v1", "vllm", "vllm"),
        ("https://api.openai.com/v1", "deepseek", "deepseek"),
    ],
)
def test_a_provider_is_known_by_its_host_or_by_name(base_url: str, named: str | None, name: str) -> None:
    assert provider_of(base_url, named).name == name


def test_a_name_that_is_not_known_is_refused_with_those_that_are() -> None:
    with pytest.raises(SettingError, match=r"'opnai' is not known\. Known: openai, azure"):
        provider_of("https://host/v1", "opnai")


@pytest.mark.parametrize(
    ("model", "field", "temperature", "levels"),
    [
        ("gpt-4o-mini", "max_tokens", "send", []),
        ("gpt-5-nano", "max_completion_tokens", "omit", ["low", "medium", "high"]),
        ("GPT-5.2", "max_completion_tokens", "omit_while_thinking", ["off", "low", "medium", "high"]),
        ("o4-mini", "max_completion_tokens", "omit", ["low", "medium", "high"]),
        ("gpt-6-astra", "max_completion_tokens", "omit", ["low", "medium", "high"]),
        ("omni-moderation", "max_tokens", "send", []),
    ],
)
def test_a_model_is_asked_as_the_first_pattern_it_matches_says(
    model: str, field: str, temperature: str, levels: list[str]
) -> None:
    facts = provider_of("https://api.openai.com/v1").of_model(model)
    assert (facts.token_field, facts.temperature, list(facts.thinking or {})) == (field, temperature, levels)


@pytest.mark.parametrize(
    ("name", "status", "names", "message", "meaning"),
    [
        ("", 429, ["insufficient_quota"], "", "no_credit"),
        ("qwen", 429, ["insufficient_quota"], "", "rate_limited"),
        ("zhipu", 429, ["1113"], "", "no_credit"),
        ("", 429, ["1113"], "", None),
        ("zhipu", 429, ["1308"], "", "daily_quota"),
        ("moonshot", 400, ["invalid_request_error"], "your request exceeded model token limit: 8192", "too_long"),
        ("together", 403, [], "", "too_long"),
        ("", 403, [], "", None),
        ("groq", 498, [], "", "hiccup"),
        ("newapi", 503, ["model_not_found"], "", "wrong_model"),
        ("gemini", 400, ["api_key_invalid"], "", "bad_key"),
        ("", 413, [], "", "too_long"),
    ],
)
def test_an_error_means_what_its_provider_means_by_it(
    name: str, status: int, names: list[str], message: str, meaning: str | None
) -> None:
    provider = provider_of("", name) if name else PLAIN
    assert meaning_of(provider, status, names, message) == meaning


def test_words_of_any_provider_count_where_nobody_is_known_yet_and_statuses_do_not() -> None:
    assert meaning_of(PLAIN, 429, ["1113"], "", anybody=True) == "no_credit"
    assert meaning_of(PLAIN, 403, [], "", anybody=True) is None


@pytest.mark.parametrize(
    "mistake", ['no_such_key = "x"', 'thinking = { mid = { effort = "x" } }', "means.no_money.codes = []"]
)
def test_a_mistake_in_the_table_is_noticed(mistake: str) -> None:
    head = 'request_ids = []\n[everywhere]\n[[providers]]\nname = "a"\ndate = "2026-11-26"\nsource = "b"\n'
    assert parse_providers(head).providers[0].name == "a"
    with pytest.raises(msgspec.ValidationError):
        parse_providers(f"{head}{mistake}\n")


@pytest.mark.parametrize(
    ("headers", "requests", "tokens"),
    [
        (
            {
                "x-ratelimit-limit-requests": "5",
                "x-ratelimit-remaining-requests": "4",
                "x-ratelimit-reset-requests": "1s",
            },
            Quota(5, 4, 1),
            Quota(),
        ),
        (
            {"x-ratelimit-limit-req-minute": "60", "x-ratelimit-remaining-tokens-minute": "9"},
            Quota(60),
            Quota(),
        ),
        (
            {"x-ratelimit-limit-tokens-minute": "900", "x-ratelimit-remaining-tokens-minute": "9"},
            Quota(),
            Quota(900, 9),
        ),
        (
            {
                "anthropic-ratelimit-requests-limit": "50",
                "anthropic-ratelimit-requests-remaining": "49",
                "anthropic-ratelimit-requests-reset": "2026-11-26T08:00:12Z",
                "Date": "Thu, 26 Nov 2026 08:00:00 GMT",
            },
            Quota(50, 49, 12),
            Quota(),
        ),
    ],
)
def test_limits_are_read_under_each_providers_names(headers: dict[str, str], requests: Quota, tokens: Quota) -> None:
    assert limits(headers) == Limits(requests=requests, tokens=tokens)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit-requests-day": "14400"},  # it says nothing of a pace
        {"anthropic-ratelimit-requests-limit": "many"},
        {"anthropic-ratelimit-requests-reset": "2026-11-26T08:00:12Z"},
    ],
)
def test_what_tells_no_pace_is_no_limit(headers: dict[str, str]) -> None:
    assert limits(headers) is None
