"""A run that its own watchman leaves says so; it does not go on unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchjob.cli import _run
from batchjob.pace.gate import Gate
from tests.faults.server import FaultServer, well


def test_what_shows_a_run_cannot_fail_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fails(*_: object) -> str:
        raise RuntimeError("it cannot be said what holds the job back")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHJOB_API_KEY", "sk-1234567890abcdef")
    monkeypatch.setattr(Gate, "describe", fails)
    Path("in.csv").write_text("text\n" + "row 1\n" * 3)
    with FaultServer(well).running() as server:
        task = ("--labels", "alpha,beta", "--model", "m", "--base-url", server.url)
        assert _run(["start", "in.csv", *task, "--rpm", "0", "--quiet"]) != 0
    assert "it cannot be said what holds the job back" in capfd.readouterr().err
