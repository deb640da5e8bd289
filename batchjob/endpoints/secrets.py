"""The key and other secrets, blotted out of what an endpoint says: whole or in part, and in whatever escapes it comes.

A text is compared as it is and with its escapes undone, up to PASSES times, for an error may quote JSON that quotes
JSON. Places in the undone text lead back to the text as it was, and only these are blotted.
"""

from __future__ import annotations

import html
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from functools import lru_cache

BLOT = "[key]"
LEAST_CHARACTERS = 8
"""A shorter key is a dummy ("x", "EMPTY") and is left where it is: it may well be part of a label."""
LEAST_PART = 11
"""So many characters of a key in a row are blotted, for somebody on the way may have cut it; all of a shorter key."""
PASSES = 4
_GRAM = 4
_CACHED_CHARACTERS = 200

_ESCAPE = re.compile(
    r"""\\+u00([0-9a-f]{2}) | \\+u\{0*([0-9a-f]{2})\} | \\+x([0-9a-f]{2}) | %(?:25)*([0-9a-f]{2})
    | &(?:amp;)*\#x0*([0-9a-f]{2});? | \\+([0-7]{3}) | &(?:amp;)*\#0*([0-9]{2,3});? | &(?:amp;)*([a-z]{2,8});
    | \\+(.) | [\0\xad\u200b-\u200d\u2060\ufeff\ufffd]+""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""An escape in one of its groups, whose kinds follow; at last what is seen by nobody, in no group."""
_MARKED = re.compile(r"[\\%&\0\xad\u200b-\u200d\u2060\ufeff\ufffd]")
"""How each of them begins."""
_HEXADECIMAL, _OCTAL, _DECIMAL, _NAMED = 5, 6, 7, 8


class Secrets:
    """What may be neither kept nor shown."""

    def __init__(self, secrets: Sequence[str | None]) -> None:
        self._spelled: set[str] = set()  # lower case, as a text is compared
        self._grams: dict[str, list[tuple[str, int]]] = {}  # -> (spelled, where in it)
        self._blotted_short = lru_cache(1024)(self._blotted)
        for secret in secrets:
            self.add(secret)

    def add(self, secret: str | None) -> None:
        """One more, from now on."""
        if secret is None or len(secret) < LEAST_CHARACTERS:
            return
        for spelled in _spellings(secret):
            if spelled not in self._spelled:
                self._spelled.add(spelled)
                for at in range(len(spelled) - _GRAM + 1):
                    self._grams.setdefault(spelled[at : at + _GRAM], []).append((spelled, at))
        self._blotted_short.cache_clear()

    def blotted(self, text: str) -> str:
        """The text without any of them."""
        if len(text) < LEAST_CHARACTERS or not self._spelled:
            return text
        return self._blotted_short(text) if len(text) <= _CACHED_CHARACTERS else self._blotted(text)

    def _blotted(self, text: str) -> str:
        plain = _lower(text)
        places: Sequence[int] = range(len(text) + 1)
        spans = self._found(plain, places)
        for _ in range(PASSES):
            if _MARKED.search(plain) is None:
                break
            plain, places = _undone(plain, places)
            spans += self._found(plain, places)
        if not spans:
            return text
        kept, end = "", 0
        for first, last in sorted(spans):
            if first >= end:
                kept += text[end:first] + BLOT
            end = max(end, last)
        return kept + text[end:]

    def _found(self, plain: str, places: Sequence[int]) -> list[tuple[int, int]]:
        """Where they stand. One character in four is looked at: what is long enough cannot hide between."""
        grams, end, spans = self._grams, 0, []
        for at in range(0, len(plain) - _GRAM + 1, _GRAM):
            if plain[at : at + _GRAM] not in grams or at < end:
                continue
            for spelled, inside in grams[plain[at : at + _GRAM]]:
                first, last = _widened(plain, at, spelled, inside)
                if last - first >= min(len(spelled), LEAST_PART):
                    spans.append((places[first], places[last]))
                    end = max(end, last)
        return spans


def _widened(plain: str, at: int, spelled: str, inside: int) -> tuple[int, int]:
    """From where to where a text is as a secret, around a place where it is."""
    first, start = at, inside
    while first and start and plain[first - 1] == spelled[start - 1]:
        first, start = first - 1, start - 1
    last, stop = at + _GRAM, inside + _GRAM
    while last < len(plain) and stop < len(spelled) and plain[last] == spelled[stop]:
        last, stop = last + 1, stop + 1
    return first, last


def _spellings(secret: str) -> Iterator[str]:
    """A secret as it is and without what looks like an escape, and what other alphabets make of it."""
    plain = _lower(secret)
    yield plain
    yield _undone(plain, range(len(plain) + 1))[0]
    yield secret.encode().hex()
    for before in range(3):  # of other text: base64 takes three bytes together
        encoded = b64encode(b"\0" * before + secret.encode()).decode().rstrip("=")
        sure = _lower(encoded[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6])
        yield sure
        yield sure.replace("+", "-").replace("/", "_")


def _lower(text: str) -> str:
    """Lower case, and as long as before."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if c.isascii() else c for c in text)


def _undone(text: str, places: Sequence[int]) -> tuple[str, Sequence[int]]:
    """A text with its escapes undone, and where each character stood; the last place is the end."""
    parts: list[str] = []
    found: list[int] = []
    end = 0
    for match in _ESCAPE.finditer(text):
        first, last = match.span()
        meant = _meant(match)
        parts += [text[end:first], meant]
        found += places[end:first]
        found += [places[first]] * len(meant)
        end = last
    return "".join([*parts, text[end:]]), [*found, *places[end:]]


def _meant(match: re.Match[str]) -> str:
    """The character an escape stands for; "" where it stands for none."""
    kind = match.lastindex
    if kind is None:
        return ""
    given: str = match[kind]
    if kind <= _HEXADECIMAL:
        return _lower(chr(int(given, 16)))
    if kind in (_OCTAL, _DECIMAL):
        return _lower(chr(int(given, 8 if kind == _OCTAL else 10)))
    return _lower(html.unescape(f"&{given};")) if kind == _NAMED else given
