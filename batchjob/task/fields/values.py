"""What was answered for one field -> its value, or why it is none. JSON numbers come as text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec

from batchjob.settings.tables import Field
from batchjob.task.labels import LabelSet

YES_NO = ("yes", "no")
ONE_LABEL = frozenset({"one", "yes_no"})
"""Kinds whose value is one label of a set."""
SETS = ONE_LABEL | {"several"}
"""Kinds whose values are of a set, so that they can be counted. Each store's check counts them anew, in SQL."""
AS_JSON = frozenset({"number", "several"})
"""Kinds whose values are no text."""
_BETWEEN = re.compile(r"[,;]")
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")


class Found(NamedTuple):
    """The value of a field: text, number or a list of labels."""

    value: Any
    near: bool = False  # it is not letter for letter what was answered


class Reader:
    """Reads the values of one field."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self._labels = LabelSet(YES_NO if field.kind == "yes_no" else field.labels)
        self._read = {
            "one": self._one,
            "several": self._several,
            "yes_no": self._yes_no,
            "number": self._number,
            "text": self._text,
        }[field.kind]

    def read(self, given: Any) -> Found | None:
        """The value that this is, as the model gave it or as it was kept; None where it is none."""
        return self._read(given)

    @property
    def wanted(self) -> str:
        """What a value is, in a message: an answer is not ..."""
        field = self.field
        if field.kind == "number":
            return number_words(field)
        told = {"one": "one of its labels", "several": "an array of its labels", "yes_no": "yes or no"}
        return told.get(field.kind) or f"a text of at most {field.max_length:,} characters"

    def _one(self, given: Any) -> Found | None:
        match = self._labels.read(given) if isinstance(given, str) else None
        return Found(match.label, match.near) if match else None

    def _yes_no(self, given: Any) -> Found | None:
        if isinstance(given, bool):
            return Found("yes" if given else "no", near=True)
        if isinstance(given, str) and given.strip().casefold() in ("true", "false"):
            return Found("yes" if given.strip().casefold() == "true" else "no", near=True)
        return self._one(given)

    def _several(self, given: Any) -> Found | None:
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, list):
            return None
        found = [self._one(one) for one in given]
        if any(one is None for one in found):
            return None
        chosen = {one.value for one in found if one}
        near = len(chosen) < len(given) or any(one.near for one in found if one)
        return Found([label for label in self.field.labels if label in chosen], near)

    def _number(self, given: Any) -> Found | None:
        if isinstance(given, bool) or not isinstance(given, str | int | float):
            return None
        text = str(given).strip()
        if not _NUMBER.fullmatch(text):
            return None
        value = float(text) + 0.0  # -0 is 0
        field = self.field
        if not (field.min or 0.0) <= value <= (field.max or 0.0) or round(value, field.decimals) != value:
            return None
        return Found(value if field.decimals else int(value), near="." in text and not field.decimals)

    def _text(self, given: Any) -> Found | None:
        if not isinstance(given, str):
            return None
        text = given.replace("\0", "\N{REPLACEMENT CHARACTER}").strip()
        return Found(text) if 0 < len(text) <= self.field.max_length else None


def value_text(value: Any) -> str:
    """A value as an export writes it into a table."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def value_of(field: Field, text: str) -> Any:
    """The value that was so written."""
    return msgspec.json.decode(text) if field.kind in AS_JSON else text


def several_said(labels: Sequence[str], text: str) -> Any:
    """What a person wrote, trimmed, where several of these labels may stand: with `,` or `;` between, or as JSON."""
    if text.startswith("["):
        with suppress(msgspec.MsgspecError):
            return msgspec.json.decode(text)
    said = [text] if text in labels else [label for one in _BETWEEN.split(text) if (label := one.strip())]
    return said or [text]  # blank, or signs alone, is no word for none: that is []


def several_written(labels: Sequence[str], chosen: Sequence[str]) -> str:
    """Chosen ones of these labels as several_said reads them: with commas between, where that can be read; else, and
    where none is chosen, as JSON.
    """
    if not chosen or any(map(_BETWEEN.search, labels)):
        return msgspec.json.encode(chosen).decode()
    return ", ".join(chosen)


def number_words(field: Field) -> str:
    """The numbers that a field may have."""
    kind = "a whole number" if not field.decimals else "a number"
    digits = f" with at most {field.decimals} decimals" if field.decimals else ""
    return f"{kind} from {_spelled(field.min)} to {_spelled(field.max)}{digits}"


def _spelled(number: float | None) -> str:
    return f"{number or 0:g}" if number is None or number != int(number) else str(int(number))


def counters(fields: Sequence[Field], values: dict[str, Any]) -> list[str]:
    """What is counted of a row's values: `field: value` for each that is of a set. Numbers and texts have none."""
    found = []
    for field in fields:
        value = values.get(field.name)
        if field.kind in SETS:
            found += [f"{field.name}: {one}" for one in (value if isinstance(value, list) else [value])]
    return found
