"""A label that an answer marks counts only where the text around it announces it or gives a reason for it."""

from __future__ import annotations

import pytest

from batchjob.task.labels import LabelSet
from tests.task.sets import DESK, label_in


@pytest.mark.parametrize(
    "answer",
    [
        # a form restated
        'I\'d be happy to help! Please provide the text. The output will look like:\n\n{"label": "billing"}',
        "Please share the message, and I'll respond in this form:\n\nLabel: billing",
        'Please share the message. The answer is then given as JSON.\n\n{"label": "billing"}',
        'The JSON should look like this:\n{"label": "refund"}',
        'Output schema:\n\n{"label": "refund"}',
        "Use this template:\n\nLabel: refund",
        "Sample answer:\n\nLabel: refund",
        '{"label": "refund"}\n\nPlease provide the text to classify.',
        # the text quoted
        'The survey answer reads:\n\n"other"',
        'You sent:\n\n"other"\n\nWhat would you like me to do with it?',
        'You sent\n\n"other"',
        'The message only says:\n\n"refund"\n\nPlease provide more context.',
        'The text to classify is:\n\n"refund"',
        'User message:\n\n"refund"',
        'Here is the translated text:\n\n"refund"',
        '"refund"\n\nThis message is a single word.',
        "Rewritten message:\n\nrefund",
        "Summary:\n\nrefund",
        "Le message dit :\n\n« refund »",
        # a signature, a heading
        "Hello! We have sent it today. Best regards,\n\nBilling",
        "Hello! We have sent it today.\n\nKind regards\n\n**Billing**",
        "We have received your message and will answer soon.\n\nBilling",
        "**Billing**\n\nDear customer, we have received your request for a refund.",
        "**Refund**\n\n1. Open the app\n2. Tap on refund",
        "**Refund**\n\nOpen the app and tap on it.",
        # another label in prose
        "**Refund**\n\nThe right label is exchange-rate.",
        "**Refund**\n\nThe customer wants billing.",
        "Label: refund\n\nAbove is the example; here is the text's label: exchange-rate",
        "Label: refund\nReason: the label is billing",
        "Label: refund\nExplanation: billing",
        "Label: refund\nConfidence: 0%",
        "The right label is billing.\n\nrefund",
        "The correct answer is not here.\n\n**refund**",
        "Label: refund\n\nThis is a placeholder.",
    ],
)
def test_what_is_a_form_a_quotation_a_heading_or_a_signature_is_no_answer(answer: str) -> None:
    assert DESK.read(answer) is None
    assert LabelSet(["Finance", "Legal"]).read("**Finance**\n\nPlease contact the finance department for this.") is None
    assert LabelSet(["yes", "no"]).read('The survey answer reads:\n\n"no"') is None


@pytest.mark.parametrize(
    "head",
    [
        *("Second choice:", "Runner-up:", "Least likely:", "Ruled out:", "Discarded:", "Irrelevant:", "Avoid:"),
        *("This would be a mistake:", "Instead of:", "The opposite of:", "The previous model said:"),
        *("If the customer wanted money, the label would be:", "The user wants me to say:", "The label would be:"),
        *("Étiquette erronée :", "Etiqueta incorrecta:", "Неправильная метка:", "Yanlış etiket:", "Błędna etykieta:"),
        *(
            "Etichetta errata:",
            "Rótulo errado:",
            "Verkeerd label:",
            "Fel etikett:",
            "Nhãn sai:",
            "誤ったラベル：",
            "错的标签：",
        ),
        *("التسمية الخاطئة:", "गलत लेबल:", "Þetta er ekki:", "Kjo nuk është:", "Бұл емес:", "Hau ez da:", "ეს არ არის:"),
    ],
)
def test_a_mark_behind_a_head_that_does_not_announce_it_is_no_answer(head: str) -> None:
    for mark in ("refund", "**refund**", '"refund"', "Label: refund", '{"label": "refund"}', "<label>refund</label>"):
        assert DESK.read(f"{head}\n\n{mark}") is None, mark
        assert DESK.read(f"It is about money. {head}\n{mark}") is None, mark
    assert DESK.read(f"{head} refund") is None


@pytest.mark.parametrize(
    "behind",
    [
        *("Hold on, billing fits better.", "Strike that.", "Ignore that.", "That was a joke.", "It was a joke."),
        *(
            "Je me trompe.",
            "Mi sbaglio.",
            "Ich nehme das zurück.",
            "Me equivoqué.",
            "Беру слова назад.",
            "撤回します。",
        ),
        *("The customer asks about money. Strike that.", "Better: billing", "Second thoughts: none", "Thanks!"),
        *("Reason: it is an invoice. Strike that.", "Explanation:\nIt is money.\n\nI take it back."),
    ],
)
def test_a_mark_before_what_may_take_it_back_is_no_answer(behind: str) -> None:
    for mark in ("**refund**", '"refund"', "Label: refund", '{"label": "refund"}', "<label>refund</label>"):
        assert DESK.read(f"{mark}\n\n{behind}") is None, mark


@pytest.mark.parametrize(
    "answer",
    [
        *('{"previous_label": "refund"}', '{"alternative": "refund"}', '{"second_choice": "refund"}'),
        *(
            '{"runner_up": "refund"}',
            '{"ruled_out": "refund"}',
            '{"least_likely": "refund"}',
            '{"user_said": "refund"}',
        ),
        *('{"secondChoice": "refund"}', '{"ausgeschlossen": "refund"}', '{"example": {"label": "refund"}}'),
        *('{"label": "refund", "applies": false}', '{"label": "refund", "is_correct": false}'),
        *('{"label": "refund", "match": "no"}', '{"label": "refund", "wrong": true}', '{"label": "refund", "fits": 0}'),
        *('{"label": "refund", "correct_label": "billing"}', '{"label": "refund", "status": "retracted"}'),
        *('{"label": "refund", "example": true}', '{"text": "refund"}', '{"not": "refund"}', '{"customer": "refund"}'),
    ],
)
def test_json_whose_members_set_its_label_aside_is_no_answer(answer: str) -> None:
    assert DESK.read(answer) is None


def test_a_number_in_brackets_may_be_negative() -> None:
    labels = LabelSet(["-1", "0", "1"])
    assert [label_in(labels, answer) for answer in ("(1)", "**(1)**", "Label: (1)", "[1]", "1")] == [
        *(None, None, None),
        *("1", "1"),
    ]
