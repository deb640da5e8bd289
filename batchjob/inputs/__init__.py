"""Inputs: a file, or what is piped in, as a stream of rows.

Each format is a module with two functions and a line in FORMATS:

    open_stream(path, encoding) -> ByteStream     the bytes positions and digests count in
    open_reader(stream, wanted) -> Reader         the header read and its columns chosen

A module is imported when its format is asked for, so that nobody loads a library for a format they do not use.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from batchjob.errors import InputError, SettingError
from batchjob.files import real_path
from batchjob.inputs.reader import ByteStream, StreamReader, Wanted
from batchjob.inputs.recognise import head_of, is_there, recognised, refuse_foreign
from batchjob.inputs.several import SeveralReader
from batchjob.inputs.stream import Stream
from batchjob.model import InputSource, Layout
from batchjob.task.columns import IN_ORDER

FORMATS = {
    "csv": "batchjob.inputs.delimited",
    "tsv": "batchjob.inputs.delimited",
    "jsonl": "batchjob.inputs.jsonl",
    "parquet": "batchjob.inputs.parquet",
    "xlsx": "batchjob.inputs.excel",
}
"""A format's name, which is its suffix too, and the module that reads it. Any of the text formats may be gzipped."""

ALIASES = {"ndjson": "jsonl", "json": "jsonl", "xls": "xlsx", "xlsb": "xlsx", "xlsm": "xlsx", "ods": "xlsx"}
"""Other suffixes of the same formats."""

TABLES = ("csv", "tsv", "xlsx")
"""Formats whose header may be missing, or stand further down."""


def open_input(
    path: str,
    *,
    format: str | None,
    encoding: str,
    id_column: str | None,
    text_column: str | None,
    delimiter: str | None = None,
    skip_lines: int = 0,
    header_row: bool | None = None,
    layout: Layout | None = None,
) -> StreamReader:
    """The input at a path ("-" is stdin), opened and its header checked. No row has been read.

    Args:
        format: a key of FORMATS; None takes what the first bytes are, else the path's suffix, and for stdin csv or,
            where it begins with "{", jsonl.
        encoding: a Python codec; a byte order mark in the input wins over it.
        id_column, text_column: None takes `id` if there; `text`, then `body`, then the only column.
        delimiter, skip_lines, header_row: of a table in text; None is found out.
        layout: as it was read before; then nothing is found out.

    Raises:
        InputError: it cannot be opened, is empty, or lacks a column.
        SettingError: the format or the encoding is not known, or an option has to be given.
    """
    stream: ByteStream | None = None
    if path == "-" and format is None:
        stream = Stream(path, encoding)
        format = "jsonl" if stream.head().startswith(b"{") else "csv"
    format = _format_of(path, format)
    no_header = format not in TABLES and (skip_lines or header_row is not None)
    if no_header or (delimiter and format not in IN_ORDER):
        raise SettingError(f"{path} is {format}, for which those options mean nothing: leave them out")
    module = _module(format)
    stream = stream or module.open_stream(path, encoding)
    if isinstance(stream, Stream):
        refuse_foreign(stream.head(), stream.name, stream.codec)
    wanted = Wanted(format, encoding, id_column, text_column, delimiter, skip_lines, header_row, layout)
    reader: StreamReader = module.open_reader(stream, wanted)
    return reader


def open_inputs(paths: Sequence[str], **wanted: Any) -> StreamReader | SeveralReader:
    """One input of these files, in this order. Arguments and errors are those of `open_input`, and:

    Raises:
        SettingError: a file is named twice, or stdin is among others.
    """
    if len(paths) == 1:
        return open_input(paths[0], **wanted)
    if "-" in paths:
        raise SettingError("stdin cannot be read beside other files: save it to one")
    real = list(map(real_path, paths))
    if twice := next((path for path, one in zip(paths, real, strict=True) if real.count(one) > 1), None):
        raise SettingError(f"{twice} is named twice: each file is labelled once")
    return SeveralReader([open_input(path, **wanted) for path in paths])


def reopen_input(source: InputSource, paths: Sequence[str]) -> StreamReader | SeveralReader:
    """An input as it was opened when its job began, which may lie elsewhere now.

    Raises:
        InputError: it cannot be opened, or is another one.
    """
    return open_inputs(
        paths,
        format=source.format,
        encoding=source.encoding,
        id_column=source.id_column,
        text_column=source.text_column,
        layout=source.layout,
    )


def _format_of(path: str, format: str | None) -> str:
    if format is not None and format not in FORMATS:
        raise SettingError(f"format {format!r} is not known; these are: {', '.join(FORMATS)}")
    found = recognised(path)
    if found is not None and format not in (None, found):
        raise SettingError(f"{path} is {found}, not {format}: leave --format out")
    return format or found or _format_by_suffix(path)


def _format_by_suffix(path: str) -> str:
    suffixes = [suffix[1:].lower() for suffix in PurePath(path).suffixes]
    if suffixes[-1:] == ["gz"]:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    found = ALIASES.get(last, last)
    if found not in FORMATS:
        if Path(path).is_dir():
            raise InputError(f"{path} is a folder: name the files in it")
        if not is_there(path):
            raise InputError(f"there is no file {path}; check the path")
        refuse_foreign(head_of(path), path, "")
        known = ", ".join(f".{name}" for name in (*FORMATS, *ALIASES))
        raise InputError(
            f"{path}: the suffix does not tell the format (known: {known}, the text ones also with .gz);"
            f" give it one, or, where a command takes it, name it with --format {'|'.join(FORMATS)}"
        )
    return found


def _module(format: str) -> Any:
    return importlib.import_module(FORMATS[format])
