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

NUMBER_KEYS = frozenset({"number", "id", "n", "row", "index"})
LABEL_KEY = "label"
WRAPPER_KEYS = frozenset(
    {"labels", "results", "result", "answers", "answer", "items", "rows", "data", "output", "classifications"}
)
DEEPEST = 32
"""Nesting beyond which JSON is not an answer."""

_THOUGHT, _THOUGHT_END = "<think>", "</think>"
_THOUGHT_END_LINE = re.compile(rf"^[ \t]*+{_THOUGHT_END}[ \t\r]*+$", re.MULTILINE)  # its beginning stood in the prompt

_CHARACTERS = r'(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*+'
_STRING = f'"{_CHARACTERS}"'
_KEY = re.compile(rf"\s*+({_STRING})\s*+:")
_VALUE = re.compile(rf"\s*+(?:([{{\[])|({_STRING})|(-?[0-9][0-9.eE+-]*+|true|false|null)(?=\s*+[,}}\]]))")
_CLOSING = re.compile(r"\s*+([}\]])")
_SEPARATOR = re.compile(r"\s*+(?:,|(?=[}\]])|\Z)")
_CUT = re.compile(rf'\s*+(?:"{_CHARACTERS}(?:"\s*+|\\(?:u[0-9a-fA-F]{{0,3}})?)?|[\w.+-]*+\s*+)\Z')
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

_Given = tuple[int, str | None]
"""A number, and the answer under it; None where it has one that is no answer, or not a whole one."""


class _Broken(Exception):
    """It is JSON so far, and then it is not."""


class _Node:
    """An object or an array. `members` of an array have no keys; numbers, true and false are kept as text."""

    __slots__ = ("closed", "is_object", "members")

    def __init__(self, bracket: str) -> None:
        self.is_object = bracket == "{"
        self.members: list[tuple[str, str | _Node | None]] = []
        self.closed = False


def split_answer(content: str, count: int, *, cut: bool = False) -> dict[int, str]:
    """The answer of each row that has exactly one, by its number from 1 to count. Never raises.

    Args:
        cut: the content is known to end too early, so its last line is not whole. (Of JSON that can be seen.)
    """
    text = _spoken(content)
    objects: list[_Given] = []
    lines: list[_Given] = []
    position = 0
    while (start := _START.search(text, position)) is not None:
        if start["number"] is None:
            try:
                node, position = _read(text, start.start())
            except _Broken:
                return {}
            objects.extend(_given_in(node))
        else:
            position = start.end()
            whole = not cut or position < len(text)
            lines.append((int(start["number"]), _of_line(start["line"]) if whole else None))
    return _given_once(objects or lines, count)


def _spoken(content: str) -> str:
    """The content without what a model thought before; nothing where the end of that is not certain."""
    if content.lstrip().startswith(_THOUGHT):
        spoken = content.partition(_THOUGHT_END)[2]
        return "" if _THOUGHT_END in spoken else spoken
    ends = [end.end() for end in _THOUGHT_END_LINE.finditer(content)]
    if len(ends) > 1:
        return ""
    return content[ends[0] :] if ends else content


def _given_once(given: Iterable[_Given], count: int) -> dict[int, str]:
    """What is given under the numbers from 1 to count, each once."""
    answers: dict[int, str | None] = {}
    for number, answer in given:
        answers[number] = None if number in answers else answer
    if 0 in answers and count not in answers:
        return {}  # counted from 0: each label would be its neighbour's
    return {number: answer for number, answer in answers.items() if answer is not None and 1 <= number <= count}


def _of_line(line: str) -> str | None:
    """The answer on a numbered line, behind its number."""
    answer = line.strip()
    quoted = _WHOLE_STRING.fullmatch(answer)
    return _text(quoted[1]) if quoted else answer or None


# ---------------------------------------------------------------- JSON, as far as it goes


def _given_in(node: _Node) -> Iterator[_Given]:
    """The numbers an object or array gives, with what stands under each."""
    members = [(key.strip().lower(), value) for key, value in node.members]
    if any(key == LABEL_KEY for key, _ in members):
        numbers = {_number(value) for key, value in members if key in NUMBER_KEYS} - {None}
        answer = _label_of(node) if len(numbers) == 1 else None
        yield from ((number, answer) for number in numbers if number is not None)
    for key, value in members:
        number = _number(key)
        if number is not None:
            yield number, _label_of(value) if isinstance(value, _Node) else value
        elif isinstance(value, _Node) and (key in WRAPPER_KEYS or (value.is_object and not node.is_object)):
            yield from _given_in(value)


def _label_of(node: _Node) -> str | None:
    """The only label of an object; None where it has none or more, or is not whole."""
    labels = [value for key, value in node.members if key.strip().lower() == LABEL_KEY]
    return labels[0] if node.closed and len(labels) == 1 and isinstance(labels[0], str) else None


def _number(value: str | _Node | None) -> int | None:
    match = _NUMBER.fullmatch(value) if isinstance(value, str) else None
    return int(match[1]) if match else None


def _read(text: str, position: int) -> tuple[_Node, int]:
    """The object that begins at this position, and where it ends; it is not closed where the text ends before it.

    Without recursion, so that no nesting can exhaust the stack.

    Raises:
        _Broken: it is no JSON, and not for its end alone.
    """
    root = _Node("{")
    inside = [root]
    position += 1
    while inside:
        behind = _read_member(text, position, inside)
        if behind is None:
            return root, len(text)
        position = behind
    return root, position


def _read_member(text: str, position: int, inside: list[_Node]) -> int | None:
    """Read a member or a closing bracket into the innermost node; what stands behind it, or None where the text ends.

    A value is taken only where it is whole: a string with its closing quote, a number with what parts it from the next.
    """
    node, key = inside[-1], ""
    closing = _CLOSING.match(text, position)
    if closing is not None:
        if (closing[1] == "}") != node.is_object:
            raise _Broken
        inside.pop().closed = True
        return _behind_separator(text, closing.end()) if inside else closing.end()
    if node.is_object:
        found = _KEY.match(text, position)
        if found is None:
            _expect_end(text, position)
            return None
        key, position = _text(found[1]), found.end()
    value = _VALUE.match(text, position)
    if value is None:
        _expect_end(text, position)
        return None
    bracket, string, literal = value.groups()
    if bracket is not None:
        if len(inside) == DEEPEST:
            raise _Broken
        inside.append(_Node(bracket))
        node.members.append((key, inside[-1]))
        return value.end()
    node.members.append((key, _text(string) if string is not None else None if literal == "null" else literal))
    return _behind_separator(text, value.end())


def _behind_separator(text: str, position: int) -> int:
    separator = _SEPARATOR.match(text, position)
    if separator is None:
        raise _Broken
    return separator.end()


def _expect_end(text: str, position: int) -> None:
    """Let pass only what begins as JSON would and goes on to the end of the text."""
    if _CUT.match(text, position) is None:
        raise _Broken


def _text(quoted: str) -> str:
    """What a JSON string says; half a surrogate pair, which UTF-8 cannot hold, is replaced."""
    if "\\" not in quoted:
        return quoted[1:-1]
    return str(json.loads(quoted)).encode("utf-8", "replace").decode()
