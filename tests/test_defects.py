"""Every defect of tests/defects.py can be put in, and its tests are there: renaming one is noticed at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from defects import DEFECTS, ROOT, Defect, Gone, copied, cut, put, why_not


@pytest.mark.parametrize("one", DEFECTS, ids=lambda one: one.name)
def test_it_can_be_put_in(one: Defect) -> None:
    assert why_not(one) == ""
    assert one.tests
    for test in one.tests:
        path, _, name = test.partition("::")
        assert (ROOT / path).exists()
        assert not name or f"def {name.partition('[')[0]}(" in (ROOT / path).read_text(encoding="utf-8"), test


def test_no_two_have_one_name() -> None:
    assert len({one.name for one in DEFECTS}) == len(DEFECTS)


def test_a_name_that_is_gone_is_told() -> None:
    def reserve(self: object, cost: int) -> None: ...

    module = SimpleNamespace(reserve=reserve, text="a b a", __name__="m")
    with pytest.raises(Gone, match=r"there is no m\.resrve"):
        put(module, "resrve", reserve)
    with pytest.raises(Gone, match=r"m\.reserve takes \(self: .*, and what the defect puts there \(self\)"):
        put(module, "reserve", lambda self: None)
    with pytest.raises(Gone, match="'a' is 2 times in text"):
        cut(module, "text", "a")


def test_it_is_in_every_process_that_imports_the_copy(tmp_path: Path) -> None:
    """Once its module is imported, under whatever name others have taken from it; and nowhere else."""
    one = next(one for one in DEFECTS if one.name == "a body that changed keeps its old key")
    copy = copied(tmp_path / "copy", ("batchjob", "migrations"), one)
    ask = (
        "from batchjob.run import online; from batchjob.model import LostRequest;"
        "print(online.client_key('run', 2, LostRequest(1, 'old', 5), 6))"
    )
    for folder, key in ((copy, "old"), (ROOT, "run-2")):
        more = {"env": {**os.environ, "PYTHONPATH": str(folder)}, "cwd": tmp_path}
        asked = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, **more)
        assert asked.stdout.strip() == key
