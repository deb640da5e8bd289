"""A share that was counted in a sample, and between what the true one lies."""

from __future__ import annotations

from math import sqrt

from batchjob.model import Value

Z95 = 1.959963984540054
"""The normal distribution's quantile for 95 %."""


class Share(Value, frozen=True):
    """Hits among `n`, with the 95 % Wilson score interval of their share (Wilson 1927)."""

    hits: int
    n: int
    share: float
    low: float
    high: float


def wilson(hits: int, n: int) -> Share | None:
    """The share of hits; None where nothing was counted."""
    if not n:
        return None
    share, square = hits / n, Z95 * Z95
    middle = share + square / (2 * n)
    half = Z95 * sqrt(share * (1 - share) / n + square / (4 * n * n))
    whole = 1 + square / n
    low = 0.0 if not hits else (middle - half) / whole
    high = 1.0 if hits == n else (middle + half) / whole
    return Share(hits, n, share, low, high)
