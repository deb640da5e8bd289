"""A prompt of the user's own: its places, its braces, and names that are none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.errors import SettingError
from batchjob.model import InputSource, Row
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt
from batchjob.task.template import read_template
from batchjob.task.words import stands_alone

LABELS = LabelSet(("yes", "no"))


def source(*columns: str, text: str = "text") -> InputSource:
    return InputSource("/in.csv", "csv", "utf-8", ("id", text, *columns), "id", text, 1, 1)


def said(prompt: str, text: str = "TEXT", **columns: str) -> str:
    """All that is sent for a row whose columns are these."""
    asked = Prompt(LABELS, prompt, source(*columns))
    row = Row(1, text, others=tuple(columns[name] for name in asked.columns))
    return "\n---\n".join(content for _, content in asked.messages([row]))


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("yes or no? {text}", "yes or no? TEXT"),
        ("yes or no? { text }", "yes or no? TEXT"),
        ("{subject}: {text}, yes or no?", "SUBJECT: TEXT, yes or no?"),
        ("{ customer name } yes no {text}{text}", "NAME yes no TEXTTEXT"),
        ("yes or no about {subject}?", "yes or no about SUBJECT?\n---\nTEXT"),
        ("{labels} {text}", "- yes\n- no TEXT"),
        (
            '{text} yes, no as {"a": 1} {3} {} {a, b} {"a": {"b": {}}}',
            'TEXT yes, no as {"a": 1} {3} {} {a, b} {"a": {"b": {}}}',
        ),
        ("{{text}} is {text}: yes, no", "{text} is TEXT: yes, no"),
        ("{{{text}}} yes, no", "{TEXT} yes, no"),
        ("{{{{text}}}} yes, no {text}", "{{text}} yes, no TEXT"),
        ('{text} yes, no {{"a": {{"b": 1}}}}', 'TEXT yes, no {"a": {"b": 1}}'),
        ('{text} yes, no {{"a": {"b": 1}}}', 'TEXT yes, no {"a": {"b": 1}}'),
        ("a{2,3} [{x, y}] {one of them} yes no {text}", "a{2,3} [{x, y}] {one of them} yes no TEXT"),
        ("{text yes no }", "{text yes no }\n---\nTEXT"),
    ],
)
def test_names_in_braces_are_filled_in_and_other_braces_stay(prompt: str, expected: str) -> None:
    assert said(prompt, **{"subject": "SUBJECT", "customer name": "NAME"}) == expected


@pytest.mark.parametrize("prompt", ["{text}|{a}|{b} yes, no", "{b} yes, no {a}"])
@given(values=st.lists(st.text("{}ab text labels", max_size=12), min_size=3, max_size=3))
def test_a_value_with_braces_in_it_is_never_filled_in_a_second_time(prompt: str, values: list[str]) -> None:
    text, a, b = values
    expected = {"{text}|{a}|{b} yes, no": f"{text}|{a}|{b} yes, no", "{b} yes, no {a}": f"{b} yes, no {a}\n---\n{text}"}
    assert said(prompt, text, a=a, b=b) == expected[prompt]


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("{Text}", "{text}"),
        ("{ TEXT }", "{text}"),
        ("{subjct}", "{subject}"),
        ("{label}", "{labels}"),
        ("{Customer Name}", "{customer name}"),
        ("{customer_name}", "{customer name}"),
        ("{custmer name}", "{customer name}"),
        ("{text} {zzz}", ""),
    ],
)
def test_a_name_that_is_no_column_is_refused_with_the_columns_and_the_nearest(prompt: str, meant: str) -> None:
    with pytest.raises(SettingError) as refused:
        read_template(prompt, source("subject", "customer name"))
    message = str(refused.value)
    assert "id, text, subject, customer name" in message
    assert (f"Did you mean {meant}?" in message) == bool(meant)
    assert "{{" in message


@pytest.mark.parametrize("prompt", ["Classify {{text}} into {{labels}}", "{{ subject }}", "{{text}}"])
def test_a_prompt_with_nothing_but_doubled_braces_around_columns_is_refused(prompt: str) -> None:
    with pytest.raises(SettingError, match="single braces"):
        read_template(prompt, source("subject"))


def test_the_text_column_goes_by_its_own_name_too_and_not_by_both_where_another_is_called_text() -> None:
    body = source("subject", text="body")
    assert read_template("{body}{text}", body).places == ("text", "text")
    with pytest.raises(SettingError, match="the same"):
        read_template("{body}{text}", source("text", text="body"))
    assert read_template("{text}", source("text", text="body")).places == ("text",)


# ---------------------------------------------------------------- labels that are named


@pytest.mark.parametrize(
    ("labels", "prompt", "appended"),
    [
        (("in", "out"), "Decide about the input text.", True),
        (("in", "out"), "Is it in or out?", False),
        (("0", "1"), "Follow guideline v1.0.", True),
        (("0", "1"), "Follow guideline 1.0 or 0.1.", True),
        (("0", "1"), "Answer 0 or 1.", False),
        (("-1", "1"), "Answer -1 or 1.", False),
        (("1", "2"), "Rate -1 or $2.", True),
        (("C", "C++"), "Is it C++ or C#?", True),
        (("US", "UK"), "tell us or the UK", True),
        (("t", "don"), "don't", True),
        (("是", "否"), "请判断是否相关", True),
        (("是", "否"), "回答「是」或「否」。", False),
        (("card arrival", "other"), "card arrival, other", False),
        (("a", "b"), "a/b", False),
        (("yes", "no"), "'yes'|\"no\"", False),
        (("text", "labels"), "Which is {text}?", True),
        (("follow", "up"), "a follow-up", True),
    ],
)
def test_the_list_is_put_in_unless_the_prompt_names_every_label_as_a_word_of_its_own(
    labels: tuple[str, ...], prompt: str, appended: bool
) -> None:
    asked = Prompt(LabelSet(labels), prompt, source())
    listed = "\n\nLabels:\n" + "\n".join(f"- {label}" for label in labels)
    assert asked.appends_labels == appended
    assert asked.messages([Row(1, "x")])[0][1].endswith(listed) == appended


@pytest.mark.parametrize(
    "text", ["yes", "(yes)", "no/yes", "Say yes.", "yes: it is", "*yes*", "yes, no", '"yes"', "yes!"]
)
def test_a_word_between_blanks_or_marks_stands_alone(text: str) -> None:
    assert stands_alone("yes", text)


@pytest.mark.parametrize("text", ["yesno", "Yes", "yes-no", "no_yes", "yes's", "#yes", "yes%", "yes+", "é.yes", "yes2"])
def test_a_word_that_may_be_part_of_another_does_not(text: str) -> None:
    assert not stands_alone("yes", text)
