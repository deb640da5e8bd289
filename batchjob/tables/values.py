"""The values of a table on their way from one file to another: JSON text, so that each comes out as it went in.

What JSON has no word for (NaN, bytes) is a string that begins with MARK, a character that no text holds.
"""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from typing import Any, Final, Literal, NamedTuple

import msgspec

MARK = "\uffff"
BYTES = f"{MARK}base64:"
SPECIALS = ("NaN", "Infinity", "-Infinity")
"""Numbers that JSON lacks and Python's json writes all the same."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|-?\bInfinity\b|\bNaN\b')
_MARKED_NUMBER = re.compile(rf'"{MARK}({"|".join(SPECIALS)})"')
_HALF = re.compile(r"\\[uU][dD][89a-fA-F]")  # perhaps half of a surrogate pair

Raw = msgspec.Raw
"""A value as it stands in JSON text."""

_text = msgspec.json.Decoder(str).decode
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Absent:
    """A JSON object has no such key: that is less than null."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = Absent()


class Kinds(NamedTuple):
    """What the columns of a table hold, for a format that has types."""

    kinds: tuple[Literal["text", "integer", "json", "typed"], ...]  # json: whatever its values are
    origins: tuple[str, ...]  # of a typed column: its name in the schema
    schema: str = ""  # see batchjob.tables.arrow


def same_name(name: str) -> str:
    """What two spellings of a column's name have in common: é may be one character, or two."""
    return unicodedata.normalize("NFC", name)


# ---------------------------------------------------------------- in


def marked(line: str) -> str:
    """JSON text in which NaN and its like are marked strings, and halves of surrogate pairs are U+FFFD: SQLite and the
    endpoint take only whole characters.
    """

    def token(found: re.Match[str]) -> str:
        text = found[0]
        if text[0] != '"':
            return f'"{MARK}{text}"'
        return _whole(text) if _HALF.search(text) else text

    return _TOKEN.sub(token, line)


def _whole(text: str) -> str:
    whole = json.loads(text, strict=False).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return json.dumps(whole, ensure_ascii=False)


def special(number: float) -> str:
    """A number that JSON lacks, as a marked string."""
    return f"{MARK}NaN" if number != number else f"{MARK}{'-' if number < 0 else ''}Infinity"


def packed(content: bytes) -> str:
    """Bytes: the text they are, else a marked string."""
    try:
        return content.decode()
    except UnicodeDecodeError:
        return BYTES + base64.b64encode(content).decode()


# ---------------------------------------------------------------- out


def json_text(lines: bytes) -> bytes:
    """JSON text with NaN and its like as Python's json writes them, and bytes in base64."""
    if MARK.encode() not in lines:
        return lines
    return _MARKED_NUMBER.sub(r"\1", lines.decode()).replace(f'"{BYTES}', '"').encode()


def cell(value: object) -> object:
    """A value as a cell of CSV: text or number as it is, true, array and object as JSON text, else nothing."""
    kind = type(value)
    if kind is Raw:
        return _raw_cell(bytes(value))  # type: ignore[call-overload]
    if kind is str or kind is int or kind is float or value is None:
        return value
    return None if value is ABSENT else _encode(value).decode()


def _raw_cell(raw: bytes) -> str | None:
    if raw[:1] == b'"':
        text = _text(raw)
        if text[:1] != MARK:
            return text
        return text.removeprefix(BYTES) if text.startswith(BYTES) else None
    if raw == b"null":
        return None
    text = raw.decode()
    return _MARKED_NUMBER.sub("null", text).replace(f'"{BYTES}', '"') if MARK in text else text


def unmarked(value: Any) -> Any:
    """A decoded JSON value with its marked strings as what they stand for."""
    if isinstance(value, str) and value[:1] == MARK:
        return base64.b64decode(value.removeprefix(BYTES)) if value.startswith(BYTES) else float(value[1:])
    if isinstance(value, list):
        return [unmarked(one) for one in value]
    if isinstance(value, dict):
        return {key: unmarked(one) for key, one in value.items()}
    return value
