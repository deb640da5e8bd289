"""`make audit`: a weakness is told, one that is not ours is no error, and silence is no answer."""

from __future__ import annotations

import json

import audit
import pytest
from audit import Weakness, answered, by_list, kept
from compat import floors


def test_no_lowest_version_that_is_allowed_has_a_known_weakness_of_ours() -> None:
    assert [weak for weak in by_list(floors(), kept()) if not weak.not_ours] == []


def test_a_version_before_the_mended_one_is_told() -> None:
    assert [weak.version for weak in by_list({"aiohttp": "3.14.2"}, kept())] == ["3.14.2"]
    assert list(by_list({"aiohttp": "3.14.3", "click": "8.1"}, kept())) == []


def test_packages_that_the_service_does_not_know_are_no_answer() -> None:
    """pip-audit ends well then, and says that it found no weakness."""
    told = {"dependencies": [{"name": "aiohttp", "skip_reason": "Dependency not found on PyPI"}], "fixes": []}
    assert answered(json.dumps(told), kept()) is None
    assert answered("", kept()) is None


@pytest.mark.parametrize(("id", "code"), [("CVE-2026-25087", 0), ("CVE-2030-1", 1)])
def test_what_the_service_tells_is_an_error_unless_it_is_not_ours(
    id: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    weak = {"id": "PYSEC-1", "aliases": [id], "fix_versions": ["23.0.1"]}
    document = json.dumps({"dependencies": [{"name": "pyarrow", "version": "16.1", "vulns": [weak]}]})
    monkeypatch.setattr(audit, "by_service", lambda versions, known: answered(document, known))
    assert audit.main() == code
    assert f"pyarrow 16.1: PYSEC-1 {id}; fixed in 23.0.1" in capsys.readouterr().out


def test_silence_is_said_with_the_day_of_the_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(audit, "by_service", lambda versions, known: None)
    monkeypatch.setattr(audit, "installed", lambda: {"aiohttp": "3.9.0"})
    assert audit.main() == 1
    said = capsys.readouterr().out
    assert f"the kept list of {kept()['date']}, as pip-audit's service is silent" in said
    assert isinstance(next(by_list({"aiohttp": "3.9.0"}, kept())), Weakness)
