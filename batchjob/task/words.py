"""Words as whole words in texts of any script."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from batchjob.task.languages import UNSPACED, named_script

LONGEST_SHORT = 3
"""Labels up to this length are words in some language (it, no, in): on a line of more they must stand in their case."""


def folded(text: str) -> str:
    """Text as words are looked for in it: without case, in one Unicode form, runs of white space one space."""
    if text.isascii():
        text = text.lower()
    else:
        text = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join(text.split())


def stands_in(word: str, text: str) -> bool:
    """Whether a word stands in a text and is not a piece of another; both are folded."""
    start = text.find(word) if word else -1
    while start >= 0:
        if _is_whole(text, start, start + len(word)):
            return True
        start = text.find(word, start + 1)
    return False


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether no letter, mark or digit is joined to text[start:end]."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if before and _joins(before) and _joins(text[start]):
        return False
    if not after:
        return True
    if unicodedata.category(after)[0] == "M":  # it belongs to the letter before it, in every script
        return not text[end - 1].isalnum()
    return not (_joins(after) and _joins(text[end - 1]))


@lru_cache(maxsize=65536)
def _joins(character: str) -> bool:
    """Whether a character makes one word with such a character beside it; in scripts without spaces none does."""
    if character in "_\u00ad\u200c\u200d":  # soft hyphen and (non-)joiner stand inside words
        return True
    return unicodedata.category(character)[0] in "LMN" and named_script(character) not in UNSPACED


_CLOSING = ".!?\u2026"
_APOSTROPHES = "'\u2019"
_JOINING = "%#@&\\"
_PARTING = frozenset({"Ps", "Pe", "Pi", "Pf", "Po"})


def stands_alone(word: str, text: str) -> bool:
    """Whether a word stands in a text letter for letter, and is surely no part of something else there.

    It may be one in `C++`, `1.0`, `1:1` or `don't`, and within Chinese, where words have no end.
    """
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        before, after = text[max(start - 2, 0) : start][::-1], text[end : end + 2]
        if before[:1] not in tuple(_CLOSING) and _is_apart(word[0], before) and _is_apart(word[-1], after):
            return True
        start = text.find(word, start + 1)
    return False


def _is_apart(edge: str, beside: str) -> bool:
    """Whether what stands beside the edge of a word, read away from it, is surely no part of it."""
    sign, beyond = beside[:1], beside[1:]
    if not sign or sign.isspace():
        return True
    if sign in _CLOSING or sign in _APOSTROPHES:
        return not (beyond.isalnum() or beyond == "_")
    if sign in ",:/" and edge.isdigit():
        return not beyond.isdigit()
    return sign in "|`" or (sign not in _JOINING and unicodedata.category(sign) in _PARTING)
