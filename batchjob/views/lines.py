"""Lines fit for a terminal: printable, measured in its columns, and folded to its width."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from batchjob.printable import printable

_COMMAND = re.compile(r"^next |(?:^|  |: )batchjob [a-z-]")
"""A command to copy; where a text of the user's has the name in it, it stands behind other words, or in quotes."""


def folded(lines: Sequence[str], columns: int | None, *, whole: bool = True) -> list[str]:
    """The lines made printable and folded between words; what follows stands under what it belongs to.

    A line with a command stays whole, so that the command can be copied, unless `whole` is False: then no line is
    wider. With columns None, every line stays whole.
    """
    shown = [printable(line) for line in lines]
    if columns is None:
        return shown
    return [part for line in shown for part in _fold(line, columns, whole=whole)]


def _fold(line: str, columns: int, *, whole: bool) -> Iterator[str]:
    if width(line) <= columns or (whole and _COMMAND.search(line)):
        yield line
        return
    indent = min(_hanging(line), columns // 2)
    start = len(line) - len(line.lstrip())
    kept = line[:start]
    for word in _broken(line[start:].split(" "), columns - indent):
        if kept.strip() and width(kept) + 1 + width(word) > columns:
            yield kept.rstrip()
            kept = " " * indent + word
        else:
            kept += (" " if kept.strip() else "") + word
    yield kept.rstrip()


def _broken(words: Sequence[str], columns: int) -> Iterator[str]:
    """The words, those that are too wide for a line (a path, say) in parts."""
    for word in words:
        while width(word) > columns:
            fits = next(count for count in range(len(word), 0, -1) if width(word[:count]) <= columns or count == 1)
            yield word[:fits]
            word = word[fits:]
        yield word


def _hanging(line: str) -> int:
    """Where the lines that follow begin: under the value of `name   value`, else a little behind the line's start."""
    start = len(line) - len(line.lstrip())
    gap = line.find("  ", start)
    if gap < 0 or gap > start + 12:
        return start + 2
    return gap + len(line[gap:]) - len(line[gap:].lstrip())


def width(text: str) -> int:
    """The columns that a printable text takes in a terminal."""
    if text.isascii():
        return len(text)
    # Imported here: most lines are ASCII, and `status` should not wait for tables of Unicode.
    from wcwidth import wcswidth

    return wcswidth(text)


def padded(text: str, columns: int) -> str:
    """The text with spaces behind it, up to so many columns."""
    return text + " " * (columns - width(text))


def cut(text: str, columns: int) -> str:
    """The text, or as much of its beginning as fits."""
    if width(text) <= columns:
        return text
    while text and width(text) >= columns:
        text = text[:-1]
    return f"{text}…"


def ending(text: str, columns: int | None) -> str:
    """The text, or as much of its end as fits: the end of a path says the most."""
    if columns is None or width(text) <= columns:
        return text
    while text and width(text) >= columns:
        text = text[1:]
    return f"…{text}"
