"""PostgreSQL's text holds no NUL, and an input may: it is written as two characters that are for private use.

The first of them says that something was replaced, so it is replaced itself where it stands in a text. What is read
is therefore letter for letter what was written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

MARK = "\ue000"
ITSELF, NUL = MARK + "\ue001", MARK + "\ue002"

_JSON = re.compile(rb"\\(?:\\|u0000|[^\\])|\xee\x80\x80")
_REPLACED = {b"\\u0000": NUL.encode(), MARK.encode(): ITSELF.encode()}


def without(text: str) -> str:
    """The text as PostgreSQL can hold it."""
    if MARK not in text and "\0" not in text:
        return text
    return text.replace(MARK, ITSELF).replace("\0", NUL)


def storable(value: Any) -> Any:
    """A value of a record as PostgreSQL can hold it."""
    return without(value) if type(value) is str else value


def without_in_json(text: bytes) -> str:
    """The same for JSON text with all the strings that are in it."""
    if b"\\u0000" in text or b"\xee\x80\x80" in text:
        text = _JSON.sub(lambda found: _REPLACED.get(found[0], found[0]), text)
    return text.decode()


def restored(record: Iterable[Any]) -> tuple[Any, ...]:
    """A record as it was before it was stored."""
    return tuple([_whole(value) if type(value) is str and MARK in value else value for value in record])


def _whole(text: str) -> str:
    return text.replace(NUL, "\0").replace(ITSELF, MARK)
