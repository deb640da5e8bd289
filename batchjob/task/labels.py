"""A completion's content -> the label of the set that is the model's answer, or none.

A label is what the model answered. The whole answer is read, in this order: letter for letter; without wrapping (see
forms.py); without case; word for word. What is more than a label is prose, and nothing is fished out of prose. Only
where the answer marks its label itself (see marks.py), what is so marked is read in the same order.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from batchjob.task import forms
from batchjob.task.thoughts import spoken
from batchjob.task.words import LONGEST_SHORT, folded, stands_in

SEVERAL = ""
"""In the place of a label: a text that may be more than one of them."""
MOST_KEPT = 2000
"""Characters that are kept of an answer which is not its label letter for letter."""
_MOST_WRAPPING = 200
"""Characters an answer may have beside its label; what is longer is prose, and need not be looked at closely."""
_NEGATIVE = re.compile(r"[-\u2212]\d")
_YES_OR_NO = ({"yes", "no"}, {"ja", "nein"}, {"ja", "nee"}, {"ja", "nej"}, {"oui", "non"}, {"sí", "no"}, {"да", "нет"})
"""Where a set has both, neither is a word of another meaning, in whatever case."""
_OBJECT = re.compile(r'\{\s*"label"\s*:\s*("(?:[^"\\]|\\.)*")\s*\}')
_SIGNS = "-*•+#>1"
"""With which a line may begin for its form's sake. Where a label does so too, they are not taken off."""


class Match(NamedTuple):
    """The label an answer gives."""

    label: str
    near: bool
    """It was not the label letter for letter. Thoughts, outer white space and an object that was asked for are no part
    of an answer."""


_Table = dict[str, str]
"""A form -> the label that has it, or SEVERAL."""


class LabelSet:
    """The labels of a job, ready to recognise them in answers.

    Args:
        in_object: requests ask for a JSON object with the label (prompt.one_label_format).
    """

    def __init__(self, labels: Iterable[str], *, in_object: bool = False) -> None:
        self.labels = tuple(labels)
        self._in_object = in_object
        self._exact = {label: Match(label, near=False) for label in self.labels}
        self._longest = max((len(label) for label in self.labels), default=0) + _MOST_WRAPPING
        self._like_thoughts = any(spoken(label) != label for label in self.labels)
        self._prefixes = not any(label.lstrip()[:1] in _SIGNS for label in self.labels)
        self._brackets = not any(_NEGATIVE.match(label.strip()) for label in self.labels)
        lower = {label.casefold() for label in self.labels}
        self.in_any_case = frozenset[str]().union(*(pair for pair in _YES_OR_NO if pair <= lower))
        self._words: dict[str, str] | None = None
        self._unwrapped = self._table(str)
        self._folded = self._table(str.casefold)
        self._worded = self._table(forms.by_words)
        for words in [form for form in self._worded if _is_list(form, self._folded)]:
            self._worded[words] = self._folded.get(words, SEVERAL)

    def read(self, answer: str, *, exact_only: bool = False) -> Match | None:
        """The label an answer gives, or None where it gives none or more than one.

        Args:
            exact_only: take it letter for letter or not at all, as of an answer that may not be whole.
        """
        found = self._exact.get(answer) or self._exact.get(answer.strip())
        if found is not None:
            return found
        said = spoken(answer)
        if said is None or (self._like_thoughts and said != answer):
            return None  # where `</think>` is a label, nobody can tell whether it ends a thought
        said = said.strip()
        found = self._exact.get(said)
        if found is not None or exact_only:
            return found
        label = self.named(said) or _marked(said, self)
        return Match(label, near=not (self._in_object and _of_object(said) == label)) if label else None

    def read_kept(self, answer: str) -> Match | None:
        """The label of an answer that was kept. None of one that was cut for that: what it began with may have been a
        thought whose end is missing now, or taken back behind.
        """
        return None if len(answer) >= MOST_KEPT else self.read(answer)

    def failure(self, answer: str) -> str:
        """The kind of error of a row of whose answer no label was read."""
        return "off_list"

    def mentioned(self, text: str) -> set[str]:
        """The labels that stand in a text as whole words; short ones in their own case, being words else."""
        if self._words is None:
            self._words = {label: folded(forms.by_words(forms.plain(label))) for label in self.labels}
        words, plain = folded(forms.by_words(forms.plain(text))), forms.plain(text)
        return {
            label
            for label, word in self._words.items()
            if (stands_in(word, words) if len(label) > LONGEST_SHORT else stands_in(label, plain))
        }

    def named(self, text: str) -> str | None:
        """The label that a text is, if it is nothing more; SEVERAL where more than one label may be meant."""
        text = text.strip()
        if text in self._exact:
            return text
        if len(text) > self._longest:
            return None
        layers = list(forms.layers(text, prefixes=self._prefixes, brackets=self._brackets))
        for table, form in ((self._unwrapped, str), (self._folded, str.casefold), (self._worded, forms.by_words)):
            for layer in layers:
                if form(layer) in table:
                    return table[form(layer)]
        return None

    def _table(self, form: Callable[[str], str]) -> _Table:
        """The labels by their form, as they are and without their own wrapping."""
        table: _Table = {}
        for label in self.labels:
            for text in _spellings(label):
                key = form(text)
                table[key] = label if table.get(key, label) == label else SEVERAL
        table.pop("", None)
        return table


def _marked(text: str, labels: LabelSet) -> str | None:
    from batchjob.task.marks import marked  # its patterns take 10 ms, which no job with plain answers waits for

    return marked(text, labels)


def kept(answer: str) -> str:
    """What is kept of an answer. SQLite's JSON ends a string at NUL, so there is none in it."""
    return answer[:MOST_KEPT].replace("\0", "\N{REPLACEMENT CHARACTER}")


def _of_object(text: str) -> str | None:
    """The label in a JSON object that has nothing else."""
    found = _OBJECT.fullmatch(text)
    try:
        return msgspec.json.decode(found[1], type=str) if found else None
    except msgspec.DecodeError:
        return None


def _spellings(label: str) -> set[str]:
    """A label as it is, and without its own wrapping or `?`; but not what has no letters: `(8)` is not `8`."""
    *_, core = layers = list(forms.layers(label, prefixes=False))
    spellings = {layers[0], core, core.removesuffix("?").rstrip()}
    return {text for text in spellings if text == layers[0] or any(letter.isalpha() for letter in text)}


def _is_list(words: str, labels: _Table) -> bool:
    """Whether each of several words is a label by itself, so that they may be meant as two: `yes no`."""
    return " " in words and all(word in labels for word in words.split())
