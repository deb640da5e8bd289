"""Counting what a file of any length holds, in little memory: different texts, frequent ones, lengths."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from math import ceil
from typing import Any

MOST_TEXTS = 2000
"""Repeated texts counted at a time."""
MOST_FIRST = 20_000
"""Texts kept to show which others are like them."""
SHOWN_PAIRS = 5
SHOWN_CHARACTERS = 80
LAST_BUCKET = 15
"""The lengths from 2**14 characters on are shown together."""


class HashSet:
    """A set of 64-bit hashes in open-addressing tables of 8 bytes a slot, at most three quarters full.

    Many small tables, for one large one would be there twice while it grows. Python's own set takes five times this.
    """

    _TABLES = 64

    def __init__(self) -> None:
        self._tables = [array("Q", bytes(8 * 16)) for _ in range(self._TABLES)]
        self._used = [0] * self._TABLES

    def add(self, hash_: int) -> bool:
        """Put a hash in; whether it was new."""
        hash_ = hash_ & 0xFFFFFFFFFFFFFFFF or 1  # 0 is an empty slot
        number = hash_ >> 58
        slots = self._tables[number]
        mask = len(slots) - 1
        at = hash_ & mask
        while there := slots[at]:
            if there == hash_:
                return False
            at = (at + 1) & mask
        slots[at] = hash_
        self._used[number] += 1
        if self._used[number] * 4 > len(slots) * 3:
            self._tables[number] = _twice_as_large(slots)
        return True


def _twice_as_large(slots: array[int]) -> array[int]:
    larger = array("Q", bytes(16 * len(slots)))
    mask = len(larger) - 1
    for hash_ in slots:
        if hash_:
            at = hash_ & mask
            while larger[at]:
                at = (at + 1) & mask
            larger[at] = hash_
    return larger


class Frequent:
    """The most frequent of many texts, by a bounded number of counters.

    When all are taken the lower half is dropped; a text that comes anew may have been among those, so that it can have
    been missed as often as the largest of them was counted. (Space-saving, Metwally et al. 2005, half by half.)
    """

    def __init__(self, most: int = MOST_TEXTS) -> None:
        self._most = most
        self._counts: dict[int, list[Any]] = {}  # hash -> [count, missed at most, text]
        self._missed = 0

    def add(self, hash_: int, text: str) -> None:
        """Count a text that is there once more; a text seen for the first time need not be told."""
        found = self._counts.get(hash_)
        if found is not None:
            found[0] += 1
            return
        if len(self._counts) >= self._most:
            ranked = sorted(self._counts.items(), key=lambda item: -(item[1][0] + item[1][1]))
            self._missed = max(self._missed, sum(ranked[self._most // 2][1][:2]))
            self._counts = dict(ranked[: self._most // 2])
        self._counts[hash_] = [2, self._missed, text[:SHOWN_CHARACTERS]]

    def top(self, count: int) -> Iterator[tuple[str, int, bool]]:
        """(text, how often it is there, whether that is exact), the most frequent first."""
        for times, missed, text in sorted(self._counts.values(), key=lambda found: -found[0])[:count]:
            yield text, times, not missed


class Alike:
    """Some pairs of different texts that have one loose form, looked for among the first of a file."""

    def __init__(self) -> None:
        self.pairs: list[tuple[str, str]] = []
        self._first: dict[int, str] = {}  # hash of the loose form -> its first text; "" where a pair is known

    def add(self, loose: int, text: str) -> None:
        """A text that is seen for the first time, and the hash of its loose form."""
        first = self._first.get(loose)
        if first and len(self.pairs) < SHOWN_PAIRS:
            self.pairs.append((first, _shortened(text)))
            self._first[loose] = ""
        elif first is None and len(self._first) < MOST_FIRST:
            self._first[loose] = _shortened(text)


def _shortened(text: str) -> str:
    """A text with its end, where most that are alike differ."""
    half = SHOWN_CHARACTERS // 2
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:half]}...{text[3 - half :]}"


class Lengths:
    """How long things are: texts in characters, requests in milliseconds."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self._largest = 0

    def add(self, length: int) -> None:
        """Count one. Above 1,023 its eight highest bits are kept: at most a few thousand different ones."""
        if length > self._largest:
            self._largest = length
        if length > 1023:
            lost = length.bit_length() - 8
            length = length >> lost << lost
        self._counts[length] += 1

    def document(self) -> dict[str, Any]:
        """Smallest, median, 95th percentile, mean and largest, and the rows by power of two."""
        if not self._counts:
            return {"min": None, "median": None, "p95": None, "mean": None, "max": None, "histogram": []}
        ordered = sorted(self._counts.items())
        rows = sum(self._counts.values())
        return {
            "min": ordered[0][0],
            "median": _percentile(ordered, rows, 0.5),
            "p95": _percentile(ordered, rows, 0.95),
            "mean": round(sum(length * count for length, count in ordered) / rows, 1),
            "max": self._largest,
            "histogram": self._histogram(),
        }

    def _histogram(self) -> list[dict[str, Any]]:
        buckets: Counter[int] = Counter()
        for length, count in self._counts.items():
            buckets[min(length.bit_length(), LAST_BUCKET)] += count
        return [
            {"from": 1 << bits - 1, "to": None if bits == LAST_BUCKET else (1 << bits) - 1, "rows": buckets[bits]}
            for bits in range(min(buckets), max(buckets) + 1)
        ]


def _percentile(ordered: Iterable[tuple[int, int]], rows: int, share: float) -> int:
    wanted = ceil(rows * share)
    for length, count in ordered:
        wanted -= count
        if wanted <= 0:
            return length
    raise AssertionError("a share of more than all")
