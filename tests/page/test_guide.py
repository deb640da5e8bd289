"""The guide of looking and correcting: its commands run as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from tests.page.client import Page

if TYPE_CHECKING:
    from tests.conftest import BatchJob

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guides" / "look-and-correct.md"


def test_the_commands_of_the_guide_run_one_after_the_other(batchjob: BatchJob) -> None:
    shutil.copytree(ROOT / "examples", batchjob.folder / "examples")
    code = "".join(re.findall(r"```sh\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL))
    commands = [shlex.split(line)[1:] for line in code.splitlines() if not line.startswith("#")]
    assert [words[0] for words in commands] == ["start", "view", *["correct"] * 2, "export", *["correct"] * 2, "status"]
    said = ""
    for words in commands:
        if words[0] == "view":
            process = batchjob.begin(*words, env={**batchjob.environment, "DISPLAY": "", "WAYLAND_DISPLAY": ""})
            page = Page(process)
            assert page.ask("/api/job", job="tickets")["status"]["rows"]["done"] == 300
            assert page.stop() == 0
        else:
            ended = batchjob(*words)
            assert ended.code == 0, ended
            said = ended.out
    assert "by hand   1 row" in said
