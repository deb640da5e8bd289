"""Commands in processes that need not import first: forked from one that has. They are half of what the tests took.

What a fork shares with the others is the imports alone: each has its own streams, folder, environment and end. Tests of
how the program starts, ends and hears signals start it as it is installed (see `BatchJob.begin` and WARM in conftest).
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from functools import cache
from inspect import getsource
from pathlib import Path
from typing import IO, Any, NoReturn

AT_THE_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC")
"""Variables that a process reads when it begins."""
FAILPOINT = "BATCHJOB_FAILPOINT"


PROGRAM = """#!{python} -IS
from __future__ import annotations
import array, marshal, os, socket, sys

{ask}

words = [{me!r}, *sys.argv[1:]]
try:
    ours = socket.socket(fileno={ours})
except OSError:  # a command has begun this one, and passes no files on
    os.execv(words[0], words)
told, tells = os.pipe()
ask(ours, words, os.getcwd(), dict(os.environ), [0, 1, 2, tells])
ours.close()
os.close(tells)
with open(told) as ended:
    code = int(ended.read().split()[1])
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def ask(ours: socket.socket, arguments: list[str], folder: str, environment: dict[str, str], files: list[int]) -> None:
    """Ask the process that has imported all for a command with these files: three streams, and what tells of it."""
    asked = os.memfd_create("asked")
    os.write(asked, marshal.dumps([arguments, folder, environment]))
    ours.sendmsg([b"?"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [*files, asked]))])
    os.close(asked)


class Forked:
    """A command that goes on, for a test that knows it as a Popen."""

    def __init__(self, arguments: list[str], tells: IO[bytes], stdout: IO[str] | None) -> None:
        self.args, self.stdout, self._tells = arguments, stdout, tells
        self.pid = int(tells.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code, or the signal that ended it, negative.

        Raises:
            subprocess.TimeoutExpired: it goes on after so many seconds.
        """
        if self.returncode is None:
            if not select.select([self._tells], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = int(self._tells.readline())
            self._tells.close()
        return self.returncode

    def poll(self) -> int | None:
        """The same, or None where it goes on."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """With SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Warm:
    """The process that has imported all, and what it is asked."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        # Each message is whole, whoever else sends one.
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._environment = dict(environment)
        command = [sys.executable, "-P", __file__, str(theirs.fileno())]
        streams: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        self._process = subprocess.Popen(command, env=self._environment, pass_fds=[theirs.fileno()], **streams)
        theirs.close()

    def can(self, environment: Mapping[str, str]) -> bool:
        """Whether a process with this environment is no other for having begun with ours."""
        ours, theirs = self._environment.items(), environment.items()
        return not any(name.startswith(AT_THE_START) for name, _ in ours ^ theirs)

    def run(
        self, arguments: list[str], folder: str, environment: Mapping[str, str], given: str | None, timeout: float
    ) -> tuple[int, str, str]:
        """(exit code, stdout, stderr) of a command."""
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as into:
            into.write((given or "").encode())
            into.seek(0)
            process = self._fork(arguments, folder, environment, [into.fileno(), out.fileno(), err.fileno()], None)
            try:
                code = process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
            for file in (out, err):
                file.seek(0)
            return code, out.read().decode(), err.read().decode()

    def begin(self, arguments: list[str], folder: str, environment: Mapping[str, str], err: int) -> Forked:
        """A command that goes on: its stdout is to be read; stderr is this file."""
        said, says = os.pipe()
        with open(os.devnull, "rb") as nothing:
            stdout = open(said, encoding="utf-8")  # noqa: SIM115 (its reader closes it)
            process = self._fork(arguments, folder, environment, [nothing.fileno(), says, err], stdout)
        os.close(says)
        return process

    def _fork(
        self,
        arguments: list[str],
        folder: str,
        environment: Mapping[str, str],
        streams: list[int],
        stdout: IO[str] | None,
    ) -> Forked:
        told, tells = os.pipe()
        ask(self._ours, arguments, folder, dict(environment), [*streams, tells])
        os.close(tells)
        return Forked(arguments, open(told, "rb", buffering=0), stdout)

    def program(self, path: Path, command: str) -> int:
        """Make a program of which a shell takes no notice that its work is done in a fork. The open file that it has to
        be given.
        """
        path.write_text(PROGRAM.format(python=sys.executable, ask=getsource(ask), ours=self._ours.fileno(), me=command))
        path.chmod(0o755)
        return self._ours.fileno()

    def end(self) -> None:
        """It is over."""
        self._ours.close()
        self._process.wait(10)


FROM_OUTSIDE = ("BATCHJOB_", "OPENAI_", "TOKENHUB_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR")


def usual_environment() -> dict[str, str]:
    """Ours, without what is said to batchjob."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FROM_OUTSIDE)}
    return {**kept, "PYTHONUTF8": "1"}


@cache
def shared() -> Warm:
    """One for all tests of this process."""
    begun = Warm(usual_environment())
    atexit.register(begun.end)
    return begun


def serve(asked: socket.socket) -> list[str]:
    """Fork for whoever asks. What returns is the fork, as the process of a command, with its arguments."""
    while True:
        head, files, _, _ = socket.recv_fds(asked, 1, 5)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        if not head:
            os._exit(0)
        if os.fork():
            for file in files:
                os.close(file)
            continue
        asked.close()
        return _begin(files)


def _begin(files: list[int]) -> list[str]:
    """Wait for the command's process in the first fork, and be it in the second."""
    *streams, tells, asked = files
    pid = os.fork()
    if pid:
        os.write(tells, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):
            os.write(tells, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    arguments, folder, environment = marshal.loads(os.pread(asked, os.fstat(asked).st_size, 0))
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for file in files:
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    if FAILPOINT in os.environ:
        importlib.reload(importlib.import_module("batchjob.failpoints"))  # it reads that when it is imported
    return list(arguments)


def _import_all() -> None:
    """What commands import when they are asked for, but for libraries that have threads of their own."""
    from batchjob.cli import COMMANDS, MODULES

    for name in COMMANDS:
        importlib.import_module(f"batchjob.cli.{MODULES.get(name, name)}")
    for name in (
        *("structlog", "uvloop", "aiosqlite", "batchjob.endpoints.chat", "batchjob.endpoints.fast"),
        *("batchjob.sandbox.server", "batchjob.stores.sqlite.store", "batchjob.stores.sqlite.reader"),
        *(
            "batchjob.inputs.header",
            "batchjob.inputs.delimited",
            "batchjob.inputs.beginning",
            "batchjob.inputs.swallowed",
        ),
        *("batchjob.outputs.delimited", "statistics", "encodings.idna", "importlib.resources.readers"),
        *("batchjob.stores.postgres.store", "batchjob.stores.postgres.reader", "batchjob.stores.sqlite.check"),
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _end_with(main: Callable[[], None]) -> NoReturn:
    """Do it and end as Python does, but for taking apart what was imported: that took longer than most commands."""
    code: object = 0
    try:
        main()
    except SystemExit as ended:
        code = ended.code
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    _import_all()
    gc.collect()
    gc.freeze()  # no fork looks through what all have in common
    sys.argv = serve(socket.socket(fileno=int(sys.argv[1])))
    from batchjob.cli import main

    _end_with(main)
