"""Several answers about one text: what a request asks for by schema or in words, and answers to that.

In words a field is a line that begins with its name in quotes, as `"score": a whole number from 1 to 5`; labels stand
below it, a line `- label` each, and what each means is indented below that.
"""

from __future__ import annotations

import re
import zlib
from functools import lru_cache
from typing import Any

import msgspec

from batchjob.sandbox.classifier import classify

_LINE = re.compile(r'"(\w+)": (one of|an array|"yes" or "no"|a whole number|a number|a text)(.*)')
_RANGE = re.compile(r"from (-?[\d.]+) to (-?[\d.]+)")
_LENGTH = re.compile(r"at most (\d+)")


class Asked(msgspec.Struct, frozen=True):
    """One field of an answer."""

    name: str
    kind: str  # one of, an array, "yes" or "no", a whole number, a number, a text
    labels: tuple[str, ...] = ()
    least: float = 0.0
    most: float = 0.0
    length: int = 0


@lru_cache(maxsize=64)
def fields_in(text: str) -> tuple[Asked, ...]:
    """The fields that the words of a message ask for."""
    found: list[Asked] = []
    for line in text.split("\n"):
        if start := _LINE.match(line):
            ends = _RANGE.search(start[3])
            length = _LENGTH.search(start[3])
            least, most = (float(ends[1]), float(ends[2])) if ends else (0.0, 0.0)
            found.append(Asked(start[1], start[2], (), least, most, int(length[1]) if length else 0))
        elif found and line.startswith("- "):
            found[-1] = msgspec.structs.replace(found[-1], labels=(*found[-1].labels, line[2:].strip()))
    return tuple(found)


def answer(text: str, fields: tuple[Asked, ...]) -> dict[str, Any]:
    """What a text gets for each field: always the same for the same text."""
    return {field.name: _value(text, field) for field in fields}


def _value(text: str, field: Asked) -> Any:
    chance = zlib.crc32(f"{field.name} {' '.join(text.split())}".encode("utf-8", "replace"))
    if field.kind == "one of":
        return classify(text, field.labels)
    if field.kind == "an array":
        return [label for at, label in enumerate(field.labels) if chance >> at & 1]
    if field.kind == '"yes" or "no"':
        return ("yes", "no")[chance & 1]
    if field.kind == "a text":
        return " ".join(text.split())[: field.length].strip() or "-"
    share = chance / 2**32
    value = field.least + share * (field.most - field.least)
    return round(value) if field.kind == "a whole number" else round(value, 1)
