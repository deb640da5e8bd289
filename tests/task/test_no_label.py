"""Answers that give no label: what the model did not say is none."""

from __future__ import annotations

import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from batchjob.task.labels import LabelSet
from batchjob.task.words import LONGEST_SHORT
from tests.task.generator import cases
from tests.task.sets import (
    AGES,
    BINARY,
    CODE,
    DEPARTMENTS,
    DESK,
    FACES,
    GRADES,
    KINDS,
    LANGUAGES,
    LETTERS,
    STARS,
    TONES,
    label_in,
)
from tests.task.templates import LABEL_SETS

# ---------------------------------------------------------------- answers that give none


@pytest.mark.parametrize(
    ("labels", "answer"),
    [
        (DEPARTMENTS, "It seems to be about payroll."),
        (DEPARTMENTS, "It is unclear from the message."),
        (DEPARTMENTS, "Nobody in HR or finance has seen it"),
        (DEPARTMENTS, "Label: it"),
        (DEPARTMENTS, 'The pronoun is:\n"it"'),
        (LANGUAGES, "It looks like German."),
        (LANGUAGES, "The text contains no words."),
        (LANGUAGES, "This is Portuguese"),
        (LANGUAGES, "Is there a word in it?\n\nNo"),
        (LANGUAGES, "de rien"),
        (LETTERS, "This is a question about cards."),
        (LETTERS, "A customer wants a refund, so option two"),
        (LETTERS, "A or B"),
        (LETTERS, "Vitamin C"),
        (KINDS, "Please provide more information so I can classify this text."),
        (KINDS, "On the other hand, the customer is happy"),
        (KINDS, "I'm unable to classify this; could you share the complaint?"),
        (KINDS, "no other information"),
        (TONES, "nicht positiv"),
        (TONES, "Der Text ist positiv, aber nicht nur."),
        (TONES, "pas neutral"),
        (DESK, "The answer is **billing**."),
        (DESK, "billing, I think"),
        (DESK, "It is billing."),
        (DESK, "我认为是billing"),
        (DESK, "billing: the customer asks about an invoice"),
    ],
)
def test_nothing_is_fished_out_of_prose(labels: LabelSet, answer: str) -> None:
    assert labels.read(answer) is None


@pytest.mark.parametrize(
    ("labels", "answers"),
    [
        (BINARY, ["-1", "1.5", "0.9", "+1", "10", "1/0", "01", "1%", "- 1", "1st", "¹", "½", "1?", "#1", "No. 1"]),
        (
            STARS,
            ["-5", "3.7", "0.5", "5/10", "5%", "<5", "5+", "~5", "4-5", "0,5", "5...", "5 stars", '{"label": 5.0}'],
        ),
        (GRADES, ["B-", "A", "B", "B++", "(B+", "b-"]),
        (CODE, ["C#", "C", "C+", "C++11", "JavaScript", "Python3"]),
        (AGES, [">18", "<65", "65", "≥65", "18", "18-6", "1865", "> 18"]),
        (FACES, [":|", ":", ")", ":-)", ":))", "(:", "**:(", "):"]),
        (LabelSet(["*", "**"]), ["***", "*****", "* *"]),
        (LabelSet(["m2", "10"]), ["m²", "10²", "m3", "1⁰"]),
        (LabelSet(["(a)", "8)"]), ["(b)", "8", "8("]),
        (LabelSet(["temp 5", "covid_19"]), ["temp -5", "temp-5", "covid -19"]),
        (DESK, ["billing+", "-billing", "billing?", "~~billing~~", "billing-", "others", "billings", "$billing"]),
    ],
)
def test_signs_digits_and_symbols_count(labels: LabelSet, answers: list[str]) -> None:
    for answer in answers:
        for said in (answer, f"**{answer}**", f"Label: {answer}", f"So:\n\n{answer}"):
            assert labels.read(said) is None, said


@pytest.mark.parametrize(
    "answer",
    [
        "not billing",
        "It's not billing.",
        "neither billing nor refund",
        "n'est pas billing",
        "不是billing",
        "Label: not billing",
        "Label: billing? No.",
        "Wrong label: billing",
        "Every label but: billing",
        "It is not:\n\nbilling",
        "The one that does not fit is\n\nbilling",
        "It is neither refund nor\n\nbilling",
        "Das ist nicht:\n**billing**",
        "Bu değil:\n\nbilling",
        "That would be wrong:\n<label>billing</label>",
        'Do not answer\n{"label": "billing"}',
        "For example:\n\nbilling",
        "Possible answers:\n- `billing`",
        "Label: billing\n\nWait, that is not it.",
        "Label: billing\nCorrection: refund",
        "Label: billing\nReason: it is an invoice. Wait, it is about money back.",
        "**billing**\nThis one does not fit.",
        "Kategorie: billing\nNein, doch nicht.",
        '{"label": "billing"}\n\nHowever, it might be something else.',
        '{"not": "billing"}',
        '{"excluded": "billing"}',
        '{"label": "not billing"}',
    ],
)
def test_what_is_denied_taken_back_or_only_possible_is_no_answer(answer: str) -> None:
    assert DESK.read(answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        "billing, I think\n\nText: I want my money back.\nLabel: refund",
        "It is about an invoice.\n\n**Text 2:** I want my money back.\n\n**Label:** refund",
        "billing\n\nInput: my card\nOutput: card_arrival",
    ],
)
def test_the_label_of_a_text_the_model_makes_up_is_no_answer(answer: str) -> None:
    assert DESK.read(answer) is None
    assert label_in(DESK, "Text: I want my money back.\nLabel: refund") == "refund"


@pytest.mark.parametrize(
    "answer",
    [
        "billing or refund",
        "billing, refund",
        "billing\nrefund",
        "billing\n\nrefund",
        "**billing**\n**refund**",
        "Label: billing\nLabel: refund",
        "Label: billing\n\nrefund",
        "Label: refund or other\n\nbilling",
        "Label: something else\n\nbilling",
        '["billing", "refund"]',
        '{"label": ["billing", "refund"]}',
        '{"label": "billing", "label": "refund"}',
        '{"label": "billing", "label": "billing"}',
        '{"first": "billing", "second": "refund"}',
        '{"answer": "billing", "category": "refund"}',
        '{"label": "billing"}\n{"label": "refund"}',
        "<label>billing</label><label>refund</label>",
        "\\boxed{billing}\n\\boxed{refund}",
    ],
)
def test_two_labels_are_none(answer: str) -> None:
    assert DESK.read(answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        '{"billing": true}',
        '{"billing": 0.9, "refund": 0.1}',
        '{"billing": "refund"}',
        '{"reason": "billing"}',
        '{"label": null, "reason": "billing"}',
        '{"label": "unsure", "candidate": "billing"}',
        '{"label": {"billing": true}}',
        '{"label": "billing"',
        '{"label": "bill',
        '{"label": "billing", "reason": "an inv',
        '{"label": NaN}',
        "[[[[[[[[[[[[billing]]]]]]]]]]]]".replace("billing", '"billing"'),
        "{}",
        "[]",
        "",
        "   ",
        "Label:",
        "Label: ",
        "<label></label>",
        "<label>billing",
        "**billing",
        "```\nbilling",
        "<think>billing",
        "<think>hm</think><think>\n\nbilling",
        "billing\n</think>\n\nunsure",
    ],
)
def test_json_keys_reasons_and_halves_are_no_answer(answer: str) -> None:
    assert DESK.read(answer) is None


# ---------------------------------------------------------------- prose, whatever it holds

WORDS = [
    "the",
    "customer",
    "asks",
    "about",
    "it",
    "not",
    "and",
    "or",
    "I",
    "think",
    "maybe",
    "это",
    "nicht",
    "是",
    "のは",
]


@given(
    st.sampled_from([LabelSet(labels) for labels in LABEL_SETS]),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4),
    st.data(),
)
def test_a_label_with_words_before_and_behind_it_is_never_read(
    labels: LabelSet, before: list[str], behind: list[str], data: st.DataObject
) -> None:
    label = data.draw(st.sampled_from(labels.labels))
    for said in (label, f"**{label}**", f'"{label}"', f"({label})"):
        answer = " ".join([*before, said, *behind])
        assume("think>" not in answer)
        assert labels.read(answer) is None, answer


@given(st.sampled_from(["1", "2", "10", "A", "C", "x"]), st.sampled_from("+-<>#%=~$/°²±≥≤^&|@"), st.booleans())
def test_a_sign_more_is_another_answer(label: str, sign: str, before: bool) -> None:
    labels = LabelSet([label, "other"])
    assert labels.read(sign + label if before else label + sign) is None
    assert LabelSet([sign + label, "other"]).read(label) is None


@given(st.sampled_from(["it", "no", "in", "IT", "A", "is"]), st.sampled_from([str.upper, str.lower, str.swapcase]))
def test_a_short_label_on_a_line_of_more_is_read_in_its_own_case_alone(label: str, change: object) -> None:
    assert callable(change)
    assert len(label) <= LONGEST_SHORT
    labels, said = LabelSet([label, "something"]), change(label)
    read = {form: label_in(labels, form.format(said)) for form in ("{}", "So it is:\n**{}**", "So it is:\n\n{}")}
    right = label if said == label else None
    assert read == {"{}": label, "So it is:\n**{}**": right, "So it is:\n\n{}": right}


# ---------------------------------------------------------------- many answers, large ones


def test_of_twenty_thousand_generated_answers_none_is_read_wrongly() -> None:
    sets = {labels: LabelSet(labels) for labels in LABEL_SETS}
    refused = asked = 0
    for case in cases(20_000, seed=1):
        found = label_in(sets[case.labels], case.answer)
        assert found in (None, case.right), case
        if case.right is not None and case.form in ("said", "thought", "denied above"):
            asked, refused = asked + 1, refused + (found is None)
    assert refused < 0.03 * asked


@pytest.mark.parametrize("tail", ["", "\n\nbilling"])
@pytest.mark.parametrize(
    "part",
    [
        *(
            "{",
            "[\n",
            "{\n",
            '{"a":\n',
            "<label>",
            "<label>\n",
            "\n",
            "a\n",
            "label: x\n",
            "**\n",
            "**a**\n",
            " ",
            "\t\n",
        ),
        *('"', "$", "\\boxed{", "```\n", "(", "billing\n", "not ", "label:", ">\n<label>", "- ", "label: billing\n"),
        *('{"label": "billing"}\n', "<label>billing</label>\n", "<think>", "</think>", "\\", "1. ", "a.", ":"),
    ],
)
def test_time_grows_no_faster_than_the_answer(part: str, tail: str) -> None:
    answer = part * (300_000 // len(part)) + tail
    started = time.process_time()
    DESK.read(answer)
    assert time.process_time() - started < 60, "a fraction of a second each; squared, it would take hours"
