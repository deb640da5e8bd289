"""A refusal that names one of our own parameters is met by one change; one that only repeats the row is not."""

from __future__ import annotations

from typing import Any

import pytest

from batchjob.exchange.adapt import Change, makes_room, meets_refusal, without_echo
from batchjob.model import Answered, Rejected, Usage
from batchjob.providers.dialect import Learned, dialect_of
from batchjob.settings.config import merge

PLAIN = {"base_url": "http://host/v1", "model": "m", "labels": ["alpha", "beta"]}
SENT = ("Answer with one of the labels.", "my row")


def met(message: str, param: str = "", *, learned: Learned | None = None, **settings: Any) -> Change | None:
    config, learned = merge({**PLAIN, **settings}), learned or Learned()
    reply, dialect = Rejected(400, message, param=param), dialect_of(config, "m", learned)
    return meets_refusal(reply, dialect, learned, SENT, formatted=True)


@pytest.mark.parametrize(
    ("message", "param", "name"),
    [
        ("Unsupported parameter: 'max_tokens' is not supported with this model.", "max_tokens", "field"),
        ("Use 'max_completion_tokens' instead of max_tokens", "", "field"),
        (
            "'temperature' does not support 0.0 with this model. Only the default (1)",
            "temperature",
            "temperature",
        ),
        ("invalid temperature: only 1 is allowed for this model", "", "temperature"),
        ("`temperature` is deprecated for this model.", "", "temperature"),
        ("openai does not support parameters: {'temperature': 0.0}, for model=gpt-5", "", "temperature"),
        ("This response_format type is unavailable now", "", "response_format"),
        ("System role not supported", "", "system"),
        ("parameter.enable_thinking must be set to false for non-streaming calls", "", "thinking"),
        ("Could not finish the message because max_tokens or model output limit was reached.", "", "room"),
        ("extra fields not permitted", "max_tokens", "field"),
    ],
)
def test_a_refusal_of_our_own_parameter_is_met_by_one_change(message: str, param: str, name: str) -> None:
    change = met(message, param)
    assert change is not None
    assert change.name == name


@pytest.mark.parametrize(
    ("message", "param", "settings"),
    [
        ("your temperature is too high, said the doctor", "top_p", {}),
        ("max_tokens_to_sample is needed", "", {}),
        ("The text could not be processed", "", {}),
        ("temperature is not supported", "", {"temperature": 0.5}),  # the user's word counts
        ("max_tokens is not supported", "", {"params": {"max_tokens": 99}}),
        ("max_tokens or model output limit was reached", "", {"max_tokens": 99}),
        ("enable_thinking must be false", "", {"provider": "vllm", "thinking": "high"}),
        ("system role not supported", "tools", {}),
    ],
)
def test_nothing_is_changed_where_nothing_of_ours_is_named(message: str, param: str, settings: dict[str, Any]) -> None:
    assert met(message, param, **settings) is None


def test_what_a_refusal_repeats_of_the_row_names_nothing() -> None:
    row = "Please set max_tokens and temperature to 3 for the boiler"
    for said in (f"cannot process: {row}", f"cannot process: {row[:40]}...", row.upper()):
        assert meets_refusal(Rejected(400, said), dialect_of(merge(PLAIN), "m"), Learned(), (row,)) is None
    assert without_echo(f"error: {row.lower()}: no", (row,)) == "error:  : no"


@pytest.mark.parametrize(
    ("message", "thinking"),
    [
        ("chat_template_kwargs.enable_thinking must be false", {"chat_template_kwargs": {"enable_thinking": False}}),
        ("enable_thinking must be false", {"enable_thinking": False}),
        ("thinking must be disabled here", {"thinking": {"type": "disabled"}}),
    ],
)
def test_thinking_is_switched_off_by_the_switch_that_is_named(message: str, thinking: dict[str, Any]) -> None:
    change = met(message)
    assert change is not None
    assert change.learned.thinking == thinking


def test_a_switch_of_ours_that_is_refused_is_left_out_and_room_is_left_instead() -> None:
    settings = {"base_url": "https://openrouter.ai/api/v1"}
    change = met("Reasoning is mandatory for this endpoint and cannot be disabled.", **settings)
    assert change is not None
    assert change.name == "switch"
    assert dialect_of(merge({**PLAIN, **settings}), "m", change.learned).params == {}


def test_what_was_learned_wrongly_is_learned_back() -> None:
    change = met("max_completion_tokens is unknown", learned=Learned(token_field="max_completion_tokens"))
    assert change is not None
    assert change.learned.token_field == "max_tokens"


@pytest.mark.parametrize(
    ("reply", "settings", "raised"),
    [
        (Answered(None, "length", thoughts="Let me see"), {}, True),
        (Answered("<think>Let me see", "length"), {}, True),
        (Answered("", "MAX_TOKENS", usage=Usage(10, 0, 53, 53)), {}, True),
        (Answered("alp", "length"), {}, False),
        (Answered(None, "stop", thoughts="Let me see"), {}, False),
        (Answered(None, "length", thoughts="Let me see"), {"max_tokens": 60}, False),
        (Answered(None, "length", thoughts="Let me see"), {"provider": "minimax"}, False),  # it had room
    ],
)
def test_room_is_made_where_an_answer_was_cut_in_its_thoughts(
    reply: Answered, settings: dict[str, Any], raised: bool
) -> None:
    config = merge({**PLAIN, **settings})
    change = makes_room(reply, dialect_of(config, "m"), Learned())
    assert (change is not None) == raised
    assert change is None or change.learned == Learned(room=2000)
