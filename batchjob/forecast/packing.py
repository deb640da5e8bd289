"""How many requests rows go out in, and how large they are."""

from __future__ import annotations

from batchjob.model import Row
from batchjob.settings.config import JobConfig
from batchjob.task.prompt import NUMBER_TOKENS, Prompt

ROWS_PER_REQUEST = (1, 10, 25)
"""Compared with each other, besides the one that is set."""


class Packing:
    """How many requests rows go out in, some a request: as Prompt.fitting puts them together."""

    __slots__ = ("_count", "_most", "_most_tokens", "_room", "alone", "requests")

    def __init__(self, most: int, most_tokens: float) -> None:
        self._most, self._most_tokens = most, most_tokens
        self._count, self._room = 0, 0.0
        self.requests = self.alone = 0  # alone: with one row

    def add(self, tokens: float) -> None:
        self._room -= tokens + NUMBER_TOKENS
        if self._room >= 0 and 0 < self._count < self._most:
            self.alone -= self._count == 1
            self._count += 1
            return
        self.requests += 1
        self.alone += 1
        self._count, self._room = 1, self._most_tokens - tokens


class Asked:
    """The rows that go out to one model."""

    def __init__(self, config: JobConfig, prompt: Prompt) -> None:
        self._prompt = prompt
        self.rows = self.text_bytes = 0
        self.text_tokens = 0.0
        sizes = sorted({*ROWS_PER_REQUEST, config.rows_per_request} - {1})
        self._packings = {most: Packing(most, config.max_request_tokens) for most in sizes}

    def add(self, row: Row) -> None:
        tokens = self._prompt.tokens(row)
        self.rows += 1
        self.text_tokens += tokens
        self.text_bytes += self._prompt.text_bytes((row,))
        for packing in self._packings.values():
            packing.add(tokens + self._prompt.names_tokens)

    def requests(self, most: int) -> tuple[int, int]:
        """(requests, those with one row)."""
        packing = self._packings.get(most)
        return (self.rows, self.rows) if packing is None else (packing.requests, packing.alone)
