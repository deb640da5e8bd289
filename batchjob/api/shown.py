"""What a caller sees of a run: one line that is painted again and again, in a notebook or a terminal, and the end.

Everything is written by the thread that called, so that it stands where that one's own output stands.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from batchjob.api.words import in_python
from batchjob.printable import printable
from batchjob.views.lines import cut
from batchjob.views.live import Live, live_lines

WHOLE = 10_000
"""Columns that hold every figure on one line."""


class Shown(Protocol):
    """A place where a run is shown."""

    def paint(self, line: str) -> None:
        """Show this line instead of the one before."""
        ...

    def say(self, lines: Sequence[str]) -> None:
        """Show lines that stay."""
        ...


class Silent:
    """Nobody looks."""

    def paint(self, line: str) -> None: ...

    def say(self, lines: Sequence[str]) -> None: ...


class Stream:
    """Standard error: the line is painted in a terminal alone, for in a pipe or a file it would be many."""

    def __init__(self) -> None:
        self._painted = False

    def paint(self, line: str) -> None:
        if sys.stderr.isatty():
            room = shutil.get_terminal_size().columns - 1
            self._write(f"\r\x1b[K{cut(line, room)}")
            self._painted = True

    def say(self, lines: Sequence[str]) -> None:
        if not lines:
            return
        self._write(("\r\x1b[K" if self._painted else "") + "".join(f"{line}\n" for line in lines))
        self._painted = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it: the job goes on
            encoding = sys.stderr.encoding or "utf-8"
            sys.stderr.write(text.encode(encoding, "backslashreplace").decode(encoding))
            sys.stderr.flush()


class Notebook:
    """An output of the cell, which is replaced again and again: what a notebook keeps is the last one."""

    def __init__(self, display: Any) -> None:
        self._display, self._handle, self._kept, self._line = display, None, list[str](), ""

    def paint(self, line: str) -> None:
        if line != self._line:
            self._line = line
            self._show()

    def say(self, lines: Sequence[str]) -> None:
        if not lines:
            return
        self._line = ""
        self._kept += lines
        self._show()

    def _show(self) -> None:
        said = {"text/plain": "\n".join([*self._kept, *([self._line] if self._line else [])])}
        if self._handle is None:
            self._handle = self._display(said, raw=True, display_id=True)
        else:
            self._handle.update(said, raw=True)


def where_it_is_shown(*, progress: bool) -> Shown:
    """A notebook's cell, else standard error; nowhere without progress, or where there is no standard error."""
    if not progress or sys.stderr is None:
        return Silent()
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if hasattr(shell, "kernel"):
        from IPython.display import display

        return Notebook(display)
    return Stream()


def line_of(live: Live) -> str:
    """How far a run is, on one line, in a caller's words."""
    return in_python("  ".join(live_lines(live, WHOLE)))


class Lines:
    """The stream of a logger in another thread: its lines are kept until the caller's thread shows them."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque()

    def write(self, text: str) -> int:
        """Keep a line."""
        if text.strip():
            self._lines.append(printable(text.rstrip("\n")))
        return len(text)

    def flush(self) -> None: ...

    def taken(self) -> list[str]:
        """The lines since the last call."""
        return [self._lines.popleft() for _ in range(len(self._lines))]
