"""The header of a table: the names of its columns, and whether the first row is one at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from statistics import median

from batchjob.errors import InputError, SettingError
from batchjob.inputs.reader import Wanted, check_names, column_meant, default_text

LONGEST_NAME = 60
SHOWN_CHARS = 60
USUAL_NAMES = re.compile(
    r"(texts?|body|comments?|messages?|reviews?|titles?|descriptions?|content|tweets?|posts?|questions?|answers?"
    r"|feedback|responses?|sentences?|utterances?|query|notes?|subject|summary|input|prompt|documents?|tickets?"
    r"|kommentar|nachricht|beschreibung|texto|comentario|mensaje|texte|commentaire|testo|commento|tekst)",
    re.IGNORECASE,
)
"""Names of a lone column that nobody takes for a text."""

_DATA = re.compile(r"[+-]?[\d.,]+%?|\d{4}-\d\d?-\d\d?.*|\d\d?[./]\d\d?[./]\d{2,4}.*|\S+@\S+\.\w+|https?://.*", re.ASCII)
"""A number, a date, an address: no name of a column, unless others there are."""
_SENTENCE = re.compile(r"(?s).*[.!?。！？]\s*|(\S+\s+){5,}\S+\s*")
_WORD = re.compile(r"[^\W\d]\w*")


def names_of(fields: Sequence[str], name: str) -> list[str]:
    """The names in a header. Nameless ones at the end, as spreadsheets leave them, are dropped.

    Raises:
        InputError: two are the same, or it is in another encoding.
    """
    columns = [field.strip().lstrip("\N{ZERO WIDTH NO-BREAK SPACE}") for field in fields]
    while not columns[-1]:
        columns.pop()
    if any("\0" in column for column in columns):
        raise InputError(f"{name}: the header holds zero bytes; if it is UTF-16, give --encoding utf-16-le (or -be)")
    try:
        check_names(columns, name)
    except InputError as error:
        raise InputError(f"{error}, or add --no-header-row if that is none") from None
    return columns


def made_names(width: int) -> list[str]:
    """The names of columns that have none."""
    return ["text"] if width == 1 else [f"column_{n}" for n in range(1, width + 1)]


def check_is_header(name: str, columns: list[str], below: list[list[str]], wanted: Wanted) -> Iterator[str]:
    """See that the first row is a header, by what stands in it and below; what a person should know of that.

    Raises:
        SettingError: it seems to be a row, whose text would be lost.
    """
    if default_text(columns) or (wanted.text_column and column_meant(wanted.text_column, columns)):
        return
    if len(columns) > 1:
        if _is_row(columns, below):
            made = ", ".join(made_names(len(columns)))
            raise SettingError(
                f"{name}: its first line, {_shown(', '.join(columns))}, looks like a row and not like a header: add"
                f" --no-header-row (the columns are then {made}), or --header-row if it is one"
            )
        return
    texts = [row[0] for row in below if row]
    if USUAL_NAMES.fullmatch(columns[0]):
        return
    if not _is_name(columns[0], texts):
        raise SettingError(
            f"{name}: its first line, {_shown(columns[0])}, may be a text or a header: add --no-header-row if it is a"
            f" text, or --header-row if it names the column"
        )
    yield f"its first line, {_shown(columns[0])}, is taken for the header; if it is a text, add --no-header-row"


def _is_row(columns: list[str], below: list[list[str]]) -> bool:
    for at, column in enumerate(columns):
        if _DATA.fullmatch(column) or len(column) > LONGEST_NAME or _SENTENCE.fullmatch(column):
            return True
        if column and any(row[at] == column for row in below if at < len(row)):
            return True
    return False


def _is_name(column: str, texts: list[str]) -> bool:
    """Whether a lone name is one: a word, and much shorter than the texts below."""
    if column in texts or not _WORD.fullmatch(column):
        return False
    if "_" in column or not texts:
        return True
    return median(map(len, texts)) >= 3 * len(column)


def _shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 3] + "...")
