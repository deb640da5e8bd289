"""Texts that are the same."""

from __future__ import annotations

import unicodedata


def normalise(text: str) -> str:
    """A text as it is compared with others: NFKC, case folded, runs of white space one space, no closing punctuation.

    What would be nothing then, such as "?!", stays as it is.
    """
    folded = text if text.isascii() else unicodedata.normalize("NFKC", text)
    folded = " ".join(folded.casefold().split())
    end = len(folded)
    while end and (folded[end - 1] == " " or unicodedata.category(folded[end - 1])[0] == "P"):
        end -= 1
    return folded[:end] or folded
