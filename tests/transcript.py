"""What a run of the tests makes the program say, kept for sentences.py: BATCHJOB_TRANSCRIPT=/tmp/said pytest.

Kept is what processes print, what a test reads of its own output, each error that is made in the test's process, and
the log files.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from warm import Warm

from batchjob.errors import BatchjobError

TRANSCRIPT = os.environ.get("BATCHJOB_TRANSCRIPT")
"""The file to which it is appended; where there is none, nothing is kept."""


def keep(*said: object) -> None:
    """Append texts, each by one write, so that two processes do not mix theirs."""
    if TRANSCRIPT:
        texts = [text.decode(errors="replace") if isinstance(text, bytes) else str(text or "") for text in said]
        with Path(TRANSCRIPT).open("ab", buffering=0) as transcript:
            transcript.write(("\n".join(texts) + "\n").encode(errors="replace"))


def keep_logs(folder: Path) -> None:
    """Append the log files that a test has left."""
    if TRANSCRIPT:
        keep(*[path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("**/*.log"))])


def begin() -> None:
    """From here on all of it is kept."""
    if not TRANSCRIPT:
        return
    ended, read, made = subprocess.Popen.communicate, pytest.CaptureFixture.readouterr, BatchjobError.__init__
    ran = Warm.run

    def communicate(process: Any, *arguments: Any, **more: Any) -> Any:
        told = ended(process, *arguments, **more)
        keep(*told)
        return told

    def run(warm: Any, *arguments: Any, **more: Any) -> Any:
        code, out, err = ran(warm, *arguments, **more)
        keep(out, err)
        return code, out, err

    def readouterr(captured: Any) -> Any:
        told = read(captured)
        keep(*told)
        return told

    def made_here(error: Any, text: str = "", **more: Any) -> None:
        made(error, text, **more)
        keep(text, " ".join(more.get("then", ())))

    subprocess.Popen.communicate = communicate  # type: ignore[method-assign]
    Warm.run = run  # type: ignore[method-assign]
    pytest.CaptureFixture.readouterr = readouterr  # type: ignore[method-assign]
    BatchjobError.__init__ = made_here  # type: ignore[method-assign]
