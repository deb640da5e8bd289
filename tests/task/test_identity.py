"""A question has one identity: whatever changes it changes the identity, and nothing else does."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.endpoints.bodies import ChatBodies
from batchjob.exchange.question import Questions
from batchjob.model import Parcel, Row
from batchjob.money.budget import Budget
from batchjob.settings.config import JobConfig, deciding, merge
from batchjob.settings.declared import Setting, declared
from batchjob.task.asked import prompt_of
from batchjob.task.identity import QUESTION, Keys, Task, loose_keys
from batchjob.task.texts import exact_form

PLAIN = {"base_url": "https://host/v1", "model": "m", "labels": ["b", "a"]}
ALL = {
    **PLAIN,
    "fallback": "a",
    "prompt": "Which of {labels}? {text}",
    "temperature": 0.5,
    "encoding": "cp1252",
    "text_column": "body",
    "rules": [{"name": "r", "label": "a", "words": ["thanks"]}],
    "routes": [{"name": "r", "model": "n", "min_length": 9}],
}
GOLDEN = {
    "plain": (PLAIN, "d25069b0200e6f3f", "70b504502b7fdde7"),
    "all": (ALL, "e51849ed41648ae1", "26559ef0174e5a1c"),
}
"""Settings, digest and question. They must never change: labels are remembered under them."""

OTHER: dict[str, Any] = {
    "labels": ["a", "c"],
    "rules": [{"name": "r", "label": "a", "words": ["y"]}],
    "routes": [{"name": "r", "model": "n"}],
    "prices": {"m": {"input": 1, "output": 1}},
    "on_unconfirmed": "hold",
    "unpaid_status": [503],
    "log_format": "json",
    "dedupe": "loose",
    "blank": "skip",
    "price": [1.0, 2.0],
    "base_url": "https://other/v1",
    "max_attempts": 7,
    "lease": 30.0,
    "max_paid": 7,
    "thinking": "high",
    "params": {"seed": 7},
    "models": {"m": {"params": {"seed": 7}}},
    "headers": {"X-Title": "x"},
    "descriptions": {"a": "the first"},
    "examples": [{"text": "x", "label": "a"}],
    "fields": [{"name": "urgent", "kind": "yes_no"}],
    "auth": "none",
    "provider": "vllm",
}
BY_TYPE: dict[Any, Any] = {int: 200, float: 0.5, str: "other"}
NOT_THE_QUESTION = {"max_tokens", "response_format", "confidence", "provider"}
"""In a request's body, and yet no part of the question: an answer that ended by itself is the same, or the key of a
label holds it."""


BESIDES: dict[str, dict[str, Any]] = {"thinking": {"provider": "vllm"}}
"""What else must be set for a setting to make a difference."""


def other(setting: Setting) -> dict[str, Any]:
    """Settings in which this one has another value."""
    value = OTHER.get(setting.name, BY_TYPE.get(setting.kind, not setting.default))
    return {**PLAIN, setting.name: value}


def body(settings: dict[str, Any]) -> dict[str, Any]:
    """The request that asks for one row."""
    config = merge(settings)
    questions = Questions(config, prompt_of(config, None), ChatBodies(), Budget({}))
    found: dict[str, Any] = msgspec.json.decode(questions.body(Parcel((Row(1, "a text"),), config.model)))
    return found


def task(settings: dict[str, Any]) -> Task:
    return Task.of(merge(settings))


@pytest.mark.parametrize("setting", declared(JobConfig), ids=lambda setting: setting.name)
def test_whatever_changes_a_request_changes_the_question_and_nothing_else_does(setting: Setting) -> None:
    plain = {**PLAIN, **BESIDES.get(setting.name, {})}
    changed = {**plain, **other(setting)}
    asked_otherwise = body(changed) != body(plain) or changed["base_url"] != PLAIN["base_url"]
    question = task(changed).question != task(PLAIN).question
    if setting.name in NOT_THE_QUESTION:
        assert asked_otherwise
        assert not question
    elif setting.name in ("second_model", "second_below"):  # who else answers, and when
        assert question
        assert not asked_otherwise
    elif setting.name == "model":  # each row may be asked of another: it is a part of the key
        assert Keys("q").of(changed["model"], "text") != Keys("q").of(PLAIN["model"], "text")
    else:
        assert question == asked_otherwise == (setting.name in QUESTION)


@pytest.mark.parametrize("setting", declared(JobConfig), ids=lambda setting: setting.name)
def test_what_decides_a_label_and_nothing_else_makes_another_task(setting: Setting) -> None:
    assert (task(other(setting)).digest != task(PLAIN).digest) == (setting.name in deciding())


@pytest.mark.parametrize(
    "same",
    [
        {"labels": ["a", "b"]},
        {"prompt": "Which? \n\n"},
        {"base_url": "https://host/v1/"},
        {"temperature": 0},
        {"prompt": ""},
        {"fallback": None, "rules": [], "routes": []},
    ],
)
def test_what_makes_no_difference_to_a_label_makes_none_to_the_task(same: dict[str, Any]) -> None:
    before = {**PLAIN, "prompt": "Which?"} if same.get("prompt", "").strip() else PLAIN
    assert task({**before, **same}).digest == task(before).digest
    assert task({**before, **same}).question == task(before).question


@pytest.mark.parametrize("name", GOLDEN)
def test_the_digests_stay_what_they_are(name: str) -> None:
    settings, digest, question = GOLDEN[name]
    assert (task(settings).digest, task(settings).question) == (digest, question)


def test_a_task_tells_what_has_changed() -> None:
    assert task({**PLAIN, "model": "n"}).changed_from(task(PLAIN)) == ["model"]
    assert set(task(PLAIN).changed_from(task(ALL))) == ALL.keys() - PLAIN.keys()
    assert task({**PLAIN, "labels": ["a", "b"]}).changed_from(task(PLAIN)) == []


def test_a_key_is_of_question_model_and_text() -> None:
    keys = Keys("q")
    assert keys.of("m", "a text") == Keys("q").of("m", "a text")
    found = {keys.of("m", "a text"), keys.of("n", "a text"), keys.of("m", "b text"), Keys("r").of("m", "a text")}
    assert len(found) == 4


def test_texts_that_differ_in_a_nul_or_in_half_a_character_have_keys_of_their_own() -> None:
    texts = ["a", "a\0", "a\0b", "a\0c", "\ud800", "\ud801", "\ufffd", "a\0\0", "\0a"]
    assert len({Keys("q").of(model, text) for text in texts for model in ("m", "m\0a", "m\0")}) == 3 * len(texts)


def test_loosely_only_rows_of_one_job_have_one_key() -> None:
    here, there = loose_keys("q", "here"), loose_keys("q", "there")
    assert here.of("m", "Yes!") == here.of("m", "yes")
    found = {here.of("m", "yes"), there.of("m", "yes"), Keys("q").of("m", "yes"), here.of("n", "yes")}
    assert len(found | {loose_keys("r", "here").of("m", "yes")}) == 5


@given(
    st.lists(st.lists(st.text("ab \0\xff{}", max_size=3), min_size=1, max_size=3).map(tuple), min_size=2, max_size=6)
)
def test_a_key_is_of_values_one_by_one(rows: list[tuple[str, ...]]) -> None:
    forms = {tuple(map(exact_form, values)) for values in rows}
    assert len({Keys("q").of("m", *values) for values in rows}) == len(forms)
    assert Keys("q").of("m", "a", "bc") != Keys("q").of("m", "ab", "c")
    assert Keys("q").of("m", "a", "") != Keys("q").of("m", "", "a") != Keys("q").of("m", "a")
