"""Texts -> labels, by the names of the labels alone. English only: neither classifier knows another language.

WordLlama takes the label whose name is nearest by meaning (the extra `sandbox`: static word vectors, on the CPU,
nothing is downloaded). WordOverlap takes the label whose name shares most with the text; it needs nothing.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from batchjob.errors import BatchjobError
from batchjob.sandbox.settings import ClassifierKind

LONGEST_READ = 4_000
"""Characters of a text that are looked at; a longer one would hold up every other request."""

_WORD = re.compile(r"[^\W_]+")


class Classifier(Protocol):
    """Something that labels texts. English only."""

    name: str

    def classify(self, text: str, labels: tuple[str, ...]) -> str:
        """The label that fits best; of equally good ones the first. The same for the same arguments, always."""
        ...


def load_classifier(kind: ClassifierKind) -> Classifier:
    """The classifier of this kind; `auto` is the best that is installed. Loading WordLlama takes half a second.

    Raises:
        BatchjobError: wordllama was asked for, and is not installed.
    """
    if kind == "overlap":
        return WordOverlap()
    try:
        return WordLlama()
    except (ImportError, OSError) as error:
        if kind == "auto":
            return WordOverlap()
        raise BatchjobError(
            f"the classifier wordllama cannot be loaded ({error}): pip install 'batchjob[sandbox]', "
            "or take --classifier overlap"
        ) from None


class WordLlama:
    """The label whose name is nearest to the text by embedding. English only.

    Raises:
        ImportError: wordllama is not installed.
        OSError: its weights are not in its package.
    """

    name = "wordllama"

    def __init__(self) -> None:
        self._model = _load_wordllama()
        self._embedded = lru_cache(maxsize=256)(self._embed_labels)

    def classify(self, text: str, labels: tuple[str, ...]) -> str:
        # Not normalised: the text's length changes no order, and that of an empty text is 0.
        vector = self._model.embed([text[:LONGEST_READ]])[0]
        return labels[int((self._embedded(labels) @ vector).argmax())]

    def _embed_labels(self, labels: tuple[str, ...]) -> Any:
        return self._model.embed([label.replace("_", " ") for label in labels], norm=True)


def _load_wordllama() -> Any:
    # One text at a time: threads of the tokenizer would only warn about forks.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    import wordllama

    # Importing it calls logging.basicConfig, which would print every library's messages on stderr.
    root.handlers[:] = handlers
    root.setLevel(level)
    return wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)


class WordOverlap:
    """The label whose name shares most words and three-letter pieces of words with the text. English only.

    What few labels have weighs more: `card` says little where half of the labels are about cards.
    """

    name = "overlap"

    def __init__(self) -> None:
        self._weighed = lru_cache(maxsize=256)(_weigh)

    def classify(self, text: str, labels: tuple[str, ...]) -> str:
        weighed = self._weighed(labels)
        pieces = _pieces(text[:LONGEST_READ])
        scores = [sum(weights[piece] for piece in weights.keys() & pieces) for weights in weighed]
        return labels[scores.index(max(scores))]


def _weigh(labels: tuple[str, ...]) -> list[dict[str, float]]:
    """For each label the weight of each of its pieces; they sum up to 1."""
    sets = [sorted(_pieces(label)) for label in labels]
    shared = Counter(piece for pieces in sets for piece in pieces)
    raw = [{piece: 1 / shared[piece] for piece in pieces} for pieces in sets]
    return [{piece: weight / sum(weights.values()) for piece, weight in weights.items()} for weights in raw]


def _pieces(text: str) -> frozenset[str]:
    """The words of a text, and the trigrams of each word with a space on both sides."""
    words = _WORD.findall(text.casefold())
    trigrams = {f" {word} "[i : i + 3] for word in words for i in range(len(word))}
    return frozenset(trigrams.union(f"={word}" for word in words))
