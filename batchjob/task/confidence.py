"""How sure a model was of a label, or of the values of fields: the product of the probabilities of the tokens that its
answer spells each with.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence

import msgspec

_decoder = json.JSONDecoder()
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
    return _probability(tokens, begin, end) if begin >= 0 else None


def confidence_of_values(tokens: Sequence[Token], names: Sequence[str], number: int | None = None) -> float | None:
    """Of the value under one of these names that it was least sure of; as confidence_of.

    Args:
        number: of the row, in an answer for many rows: its object stands behind its number.
    """
    if not tokens:
        return None
    content = "".join(text for text, _ in tokens)
    whole = (0, len(content)) if number is None else _value_place(content, str(number), 0, len(content))
    places = [_value_place(content, name, *whole) for name in names] if whole else []
    found = [_probability(tokens, *place) if place else None for place in places]
    known = [one for one in found if one is not None]
    return min(known, default=None) if len(known) == len(found) else None


def _value_place(content: str, name: str, begin: int, end: int) -> tuple[int, int] | None:
    """Where the value of a JSON key stands between two places, for the last time, without its quotes or brackets."""
    spelled = r"[\s_-]+".join(map(re.escape, name.split("_")))
    keys = list(re.compile(rf'"{spelled}"\s*:\s*', re.IGNORECASE).finditer(content, begin, end))
    if not keys:
        return None
    start = keys[-1].end()
    try:
        _, stop = _decoder.raw_decode(content, start)
    except (ValueError, RecursionError):
        return None
    spelled = content[start:stop]
    before = len(spelled) - len(spelled.lstrip('[" '))
    behind = len(spelled) - len(spelled.rstrip('" ]'))
    return (start, stop) if before + behind >= len(spelled) else (start + before, stop - behind)


def _probability(tokens: Sequence[Token], begin: int, end: int) -> float | None:
    """Of what stands from one place to another."""
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
