"""Completion in the shells themselves: keys are typed, TAB is pressed, and the line that comes of it is run."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import BatchJob

SETUP = {
    "bash": 'eval "$(_BATCHJOB_COMPLETE=bash_source batchjob)"',
    "zsh": 'autoload -Uz compinit; compinit -u -D; eval "$(_BATCHJOB_COMPLETE=zsh_source batchjob)"',
    "fish": "_BATCHJOB_COMPLETE=fish_source batchjob | source",
}
BEGIN = {"bash": ("--norc", "--noprofile", "-i"), "zsh": ("-f", "-i"), "fish": ("--no-config", "-i")}

ON_ITS_TERMINAL = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execvp(sys.argv[1], sys.argv[1:])"
)
"""fish wants a terminal that is its own."""


@pytest.fixture
def job(batchjob: BatchJob) -> BatchJob:
    (batchjob.folder / "tickets.csv").write_text("id,text\n1,a refund please\n2,\n")
    ask = ("--sandbox", "--labels", "refund,other", "--quiet", "--name", "of mail, & more")
    assert batchjob("start", "tickets.csv", *ask).code == 4
    return batchjob


def typed(job: BatchJob, shell: str, *lines: tuple[str, str]) -> None:
    """A shell shows the second of each pair when the first is typed and entered; \\t is the key TAB."""
    path = f"{Path(job.command).parent}:{os.environ['PATH']}"
    env = {**job.environment, "PATH": path, "TERM": "xterm", "HOME": str(job.folder), "COLUMNS": "200"}
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", ON_ITS_TERMINAL, shell, *BEGIN[shell]],
        cwd=job.folder,
        env=env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        for line, until in ((f"{SETUP[shell]}; echo re''ady\n", "ready"), *lines):
            os.write(ours, line.encode() + b"\r")
            out = ""
            while until not in out:
                assert select.select([ours], [], [], 20)[0], out
                out += os.read(ours, 65536).decode(errors="replace")
    finally:
        process.kill()
        process.wait()
        os.close(ours)


@pytest.mark.parametrize("shell", SETUP)
def test_tab_completes_commands_jobs_options_kinds_and_files(job: BatchJob, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell}")
    typed(
        job,
        shell,
        ("batchjob stat\tof\t", "job of mail, & more: finished"),
        ("batchjob errors 'of\t --ki\tblank\t", "1 blank_text:"),
        ("batchjob prof\ttick\t", "rows      2"),
    )


def test_a_command_that_is_nearly_right_is_named(batchjob: BatchJob) -> None:
    ended = batchjob("staus")
    assert (ended.code, "There is no command 'staus'. Did you mean 'status'?" in ended.err) == (2, True)
    assert "There is no command 'stat'. Did you mean 'status'?" in batchjob("stat").err
    assert "There are: start, resume, retry" in batchjob("xyzzy").err
