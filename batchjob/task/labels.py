"""An answer's text -> a label of the set, or not. Never a guess: no fuzzy match, no nearest label."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_WORD = re.compile(r"\w+")
_THINKING = re.compile(r"\A\s*<think>.*?</think>", re.DOTALL)
# An answer with one of these speaks of a label without giving it ("not billing", "neither of them").
_DENIALS = frozenset({"not", "no", "nor", "neither", "never", "none", "cannot", "isn", "doesn", "don", "t", "without"})
LONGEST_SEARCHED = 400
"""Characters of an answer in which a label is looked for; what is longer is prose, not a label."""


def fold(text: str) -> str:
    """Text as it is compared: NFKC, case folded, outer white space, quotes and punctuation gone, runs of space one."""
    folded = " ".join(unicodedata.normalize("NFKC", text).casefold().split())
    start, end = 0, len(folded)
    while start < end and unicodedata.category(folded[start])[0] in "PS":
        start += 1
    while end > start and unicodedata.category(folded[end - 1])[0] in "PS":
        end -= 1
    return folded[start:end].strip()


def _words(text: str) -> tuple[str, ...]:
    """The words of a text; `_` and `-` part words, so that `card arrival` is read as `card_arrival`."""
    return tuple(_WORD.findall(unicodedata.normalize("NFKC", text).casefold().replace("_", " ")))


def _unambiguous(pairs: Iterable[tuple[object, str]]) -> dict[object, str]:
    """The pairs as a dict, without the keys that more than one label has."""
    found: dict[object, str] = {}
    shared: set[object] = set()
    for key, label in pairs:
        if key in found or key in shared or not key:
            shared.add(key)
            found.pop(key, None)
        else:
            found[key] = label
    return found


class LabelSet:
    """The labels of a job, ready to recognise them in answers."""

    def __init__(self, labels: Iterable[str]) -> None:
        self.labels = tuple(labels)
        self._exact = {label: label for label in self.labels}
        self._folded = _unambiguous((fold(label), label) for label in self.labels)
        self._spelled = _unambiguous((_words(label), label) for label in self.labels)
        self._longest = max((len(_words(label)) for label in self.labels), default=0)

    def match(self, answer: str) -> str | None:
        """The label an answer gives, or None where it gives none or more than one.

        In this order: letter for letter; without case, quotes and outer punctuation; word for word; and as the only
        label that stands in the answer as whole words, where no word of denial stands beside it.
        """
        if answer in self._exact:
            return answer
        answer = _THINKING.sub("", answer, count=1)
        found = self._exact.get(answer.strip()) or self._folded.get(fold(answer))
        if found is not None or len(answer) > LONGEST_SEARCHED:
            return found
        words = _words(answer)
        return self._spelled.get(words) or self._only_one_in(words)

    def _only_one_in(self, words: tuple[str, ...]) -> str | None:
        """The single label among the words; a label inside a longer label's words does not count."""
        found: set[str] = set()
        rest: list[str] = []
        position = 0
        while position < len(words):
            length = self._longest_at(words, position)
            if length:
                found.add(self._spelled[words[position : position + length]])
            else:
                rest.append(words[position])
            position += length or 1
        if len(found) != 1 or not _DENIALS.isdisjoint(rest):
            return None
        return found.pop()

    def _longest_at(self, words: tuple[str, ...], position: int) -> int:
        """How many words the longest label beginning at this position has; 0 where none begins."""
        longest = min(self._longest, len(words) - position)
        return next((n for n in range(longest, 0, -1) if words[position : position + n] in self._spelled), 0)
