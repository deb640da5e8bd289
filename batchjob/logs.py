"""What is logged and how: structlog, to stderr or a file, for a person or as JSON lines.

Events are noun_pasttense; job is bound once by the command, row, attempt and request_id where they matter.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, TextIO, cast

from batchjob.errors import SettingError
from batchjob.printable import printable

Logger = Any
"""A structlog logger: bind(), info(), warning()."""


def make_logger(
    *, format: str, file: str | TextIO | None, quiet: bool, terminal: TextIO | None = None, coloured: bool = False
) -> Logger:
    """A logger to `file`, opened or not, or to stderr. A file gets every detail; quiet leaves warnings and errors.

    Args:
        terminal: what is written to instead of stderr, where that shows other lines too.
        coloured: whether a terminal gets colours.

    Raises:
        SettingError: the file cannot be written.
    """
    import structlog  # takes 50 ms, which no help or wrong flag should wait for

    shown: TextIO = terminal or sys.stderr
    stream = _Unbreakable(shown)
    if file is not None:
        stream = _Unbreakable(open_log(file) if isinstance(file, str) else file, told=shown)
    renderer: Any = structlog.processors.JSONRenderer()
    if format == "console":
        renderer = structlog.dev.ConsoleRenderer(colors=coloured and file is None, pad_event_to=20)
    level = logging.DEBUG if file else logging.WARNING if quiet else logging.INFO
    return structlog.wrap_logger(
        structlog.PrintLogger(cast(TextIO, stream)),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _one_line,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )


def open_log(path: str) -> TextIO:
    """The file of a log, to be written on.

    Raises:
        SettingError: it cannot be.
    """
    try:
        return os.fdopen(os.open(Path(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a", buffering=1)
    except OSError as error:
        raise SettingError(f"log_file {path}: {error.strerror}") from None


def _one_line(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """What an endpoint or a file said must not move the reader's cursor: control characters become a mark."""
    return {key: printable(value) if isinstance(value, str) else value for key, value in event.items()}


class _Unbreakable:
    """A stream that may fail: what is written then is dropped, for the job matters more than its log. That the file of
    a log does is told once.
    """

    def __init__(self, stream: TextIO, told: TextIO | None = None) -> None:
        self._stream, self._told = stream, told

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except (OSError, ValueError) as error:
            self._tell(error)
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        told, self._told = self._told, None
        if told is not None:
            why = error.strerror if isinstance(error, OSError) else error
            line = f"batchjob: the log cannot be written: {why}. The job goes on, and lines of its log are lost\n"
            _Unbreakable(told).write(line)
