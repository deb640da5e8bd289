"""What the texts of an input are like: repeated ones, lengths, scripts, languages.

Scripts and languages look at the first characters of a text. Memory grows by 11 to 21 bytes for each different text in
each of two sets, and with nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from batchjob.forecast.counting import Alike, Frequent, HashSet, Lengths
from batchjob.task.languages import language_of, script_of
from batchjob.task.texts import exact_form, loose_form

SEEN_CHARACTERS = 500
"""Of a text, where its script and language are looked for."""
SHOWN_TEXTS = 5
NO_LETTERS, UNTOLD = "none", "unknown"


class Texts:
    """What the texts are like that can be labelled."""

    def __init__(self) -> None:
        self.exact = self.loose = 0  # texts that stood there before: the same, and the same loosely
        self._frequent = Frequent()
        self._alike = Alike()
        self._lengths = Lengths()
        self._scripts: Counter[str] = Counter()
        self._languages: Counter[str] = Counter()
        self._exact_forms = HashSet()
        self._loose_forms = HashSet()

    def add(self, text: str, values: Sequence[str]) -> None:
        """Look at a text, and at all that the row is asked with: this is what is repeated, and long or short."""
        self._lengths.add(sum(map(len, values)))
        if text.isascii():
            self._scripts[script_of(text) or NO_LETTERS] += 1
        else:
            seen = text[:SEEN_CHARACTERS]
            self._scripts[script_of(seen) or NO_LETTERS] += 1
            self._languages[language_of(seen) or UNTOLD] += 1
        exact, loose = hash(tuple(map(exact_form, values))), hash(tuple(map(loose_form, values)))
        shown = text if len(values) == 1 else " | ".join(values)
        self.loose += not self._loose_forms.add(loose)
        if self._exact_forms.add(exact):
            self._alike.add(loose, shown)
        else:
            self.exact += 1
            self._frequent.add(exact, shown)

    def document(self) -> dict[str, Any]:
        """What was found."""
        languages = self._languages + Counter({UNTOLD: self._scripts.total() - self._languages.total()})
        return {
            "duplicates": {
                "exact": self.exact,
                "loose": self.loose,
                "alike": self._alike.pairs,
                "most_frequent": [
                    {"text": text, "count": count, "exact": exact}
                    for text, count, exact in self._frequent.top(SHOWN_TEXTS)
                ],
            },
            "characters": self._lengths.document(),
            "scripts": dict(self._scripts.most_common()),
            "languages": dict(languages.most_common()),
        }
