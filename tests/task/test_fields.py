"""Several answers about a text: no answer stands in the wrong field or on the wrong row, however broken it comes."""

from __future__ import annotations

import json
import math
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchjob.endpoints.bodies import ChatBodies
from batchjob.errors import SettingError
from batchjob.exchange.conclude import conclude
from batchjob.exchange.decide import Decision, decide
from batchjob.exchange.exchange import Exchange
from batchjob.exchange.fields import field_results
from batchjob.exchange.question import Questions
from batchjob.exchange.rows import Terms
from batchjob.model import Answered, Parcel, Rejected, Reply, Row, RowResult
from batchjob.money.budget import Budget
from batchjob.records import CONFIDENCE, DETAIL_COLUMNS, MODEL_LABEL, RESULT_COLUMNS, ROW_NUMBER
from batchjob.settings.complete import check
from batchjob.settings.config import JobConfig, merge
from batchjob.settings.tables import Field
from batchjob.states import Event, Matched
from batchjob.task.asked import prompt_of
from batchjob.task.fields import kinds
from batchjob.task.fields.answers import FieldSet, field_values

KINDS: list[dict[str, Any]] = [
    {"name": "category", "labels": ["billing", "refund"], "descriptions": {"refund": "money back"}, "ask": "Which?"},
    {"name": "topics", "kind": "several", "labels": ["app", "card"]},
    {"name": "urgent", "kind": "yes_no"},
    {"name": "score", "kind": "number", "min": 1, "max": 5},
    {"name": "note", "kind": "text", "max_length": 10},
]
PLAIN: dict[str, Any] = {"base_url": "https://host/v1", "model": "m", "fields": KINDS}
WHOLE = {"category": "refund", "topics": ["card"], "urgent": "no", "score": 4, "note": "short"}
LABEL = msgspec.json.encode(WHOLE).decode()
CONFIG = check(merge(PLAIN))
FIELDS = FieldSet(CONFIG.fields)


def reading(reply: Reply, *rows: Row, config: JobConfig = CONFIG) -> list[RowResult]:
    """The results of a request for these rows."""
    parcel = Parcel(rows, "m")
    exchange = Exchange(1, "k", parcel, b"", 0, 0.0)
    found = conclude(
        exchange,
        reply,
        decide(reply),
        Terms.of(config),
        counts=True,
        at=0.0,
        chance=lambda: 0.5,
        read=field_results,
    )
    return list(found.settle.rows)


# ---------------------------------------------------------------- one value


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [
        ("category", "Refund.", "refund"),
        ("category", "the refund of a billing", None),
        ("category", ["refund"], None),
        ("topics", ["card", "App", "card"], ["app", "card"]),
        ("topics", [], []),
        ("topics", "card", ["card"]),
        ("topics", ["card", "weather"], None),
        ("topics", "card, app", None),
        ("urgent", True, "yes"),
        ("urgent", "False", "no"),
        ("urgent", "maybe", None),
        ("score", "4", 4),
        ("score", 4.0, 4),
        ("score", "4.5", None),
        ("score", "6", None),
        ("score", "-1", None),
        ("score", "4 of 5", None),
        ("score", True, None),
        ("note", " a b ", "a b"),
        ("note", "longer than ten", None),
        ("note", " ", None),
        ("note", ["a"], None),
    ],
)
def test_a_value_is_what_was_answered_or_there_is_none(name: str, given: Any, value: Any) -> None:
    kept = FIELDS.taken({name: given})
    assert (kept.values.get(name), name in kept.others) == (value, value is None)


def test_a_number_with_decimals_has_no_more_of_them() -> None:
    share = FieldSet([Field("share", "number", min=0, max=1, decimals=2)])
    assert [share.taken({"share": given}).values.get("share") for given in ("0.25", "1", "0.255")] == [0.25, 1.0, None]
    assert share.label(share.taken({"share": "-0.0"})) == '{"share":0.0}'


# ---------------------------------------------------------------- a whole answer


@pytest.mark.parametrize(
    ("content", "near"),
    [
        (LABEL, False),
        (f"```json\n{LABEL}\n```", False),
        (f"<think>score 1?</think>Here it is: {LABEL}", False),
        (json.dumps({"answer": {**WHOLE, "Urgent": "No"}}).replace('"urgent": "no", ', ""), True),
        (json.dumps({"1": WHOLE}), False),
        (json.dumps({**WHOLE, "why": {"category": "billing"}}), False),
    ],
)
def test_an_answer_is_read_by_the_names_of_the_fields(content: str, near: bool) -> None:
    (result,) = reading(Answered(content), Row(7, "t"))
    assert (result.event, result.label, result.paid) == (Event.COMPLETE, LABEL, 1)
    assert result.matched is (Matched.NEAR if near else Matched.EXACT)
    assert field_values(result.label, None) == WHOLE


def test_half_a_character_in_an_answer_is_replaced_wherever_it_stands() -> None:
    content = json.dumps({**WHOLE, "note": "a\ud83d", "category": "\ud800", "topics": [{"\udc00": ["\ud801"]}]})
    for rows in ((Row(7, "t"),), (Row(7, "t"), Row(8, "t"))):
        (result, *_) = reading(Answered(content if len(rows) == 1 else f'{{"1": {content}}}'), *rows)
        assert result.error_kind == "off_list:category,topics"
        assert field_values(None, result.answer)["note"] == "a?"
        assert "'?' is not one of its labels" in (result.error or "")


def test_what_is_answered_is_kept_and_only_the_rest_is_asked_for() -> None:
    content = json.dumps({**WHOLE, "score": "many", "note": None})
    (result,) = reading(Answered(content), Row(7, "t"))
    assert (result.event, result.error_kind) == (Event.FAIL, "off_list:score,note")
    assert result.error == "score: 'many' is not a whole number from 1 to 5; note: left out, or given twice"
    assert field_values(None, result.answer) == {"category": "refund", "topics": ["card"], "urgent": "no"}
    row = Row(7, "t", answer=result.answer)
    questions = Questions(CONFIG, prompt_of(CONFIG, None), ChatBodies(), Budget({}))
    asked = json.loads(questions.body(Parcel((row,), "m")))
    assert '"score": a whole number from 1 to 5\n\n"note": a text of at most 10' in asked["messages"][0]["content"]
    assert '"category"' not in asked["messages"][0]["content"]
    schema = asked["response_format"]["json_schema"]["schema"]
    assert schema["required"] == list(schema["properties"]) == ["score", "note"]
    (whole,) = reading(Answered('{"score": 4, "note": "short", "category": "billing"}'), row)
    assert (whole.event, whole.label) == (Event.COMPLETE, LABEL), "what was there is not replaced"


@pytest.mark.parametrize(
    "reply",
    [
        Answered(None, refusal="I cannot"),
        Answered("no JSON at all"),
        Answered("{}"),
        Rejected(400, "no", code="content_filter"),
        Rejected(500, "later"),
        Rejected(429, "later"),
    ],
)
def test_no_reply_takes_a_field_away(reply: Reply) -> None:
    answer = FIELDS.answer(FIELDS.taken({"category": "refund"}))
    (result,) = reading(reply, Row(7, "t", answer=answer))
    assert result.event in (Event.FAIL, Event.RELEASE)
    assert field_values(None, result.answer) == {"category": "refund"}


def test_a_shared_answer_gives_each_row_what_it_has_and_leaves_the_rest_to_be_asked_alone() -> None:
    content = json.dumps({"2": {**WHOLE, "score": 9}, "1": WHOLE})
    first, second, third = reading(Answered(content), *(Row(n, "t") for n in (5, 6, 7)))
    assert (first.event, first.label, first.number) == (Event.COMPLETE, LABEL, 5)
    assert (second.event, second.error_kind, second.paid) == (Event.RELEASE, "off_list:score", 0)
    assert (third.event, third.answer and field_values(None, third.answer)) == (Event.RELEASE, {})
    rows = [Row(5, "t"), Row(6, "t", answer=second.answer), Row(7, "t")]
    prompt = prompt_of(CONFIG, None)
    assert [prompt.fitting(rows[n:], 9, 1000) for n in range(3)] == [1, 1, 1]
    assert prompt.fitting([rows[0], rows[2], rows[1]], 9, 1000) == 2


def test_a_row_is_as_sure_as_its_least_sure_value_and_a_text_does_not_count() -> None:
    def sure(answer: str, unsure: str, *rows: Row) -> list[float | None]:
        begin = answer.index(unsure)
        tokens = [(answer[:begin], 0.0), (unsure, math.log(0.5)), (answer[begin + len(unsure) :], 0.0)]
        return [one.confidence for one in reading(Answered(answer, tokens=tuple(tokens)), *rows)]

    one, other = json.dumps(WHOLE), json.dumps({**WHOLE, "score": 5, "topics": ["app", "card"]})
    assert sure(one, "short", Row(7, "t")) == [1.0]
    assert sure(one, "refund", Row(7, "t")) == [0.5]
    rows = Row(7, "t"), Row(8, "t"), Row(9, "t")
    shared = f'{{"2": {other}, "3": {one}, "1": {one}}}'
    assert sure(shared, '"app", "ca', *rows) == [1.0, 0.5, 1.0]


# ---------------------------------------------------------------- broken answers

MARKED = FieldSet(
    [
        Field("one", "text"),
        Field("two", "number", min=0, max=10**9),
        Field("three", "text"),
        Field("four", "several", labels=("a", "b", "c")),
    ]
)
NAMES = ("one", "two", "three", "four")
FOREIGN = {"one": '"of nobody"', "two": "999999999", "three": '"of nobody"', "four": '["c"]'}


def mark(row: int, name: str) -> str:
    """The only right answer, as JSON."""
    if name == "four":
        return '["a", "b"]'
    return str(1000 * row + 123) if name == "two" else json.dumps(f'{name} of {row} \\ " }}{{')


@st.composite
def broken(draw: st.DrawFn, count: int) -> tuple[str, set[tuple[int, str]]]:
    """An answer, and what in it stands where it should, once."""
    sound = set[tuple[int, str]]()
    numbers = draw(st.permutations(range(1, count + 1)))
    objects = []
    for row in numbers[: draw(st.integers(1, count))]:
        members = []
        for name in draw(st.permutations(NAMES)):
            how = draw(st.sampled_from(["there"] * 5 + ["missing", "twice", "null", "nested"]))
            if how == "there":
                members.append(f'"{name}": {mark(row, name)}')
                sound.add((row, name))
            elif how == "twice":
                members += [f'"{name}": {mark(row, name)}', f'"{name}": {FOREIGN[name]}']
            elif how == "null":
                members.append(f'"{name}": null')
            elif how == "nested":
                members.append(f'"{name} ": {{"{name}": {FOREIGN[name]}}}')
        members += draw(st.lists(st.sampled_from(['"why": "none"', '"more": {"one": "of nobody"}', '"9": [1]'])))
        objects.append((row, "{" + ", ".join(draw(st.permutations(members))) + "}"))
    if count == 1:
        text = objects[0][1]
    else:
        again = draw(st.sampled_from([None, *(row for row, _ in objects)]))
        if again is not None:
            objects.append((again, "{" + ", ".join(f'"{name}": {FOREIGN[name]}' for name in NAMES) + "}"))
            sound = {place for place in sound if place[0] != again}
        extra = draw(st.sampled_from(["", ', "21": {"one": "of nobody"}', ', "all": {"1": {"one": "of nobody"}}']))
        text = "{" + ", ".join(f'"{row}": {told}' for row, told in objects) + extra + "}"
    around = draw(
        st.sampled_from(["{}", "```json\n{}\n```", "Sure! {}", '{{"result": {}}}', "{}\n\nI hope this helps."])
    )
    return around.format(text), sound


def found_in(content: str, count: int) -> dict[tuple[int, str], str]:
    """What is read, as JSON."""
    given_ = MARKED.given(content, count)
    read = {row: MARKED.taken(one).values for row, one in given_.items()}
    return {(row, name): json.dumps(value) for row, values in read.items() for name, value in values.items()}


@pytest.mark.parametrize("count", [1, 20])
def test_of_broken_answers_each_field_of_each_row_gets_its_own_or_nothing(count: int) -> None:
    @settings(max_examples=150, deadline=None)
    @given(broken(count))
    def each(case: tuple[str, set[tuple[int, str]]]) -> None:
        content, sound = case
        assert found_in(content, count) == {place: mark(*place) for place in sound}

    each()


@pytest.mark.parametrize("count", [1, 20])
def test_wherever_an_answer_is_cut_each_field_gets_its_own_or_nothing(count: int) -> None:
    rows = {n: ", ".join(f'"{name}": {mark(n, name)}' for name in NAMES) for n in range(1, count + 1)}
    whole = "{" + ", ".join(f'"{n}": {{{row}}}' for n, row in rows.items()) + "}" if count > 1 else f"{{{rows[1]}}}"
    assert len(found_in(whole, count)) == len(NAMES) * count
    for end in range(len(whole)):
        assert all(value == mark(*place) for place, value in found_in(whole[:end], count).items()), whole[:end]


# ---------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"labels": ["a"]}, "labels cannot be given with"),
        ({"fallback": "a"}, "fallback cannot be given with .* the others are kept"),
        ({"fields": [{"name": "a b", "kind": "yes_no"}]}, "field 'a b': a name is made of"),
        ({"fields": [{"name": "_", "kind": "yes_no"}]}, "field '_': a name is made of"),
        ({"fields": [{"name": "Fields", "kind": "yes_no"}]}, "field 'Fields': that is the name of something else"),
        ({"fields": [{"name": "a", "kind": "yes_no"}, {"name": "A", "kind": "yes_no"}]}, "'a' is there twice"),
        ({"fields": [{"name": "a_b", "kind": "yes_no"}, {"name": "a__b", "kind": "yes_no"}]}, "'a_b' is there twice"),
        ({"fields": [{"name": "a"}]}, "field 'a': kind one needs labels"),
        ({"fields": [{"name": "a", "labels": ["x", "x"]}]}, "a label is given twice"),
        ({"fields": [{"name": "a", "labels": ["x "]}]}, "'x ' is blank, or has spaces"),
        ({"fields": [{"name": "a", "labels": ["x"], "descriptions": {"y": "z"}}]}, "'y' is described"),
        (
            {"fields": [{"name": "a", "kind": "text", "labels": ["x"]}]},
            "labels is for kind one and several",
        ),
        ({"fields": [{"name": "a", "kind": "text", "min": 1}]}, "min is for kind number, and this is text"),
        ({"fields": [{"name": "a", "kind": "number", "min": 1}]}, "needs min and max"),
        ({"fields": [{"name": "a", "kind": "number", "min": 0.5, "max": 1}]}, "or give decimals"),
    ],
)
def test_fields_that_cannot_be_asked_are_refused_by_name(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        check(merge(PLAIN, changes))


@pytest.mark.parametrize("name", [*RESULT_COLUMNS[1:], *DETAIL_COLUMNS, MODEL_LABEL, CONFIDENCE, ROW_NUMBER, "State"])
def test_no_field_is_called_like_a_column_that_an_export_has_besides(name: str) -> None:
    with pytest.raises(SettingError, match=f"field '{name}': that is the name of something else"):
        check(merge(PLAIN, {"fields": [{"name": name, "kind": "yes_no"}]}))


def test_an_endpoint_that_refuses_the_schema_is_asked_in_words() -> None:
    questions = Questions(CONFIG, prompt_of(CONFIG, None), ChatBodies(), Budget({}))
    parcel = Parcel((Row(1, "t"),), "m")
    assert questions.formats(parcel)
    refused: Decision = decide(Rejected(400, "what is this?"))
    assert questions.gives_up_schema(parcel, refused)
    assert "response_format" not in json.loads(questions.body(parcel))
    assert not questions.gives_up_schema(parcel, refused)


def test_every_kind_that_can_be_set_has_its_class() -> None:
    assert set(get_args(get_args(get_type_hints(Field, include_extras=True)["kind"])[0])) == kinds.KINDS.keys()
