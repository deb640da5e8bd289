"""The foot of a terminal: lines that are painted again and again, and cleared before anything else is written."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from math import ceil
from types import FrameType
from typing import TextIO

from batchjob.cli.show import USUAL_COLUMNS, columns
from batchjob.views.lines import width

USUAL_LINES = 24
CLEAR_TO_END = "\x1b[J"
UP = "\x1b[A"


def moves_cursor(stream: TextIO) -> bool:
    """Whether a stream is a terminal on which lines can be painted over; a dumb one, a pipe and a file are none."""
    return stream.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal that shows colours, and the user has nothing against them (no-color.org)."""
    return moves_cursor(stream) and not os.environ.get("NO_COLOR")


class Screen:
    """The last lines of a terminal. A terminal that cannot be written to any more is no error."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown: Sequence[str] = ()

    @property
    def columns(self) -> int:
        """The columns that can be used: one less than there are, so that no line is wrapped."""
        return (columns(self._stream) or USUAL_COLUMNS) - 1

    @property
    def lines(self) -> int:
        """The lines of the terminal."""
        told = os.environ.get("LINES", "")
        try:
            lines = int(told) if told.isdecimal() else os.get_terminal_size(self._stream.fileno()).lines
        except OSError:  # it was closed
            lines = 0
        return lines or USUAL_LINES

    def paint(self, lines: Sequence[str]) -> None:
        """Show these lines instead of those before."""
        self._put(self._cleared() + "\n".join(lines))
        self._shown = lines

    def clear(self) -> None:
        """Take them away, so that something else may be written."""
        self._put(self._cleared())

    def leave(self) -> None:
        """What is shown stays, and what comes is written below."""
        if self._shown:
            self._put("\n")
        self._shown = ()

    def _cleared(self) -> str:
        cleared = "\r" + UP * (self._height() - 1) + CLEAR_TO_END if self._shown else ""
        self._shown = ()
        return cleared

    def _height(self) -> int:
        """The lines that what is shown takes: one that was narrowed meanwhile has wrapped them."""
        columns = max(self.columns + 1, 1) if self._stream.isatty() else sys.maxsize
        return sum(max(ceil(width(line) / columns), 1) for line in self._shown)

    def _put(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            encoding = self._stream.encoding or "utf-8"
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()


@contextlib.contextmanager
def resizes() -> Iterator[Callable[[float], None]]:
    """Gives a sleep of some seconds that ends early when the terminal is resized."""
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)

    def resized(number: int, frame: FrameType | None) -> None:
        with contextlib.suppress(BlockingIOError):
            theirs.send(b"\0")

    def sleep(seconds: float) -> None:
        if select.select([ours], [], [], seconds)[0]:
            ours.recv(512)

    with ours, theirs:
        before = signal.signal(signal.SIGWINCH, resized)
        try:
            yield sleep
        finally:
            signal.signal(signal.SIGWINCH, before)


class Above:
    """The stream of a terminal, for what scrolls: its foot is cleared before each line."""

    def __init__(self, screen: Screen, stream: TextIO) -> None:
        self._screen, self._stream = screen, stream

    def write(self, text: str) -> int:
        self._screen.clear()
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return True
