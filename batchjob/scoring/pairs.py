"""Two labellings of the same rows: how far they agree beyond chance, and whether one is right more often."""

from __future__ import annotations

from collections.abc import Mapping
from math import exp, lgamma, log

from batchjob.model import Value

NEGLIGIBLE = 1e-17


class Duel(Value, frozen=True):
    """Rows with gold by who is right, and McNemar's exact test (two-sided): how likely a difference so large is by
    chance, where both are right equally often. A failed row is wrong.
    """

    both: int
    only_a: int
    only_b: int
    neither: int
    p: float


def duel(both: int, only_a: int, only_b: int, neither: int) -> Duel:
    """The rows with the test's p."""
    return Duel(both, only_a, only_b, neither, _binomial(min(only_a, only_b), only_a + only_b))


def _binomial(k: int, n: int) -> float:
    """Twice the chance of at most k heads in n throws of a coin, at most 1."""
    term = exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2))
    total = 0.0
    for left in range(k, -1, -1):
        total += term
        if term <= total * NEGLIGIBLE:
            break
        term *= left / (n - left + 1)
    return min(1.0, 2 * total)


def kappa(same: int, rows: int, first: Mapping[str, int], second: Mapping[str, int]) -> float | None:
    """Cohen's kappa: 1 for full agreement, 0 for that of chance; None where chance alone would give full agreement.

    Args:
        same: rows with the same label from both.
        first, second: label -> rows that have it from the one and from the other.
    """
    by_chance = sum(count * second.get(label, 0) for label, count in first.items())
    whole = rows * rows
    return None if by_chance == whole else (same * rows - by_chance) / (whole - by_chance)
