"""The kinds of fields: what is asked for one, what its values are, how they are read, and the room they take.

A kind is a class here, a line in KINDS, and its name in `Field` (settings/tables.py).
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, NamedTuple

import msgspec

from batchjob.settings.tables import Field
from batchjob.task.labels import LabelSet
from batchjob.task.texts import estimate_tokens

YES, NO = "yes", "no"
NUMBER_ROOM = 20
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")


class Found(NamedTuple):
    """The value of a field: text, number or a list of labels."""

    value: Any
    near: bool = False  # it is not letter for letter what was answered


class Kind:
    """A field of this kind."""

    one_label = False
    """Whether a value is one label of a set."""
    in_set = False
    """Whether values are of a set, so that they can be counted."""
    as_json = False
    """Whether a value is no text."""
    free = False
    """Whether a value could always be another one, so that nobody asks how sure the model was of it."""

    def __init__(self, field: Field) -> None:
        self.field = field

    @property
    def labels(self) -> tuple[str, ...]:
        """Those that a value may be, or have."""
        return self.field.labels

    @property
    def asked(self) -> str:
        """What the model is told that a value is."""
        raise NotImplementedError

    @property
    def wanted(self) -> str:
        """What a value is, in a message: an answer is not ..."""
        return self.asked

    def example(self, number: int) -> Any:
        """A value, as an example of the row with this number: 1 or 2."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        """A value, as JSON Schema has it. Ranges and lengths are said in words: not every endpoint takes them here."""
        raise NotImplementedError

    def room(self) -> int:
        """The most bytes of a value; of a text its characters, for a token of it has one at least."""
        raise NotImplementedError

    def tokens(self) -> float:
        """About how many tokens a value has."""
        return 1.0

    def read(self, given: Any) -> Found | None:
        """The value that this is, as the model gave it (JSON numbers come as text) or as it was kept; None where it is
        none.
        """
        raise NotImplementedError


class One(Kind):
    """One of the field's labels."""

    one_label = in_set = True
    asked = "one of these labels, copied letter for letter"
    wanted = "one of its labels"

    @cached_property
    def _set(self) -> LabelSet:
        return LabelSet(self.labels)

    def _sizes(self) -> list[int]:
        return [len(msgspec.json.encode(label)) + 2 for label in self.labels]

    def example(self, number: int) -> Any:
        return self.labels[0 if number == 1 else -1]

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "enum": list(self.labels)}

    def room(self) -> int:
        return max(self._sizes(), default=0)

    def tokens(self) -> float:
        return max(sum(map(estimate_tokens, self.labels)) / max(len(self.labels), 1), 1.0)

    def read(self, given: Any) -> Found | None:
        match = self._set.read(given) if isinstance(given, str) else None
        return Found(match.label, match.near) if match else None


class YesNo(One):
    """yes or no."""

    labels = (YES, NO)
    asked = f'"{YES}" or "{NO}"'
    wanted = f"{YES} or {NO}"

    def room(self) -> int:
        return len(f'"{YES}"')

    def tokens(self) -> float:
        return 1.0

    def read(self, given: Any) -> Found | None:
        word = given.strip().casefold() if isinstance(given, str) else given
        if isinstance(word, bool) or word in ("true", "false"):
            return Found(YES if word in (True, "true") else NO, near=True)
        return super().read(given)


class Several(One):
    """Any number of the field's labels."""

    one_label, as_json = False, True
    asked = "an array of those of these labels that fit, copied letter for letter; [] where none does"
    wanted = "an array of its labels"

    def example(self, number: int) -> Any:
        return [super().example(number)]

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": super().schema()}

    def room(self) -> int:
        return sum(self._sizes()) + 2

    def read(self, given: Any) -> Found | None:
        if isinstance(given, str):
            given = [given]
        if not isinstance(given, list):
            return None
        found = [super(Several, self).read(one) for one in given]
        if any(one is None for one in found):
            return None
        chosen = {one.value for one in found if one}
        near = len(chosen) < len(given) or any(one.near for one in found if one)
        return Found([label for label in self.labels if label in chosen], near)


class Number(Kind):
    """A number within a range."""

    as_json = True

    @property
    def asked(self) -> str:
        field = self.field
        kind = "a whole number" if not field.decimals else "a number"
        digits = f" with at most {field.decimals} decimals" if field.decimals else ""
        return f"{kind} from {_spelled(field.min)} to {_spelled(field.max)}{digits}"

    def example(self, number: int) -> Any:
        return self.field.min if self.field.decimals else int(self.field.min or 0)

    def schema(self) -> dict[str, Any]:
        return {"type": "number" if self.field.decimals else "integer"}

    def room(self) -> int:
        return NUMBER_ROOM

    def read(self, given: Any) -> Found | None:
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


class Text(Kind):
    """A short text of the model's own."""

    free = True

    @property
    def asked(self) -> str:
        return f"a text of at most {self.field.max_length} characters"

    @property
    def wanted(self) -> str:
        return f"a text of at most {self.field.max_length:,} characters"

    def example(self, number: int) -> Any:
        return "..."

    def schema(self) -> dict[str, Any]:
        return {"type": "string"}

    def room(self) -> int:
        return self.field.max_length

    def tokens(self) -> float:
        return self.field.max_length / 10

    def read(self, given: Any) -> Found | None:
        if not isinstance(given, str):
            return None
        text = given.replace("\0", "\N{REPLACEMENT CHARACTER}").strip()
        return Found(text) if 0 < len(text) <= self.field.max_length else None


KINDS: dict[str, type[Kind]] = {"one": One, "several": Several, "yes_no": YesNo, "number": Number, "text": Text}


def kind_of(field: Field) -> Kind:
    """The field as its kind has it."""
    return KINDS[field.kind](field)


def _spelled(number: float | None) -> str:
    return f"{number or 0:g}" if number is None or number != int(number) else str(int(number))
