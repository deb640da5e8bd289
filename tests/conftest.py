"""What tests share: the installed command as a process, and the sandbox as another."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import transcript
from hypothesis import settings
from warm import Forked, shared, usual_environment

settings.register_profile("any machine", deadline=None)  # one with much to do is no slow program
settings.load_profile("any machine")

transcript.begin()

for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:  # as under nohup, or behind the & of a script: so would each command
        signal.signal(number, usual)

if os.environ.pop("PYTHONDONTWRITEBYTECODE", None):
    # The tests start thousands of processes, and each would compile the package for itself: half of their time.
    compiled = tempfile.mkdtemp(prefix="batchjob-compiled-")
    os.environ["PYTHONPYCACHEPREFIX"] = compiled
    atexit.register(shutil.rmtree, compiled, ignore_errors=True)

os.environ.pop("PYTHONUNBUFFERED", None)  # most users have buffers, and what stands in them when a command ends

IN_MEMORY, ROOM = Path("/dev/shm"), 4 << 30
if "TMPDIR" not in os.environ and os.access(IN_MEMORY, os.W_OK) and shutil.disk_usage(IN_MEMORY).free > ROOM:
    # A test must not wait for disks: thousands of commits, each flushed, took half of the time.
    os.environ["TMPDIR"] = tempfile.tempdir = str(IN_MEMORY)


WARM = {
    *("test_cache_command", "test_columns", "test_compare", "test_exports", "test_fields", "test_files_kept"),
    *("test_forecast_agrees", "test_paid_is_used", "test_profile", "test_remove", "test_report"),
    *("test_saving", "test_score", "test_second", "test_several_inputs", "test_tables", "test_task_settings"),
    *("test_try", "test_advice", "test_correct", "test_patterns", "test_commands", "test_everywhere", "test_review"),
    *("test_hostile", "test_on_end", "test_move", "test_postgres", "test_python", "test_page", "test_workers"),
    *("test_bills", "test_many_rows", "test_outputs", "test_decisions", "test_next_steps", "test_sandbox"),
    "test_routing",
}
"""Tests of what a command says and does, not of how it starts: see warm.py."""
SECONDS = 60
"""That a command may take."""


class Ended(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str


class BatchJob:
    """The installed command, run in a folder of its own, with nothing of the caller's settings."""

    command = str(Path(sys.executable).with_name("batchjob"))

    def __init__(self, folder: Path, *, warm: bool = False) -> None:
        self.folder, self.warm = folder, warm
        self.environment = usual_environment()

    def __call__(self, *arguments: str, env: dict[str, str] | None = None, **more: Any) -> Ended:
        environment = {**self.environment, **(env or {})}
        if self.warm and more.keys() <= {"input"} and (process := shared()).can(environment):
            words = [self.command, *arguments]
            ended = Ended(*process.run(words, str(self.folder), environment, more.get("input"), SECONDS))
        else:
            told = subprocess.run(
                [self.command, *arguments],
                cwd=self.folder, env=environment, capture_output=True, text=True, timeout=SECONDS, **more,
            )  # fmt: skip
            ended = Ended(told.returncode, told.stdout, told.stderr)
        assert "Traceback" not in ended.err, ended.err
        assert "defect:" not in ended.err, ended.err
        return ended

    def begin(self, *arguments: str, **more: Any) -> subprocess.Popen[str]:
        """The command as a process that goes on; the caller ends it."""
        more = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": self.environment, **more}
        return subprocess.Popen([self.command, *arguments], cwd=self.folder, text=True, **more)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """A file's bytes name no test: those of an archive hold the time, and two processes would collect two names."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def batchjob_in() -> type[BatchJob]:
    """Makes the command for a folder; a fixture, because a test cannot import this file by one name everywhere."""
    return BatchJob


@pytest.fixture
def batchjob(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[BatchJob]:
    yield BatchJob(tmp_path, warm=sys.platform == "linux" and request.path.stem in WARM)
    transcript.keep_logs(tmp_path)


@pytest.fixture
def sandbox(batchjob: BatchJob) -> Iterator[Callable[..., str]]:
    """Starts `batchjob sandbox` as a process, with options; gives its address."""
    running: list[subprocess.Popen[str] | Forked] = []

    def start(*options: str) -> str:
        arguments = ("sandbox", "--latency", "0", *options)
        if sys.platform == "linux" and shared().can(batchjob.environment):
            words, nowhere = [batchjob.command, *arguments], os.open(os.devnull, os.O_WRONLY)
            running.append(shared().begin(words, str(batchjob.folder), batchjob.environment, nowhere))
            os.close(nowhere)
        else:
            running.append(batchjob.begin(*arguments, stderr=subprocess.DEVNULL))
        assert running[-1].stdout is not None
        return running[-1].stdout.readline().split()[-1]

    yield start
    for process in running:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        assert process.stdout is not None
        process.stdout.close()
