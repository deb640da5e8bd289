"""JSON Lines: an object on each line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import msgspec

from batchjob.errors import InputError
from batchjob.inputs.lines import Lines
from batchjob.inputs.reader import ByteStream, StreamReader, Wanted, bad_byte_error, make_source
from batchjob.inputs.stream import BadByte, Stream
from batchjob.model import InputRow, InputSource

KEPT_CHARS = 2000
"""Of a line that is no JSON object: enough to recognise it."""

open_stream = Stream

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


class NotAnObject(Exception):
    """A line is not a JSON object; the text says what it is."""


def open_reader(stream: ByteStream, wanted: Wanted) -> StreamReader:
    """A reader of this stream; its columns are the keys of the first object.

    Raises:
        InputError: it is empty, its first line is no object, or that lacks a column.
    """
    columns = _first_keys(Lines(stream.peek(), name=stream.name), stream.name)
    return reader_of(stream, wanted, columns)


def reader_of(stream: ByteStream, wanted: Wanted, columns: list[str]) -> StreamReader:
    """A reader of objects with these columns.

    Raises:
        InputError: a column is not there.
    """
    source = make_source(stream, wanted, columns, only_is_text=False)
    return StreamReader(source, stream, partial(_rows, source))


def _first_keys(lines: Lines, name: str) -> list[str]:
    try:
        for line in lines:
            if not line.isspace():
                return list(_read_object(line))
    except BadByte as bad:
        raise bad_byte_error(name, bad, f"line {lines.line}, row 1") from None
    except NotAnObject as error:
        raise InputError(
            f"{name}: line {lines.line - 1} is not a JSON object ({error}), so this is not JSON Lines;"
            " give the right --format"
        ) from None
    raise InputError(f"{name} is empty; it needs a JSON object on each line")


def _rows(source: InputSource, lines: Lines, number: int) -> Iterator[InputRow]:
    """The rows behind a position; see `reader.RowsOf`."""
    for at, line in enumerate(lines, lines.line):
        if line.isspace():
            continue
        try:
            found = _read_object(line)
        except NotAnObject as error:
            kept = _encode({"_line": line.rstrip("\r\n")[:KEPT_CHARS]}).decode()
            yield at, str(number), "", kept, f"bad_json: {error}; write one JSON object on this line"
        else:
            yield _row(found, at, number, source)
        number += 1


def _row(found: dict[str, Any], line: int, number: int, source: InputSource) -> InputRow:
    text, defect = _text_of(found, source.text_column)
    key = str(number) if source.id_column is None else _key(found.get(source.id_column))
    found.pop(source.text_column, None)
    if source.id_column is not None:
        found.pop(source.id_column, None)
    return line, key, text, _encode(found).decode() if found else None, defect


def _text_of(found: dict[str, Any], column: str) -> tuple[str, str | None]:
    """The text, and what is wrong with it."""
    text = found.get(column)
    if isinstance(text, str):
        return text, None
    if isinstance(text, int | float) and not isinstance(text, bool):
        return str(text), None
    if text is None:
        return "", None if column in found else f'missing_text: no "{column}" in this object'
    kind = {bool: "a boolean", list: "an array"}.get(type(text), "an object")
    return "", f'not_text: "{column}" is {kind}; make it a string'


def _key(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else _encode(value).decode()


def _read_object(line: str) -> dict[str, Any]:
    """The object on a line.

    Raises:
        NotAnObject: it is something else, or no JSON.
    """
    try:
        found = _decode(line)
    except (msgspec.DecodeError, RecursionError) as error:
        found = _read_leniently(line, str(error))
    if not isinstance(found, dict):
        raise NotAnObject("it is JSON of another kind")
    return found


def _read_leniently(line: str, reason: str) -> Any:
    """What Python's json reads and msgspec refuses: half a surrogate pair, as programs that cut strings write it.

    SQLite and the endpoint take only whole characters, so a half becomes U+FFFD.
    """
    try:
        whole = json.dumps(json.loads(line), ensure_ascii=False).encode("utf-16", "surrogatepass")
        return _decode(whole.decode("utf-16", "replace"))
    except (ValueError, RecursionError, msgspec.DecodeError):
        raise NotAnObject(reason) from None
