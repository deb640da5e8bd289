"""A completion's content -> what it gives for each field of each row, and the values that a row has by now.

Nothing goes by order. A field gets what stands under its name, once, in the object of its row, and a row what stands
under its number, once. What is there twice, or in an object that is no row's, is not there. Of an answer that ends too
early, what is whole is taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from batchjob.model import RowResult
from batchjob.settings.fields import folded
from batchjob.settings.tables import Field
from batchjob.task.answers import WRAPPER_KEYS, json_objects, number_of, once, sound
from batchjob.task.fields.kinds import Found, kind_of
from batchjob.task.fields.values import counters
from batchjob.task.labels import LabelSet, Match
from batchjob.task.thoughts import spoken

MOST_SHOWN = 200
"""Characters kept of an answer that is no value."""
KEPT = "fields"
"""The key of what is kept, which no field is called."""
TWICE = object()
"""Under a name that was given more than once."""


class Kept(NamedTuple):
    """What a row has of its fields: their values, and what was answered where that is none."""

    values: dict[str, Any]
    others: dict[str, str]
    near: bool = False


class FieldSet(LabelSet):
    """The fields of a job, ready to read answers. As a LabelSet it reads a whole answer, or what was kept of one."""

    def __init__(self, fields: Sequence[Field]) -> None:
        super().__init__(())
        self.fields = tuple(fields)
        self._kinds = {field.name: kind_of(field) for field in fields}
        self._names = {folded(name): name for name in self._kinds}

    def read(self, answer: str, *, exact_only: bool = False) -> Match | None:
        """The label of a row with this answer, or with this kept; None where a field of it is missing."""
        kept = self.kept(answer) or self.taken(self.given(answer, 1).get(1, {}))
        return None if self.missing(kept) else Match(self.label(kept), kept.near)

    def read_kept(self, answer: str) -> Match | None:
        """The same: values are kept whole."""
        return self.read(answer)

    def failure(self, answer: str) -> str:
        """The kind of error of a row of which no more than this was kept."""
        return self.kind("off_list", self.kept(answer) or Kept({}, {}))

    # ------------------------------------------------------------ what a row has

    def kept(self, answer: str | None) -> Kept | None:
        """What was kept of the answers of a row; None where nothing was."""
        try:
            stored = msgspec.json.decode(answer or "", type=_Stored)
        except msgspec.MsgspecError:
            return None
        return self.taken(stored.values)._replace(others=stored.others)

    def taken(self, given: dict[str, Any]) -> Kept:
        """The values among what was given, by name."""
        values, others, near = dict[str, Any](), dict[str, str](), False
        for name, kind in self._kinds.items():
            if name not in given:
                continue
            found = kind.read(given[name])
            if isinstance(found, Found):
                values[name], near = found.value, near or found.near
            else:
                others[name] = _shown(given[name])
        return Kept(values, others, near)

    def certain(self, kept: Kept) -> list[str]:
        """The names of the values that a model may be more or less sure of: a text could always be another."""
        return [name for name, kind in self._kinds.items() if name in kept.values and not kind.free]

    def missing(self, kept: Kept) -> tuple[str, ...]:
        """The names of the fields that a row has no value of."""
        return tuple([name for name in self._kinds if name not in kept.values])

    def has_any(self, result: RowResult) -> bool:
        """Whether a row has a value by now."""
        kept = self.kept(result.answer)
        return result.label is not None or (kept is not None and bool(kept.values))

    def label(self, kept: Kept) -> str:
        """The label of a row that has all."""
        return label_of_values(self._kinds, kept.values)

    def answer(self, kept: Kept) -> str:
        """What is kept of a row that has not all."""
        return msgspec.json.encode(_Stored(kept.values, kept.others)).decode()

    def kind(self, kind: str, kept: Kept) -> str:
        """The kind of error of a row that lacks fields: they stand in it, so that it is counted by field."""
        return f"{kind}:{','.join(self.missing(kept))}"

    def why(self, kept: Kept) -> str:
        """Why fields are missing, in words."""
        told = []
        for name in self.missing(kept):
            said = kept.others.get(name)
            wanted = self._kinds[name].wanted
            told.append(f"{name}: left out, or given twice" if said is None else f"{name}: {said!r} is not {wanted}")
        return "; ".join(told)

    # ------------------------------------------------------------ what an answer gives

    def given(self, content: str, count: int) -> dict[int, dict[str, Any]]:
        """What an answer gives each row, by its number from 1 to count: name -> value as it stands there. Never
        raises.
        """
        text = spoken(content) or ""
        members = [member for found in json_objects(text) for member in _unwrapped(found, self._names)]
        rows = once([(number, value) for key, value in members if (number := number_of(key)) is not None], count)
        alone = self._named(members) if count == 1 else {}
        if alone:
            return {} if rows else {1: alone}  # of an answer that is both nobody knows which counts
        return {number: self._named(value) for number, value in rows.items() if isinstance(value, tuple)}

    def _named(self, members: Sequence[tuple[str, Any]]) -> dict[str, Any]:
        """What stands under the names of fields; null is nothing."""
        found: dict[str, Any] = {}
        for key, value in members:
            name = self._names.get(folded(key))
            if name is not None:
                found[name] = TWICE if name in found else sound(value)
        return {name: value for name, value in found.items() if value is not TWICE and value is not None}


class _Stored(msgspec.Struct):
    values: dict[str, Any] = msgspec.field(name=KEPT)
    others: dict[str, str] = {}


def label_of_values(names: Iterable[str], values: Mapping[str, Any]) -> str:
    """The label of a row with these values: they stand in the order of the fields' names."""
    return msgspec.json.encode({name: values[name] for name in names if name in values}).decode()


def field_values(label: str | None, answer: str | None) -> dict[str, Any]:
    """The values that a row of a job with fields has: all by its label, else those that were kept."""
    if label is not None:
        return msgspec.json.decode(label, type=dict[str, Any])
    return _stored(answer).values


def field_others(answer: str | None) -> dict[str, str]:
    """What was answered for the fields that a row lacks, where that is no value."""
    return _stored(answer).others


def _stored(answer: str | None) -> _Stored:
    try:
        return msgspec.json.decode(answer or "", type=_Stored)
    except msgspec.MsgspecError:
        return _Stored({})


def counted_in(fields: Sequence[Field], label: str) -> list[str]:
    """What is counted of a row with this label."""
    return counters(fields, msgspec.json.decode(label, type=dict[str, Any]))


def _unwrapped(
    members: tuple[tuple[str, Any], ...], names: dict[str, str], depth: int = 2
) -> Iterator[tuple[str, Any]]:
    """The members of an object; of one that only wraps another, those of that."""
    for key, value in members:
        wraps = isinstance(value, tuple) and key.strip().lower() in WRAPPER_KEYS and folded(key) not in names
        if wraps and depth:
            yield from _unwrapped(value, names, depth - 1)
        else:
            yield key, value


def _shown(given: Any) -> str:
    text = given if isinstance(given, str) else msgspec.json.encode(given, enc_hook=str).decode()
    return text[:MOST_SHOWN].replace("\0", "\N{REPLACEMENT CHARACTER}")
