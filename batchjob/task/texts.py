"""Texts that are the same, and the key under which their label is remembered."""

from __future__ import annotations

import hashlib
import struct
import unicodedata

import msgspec

from batchjob.config import JobConfig

Key = tuple[int, int]
"""128 bits as two signed 64-bit numbers: the first finds a label in the cache, the second makes sure of it."""

_ASKED = ("base_url", "labels", "prompt", "max_tokens", "temperature")
_unpack = struct.Struct("<qq").unpack


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


class Keys:
    """Keys of one task: whatever changes the question changes every key, so no label outlives it."""

    def __init__(self, config: JobConfig) -> None:
        asked = [getattr(config, name) for name in _ASKED]
        self._task = hashlib.blake2b(msgspec.json.encode(asked), digest_size=32).digest()
        self._of_model: dict[str, hashlib.blake2b] = {}

    def of(self, text: str, model: str) -> Key:
        """The key of a text's label when this model is asked."""
        state = self._of_model.get(model)
        if state is None:
            state = self._of_model[model] = hashlib.blake2b(model.encode() + b"\0", key=self._task, digest_size=16)
        state = state.copy()
        state.update(normalise(text).encode("utf-8", "surrogatepass"))
        high, low = _unpack(state.digest())
        return high, low
