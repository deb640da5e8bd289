"""How sure a model was of a label: the product of the probabilities of the tokens that its answer spells it with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

Token = tuple[str, float]
"""(text, logarithm of its probability)"""


def confidence_of(tokens: Sequence[Token], label: str, number: int | None = None) -> float | None:
    """0 to 1; None where the tokens do not spell the label out.

    The label stands in the tokens' text for the last time, as thoughts may name it before. Tokens that are in it with
    some of their letters count whole.

    Args:
        number: of the row, in an answer for many rows: its label stands behind its number.
    """
    content = "".join(text for text, _ in tokens)
    begin, end = _place(content, label, number)
    if begin < 0:
        return None
    total, at = 0.0, 0
    for text, logarithm in tokens:
        if at < end and at + len(text) > begin:
            total += logarithm
        at += len(text)
    found = math.exp(total)
    return min(max(found, 0.0), 1.0) if math.isfinite(found) else None


def _place(content: str, label: str, number: int | None) -> tuple[int, int]:
    """Where the label stands, in whatever case; (-1, -1) where it does not."""
    folded = content.lower() if len(content.lower()) == len(content) else content
    if number is None:
        spelled = label.lower()
        found = folded.rfind(spelled)
    else:
        spelled = msgspec.json.encode(label).decode()[1:-1].lower()
        behind = folded.rfind(f'"{number}"')
        found = folded.find(spelled, behind + len(f'"{number}"')) if behind >= 0 else -1
    return (found, found + len(spelled)) if found >= 0 else (-1, -1)
