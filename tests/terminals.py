"""Commands in a terminal of a given size."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import termios
from typing import TYPE_CHECKING, Any, NamedTuple

import transcript

if TYPE_CHECKING:
    from tests.conftest import BatchJob


class Shown(NamedTuple):
    """What a command that has ended wrote to its terminal, escapes and all."""

    code: int
    out: str


class Terminal:
    """A terminal in which a command runs."""

    def __init__(
        self, job: BatchJob, columns: int, *arguments: str, lines: int = 24, environment: dict[str, str] | None = None
    ) -> None:
        self._ours, theirs = pty.openpty()
        self._size(theirs, columns, lines)
        env = {**job.environment, "TERM": "xterm", **(environment or {})}
        streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        self.process = job.begin(*arguments, env=env, start_new_session=True, **streams)
        os.close(theirs)
        self.out = ""

    @staticmethod
    def _size(end: int, columns: int, lines: int) -> None:
        fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def resize(self, columns: int, lines: int) -> None:
        """As when somebody pulls at a corner of its window."""
        self._size(self._ours, columns, lines)
        self.process.send_signal(signal.SIGWINCH)

    def read_until(self, text: str) -> str:
        """All that is shown from now on, up to where this text is in it."""
        before = len(self.out)
        while text not in self.out[before:]:
            assert self._read(), self.out
        return self.out[before:]

    def end(self) -> Shown:
        """What it has shown when it ended."""
        while self._read():
            pass
        os.close(self._ours)
        transcript.keep(self.out)
        return Shown(self.process.wait(timeout=20), self.out)

    def close(self) -> int:
        """As when its window is closed, for a command that its shell had disowned; the exit code of that."""
        os.close(self._ours)
        try:
            return self.process.wait(timeout=20)
        finally:
            self.process.kill()

    def _read(self) -> bool:
        try:
            part = os.read(self._ours, 65536)
        except OSError:  # how Linux says that the other end is closed
            return False
        self.out += part.decode(errors="replace")
        return bool(part)


def in_terminal(job: BatchJob, columns: int, *arguments: str, **environment: str) -> Shown:
    """A command in a terminal so wide and 24 lines high, to its end."""
    return Terminal(job, columns, *arguments, environment=environment).end()
