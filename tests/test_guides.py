"""The guides: what they tell to type is typed here, in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from test_docs import CODE, commands

if TYPE_CHECKING:
    from tests.conftest import BatchJob

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "guides"


@pytest.fixture
def at(batchjob: BatchJob) -> BatchJob:
    """The command in a folder that has the examples."""
    os.symlink(ROOT / "examples", batchjob.folder / "examples")
    return batchjob


def typed(at: BatchJob, name: str) -> list[str]:
    """What each command of a guide says, after its job.toml was written."""
    text = (GUIDE / name).read_text(encoding="utf-8")
    for language, code in CODE.findall(text):
        if language == "toml":
            (at.folder / "job.toml").write_text(code, encoding="utf-8")
    said = []
    for arguments in commands(text):
        ended = at(*arguments)
        assert ended.code == 0, (arguments, ended.err)
        said.append(ended.out)
    return said


def test_the_guide_to_python_prints_what_it_promises(at: BatchJob) -> None:
    text = (GUIDE / "python.md").read_text(encoding="utf-8")
    code = "\n".join(code for language, code in CODE.findall(text) if language == "python")
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=at.folder, env=at.environment, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    labels, one, two, failed, rows, accuracy, jobs, outcome, misspelt = ended.stdout.splitlines()
    assert labels == "['card_arrival', 'request_refund', 'top_up']"
    assert (one, two) == ("T-1 card", "T-2 None")
    assert failed.startswith("T-2 blank_text ")
    assert "'total': 300" in rows
    assert "'hits': 279" in accuracy
    assert (jobs, outcome) == ("['data', 'data-2', 'tickets']", "answered")
    assert misspelt == "there is no setting 'modle'. Did you mean 'model'? 2"
    assert {"labels.csv", "report.html"} <= {file.name for file in at.folder.iterdir()}


def test_the_guide_to_a_model_leads_to_what_it_promises(at: BatchJob) -> None:
    tried, jobs, _, score, by_file, _, compared, *_ = typed(at, "choosing-a-model.md")
    assert "A         small, job try-tickets" in tried
    assert re.search(r"A +accuracy [\d.]+ % .*n=30", tried)
    assert "try-tickets-2" in jobs
    assert score.splitlines()[0] == by_file.splitlines()[0] == "job small: accuracy 93.0 % (89.5 to 95.4), n=300"
    costs = [float(cost) for cost in re.findall(r"([\d.]+) USD and", compared)]
    assert costs[1] / costs[0] == pytest.approx(3, rel=0.02)
    assert "93.0 % of the labels are right" in (at.folder / "report.html").read_text(encoding="utf-8")
    assert "only A 0, only B 0" in compared
    assert (at.folder / "differ.csv").read_text().splitlines() == ["id,text,label_small,label_large,gold"]
