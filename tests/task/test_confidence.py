"""How sure a model was is the product of the probabilities of the tokens that spell the label, and of no other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from batchjob.task.confidence import confidence_of, confidence_of_values

HALF, SURE = math.log(0.5), 0.0


def tokens(*given: tuple[str, float]) -> Sequence[tuple[str, float]]:
    return given


@pytest.mark.parametrize(
    ("given", "label", "number", "found"),
    [
        ([("bill", HALF), ("ing", HALF)], "billing", None, 0.25),
        ([(" billing", HALF), ("\n", HALF)], "billing", None, 0.5),
        ([("Billing", HALF), (".", HALF)], "billing", None, 0.5),
        ([("refund? no. ", HALF), ("billing", HALF)], "billing", None, 0.5),
        ([('{"label": "', HALF), ("bil", SURE), ('ling"}', HALF)], "billing", None, 0.5),
        ([("x", HALF)], "billing", None, None),
        ([], "billing", None, None),
        ([('{"1": "', HALF), ("a", HALF), ('", "2": "', HALF), ("a", SURE), ('"}', HALF)], "a", 1, 0.5),
        ([('{"1": "', HALF), ("a", HALF), ('", "2": "', HALF), ("a", SURE), ('"}', HALF)], "a", 2, 1.0),
        ([('{"1": "a"}', HALF)], "a", 2, None),
        ([('{"1": "', SURE), ('say \\"a\\"', HALF), ('"}', SURE)], 'say "a"', 1, 0.5),
        ([("a", 1e-9)], "a", None, 1.0),
        ([("a", float("-inf"))], "a", None, 0.0),
    ],
)
def test_a_label_is_as_sure_as_the_tokens_that_spell_it(
    given: Sequence[tuple[str, float]], label: str, number: int | None, found: float | None
) -> None:
    sure = confidence_of(given, label, number)
    assert sure == found if found is None else sure == pytest.approx(found)


@pytest.mark.parametrize(
    ("given", "names", "number", "found"),
    [
        ([('{"a": "', HALF), ("x", SURE), ('", "b": ', HALF), ("4", HALF), ("}", HALF)], ["a", "b"], None, 0.5),
        ([('{"a": ["', HALF), ("x", HALF), ('", "', HALF), ("y", SURE), ('"]}', SURE)], ["a"], None, 0.25),
        ([('{"a": ', HALF), ("[]", HALF), ("}", HALF)], ["a"], None, 0.5),
        ([('{"A b": ', HALF), ("true", SURE), ("}", HALF)], ["a_b"], None, 1.0),
        ([('{"a": "', HALF), ("caf\\u00e9", SURE), ('"}', HALF)], ["a"], None, 1.0),
        ([('{"a": "say \\"b\\": 1", "b": ', HALF), ("1", SURE), ("}", HALF)], ["b"], None, 1.0),
        ([('{"a": ', HALF), ("1", SURE), ("}", HALF)], ["a", "b"], None, None),
        ([('{"a": ', SURE), ("tru", SURE)], ["a"], None, None),
        ([("x", SURE)], [], None, None),
        ([('{"1": {"a": ', HALF), ("1", SURE), ('}, "2": {"a": ', HALF), ("1", HALF), ("}}", HALF)], ["a"], 1, 1.0),
        ([('{"1": {"a": ', HALF), ("1", SURE), ('}, "2": {"a": ', HALF), ("1", HALF), ("}}", HALF)], ["a"], 2, 0.5),
        ([('{"1": {"a": 1}}', HALF)], ["a"], 2, None),
    ],
)
def test_values_are_as_sure_as_the_one_that_is_least_so(
    given: Sequence[tuple[str, float]], names: Sequence[str], number: int | None, found: float | None
) -> None:
    sure = confidence_of_values(given, names, number)
    assert sure == found if found is None else sure == pytest.approx(found)
