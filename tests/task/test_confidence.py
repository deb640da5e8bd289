"""How sure a model was is the product of the probabilities of the tokens that spell the label, and of no other."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from batchjob.task.confidence import confidence_of

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
