"""Where an answer of more than a label says itself which label it gives.

Namely: the value of a JSON `label` key, or of an object's only member, or an array's only element; `<label>L</label>`;
what stands alone behind `label:` and its like; what fills a line in bold, in quotes or in `\\boxed{}`; the last line,
if it stands behind a blank one. Marks that give two labels, or something that is no label, give none. Neither does a
mark that the text around it takes back, or sets up as an example. Time is linear in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import zip_longest
from typing import Any, NamedTuple

from batchjob.task import signals
from batchjob.task.forms import enclosed, plain

SEVERAL = ""
"""In the place of a label: a text that may be more than one of them."""
_Named = Callable[[str], str | None]
"""The label that a text is, SEVERAL, or None where it is none."""

LONGEST_SHORT = 3
"""Labels up to this length are words in some language (it, no, in): on a line of more they must stand in their case."""
_MOST_MARKS = 16
_DEEPEST = 8
_LOOKED_AT_BEFORE = 300

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
_KEY = re.compile(r"[\W_]*+(?P<key>[^:\n<>]{1,30}?)[\W_]*:\s|<(?P<tag>\w+)>")
_SENTENCE_END = re.compile(r"[.!?…।؟][\"'”»)*_]*+\s|[.!?…।؟][\"'”»)*_]*+\Z|[。！？]|\n\s*\n")
# Behind its answer a model may go on with a text and a label of its own making, as in a prompt with examples.
_NEXT_TEXT = re.compile(
    r"\n[^\S\n]*+[*_#>-]*+[^\S\n]*+(?:text|input|question|user|human|customer|message|example|frage|texte|texto|текст|文本|输入)"
    r"[ \d#*_]*:",
    re.IGNORECASE,
)
# Keys whose value is no answer: what was asked, and why it was answered so.
_ASIDE_WORDS = """
reason reasoning rationale explanation justification thought thoughts thinking analysis error message comment note
text input question prompt confidence probability score
"""
_ASIDES = frozenset(_ASIDE_WORDS.split())

_decoder = json.JSONDecoder(object_pairs_hook=tuple, parse_int=str, parse_float=str, parse_constant=lambda _: None)


class _Mark(NamedTuple):
    start: int
    end: int
    label: str | None  # None where what is marked is no label


def marked(text: str, named: _Named) -> str | None:
    """The one label that an answer marks as what it gives."""
    text = _FENCE_LINE.sub("", text).replace("：", ":").strip()
    blocks = [*_in_json(text, named), *_in_tags(text, named)]
    around = _without(text, blocks)
    marks = [*blocks, *_in_lines(around, named)]
    labels = {mark.label for mark in marks}
    label = labels.pop() if len(labels) == 1 and len(marks) <= _MOST_MARKS else None
    if not label or _NEXT_TEXT.search(around):
        return None
    befores = [text[max(0, mark.start - _LOOKED_AT_BEFORE) : mark.start] for mark in marks]
    if any(_is_set_aside(before, label, named) for before in befores):
        return None
    if _is_taken_back(around[max(mark.end for mark in marks) :]):
        return None
    others = {named(line[0]) for line in _LINE.finditer(around)} - {None, label}
    return None if others else label


def _without(text: str, blocks: list[_Mark]) -> str:
    """The text with blanks in the place of the blocks, so that nothing in them is read again."""
    parts, end = [], 0
    for block in sorted(blocks):
        if block.start >= end:
            parts += [text[end : block.start], " " * (block.end - block.start)]
            end = block.end
    return "".join([*parts, text[end:]])


# ---------------------------------------------------------------- JSON and tags


def _in_json(text: str, named: _Named) -> Iterator[_Mark]:
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
            yield _Mark(start.start(), end, _given_by(value, named))


def _given_by(value: Any, named: _Named, depth: int = 0) -> str | None:
    """The label that a JSON value gives; objects are tuples of pairs, and numbers are text."""
    if depth == _DEEPEST:
        return None
    if isinstance(value, tuple):
        return _given_by(_answer_in(value, named), named, depth + 1)
    if isinstance(value, list):
        return _given_by(value[0], named, depth + 1) if len(value) == 1 else None
    if isinstance(value, bool):
        value = str(value).lower()
    return named(value) if isinstance(value, str) else None


def _answer_in(members: tuple[tuple[str, Any], ...], named: _Named) -> Any:
    """The value of an object's `label`, or else of the only key like it, or else of its only member; or None."""
    labels = [value for key, value in members if key.strip().casefold() == "label"]
    values = labels or [value for key, value in members if signals.announces(key)]
    if values:
        return values[0] if len(values) == 1 else None
    if len(members) != 1 or _is_aside(members[0][0], named):
        return None
    return members[0][1]


def _is_aside(key: str, named: _Named) -> bool:
    """Whether a key says that its value is something else than the label: `reason`, `not`, or a label of the set."""
    spoken = re.split(r"[\W_]+", key.casefold())
    return not _ASIDES.isdisjoint(spoken) or signals.denies(" ".join(spoken)) or named(key) is not None


def _in_tags(text: str, named: _Named) -> Iterator[_Mark]:
    for number, tagged in enumerate(_TAGGED.finditer(text)):
        label = named(tagged["inner"]) if number < _MOST_MARKS else None
        yield _Mark(tagged.start("tag") - 1, tagged.end(), label)


# ---------------------------------------------------------------- lines


def _in_lines(text: str, named: _Named) -> Iterator[_Mark]:
    """What lines give: behind `label:`, in bold or quotes, and the last one behind a blank one."""
    lines = list(_LINE.finditer(text))
    for line, behind in zip_longest(lines, lines[1:]):
        said = line[0].strip()
        value = _behind_head(said) if ":" in said and named(said) is None else None
        if value is not None:
            below = behind if behind is not None and not any(value) else None
            values = [below[0]] if below else value
            label = next(filter(None, (_in_its_case(value, named, capital=True) for value in values)), None)
            yield _Mark(line.start(), (below or line).end(), label)
        elif _DRESS.match(said, _after_bullet(said)) and (label := _in_its_case(said, named)) is not None:
            yield _Mark(line.start(), line.end(), label)
    if len(lines) > 1 and text.count("\n", lines[-2].end(), lines[-1].start()) > 1:
        last = lines[-1]
        if (label := _in_its_case(last[0], named)) is not None:
            yield _Mark(last.start(), last.end(), label)


def _behind_head(line: str) -> list[str] | None:
    """What stands behind `label:` on a line, as it is and without what encloses the line; None without such a head."""
    heads = [_HEAD.match(layer) for layer in (line, *enclosed(line))]
    values = [head["value"].strip() for head in heads if head and signals.announces(head["head"])]
    return values or None


def _after_bullet(line: str) -> int:
    bullet = _BULLET.match(line)
    return bullet.end() if bullet else 0


def _in_its_case(text: str, named: _Named, *, capital: bool = False) -> str | None:
    """The label that a text is; a short one only as it is written, or with a capital at its beginning."""
    label = named(text)
    if label is None or len(label) > LONGEST_SHORT:
        return label
    return label if label in plain(text) or (capital and label.capitalize() in plain(text)) else None


# ---------------------------------------------------------------- what stands around a mark


def _is_set_aside(before: str, label: str, named: _Named) -> bool:
    """Whether the sentence that runs on into a mark denies what it marks, or sets it up as an example."""
    before = before.rstrip()
    begin = max((end.end() for end in _SENTENCE_END.finditer(before)), default=0)
    sentence = before[begin:].strip()
    if sentence.endswith(":"):
        return signals.denies(sentence) or signals.supposes(sentence)
    return signals.denies(sentence) and not _KEY.match(sentence) and not _ends_with_another(sentence, label, named)


def _ends_with_another(sentence: str, label: str, named: _Named) -> bool:
    """Whether a sentence ends with another label, so that it is over: `not refund`."""
    spoken = sentence.split()
    found = {named(" ".join(spoken[-count:])) for count in range(1, 6)}
    return bool(found - {None, label})


def _is_taken_back(behind: str) -> bool:
    """Whether the text behind a mark may take it back; what is said there under a key of its own is a reason."""
    for line in behind.splitlines():
        key = _KEY.match(line)
        said = (key["key"] or key["tag"]) if key else line
        if signals.denies(said) or signals.contrasts(said) or signals.retracts(line):
            return True
    return False
