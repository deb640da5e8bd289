"""Texts that are the same, texts that show nothing, and how long a text is to a model."""

from __future__ import annotations

import re
import unicodedata

_INVISIBLE = (
    r"\s\x00-\x1f\x7f-\x9f\xad"  # white space, control characters, the soft hyphen
    "\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"  # joiners, Hangul fillers, variation selectors
    "\u200b-\u200f\u2028-\u202e\u2060-\u206f\u2800\u3164"  # of width zero, directions, the blank of Braille
    "\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U00013430-\U0001343f\U00016fe4\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_CJK = "[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]"  # compiled, in 2 ms, by the first text that needs it
_shown = re.compile(f"[^{_INVISIBLE}]").search


def shows_nothing(text: str) -> bool:
    """Whether a text has no character that can be seen: only blanks, control, format and other invisible ones."""
    return _shown(text) is None


def exact_form(text: str) -> str:
    """What texts that are the same have in common: Unicode's NFC, outer white space off, runs of it one space."""
    return " ".join((text if text.isascii() else unicodedata.normalize("NFC", text)).split())


def loose_form(text: str) -> str:
    """What texts have in common that are the same but for case and closing `.`, `!` and `?`.

    What would be nothing then, such as "?!", stays as it is.
    """
    folded = exact_form(exact_form(text).casefold())
    return folded.rstrip(".!? ") or folded


def estimate_tokens(text: str) -> float:
    """About how many tokens a text has: 4.3 ASCII characters, 1.33 Chinese, Japanese or Korean, 2.5 others a token.

    Characters by four would under-count Chinese by two thirds. Corrected by the usage that comes back.
    """
    if text.isascii():
        return len(text) / 4.3
    cjk = len(re.findall(_CJK, text))
    narrow = len(text.encode("ascii", "ignore"))
    return narrow / 4.3 + cjk * 0.75 + (len(text) - narrow - cjk) * 0.4
