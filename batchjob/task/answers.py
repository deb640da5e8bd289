"""A completion's content that answers for many rows -> the answer of each row, by its number.

A label on the wrong row is worse than none, so nothing goes by order: a row gets what stands under its number, and
nothing where its number is missing or given twice; such rows are asked alone. Of the forms an answer may have, JSON
is what was asked for, and numbered lines are read only where there is none. JSON that is broken in the middle gives
nothing, as a number may stand a second time where it cannot be read; JSON that only ends too early gives what is whole.

Time is linear in the content: each expression below is anchored or ends at the next quote or line, and none goes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from batchjob.task.thoughts import spoken

NUMBER_KEYS = frozenset({"number", "id", "n", "row", "index"})
LABEL_KEY = "label"
WRAPPER_KEYS = frozenset(
    {"labels", "results", "result", "answers", "answer", "items", "rows", "data", "output", "classifications"}
)
DEEPEST = 32
"""Nesting beyond which JSON is not an answer."""

_STRING = r'"(?:[^"\\]|\\.)*+"'
_TOKEN = re.compile(rf'\s*+({_STRING}|"(?:[^"\\]|\\.)*+\\?\Z|[{{}}\[\]:,]|[\w.+-]++)', re.DOTALL)
_MARKS = "{}[]:,"
_WHOLE_STRING = re.compile(rf"({_STRING})\s*+,?")
_NUMBER = re.compile(r"\s*+([0-9]{1,9})\s*+")

# No possessive `?` behind a group: Python 3.11.2 (Debian 12's) then takes the group's absence for a mismatch.
# A numbered line (7. 7) 7: "7": **7.** - 7:) to its end, or an object as far as it takes to know one: `{"key":`.
_START = re.compile(
    r"""^[ \t]*+(?:[-*•][ \t]++)?(?:\*\*)?
        (?P<quote>["'`])?(?P<number>[0-9]{1,9})
        (?(quote)(?P=quote)(?:\*\*)?[ \t]*+:|(?:\*\*)?[ \t]*+[.):])
        (?:\*\*)?(?![0-9])(?P<line>[^\n]*+)
      |"""
    rf"\{{(?=\s*+{_STRING}\s*+:)",
    re.MULTILINE | re.VERBOSE,
)

T = TypeVar("T")
Members = tuple[tuple[str, Any], ...]
"""A JSON object as its members, so that a key given twice is seen. Numbers are text, as they may be labels."""
_Given = tuple[int, str | None]
"""A number, and the answer under it; None where it has one that is no answer, or not a whole one."""


class _Broken(Exception):
    """It is JSON so far, and then it is not."""


def _no_constant(name: str) -> None:
    raise _Broken(name)


_decoder = json.JSONDecoder(object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=_no_constant)


def split_answer(content: str, count: int, *, cut: bool = False) -> dict[int, str]:
    """The answer of each row that has exactly one, by its number from 1 to count. Never raises.

    Args:
        cut: the content is known to end too early, so its last line is not whole. (Of JSON that can be seen.)
    """
    text = spoken(content) or ""
    objects: list[_Given] = []
    lines: list[_Given] = []
    position = 0
    while (start := _START.search(text, position)) is not None:
        if start["number"] is None:
            try:
                value, position, unclosed = _read(text, start.start())
                objects.extend(_given_in(value, unclosed))
            except _Broken:
                return {}
        else:
            position = start.end()
            whole = not cut or position < len(text)
            lines.append((int(start["number"]), _of_line(start["line"]) if whole else None))
    return once(objects or lines, count)


def once(given: Iterable[tuple[int, T | None]], count: int) -> dict[int, T]:
    """What is given under the numbers from 1 to count, each once."""
    answers: dict[int, T | None] = {}
    for number, answer in given:
        answers[number] = None if number in answers else answer
    if 0 in answers and count not in answers:
        return {}  # counted from 0: each label would be its neighbour's
    return {number: answer for number, answer in answers.items() if answer is not None and 1 <= number <= count}


def _of_line(line: str) -> str | None:
    """The answer on a numbered line, behind its number."""
    answer = line.strip()
    quoted = _WHOLE_STRING.fullmatch(answer)
    if quoted is None:
        return answer or None
    try:
        found: str = sound(json.loads(quoted[1]))
        return found
    except ValueError:
        return answer


def json_objects(text: str) -> list[Members]:
    """The JSON objects in a text; of one that ends too early what is whole, and none where one is broken before. An
    array that has no end is null: more may have been in it.
    """
    found: list[Members] = []
    position = 0
    while (start := _START.search(text, position)) is not None:
        position = start.end()
        if start["number"] is None:
            try:
                value, position, unclosed = _read(text, start.start())
            except _Broken:
                return []
            found.append(_without_open_arrays(value, unclosed))
    return found


def _without_open_arrays(members: Members, unclosed: int) -> Members:
    """An object without arrays that the cut left open, down along the last members; `unclosed`: as in _given_in."""
    if unclosed < 2 or not members:
        return members
    *before, (key, last) = members
    return (*before, (key, _without_open_arrays(last, unclosed - 1) if isinstance(last, tuple) else None))


# ---------------------------------------------------------------- what JSON gives


def _given_in(value: Any, unclosed: int, depth: int = 1) -> Iterator[_Given]:
    """The numbers an object or array gives, with what stands under each.

    Args:
        unclosed: how many objects and arrays the cut left open, from this one down along the last members.
    """
    if depth > DEEPEST:
        raise _Broken
    is_object = isinstance(value, tuple)
    if is_object:
        yield from _numbered(value, unclosed)
    members = value if is_object else [("", element) for element in value]
    for place, (key, inner) in enumerate(members, start=1):
        open_inside = unclosed - 1 if place == len(members) and unclosed > 0 else 0
        number = number_of(key)
        if number is not None:
            yield number, _answer(inner, open_inside)
        elif isinstance(inner, tuple | list) and _may_hold_answers(key, inner, is_object):
            yield from _given_in(inner, open_inside, depth + 1)


def _may_hold_answers(key: str, inner: Any, in_object: bool) -> bool:
    return key.strip().lower() in WRAPPER_KEYS or (isinstance(inner, tuple) and not in_object)


def _numbered(members: Members, unclosed: int) -> Iterator[_Given]:
    """What an object gives that holds a number and a label under keys of their own."""
    names = [(key.strip().lower(), value) for key, value in members]
    if any(name == LABEL_KEY for name, _ in names):
        numbers = {number_of(value) for name, value in names if name in NUMBER_KEYS} - {None}
        answer = _answer(members, unclosed) if len(numbers) == 1 else None
        yield from ((number, answer) for number in numbers if number is not None)


def _answer(value: Any, unclosed: int) -> str | None:
    """A value as the answer of its row; of an object its only label, if nothing of it is missing."""
    if isinstance(value, tuple):
        labels = [inner for key, inner in value if key.strip().lower() == LABEL_KEY]
        return _answer(labels[0], 0) if len(labels) == 1 and not unclosed and not isinstance(labels[0], tuple) else None
    if isinstance(value, bool):
        return str(value).lower()
    return str(sound(value)) if isinstance(value, str) else None


def number_of(value: Any) -> int | None:
    """The number that a JSON key or value is, or None."""
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) if match else None


def sound(value: Any) -> Any:
    """What JSON gave, with each half of a surrogate pair in it replaced, which UTF-8 cannot hold."""
    if isinstance(value, list | tuple):
        return type(value)(map(sound, value))
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


# ---------------------------------------------------------------- JSON, as far as it goes


def _read(text: str, start: int) -> tuple[Any, int, int]:
    """The object that begins at this position, where it ends, and how many brackets the text's end left open.

    Raises:
        _Broken: it is no JSON, and not for its end alone.
    """
    try:
        return *_decoder.raw_decode(text, start), 0
    except (ValueError, RecursionError):
        tokens, end, unclosed = _mended(text, start)
        try:
            return _decoder.decode(" ".join(tokens)), end, unclosed
        except ValueError:
            raise _Broken from None


def _mended(text: str, start: int) -> tuple[list[str], int, int]:
    """The object's tokens without a comma too many before a bracket, and closed where the text ends before it.

    Whether they are JSON is left to the decoder.
    """
    tokens: list[str] = []
    closers: list[str] = []
    end = start
    while (token := _TOKEN.match(text, end)) is not None:
        said, end = token[1], token.end()
        if said in "{[":
            closers.append("}" if said == "{" else "]")
        elif said in "}]":
            if tokens[-1] == ",":
                tokens.pop()
            if closers.pop() != said:
                raise _Broken
        tokens.append(said)
        if len(closers) > DEEPEST:
            raise _Broken
        if not closers:
            return tokens, end, 0
    if text[end:].strip():
        raise _Broken
    _drop_tail(tokens, in_object=closers[-1] == "}")
    return tokens + closers[::-1], len(text), len(closers)


def _drop_tail(tokens: list[str], *, in_object: bool) -> None:
    """Drop what is not whole at the end: a string without its quote, a number that may go on, a key without a value.

    Raises:
        _Broken: it does not stand where JSON may have it.
    """
    if tokens[-1] not in _MARKS and not _WHOLE_STRING.fullmatch(tokens[-1]):
        tokens.pop()
        if tokens[-1] not in "{[:,":
            raise _Broken
    if tokens[-1] == ":":
        tokens.pop()
        in_object = True
        if not _WHOLE_STRING.fullmatch(tokens[-1]) or tokens[-2] not in "{,":
            raise _Broken
    if in_object and tokens[-1] not in _MARKS and tokens[-2] in "{,":
        tokens.pop()
    if tokens[-1] == ",":
        tokens.pop()
