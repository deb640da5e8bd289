"""A label is what the model answered, in whatever form it says so."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchjob.task.labels import LabelSet, Match
from tests.task.sets import AGES, BINARY, CODE, DEPARTMENTS, DESK, FACES, LANGUAGES, LETTERS, STARS, TONES, label_in

# ---------------------------------------------------------------- forms that are read

SET = st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6, unique=True)


@given(SET, st.data())
@example(["<think>", "</think>"], None)
@example(["Yes", "Yes!", "yes"], None)
def test_any_label_of_any_set_is_read_letter_for_letter(labels: list[str], data: st.DataObject | None) -> None:
    read = LabelSet(labels)
    for label in labels if data is None else [data.draw(st.sampled_from(labels))]:
        assert read.read(label) == read.read(label, exact_only=True) == Match(label, near=False)


@given(SET, st.text(max_size=40))
@example([""], "")
@example(["Other"], "Other\0")
@example(["a"], "\ud800")
def test_whatever_the_set_and_the_answer_only_its_labels_are_read(labels: list[str], answer: str) -> None:
    assert label_in(LabelSet(labels), answer) in {None, *labels}


WRAPPINGS = [
    "{}",
    '"{}"',
    "'{}'.",
    "**{}**",
    "“{}”",
    " \n{}\n",
    "- {}",
    "`{}`!",
    "({})",
    "[{}]",
    "```\n{}\n```",
    "# {}",
]


@given(
    st.sampled_from(DESK.labels),
    st.sampled_from([str, str.upper, str.title]),
    st.sampled_from(WRAPPINGS),
    st.sampled_from(["_", " ", "-", "  "]),
)
def test_a_label_alone_is_read_in_any_case_wrapping_and_between_its_words(
    label: str, change: object, wrapping: str, between: str
) -> None:
    assert callable(change)
    respelled = change(label.replace("_", " ").replace("-", " ")).replace(" ", between)
    assert label_in(DESK, wrapping.format(respelled)) == label


@pytest.mark.parametrize(
    "answer",
    [
        "billing",
        "Billing.",
        "BILLING!",
        "billing,",
        "**billing**",
        "**billing.**",
        "***billing***",
        "`billing`",
        "「billing」",
        "« billing »",
        "„billing“",
        "（billing）",
        "ｂｉｌｌｉｎｇ。",
        "\ufeffbilling\u200b",
        "- billing",
        "> billing",
        "1: billing",
        "1. billing",
        "```\nbilling\n```",
        "```text\nbilling\n```",
        "\\boxed{billing}",
        "$\\boxed{\\text{billing}}$",
        '{"label":"billing"}',
        '{"label": "billing",}',
        "{'label': 'billing'}",
        "{label: billing}",
        '"label": "billing"',
        '```json\n{"label": "billing"}\n```',
        'Here it is:\n\n```json\n{"label": "billing"}\n```\nCall me again.',
        '{"label": "billing", "confidence": 0.9, "reason": "It is about an invoice."}',
        '{"label": "billing", "reason": "It is not a refund."}',
        '{"reason": "other would be wrong", "label": "billing"}',
        '{"Label": " Billing "}',
        '{"category": "billing", "confidence": 1}',
        '{"result": {"label": "billing"}}',
        '{"1": "billing"}',
        '[{"label": "billing"}]',
        '["billing"]',
        '{"label": ["billing"]}',
        '{\n "label": "billing",\n "candidates": [\n  "refund",\n  "other"\n ]\n}',
        "<label>billing</label>",
        "<label>\nbilling\n</label>",
        "<answer><label>billing</label></answer>",
        "<result>\n<reason>It is not a refund.</reason>\n<label>billing</label>\n</result>",
        "Label: billing",
        "**Label:** billing",
        "**Label**: **billing**",
        "**Label: billing**",
        "- Label: `billing`",
        "Label:\nbilling",
        "**Answer:**\n\n```\nbilling\n```",
        "The label is: billing.",
        "The final answer is: $\\boxed{billing}$",
        "label: billing\nconfidence: high\nreason: not a refund",
        "标签：billing",
        "最终标签是：billing",
        "答案: 「billing」",
        "Réponse : billing",
        "Étiquette : « billing »",
        "Die Kategorie ist: billing",
        "Respuesta: billing.",
        "Ответ: billing",
        "ラベル：billing",
        "정답: billing",
        "التصنيف: billing",
        "उत्तर: billing",
        "The text is about an invoice.\n\nbilling",
        "Let me see.\n\n**billing**",
        "Ich denke, es geht um Geld.\n\n**billing**",
        "我觉得很清楚。\n\n**billing**",
        "The text is about an invoice.\n**billing**",
        'The text is about an invoice.\n"billing"\n',
        "The text is about an invoice.\n\\[\n\\boxed{billing}\n\\]",
        "So the best fit is:\n\nbilling",
        "It is not refund.\n\nbilling",
        "not refund\n\nbilling",
        "It isn't refund!\nLabel: billing",
        "Label: billing\n\nIt is about an invoice.",
        "Label: billing\n**billing**\n\nbilling",
        "Hm, refund?</think>billing",
        "<think>refund</think>\n\n**billing**",
        "billing<|im_end|>",
    ],
)
def test_what_an_answer_says_itself_is_read(answer: str) -> None:
    assert label_in(DESK, answer) == "billing"


@pytest.mark.parametrize(
    ("labels", "answer", "label"),
    [
        (BINARY, "1.", "1"),
        (BINARY, '{"label": 1}', "1"),
        (BINARY, "[0]", "0"),
        (LabelSet(["true", "false"]), '{"is_spam": true}', "true"),
        (STARS, "The final answer is: $\\boxed{4}$", "4"),
        (LabelSet(["-1", "0", "1"]), "−1", "-1"),
        (LabelSet(["-1", "0", "1"]), "Label: -1.", "-1"),
        (AGES, "18–65", "18-65"),
        (CODE, "C++.", "C++"),
        (CODE, "c\\+\\+", "C++"),
        (LETTERS, "(B)", "B"),
        (LETTERS, "B)", "B"),
        (LETTERS, "b", "B"),
        (DEPARTMENTS, "it", "IT"),
        (DEPARTMENTS, "Label: IT", "IT"),
        (DEPARTMENTS, "It is about a laptop.\n\nIT", "IT"),
        (LabelSet(["yes", "no"]), "Answer: No", "no"),
        (FACES, '":("', ":("),
        (FACES, "Label: :)", ":)"),
        (LabelSet(["👍", "👎"]), "👍.", "👍"),
        (LabelSet(["Yes!", "No!"]), "yes", "Yes!"),
        (LabelSet(["(other)", "billing"]), "Other", "(other)"),
        (LabelSet(["reverted_card_payment?", "card_arrival"]), "Reverted card payment", "reverted_card_payment?"),
        (LabelSet(["reverted_card_payment?", "card_arrival"]), "reverted_card_payment?.", "reverted_card_payment?"),
        (LabelSet(["spam", "not spam"]), "Not spam.", "not spam"),
        (LabelSet(["到账", "退款"]), '{"label": "\\u5230\\u8d26"}', "到账"),
        (LabelSet(["topic: billing", "topic: refund"]), "So:\n\n**Topic: billing**", "topic: billing"),
        (LabelSet(["Straße"]), "STRASSE", "Straße"),
        (LabelSet(["can't pay"]), "Can’t pay", "can't pay"),
        (LabelSet([unicodedata.normalize("NFD", "déjà")]), "déjà", unicodedata.normalize("NFD", "déjà")),
    ],
)
def test_labels_of_many_kinds_are_read(labels: LabelSet, answer: str, label: str) -> None:
    assert label_in(labels, answer) == label


@pytest.mark.parametrize(
    ("labels", "answer", "label"),
    [
        # a reason under a key of its own may deny, and speak of other labels
        (DESK, "Label: **refund**\n\n**Reasoning:** The user wants money back, not an explanation.", "refund"),
        (DESK, "**refund**\n\n*Reason:* it does not mention a bill.", "refund"),
        (DESK, "**Label:** refund\n**Confidence:** not applicable", "refund"),
        (DESK, "Label: refund\n\nReason for this label: it is not about billing.", "refund"),
        (DESK, "ラベル：refund\n理由：請求の話ではない", "refund"),
        (DESK, "Label: refund\n\nExplanation:\nThe customer could not log in.", "refund"),
        (DESK, "Label: refund\n\nExplanation:\n\n- It is not about a bill.\n- It is money.", "refund"),
        (DESK, "Kategorie: refund\nBegründung: Es geht nicht um eine Rechnung.", "refund"),
        (TONES, "**Label:** neutral\n\n**Reason:** The reviewer is neither happy nor upset.", "neutral"),
        (LabelSet(["账单", "退款"]), "分类结果：账单\n\n理由：用户询问费用，而不是要求退款。", "账单"),
        # a reason in prose that speaks of the text
        (DESK, "**refund**\n\nThe customer asks for money back. He is unhappy.", "refund"),
        (DESK, '{"label": "refund"}\n\nThis message mentions a payment.', "refund"),
        (DESK, "Label: refund\n\nDer Kunde fragt nach Geld.", "refund"),
        (DESK, "Label: refund\n\n客户在询问一笔费用。", "refund"),
        # sentences that announce
        (DESK, "Based on the text you provided, the classification is:\n\n**refund**", "refund"),
        (DESK, 'Here is the JSON:\n\n{"label": "refund"}', "refund"),
        (DESK, 'Sure! Here is my answer in JSON format:\n\n{"label": "refund"}', "refund"),
        (DESK, "I would classify this message as:\n\nrefund", "refund"),
        (DESK, "### Classification\n\n**refund**", "refund"),
        (DESK, "So, the most likely label for this text is:\n\nrefund", "refund"),
        (LabelSet(["账单", "退款"]), "该文本应分类为：退款", "退款"),
        (LabelSet(["账单", "退款"]), "这条消息的标签是：\n\n退款", "退款"),
        (DESK, "The user wants money back, so the label is:\n\n**refund**", "refund"),
        (DESK, "根据文本内容，分类结果是：\n\nrefund", "refund"),
        (DESK, 'Result:\n```json\n{"label": "refund"}\n```', "refund"),
        (DESK, "Label: refund\n\nLet me know if you need anything else.", "refund"),
        (DESK, '{"label": "refund"}\n\n**Explanation**\n\nThe text is not about a bill.', "refund"),
        # short labels
        (LabelSet(["yes", "no", "maybe"]), "**No**\n\nThe customer is satisfied with the answer.", "no"),
        (LabelSet(["yes", "no", "maybe"]), "The customer is happy.\n\nNo", "no"),
        (LabelSet(["yes", "no", "maybe"]), 'The customer is happy.\n\n"Yes"', "yes"),
        (LabelSet(["yes", "no", "maybe"]), "The customer is happy.\n\n\\boxed{No}", "no"),
        (LabelSet(["yes", "no", "maybe"]), "Answer: YES", "yes"),
        (LETTERS, "Answer: b", "B"),
        # what the labels are by their nature
        (STARS, "Rating: 4", "4"),
        (LabelSet(["-1", "0", "1"]), "Score: -1", "-1"),
        (LabelSet(["-1", "0", "1"]), "score: \u22121", "-1"),
        (LabelSet(["-1", "0", "1"]), "The sentiment score is: 1", "1"),
        (BINARY, "Label: 1\nScore: 0.97", "1"),
        (LANGUAGES, "Language: de", "de"),
        (DESK, "Label: billing\nLanguage: de", "billing"),
        (AGES, "Age group: >65", ">65"),
        (AGES, "> 65", ">65"),
        # members of JSON
        (BINARY, '{"1": "1"}', "1"),
        (DEPARTMENTS, '{"department": "HR"}', "HR"),
        (DESK, '{"customerIntent": "billing"}', "billing"),
        (DESK, '{"label": "billing", "confidence": "not applicable", "id": 0}', "billing"),
    ],
)
def test_a_label_with_a_reason_behind_it_or_a_sentence_that_announces_it_is_read(
    labels: LabelSet, answer: str, label: str
) -> None:
    assert label_in(labels, answer) == label


# ---------------------------------------------------------------- near labels, and letter for letter


def test_labels_that_differ_by_case_alone_are_told_apart_by_case_and_else_not_guessed() -> None:
    labels = LabelSet(["US", "us", "other"])
    assert [label_in(labels, answer) for answer in ("US", "us", "Us", "**us**", "Label: US", '{"label": "Us"}')] == [
        *("US", "us", None),
        *("us", "US", None),
    ]


@pytest.mark.parametrize(
    ("labels", "answers"),
    [
        (["Yes", "Yes!", "No"], ["Yes.", "yes", "yes.", "YES"]),
        (["card_arrival", "Card-arrival"], ["CARD ARRIVAL", "card arrival."]),
        (["(a)", "a"], ["[a]", "A", '"A"']),
        (["spam", "ham", "spam_ham"], ["spam ham", "Spam ham."]),
    ],
)
def test_where_two_labels_are_nearly_the_same_a_near_answer_gives_neither(
    labels: list[str], answers: list[str]
) -> None:
    read = LabelSet(labels)
    assert [label_in(read, label) for label in labels] == labels
    assert [label_in(read, answer) for answer in answers] == [None] * len(answers)


def test_a_label_inside_a_longer_label_does_not_count() -> None:
    labels = LabelSet(["card", "card arrival", "new", "york", "new york"])
    assert [
        label_in(labels, answer) for answer in ("Card Arrival", "Label: card arrival", "New York.", "the card")
    ] == [*("card arrival", "card arrival", "new york", None)]


def test_only_the_label_itself_is_exact_but_for_thoughts_and_outer_white_space() -> None:
    for answer in ("billing", " billing\n", "<think>hm</think>\n\nbilling"):
        assert DESK.read(answer) == DESK.read(answer, exact_only=True) == Match("billing", near=False)
    for answer in ("Billing", "billing.", '{"label": "billing"}', "Label: billing", "1: billing"):
        assert DESK.read(answer) == Match("billing", near=True)
        assert DESK.read(answer, exact_only=True) is None


def test_where_the_end_of_a_thought_is_a_label_it_ends_none() -> None:
    labels = LabelSet(["<think>", "</think>", "<p>"])
    assert [label_in(labels, answer) for answer in ("<think>", " </think>\n", "`<p>`", '{"label": "</think>"}')] == [
        *("<think>", "</think>", "<p>", "</think>")
    ]
    assert labels.read("</think>\n\n<p>") is None
    assert labels.read("<think>\n\n<p>") is None


def test_where_an_object_was_asked_for_the_label_in_it_is_exact_and_nothing_else_is() -> None:
    asked = LabelSet(["billing", 'a "b"'], in_object=True)
    for answer in ('{"label":"billing"}', '<think>hm</think>{ "label" :\n "billing" }\n', "billing"):
        assert asked.read(answer) == Match("billing", near=False)
    assert asked.read('{"label": "a \\"b\\""}') == Match('a "b"', near=False)
    for answer in ('{"label": "Billing"}', '```json\n{"label": "billing"}\n```', '{"label": "billing", "sure": true}'):
        assert asked.read(answer) == Match("billing", near=True)
    assert asked.read('{"label": "billing", "label": "refund"}') is None
    assert asked.read('{"label":"billing"}', exact_only=True) is None
