"""From the first command to labels on every endpoint: at once, or after the sentence it prints; none is wrong."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from batchjob.cli import _run
from tests.endpoints.cases import CASES, ROWS, Case
from tests.endpoints.table import document
from tests.faults.server import FaultServer, label_of


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with some rows, and a key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHJOB_API_KEY", "sk-1234567890abcdef")
    Path("in.csv").write_text("id,text\n" + "".join(f"{n},row {n}\n" for n in range(1, ROWS + 1)))


def ledger() -> tuple[int, int]:
    """(requests refused, answers paid for that labelled no row) of the job; every row has its own label."""
    db = sqlite3.connect("file:batchjob.db?mode=ro", uri=True)
    labels = dict(db.execute("SELECT id & 1099511627775, label FROM row WHERE label IS NOT NULL"))
    outcomes = db.execute("SELECT outcome, status FROM request").fetchall()
    db.close()
    assert labels == {row: label_of(row) for row in range(1, ROWS + 1)}
    refused = sum(outcome == "rejected" for outcome, _ in outcomes)
    return refused, len(outcomes) - refused - ROWS


def start(server: FaultServer, case: Case, *flags: str) -> int:
    asked = ("--base-url", server.url, "--model", case.model, "--labels", "alpha,beta")
    return _run(["start", "in.csv", *asked, "--rpm", "0", *flags])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_first_command_labels_all_rows_or_says_what_to_type(case: Case, capfd: pytest.CaptureFixture[str]) -> None:
    with FaultServer(case.act).running() as server:
        assert start(server, case) == case.code
        said = capfd.readouterr().err
        assert case.says in " ".join(said.split())
        if case.stops:
            assert case.stops in " ".join(said.split())
            assert len(server.requests) == case.refused
            return
        if case.then:
            assert _run(list(case.then)) == 0
        assert ledger() == (case.refused, case.vain)


@pytest.mark.parametrize("case", [case for case in CASES if case.known], ids=str)
def test_at_its_own_address_nothing_is_learned_the_hard_way(case: Case) -> None:
    with FaultServer(case.act).running() as server:
        assert start(server, case, "--quiet", "--provider", case.known) == 0
        assert ledger() == (case.known_refused, case.known_vain)


def test_the_page_of_the_endpoints_is_that_of_the_cases() -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "endpoints.md"
    assert page.read_text(encoding="utf-8") == document(), (
        "python -m tests.endpoints.table > docs/reference/endpoints.md"
    )
