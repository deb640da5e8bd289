"""What a command says on stdout: lines for a person, folded to the terminal, or a document for a program."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn, TextIO

import click
import msgspec

from batchjob.cli.process import give_up_stdout
from batchjob.errors import BatchjobError
from batchjob.files import stdout_bytes
from batchjob.views.lines import folded

LEAST_COLUMNS = 20
USUAL_COLUMNS = 80


def columns(stream: TextIO | None = None) -> int | None:
    """The width of the terminal that a stream (stdout, if not named) is, or None where it is a pipe, a file or a
    terminal that was closed: lines stay whole there.
    """
    stream = stream or sys.stdout
    if not stream.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    try:
        width = int(told) if told.isdecimal() else os.get_terminal_size(stream.fileno()).columns
    except OSError:
        return None
    return max(LEAST_COLUMNS, width or USUAL_COLUMNS)


def show_lines(lines: Sequence[str]) -> None:
    """Lines for a person."""
    text = "\n".join(folded(lines, columns()))
    encoding = sys.stdout.encoding or "utf-8"
    _write(f"{text}\n".encode(encoding, "backslashreplace"))


def show_document(document: Any, *, compact: bool = False) -> None:
    """One JSON document in UTF-8, on one line where it is compact."""
    encoded = msgspec.json.encode(document)
    _write((encoded if compact else msgspec.json.format(encoded, indent=2)) + b"\n")


def _write(content: bytes) -> None:
    """Write it at once. A reader that has seen enough ends the command, and is no error.

    Raises:
        BatchjobError: stdout cannot be written.
    """
    try:
        stdout = stdout_bytes()
        stdout.write(content)
        stdout.flush()
    except BrokenPipeError:
        _end_unheard(0)
    except OSError as error:
        click.echo(f"batchjob: cannot write to stdout: {error.strerror}", err=True)
        _end_unheard(BatchjobError.exit_code)


def _end_unheard(code: int) -> NoReturn:
    give_up_stdout()
    raise click.exceptions.Exit(code)
