"""Commands in processes that need not import first: forked from one that has. They are half of what the tests took.

What a fork shares with the others is the imports alone: each has its own streams, folder, environment and end. Tests of
how the program starts, ends and hears signals start it as it is installed (see `BatchJob.begin` and WARM in conftest).
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any

AT_THE_START = ("PYTHON", "LC_", "LANG", "LD_", "MALLOC", "BATCHJOB_FAILPOINT")
"""Variables that a process reads when it begins."""
MOST_BYTES = 1 << 20


class Warm:
    """The process that has imported all, and what it is asked."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._ours, theirs = socket.socketpair()
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
        told, tells = os.pipe()
        with (
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            tempfile.TemporaryFile() as into,
            open(told, "rb") as ended,
        ):
            into.write((given or "").encode())
            into.seek(0)
            asked = json.dumps({"arguments": arguments, "folder": folder, "environment": dict(environment)}).encode()
            files = array.array("i", [into.fileno(), out.fileno(), err.fileno(), tells])
            self._ours.sendmsg([len(asked).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
            self._ours.sendall(asked)
            os.close(tells)
            pid = int(ended.readline())
            if not select.select([ended], [], [], timeout)[0]:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(arguments, timeout)
            code = int(ended.readline())
            for file in (out, err):
                file.seek(0)
            return code, out.read().decode(), err.read().decode()

    def end(self) -> None:
        """It is over."""
        self._ours.close()
        self._process.wait(10)


def serve(asked: socket.socket) -> list[str]:
    """Fork for whoever asks. What returns is the fork, as the process of a command, with its arguments."""
    while True:
        head, files, _, _ = socket.recv_fds(asked, 4, 4)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        if not head:
            os._exit(0)
        left, body = int.from_bytes(head, "big"), b""
        while len(body) < left:
            body += asked.recv(min(left - len(body), MOST_BYTES))
        if os.fork():
            for file in files:
                os.close(file)
            continue
        asked.close()
        return _begin(json.loads(body), files)


def _begin(asked: dict[str, Any], files: list[int]) -> list[str]:
    """Wait for the command's process in the first fork, and be it in the second."""
    *streams, tells = files
    pid = os.fork()
    if pid:
        os.write(tells, f"{pid}\n".encode())
        _, status = os.waitpid(pid, 0)
        with contextlib.suppress(BrokenPipeError):
            os.write(tells, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    for file in files:
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    time.tzset()
    arguments: list[str] = asked["arguments"]
    return arguments


def _import_all() -> None:
    """What commands import when they are asked for, but for libraries that have threads of their own."""
    import importlib

    from batchjob.cli import COMMANDS, MODULES

    for name in COMMANDS:
        importlib.import_module(f"batchjob.cli.{MODULES.get(name, name)}")
    for name in (
        *("structlog", "uvloop", "aiosqlite", "batchjob.endpoints.chat", "batchjob.endpoints.fast"),
        *("batchjob.sandbox.server", "batchjob.stores.sqlite.store", "batchjob.stores.sqlite.reader"),
    ):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


if __name__ == "__main__":
    _import_all()
    sys.argv = serve(socket.socket(fileno=int(sys.argv[1])))
    from batchjob.cli import main

    main()
