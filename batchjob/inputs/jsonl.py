"""JSON Lines: an object on each line. Its values are kept as they stand there: 2.50, 1e400 and NaN come out so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from batchjob.errors import InputError
from batchjob.inputs.lines import Lines
from batchjob.inputs.reader import ByteStream, StreamReader, Wanted, bad_byte_error, make_source
from batchjob.inputs.stream import BadByte, Stream
from batchjob.model import InputRow, InputSource, Notice
from batchjob.tables.values import BYTES, MARK, Raw, marked

KEPT_CHARS = 2000
"""Of a line that is no JSON object: enough to recognise it."""

MOST_KEYS = 10_000
"""Different keys that a table may have: with more, they are no columns."""

open_stream = Stream

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Raw]).decode
_text = msgspec.json.Decoder(str).decode

_LONG_NUMBER = re.compile(r"\d{4300}")
"""More digits than Python makes a number of."""
MOST_NESTED = 400
"""Values within values. All that reads or writes JSON here takes that, whatever the Python and the thread's stack."""
_BRACKET = re.compile(r"[][{}]")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


class NotAnObject(Exception):
    """A line is not a JSON object; the text says what it is."""


def open_reader(stream: ByteStream, wanted: Wanted) -> StreamReader:
    """A reader of this stream; its columns are the keys of the first object. More may come.

    Raises:
        InputError: it is empty, its first line is no object, or that lacks a column.
    """
    columns = _first_keys(Lines(stream.peek(), name=stream.name), stream.name)
    return reader_of(stream, wanted, columns)


def reader_of(
    stream: ByteStream, wanted: Wanted, columns: list[str], *, only_is_text: bool = False, **more: Any
) -> StreamReader:
    """A reader of objects with these columns. Other arguments are those of `make_source`.

    Raises:
        InputError: a column is not there.
    """
    source = make_source(stream, wanted, columns, only_is_text=only_is_text, **more)
    return StreamReader(source, stream, partial(_rows, source))


def _first_keys(lines: Lines, name: str) -> list[str]:
    try:
        for line in lines:
            if not line.isspace():
                return list(read_object(line))
    except BadByte as bad:
        raise bad_byte_error(name, bad, f"line {lines.line}, row 1") from None
    except NotAnObject as error:
        raise InputError(
            f"{name}: line {lines.line - 1} is not a JSON object ({error}), so this is not JSON Lines;"
            f" {_advice(line, name)}"
        ) from None
    raise InputError(f"{name} is empty; it needs a JSON object on each line")


def _advice(line: str, name: str) -> str:
    beginning = line.strip()
    if beginning[:1] == "[":
        return f"make lines of it with: jq -c '.[]' {name}"
    if beginning == "{":
        return f"put each object on one line with: jq -c . {name}"
    return "give the right --format"


def _rows(source: InputSource, lines: Lines, number: int, noticed: list[Notice]) -> Iterator[InputRow]:
    """The rows behind a position; see `reader.RowsOf`."""
    known = set(source.columns)
    make_row = row_maker(source)
    for at, line in enumerate(lines, lines.line):
        if line.isspace():
            continue
        try:
            found = read_object(line)
            if not found.keys() <= known:
                _learn(found, known, noticed)
        except NotAnObject as error:
            kept = _encode({"_line": line.rstrip("\r\n")[:KEPT_CHARS]}).decode()
            yield at, str(number), "", kept, f"bad_json: {error}; write one JSON object on this line"
        else:
            yield make_row(found, at, number)
        number += 1


def _learn(found: dict[str, Raw], known: set[str], noticed: list[Notice]) -> None:
    """Note the keys that no object had before.

    Raises:
        NotAnObject: one cannot be the name of a column.
    """
    for key in found:
        if "\0" in key:
            raise NotAnObject("a key holds a zero byte")
        if key not in known and len(known) <= MOST_KEYS:
            known.add(key)
            noticed.append(Notice("column", key))


MakeRow = Callable[[dict[str, Raw], int, int], InputRow]


def row_maker(source: InputSource) -> MakeRow:
    """The function (object, line, number) -> row for these columns; it is called for every row of the input.

    What text and key do not say of themselves (a number, null, "") stays among the other values, so that it can come
    out as it came in.
    """
    text_column, id_column = source.text_column, source.id_column

    def make_row(found: dict[str, Raw], line: int, number: int) -> InputRow:
        defect = None
        try:
            text = _text(found[text_column])
        except (KeyError, msgspec.ValidationError):
            text = ""
        if text and text[0] != MARK:
            del found[text_column]
        else:
            text, defect = _odd_text(found.get(text_column), text_column)
        key = str(number) if id_column is None else _key(found, id_column)
        return line, key, text, _encode(found).decode() if found else None, defect

    return make_row


def _odd_text(value: Raw | None, column: str) -> tuple[str, str | None]:
    """The text of a value that is no plain string, and what is wrong with it."""
    if value is None:
        return "", f'missing_text: no "{column}" in this object'
    raw = bytes(value)
    if raw == b"null":
        return "", None
    if raw[:1] == b'"':
        bad = f'not_text: "{column}" holds bytes that are no UTF-8; make it a string'
        return "", bad if _text(raw).startswith(BYTES) else None
    kind = {b"t": "a boolean", b"f": "a boolean", b"[": "an array", b"{": "an object"}.get(raw[:1])
    if kind is None:
        return raw.decode(), None
    return "", f'not_text: "{column}" is {kind}; make it a string'


def _key(found: dict[str, Raw], column: str) -> str:
    """The key in a column, which is taken out where it is a string."""
    if column not in found:
        return ""
    raw = bytes(found[column])
    if raw[:1] != b'"':
        return "" if raw == b"null" else raw.decode()
    key = _text(raw)
    if not key or key[0] == MARK:
        return key.removeprefix(MARK)
    del found[column]
    return key


def read_object(line: str) -> dict[str, Raw]:
    """The object on a line, each value as it stands there.

    Raises:
        NotAnObject: it is something else, no JSON, or has a key twice.
    """
    try:
        found = _decode(line)
    except msgspec.ValidationError:
        raise NotAnObject("it is JSON of another kind") from None
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        found = _read_leniently(line, str(error))
    # Each key has its colon; where there are more, they are nested or in a text, or a key stands there twice.
    if line.count(":") != len(found) and not _is_whole(line, found):
        _check_keys(line, found)
    if len(line) > 4300 and _LONG_NUMBER.search(line):
        raise NotAnObject("a number in it is too long")
    if len(line) > 2 * MOST_NESTED and _is_too_deep(line):
        raise NotAnObject(f"values in it are nested more than {MOST_NESTED} deep")
    return found


def _is_too_deep(line: str) -> bool:
    """Whether values are nested so deep that what reads or writes them elsewhere could run out of stack."""
    if line.count("[") + line.count("{") <= MOST_NESTED:
        return False
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", line)):
        depth += 1 if bracket in "[{" else -1
        if depth > MOST_NESTED:
            return True
    return False


def _is_whole(line: str, found: dict[str, Raw]) -> bool:
    """Whether the object, written again, is as long as the line, in the usual ways to write one: then nothing of it is
    missing.
    """
    again = len(_encode(found).decode())
    behind = line.find('":') + 2
    spaces = 2 * len(found) - 1 if line[behind : behind + 1] == " " else 0
    return len(line.rstrip()) == again + spaces


def _check_keys(line: str, found: dict[str, Raw]) -> None:
    pairs: list[tuple[str, Any]] = []

    def keep(given: list[tuple[str, Any]]) -> None:
        pairs[:] = given  # the outermost object comes last

    try:
        json.loads(line, object_pairs_hook=keep, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise NotAnObject(str(error)) from None
    if len(pairs) == len(found):
        return
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), names[0] if names else "")
    raise NotAnObject(f"the key {twice!r} stands there twice")


def _read_leniently(line: str, reason: str) -> dict[str, Raw]:
    """What Python's json reads and msgspec refuses: NaN and its like, and halves of surrogate pairs."""
    try:
        return _decode(marked(line))
    except (ValueError, RecursionError, msgspec.DecodeError):
        raise NotAnObject(reason) from None
