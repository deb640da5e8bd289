"""Where an answer of more than a label says itself which label it gives.

Namely: the value of a JSON `label` key, or of an object's only member if its key may hold a label, or an array's only
element; `<label>L</label>`; what stands alone behind `label:` and its like; what fills a line in bold, in quotes or in
`\\boxed{}`; the last line, if it stands behind a blank one. Marks that give two labels, or something that is no label,
give none. Neither does a mark that the text around it does not let stand (see around.py). Time is linear in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import IntEnum
from itertools import zip_longest
from typing import Any, NamedTuple

from batchjob.task import prose, signals
from batchjob.task.around import Labels, sets_aside, takes_back
from batchjob.task.forms import enclosed, plain
from batchjob.task.words import LONGEST_SHORT

_MOST_MARKS = 16
_DEEPEST = 8

_FENCE_LINE = re.compile(r"^[^\S\n]*+(?:```|~~~)[^`\n]*+$", re.MULTILINE)
_LINE = re.compile(r"^[^\S\n]*+\S[^\n]*+", re.MULTILINE)
_JSON_START = re.compile(r"^[^\S\n]*+(?=[{\[])", re.MULTILINE)
_REST_OF_LINE = re.compile(r"[^\S\n]*+[.,;]?[^\S\n]*+(?:\n|\Z)")
_TAGS = "label|category|class|classification|answer|result|output|prediction|tag|sentiment|intent|topic"
_TAGGED = re.compile(
    rf"(?:^[^\S\n]*+|(?<=>)\s*+)<(?P<tag>{_TAGS})>(?P<inner>(?:(?!</?(?:{_TAGS})>).)*+)</(?P=tag)>"
    r"(?=\s*+(?:<|\Z)|[^\S\n]*+\n)",
    re.DOTALL | re.IGNORECASE | re.MULTILINE,
)
_BULLET = re.compile(r"[-*•][^\S\n]++")
_DRESS = re.compile(r"\*\*|__|[\"'“”„«»‘「『`]|(?:\$\$?|\\[(\[])?\s*\\boxed\{")
_QUOTES = r"\s\"'“”«»`*_"
_HEAD = re.compile(
    rf"(?:(?:[-*•>]|#{{1,6}})[^\S\n]+)?[{_QUOTES}]*+(?P<head>[^:\n]{{1,60}}?)[{_QUOTES}]*+:"
    r"(?:[*_]{1,2}(?=\s|\Z))?(?P<value>.*)",
    re.DOTALL,
)
# Behind its answer a model may go on with a text and a label of its own making, as in a prompt with examples.
_NEXT_TEXT = re.compile(
    r"\n[^\S\n]*+[*_#>-]*+[^\S\n]*+(?:text|input|question|user|human|customer|message|example|frage|texte|texto|текст|文本|输入)"
    r"[ \d#*_]*:",
    re.IGNORECASE,
)
_decoder = json.JSONDecoder(object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=lambda _: None)


class _Kind(IntEnum):
    """How a label is marked, from what only a label has to what other things have too."""

    KEY = 0  # by JSON, a tag, `label:`, \\boxed{}
    NATURE = 1  # by what labels of such a set are: `rating:`
    BOLD = 2
    QUOTED = 3
    LAST = 4


class _Mark(NamedTuple):
    start: int
    end: int
    label: str | None  # None where what is marked is no label
    kind: _Kind = _Kind.KEY


def marked(text: str, labels: Labels) -> str | None:
    """The one label that an answer marks as what it gives."""
    text = _FENCE_LINE.sub("", text).replace("：", ":").strip()
    blocks = [*_in_json(text, labels), *_in_tags(text, labels)]
    around = _without(text, blocks)
    marks = [*blocks, *_in_lines(around, labels)]
    if any(mark.kind != _Kind.NATURE for mark in marks):  # a score or a language beside the label, if it is none
        marks = [mark for mark in marks if mark.kind != _Kind.NATURE or mark.label is not None]
    given = {mark.label for mark in marks}
    label = given.pop() if len(given) == 1 and len(marks) <= _MOST_MARKS else None
    if not label or _NEXT_TEXT.search(around) or not _stand(around, marks, labels, label):
        return None
    others = {labels.named(line[0]) for line in _LINE.finditer(around)} - {None, label}
    return None if others else label


def _stand(text: str, marks: list[_Mark], labels: Labels, label: str) -> bool:
    """Whether the text around lets all the marks stand."""
    end = 0
    for mark in sorted(marks):
        if sets_aside(text, end, mark.start, labels, label, bare=mark.kind >= _Kind.BOLD):
            return False
        end = max(end, mark.end)
    keys_only = min(mark.kind for mark in marks) >= _Kind.QUOTED
    return not takes_back(text[end:], labels, label, keys_only=keys_only)


def _without(text: str, blocks: list[_Mark]) -> str:
    """The text with blanks in the place of the blocks, so that nothing in them is read again."""
    parts, end = [], 0
    for block in sorted(blocks):
        if block.start >= end:
            parts += [text[end : block.start], " " * (block.end - block.start)]
            end = block.end
    return "".join([*parts, text[end:]])


# ---------------------------------------------------------------- JSON and tags


def _in_json(text: str, labels: Labels) -> Iterator[_Mark]:
    """What JSON gives that fills its lines."""
    end = tries = 0
    for start in _JSON_START.finditer(text):
        if start.end() < end:
            continue
        tries += 1
        if tries > _MOST_MARKS:
            yield _Mark(start.start(), len(text), None)
            return
        try:
            value, behind = _decoder.raw_decode(text, start.end())
        except (ValueError, RecursionError):
            continue
        if _REST_OF_LINE.match(text, behind):
            end = behind
            yield _Mark(start.start(), end, _given_by(value, labels))


def _given_by(value: Any, labels: Labels, depth: int = 0) -> str | None:
    """The label that a JSON value gives; objects are tuples of pairs, and numbers are text."""
    if depth == _DEEPEST:
        return None
    if isinstance(value, tuple):
        return _given_by(_answer_in(value, labels), labels, depth + 1)
    if isinstance(value, list):
        return _given_by(value[0], labels, depth + 1) if len(value) == 1 else None
    if isinstance(value, bool):
        value = str(value).lower()
    return labels.named(value) if isinstance(value, str) else None


def _answer_in(members: tuple[tuple[str, Any], ...], labels: Labels) -> Any:
    """The value of an object's `label`, or else of the only key like it, or else of its only member; or None."""
    by_label = [place for place, (key, _) in enumerate(members) if key.strip().casefold() == "label"]
    places = by_label or [place for place, (key, _) in enumerate(members) if signals.announces(key)]
    if places:
        beside = [member for place, member in enumerate(members) if place != places[0]]
        value = members[places[0]][1]
        return value if len(places) == 1 and not _contradicted(value, beside, labels) else None
    if len(members) != 1:
        return None
    key, value = members[0]
    if labels.named(key) is not None:  # `{"billing": 0.9}`; but `{"1": "1"}` says the same either way
        return value if key.isdecimal() and key == value else None
    return value if prose.may_hold_label(key, value) else None


def _contradicted(value: Any, beside: list[tuple[str, Any]], labels: Labels) -> bool:
    """Whether a member beside a label denies it or gives another."""
    label = labels.named(value) if isinstance(value, str) else None
    for key, other in beside:
        if prose.is_beside(key):
            continue
        if prose.is_no(key, other) or (isinstance(other, str) and labels.named(other) not in (None, label)):
            return True
    return False


def _in_tags(text: str, labels: Labels) -> Iterator[_Mark]:
    for number, tagged in enumerate(_TAGGED.finditer(text)):
        label = labels.named(tagged["inner"]) if number < _MOST_MARKS else None
        yield _Mark(tagged.start("tag") - 1, tagged.end(), label)


# ---------------------------------------------------------------- lines


def _in_lines(text: str, labels: Labels) -> Iterator[_Mark]:
    """What lines give: behind `label:`, in bold or quotes, and the last one behind a blank one."""
    lines = list(_LINE.finditer(text))
    for line, behind in zip_longest(lines, lines[1:]):
        said = line[0].strip()
        values, kind = _behind_head(said) if ":" in said and labels.named(said) is None else ([], _Kind.KEY)
        if values:
            alone = not any(values)
            if alone and text[line.end() : behind.start() if behind else None].strip("\n"):
                continue  # it announces the block that stood here
            below = behind if alone else None
            values = [below[0]] if below else values
            label = next(filter(None, (_in_its_case(value, labels, keyed=True) for value in values)), None)
            yield _Mark(line.start(), (below or line).end(), label, kind)
        elif (dressed := _in_dress(line, labels)) is not None:
            yield dressed
    if len(lines) > 1 and text.count("\n", lines[-2].end(), lines[-1].start()) > 1:
        last = lines[-1]
        if (label := _in_its_case(last[0], labels)) is not None:
            yield _Mark(last.start(), last.end(), label, _Kind.LAST)


def _in_dress(line: re.Match[str], labels: Labels) -> _Mark | None:
    """A line that is a label in bold, in quotes or in `\\boxed{}`."""
    said = line[0].strip()
    dress = _DRESS.match(said, _after_bullet(said))
    if dress is None:
        return None
    kind = _Kind.KEY if "boxed" in dress[0] else _Kind.BOLD if dress[0] in ("**", "__") else _Kind.QUOTED
    label = _in_its_case(said, labels, keyed=kind == _Kind.KEY)
    return _Mark(line.start(), line.end(), label, kind) if label is not None else None


def _behind_head(line: str) -> tuple[list[str], _Kind]:
    """What stands behind `label:` on a line, as it is and without what encloses the line; or nothing."""
    heads = [head for layer in (line, *enclosed(line)) if (head := _HEAD.match(layer))]
    for kind, fits in ((_Kind.KEY, signals.announces), (_Kind.NATURE, signals.announces_kind)):
        values = [head["value"].strip() for head in heads if fits(head["head"])]
        if values:
            return values, kind
    return [], _Kind.KEY


def _after_bullet(line: str) -> int:
    bullet = _BULLET.match(line)
    return bullet.end() if bullet else 0


def _in_its_case(text: str, labels: Labels, *, keyed: bool = False) -> str | None:
    """The label that a text is; a short one only as it is written, unless its set or a key before it tells.

    Behind a key it may also have capitals, and a single letter is no word of prose.
    """
    label = labels.named(text)
    if label is None or len(label) > LONGEST_SHORT or label.casefold() in labels.in_any_case:
        return label
    if keyed and len(label) == 1:
        return label
    spellings = (label, label.capitalize(), label.upper()) if keyed else (label,)
    return label if any(spelling in plain(text) for spelling in spellings) else None
