"""Inputs: a file, or what is piped in, as a stream of rows.

Each format is a module with two functions and a line in FORMATS:

    open_stream(path, encoding) -> ByteStream     the bytes positions and digests count in
    open_reader(stream, wanted) -> Reader         the header read and its columns chosen

A module is imported when its format is asked for, so that nobody loads a library for a format they do not use.
"""

from __future__ import annotations

import importlib
from pathlib import PurePath
from typing import Any

from batchjob.errors import InputError, SettingError
from batchjob.inputs.lines import digest_of
from batchjob.inputs.reader import ByteStream, StreamReader, Wanted, bad_byte_error
from batchjob.inputs.stream import BadByte, Stream

FORMATS = {
    "csv": "batchjob.inputs.delimited",
    "tsv": "batchjob.inputs.delimited",
    "jsonl": "batchjob.inputs.jsonl",
    "parquet": "batchjob.inputs.parquet",
}
"""A format's name, which is its suffix too, and the module that reads it. Any of the text formats may be gzipped."""

ALIASES = {"ndjson": "jsonl"}
"""Other suffixes of the same formats."""


def open_input(
    path: str, *, format: str | None, encoding: str, id_column: str | None, text_column: str | None
) -> StreamReader:
    """The input at a path ("-" is stdin), opened and its header checked. No row has been read.

    Args:
        format: a key of FORMATS; None takes the path's suffix, and for stdin csv or, where it begins with "{", jsonl.
        encoding: a Python codec; a byte order mark in the input wins over it.
        id_column, text_column: None takes `id` if there; `text`, then `body`, then the only column.

    Raises:
        InputError: it cannot be opened, is empty, or lacks a column.
        SettingError: the format or the encoding is not known.
    """
    stream: ByteStream | None = None
    if path == "-" and format is None:
        piped = Stream(path, encoding)
        format = "jsonl" if piped.first_byte() == b"{" else "csv"
        stream = piped
    format = _format_of(path, format)
    module = _module(format)
    stream = stream or module.open_stream(path, encoding)
    wanted = Wanted(format=format, encoding=encoding, id_column=id_column, text_column=text_column)
    reader: StreamReader = module.open_reader(stream, wanted)
    return reader


def fingerprint(path: str, *, format: str | None, encoding: str) -> tuple[int, str]:
    """Length and SHA-256 (hex) of the whole decoded input: position and digest of its last chunk, if it is the same.

    Reads everything, so not for stdin. For asking whether a file with another mtime is still the same input.

    Raises:
        InputError: it cannot be read to its end.
        SettingError: the format or the encoding is not known.
    """
    stream: ByteStream = _module(_format_of(path, format)).open_stream(path, encoding)
    try:
        return digest_of(stream.blocks())
    except BadByte as bad:
        raise bad_byte_error(stream.name, bad) from None


def _format_of(path: str, format: str | None) -> str:
    if format is not None:
        if format not in FORMATS:
            raise SettingError(f"format {format!r} is not known; these are: {', '.join(FORMATS)}")
        return format
    suffixes = [suffix[1:].lower() for suffix in PurePath(path).suffixes]
    if suffixes[-1:] == ["gz"]:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    found = ALIASES.get(last, last)
    if found not in FORMATS:
        known = ", ".join(f".{name}" for name in (*FORMATS, *ALIASES))
        raise InputError(
            f"{path}: the suffix does not tell the format (known: {known}, the text ones also with .gz);"
            f" name it with --format {'|'.join(FORMATS)}"
        )
    return found


def _module(format: str) -> Any:
    return importlib.import_module(FORMATS[format])
