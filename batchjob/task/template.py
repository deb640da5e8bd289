"""A prompt as it is written -> its letters, and the places that a row's values and the labels are put in."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

from batchjob.errors import SettingError
from batchjob.model import InputSource

TEXT, LABELS = "text", "labels"
MOST_NAMED = 30  # columns in a message

_MARK = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_DOUBLED = re.compile(r"\{\{\s*([^{}]*?)\s*\}\}")
_WORDS = re.compile(r"[^\W\d][\w .\-/]*")
_NEAR = 0.85
"""How alike words in braces are to a column's name where they are taken for it, misspelt."""


class Template(NamedTuple):
    """Letters, with a place between each two: TEXT, LABELS or the name of another column."""

    letters: tuple[str, ...]
    places: tuple[str, ...]

    def ending(self, letters: str, place: str) -> Template:
        """The template with letters and a place behind it; white space at its end goes."""
        return Template((*self.letters[:-1], self.letters[-1].rstrip() + letters, ""), (*self.places, place))


def read_template(prompt: str, source: InputSource | None) -> Template:
    """The template of a prompt: `{column}` is a place, `{{` and `}}` are braces, other braces stay as they are.

    A name is an identifier alone in braces, or whatever is a column of the input. `{text}` is the text column and
    `{labels}` the list of labels, whatever the columns are called. `}}` is one brace only where a `{{` is open: JSON in
    a prompt ends so.

    Args:
        source: None where there is no input: then only {text} and {labels} are known.

    Raises:
        SettingError: a name is none of the columns.
    """
    letters, places, end, open_ = [""], list[str](), 0, 0
    named = set[str]()
    for mark in _MARK.finditer(prompt):
        letters[-1] += prompt[end : mark.start()]
        end = mark.end()
        place = None if mark[1] is None else _place(mark[1], source)
        if place is not None:
            named.add(mark[1].strip())
            places.append(place)
            letters.append("")
            continue
        doubled = mark[0] == "{{" or (mark[0] == "}}" and open_ > 0)
        open_ += {"{{": 1, "}}": -1 if doubled else 0}.get(mark[0], 0)
        letters[-1] += mark[0][0] if doubled else mark[0]
    letters[-1] += prompt[end:]
    if source is not None and source.text_column != TEXT and named.issuperset((TEXT, source.text_column)):
        _refuse_text_twice(source)
    if not places:
        _refuse_doubled(prompt, source)
    return Template(tuple(letters), tuple(places))


def _place(inside: str, source: InputSource | None) -> str | None:
    """The place that braces are; None where they are part of the letters.

    Raises:
        SettingError: they look like a place, and name no column.
    """
    name = inside.strip()
    columns = () if source is None else source.columns
    if name in (TEXT, LABELS):
        return name
    if name in columns:
        return TEXT if source is not None and name == source.text_column else name
    if inside in columns:
        return inside
    known = (TEXT, LABELS, *columns)
    meant = _nearest(name, known, 0.5 if name.isidentifier() else _NEAR)
    if not name.isidentifier() and not (meant and _WORDS.fullmatch(name)):
        return None
    hint = f" Did you mean {{{meant}}}?" if meant else ""
    named = ", ".join(columns[:MOST_NAMED]) + (", ..." if len(columns) > MOST_NAMED else "")
    has = f"The columns of the input are: {named}; {{{TEXT}}} is the text and {{{LABELS}}} the list of labels."
    raise SettingError(
        f"the prompt names {{{name}}}, which is no column of the input.{hint} {has} "
        f"For braces as such double them: {{{{{name}}}}}"
    )


def _refuse_text_twice(source: InputSource) -> None:
    """A column that is called `text`, and is not the text column, cannot be meant by {text}."""
    if TEXT in source.columns:
        raise SettingError(
            f"the prompt names {{{TEXT}}} and {{{source.text_column}}}, which are the same: {{{TEXT}}} is the text "
            f"column, and that is {source.text_column!r}. Give --text-column {TEXT}, or leave one of them out"
        )


def _refuse_doubled(prompt: str, source: InputSource | None) -> None:
    """Nothing is filled in, and a column stands in doubled braces, as other template languages have it."""
    known = (TEXT, LABELS, *(() if source is None else source.columns))
    name = next((found[1] for found in _DOUBLED.finditer(prompt) if found[1] in known), None)
    if name is not None:
        raise SettingError(
            f"the prompt has {{{{{name}}}}} and no {{name}} in single braces, so that the letters {{{name}}} would be "
            f"sent with every row: write {{{name}}} where the value is to stand"
        )


def _nearest(written: str, known: Sequence[str], cutoff: float) -> str:
    """The known name that is nearest, whatever its case; "" where none is near."""
    names = {name.casefold(): name for name in reversed(known)}
    found = difflib.get_close_matches(written.casefold(), names, n=1, cutoff=cutoff)
    return names[found[0]] if found else ""
