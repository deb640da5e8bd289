"""What a model thought is no answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.task.thoughts import spoken


@pytest.mark.parametrize(
    "content",
    [
        "<think>refund?</think>billing",
        "refund?</think>billing",
        "Okay, it could be refund.\n</think>billing",
        "<think></think>billing",
        "<THINK>refund</THINK >billing",
        "<thinking>refund</thinking>billing",
        "<thought>refund</thought>billing",
        "<reasoning>refund</reasoning>billing",
        "<seed:think>refund</seed:think>billing",
        "[THINK]refund[/THINK]billing",
        "refund[/THINK]billing",
        "◁think▷refund◁/think▷billing",
        "<|START_THINKING|>refund<|END_THINKING|><|START_RESPONSE|>billing<|END_RESPONSE|>",
        "<|channel>thought\nrefund<channel|>billing",
        "<|channel|>analysis<|message|>refund<|end|><|start|>assistant<|channel|>final<|message|>billing<|return|>",
        "<|channel|>final<|message|>billing",
        "<|channel|>analysis<|message|>refund<|end|><|channel|>final <|constrain|>json<|message|>billing",
        "analysisIt may be refund.assistantfinalbilling",
        "<think>a</think>refund<think>b</think>billing",
        "a</think>refund</think>billing",
        "<think>He says <think>.</think>billing",
        '<think>He says "</think>".\n</think>billing',
        "billing<|im_end|>",
        "billing</s>",
        "billing",
    ],
)
def test_what_stands_behind_the_last_thought_is_the_answer(content: str) -> None:
    assert spoken(content) == "billing"


@pytest.mark.parametrize(
    "content",
    [
        "<think>The customer may want a refund, let me",
        "<think>",
        "\n <thinking>\nbilling",
        "billing\n<think>or not",
        "<think>a</think>billing<think>",
        "[THINK]billing",
        "◁think▷billing",
        "<|START_THINKING|>billing",
        "<|channel|>analysis<|message|>billing",
        "<|channel|>final<|message|>billing<|end|><|channel|>commentary<|message|>or not",
    ],
)
def test_a_thought_that_does_not_end_leaves_no_answer(content: str) -> None:
    assert spoken(content) is None


@pytest.mark.parametrize(
    "content",
    [
        '{"label": "</think>"}',
        '{"label": "<think>", "reason": "he writes \\"<think>\\" in it"}',
        '{\n "1": "<think>",\n "2": "a </think> b"\n}',
        '{"1": "billing", "2": "a </think> b", "3": "cut <think',
        "thinking",
        "think>",
        "I think: billing",
        "a < b > c",
        "<b>think</b>",
        "analysis",
    ],
)
def test_quoted_marks_and_words_alike_are_no_thoughts(content: str) -> None:
    assert spoken(content) == content


@given(st.text(alphabet="ab \n.:{}", max_size=20), st.text(alphabet="ab \n.:{}", max_size=20), st.booleans())
def test_nothing_of_a_thought_is_left_and_nothing_of_the_answer_is_lost(
    thought: str, answer: str, opened: bool
) -> None:
    for name in ("think", "thinking", "thought", "reasoning"):
        assert spoken(f"{f'<{name}>' if opened else ''}{thought}</{name}>{answer}") == answer
        assert spoken(f"<{name}>{thought}{answer}") is None
    assert spoken(thought + answer) == thought + answer
