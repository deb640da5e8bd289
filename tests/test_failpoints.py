"""The program dies or fails at each named place; resumed, it ends as if nothing had been. The ledger judges."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from storm.harness import MODES, Plan, Sandbox, World, finish
from storm.oracle import Bill

from batchjob import failpoints
from batchjob.failpoints import ACTIONS, PLACES

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "reference" / "failpoints.md"
PLANS = {"resend": (0.005, 0.01), "hold": (0.005, 0.01), "idempotent": (0.005, 0.01)}
MOST_HITS = {
    "input.before_commit": 2,
    "input.after_commit": 2,
    "input.between_chunks": 2,
    "migration.before_commit": 1,
    "migration.after_commit": 1,
    "recover.after_rows": 1,
    "recover.before_commit": 1,
    "recover.after_commit": 1,
    "close.before_checkpoint": 1,
    "close.after_checkpoint": 1,
    "export.after_page": 1,
    "export.before_rename": 1,
    "export.after_rename": 1,
}
"""Place -> how often a small job comes by it, where that is less than five times."""
MOST = 5
OF_RUNS = [place for place in PLACES if not place.startswith("move.")]
"""Those a job comes by; tests/test_move.py has the others."""
LARGE = 2040  # rows: two chunks of the input


FAILURES = (
    ("group.before_commit", "raise", 1),
    ("group.after_commit", "eio", 2),
    ("claims.before_commit", "enospc", 2),
    ("results.before_commit", "enospc", 1),
    ("results.before_commit", "eio", 1),
    ("results.after_commit", "raise", 2),
    ("input.after_commit", "eio", 1),
    ("answer.after_first_byte", "eio", 1),
    ("migration.before_commit", "enospc", 1),
    ("recover.before_commit", "raise", 1),
    ("close.before_checkpoint", "raise", 1),
    ("export.before_rename", "enospc", 1),
)
"""Of the actions other than kill, what `make test` has time for."""


def hits(place: str) -> list[int]:
    """The hits that are tried there."""
    return list(range(1, MOST_HITS.get(place, MOST) + 1))


def some_cases() -> list[tuple[str, str, int]]:
    """(place, action, hit): a kill at each place, and some failures."""
    kills = [
        (place, "kill", 1 if place.startswith("input.") else hits(place)[n % len(hits(place))])
        for n, place in enumerate(OF_RUNS)
    ]
    return [*kills, *FAILURES]


def all_cases() -> list[tuple[str, str, int]]:
    """Every action at every place, at the first hit and at later ones."""
    return [(place, action, hit) for place in OF_RUNS for action in ACTIONS for hit in hits(place)]


@pytest.fixture(autouse=True)
def no_long_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that hangs is noticed within half a minute."""
    monkeypatch.setattr("storm.harness.LONGEST_RUN_SECONDS", 30.0)


class Shared:
    """One sandbox for many jobs: of its ledger, each sees what came after it began."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.url = sandbox.url
        self._before = len(sandbox.bills())

    def bills(self) -> list[Bill]:
        return self._sandbox.bills()[self._before :]

    def received(self) -> int:
        return len(self.bills())

    def close(self) -> None:
        """It is closed by whoever opened it."""


@pytest.fixture(scope="module")
def sandboxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Sandbox]]:
    """By mode."""
    opened: dict[str, Sandbox] = {}
    for mode, latency in PLANS.items():
        folder = tmp_path_factory.mktemp("sandbox")
        opened[mode] = Sandbox(folder, Plan(1, mode, 0, ".csv", 4, latency, ()))
    yield opened
    for sandbox in opened.values():
        sandbox.close()


def survives(folder: Path, sandbox: Sandbox, place: str, action: str, hit: int, mode: str) -> None:
    """A run that fails there, then the job to its end; every objection of the oracle is a failure."""
    large = place.startswith("input.") and hit > 1
    environment = {failpoints.VARIABLE: f"{place}={action}@{hit}"}
    plan = Plan(1, mode, LARGE if large else 24, ".csv", 40 if large else 4, PLANS[mode], ())
    with World(folder, plan, endpoint=Shared(sandbox), environment=environment, warm=True) as world:
        output = folder / "out.csv"
        output.write_text("old\n")
        if place.startswith("recover."):
            environment[failpoints.VARIABLE] = "request.after_last_byte=kill@3"
            assert world.run(world.arguments("start"))[0] == -signal.SIGKILL
            environment[failpoints.VARIABLE] = f"{place}={action}@{hit}"
        code, said = world.run(world.arguments("start", "--output", str(output)))
        assert world.oracle.objections == []  # it ended
        assert f"failpoint {place}: {action}" in said, said
        check_exit(place, action, code, said)
        check_output(place, output, len(world.rows))
        environment.clear()
        environment["PYTHONUTF8"] = "1"
        finish(world)
        assert world.oracle.objections == []


def check_exit(place: str, action: str, code: int, said: str) -> None:
    if action == "kill":
        assert code == -signal.SIGKILL
    elif place.startswith(("request.", "answer.")):
        assert code in (0, 4), said  # the request is lost, and the job goes on
    else:
        assert code == 1, said
    if action in ("enospc", "eio") and not place.startswith(("input.between", "close.after")):
        assert "defect" not in said, said
        assert "Traceback" not in said, said


def check_output(place: str, output: Path, rows: int) -> None:
    """The old file, or the whole new one."""
    text = output.read_text()
    new = text.startswith("id,text,label")
    assert text == "old\n" or new
    if place == "export.after_rename":
        assert new
    if place.startswith("export.") and place != "export.after_rename":
        assert not new


def ids(case: tuple[str, str, int]) -> str:
    place, action, hit = case
    return f"{place}={action}@{hit}"


@pytest.mark.parametrize("case", some_cases(), ids=ids)
def test_a_job_that_fails_there_ends_as_if_it_had_not(
    tmp_path: Path, sandboxes: dict[str, Sandbox], case: tuple[str, str, int]
) -> None:
    survives(tmp_path / "job", sandboxes["resend"], *case, "resend")


@pytest.mark.storm
@pytest.mark.parametrize("mode", list(PLANS))
@pytest.mark.parametrize("case", all_cases(), ids=ids)
def test_all_of_them(tmp_path: Path, sandboxes: dict[str, Sandbox], case: tuple[str, str, int], mode: str) -> None:
    assert mode in MODES
    survives(tmp_path / "job", sandboxes[mode], *case, mode)


# ---------------------------------------------------------------- the switch


def test_a_failpoint_is_read_from_one_word() -> None:
    assert failpoints.read("results.after_commit=kill@3") == ("results.after_commit", "kill", 3)
    assert failpoints.read("close.before_checkpoint=eio") == ("close.before_checkpoint", "eio", 1)


@pytest.mark.parametrize("text", ["nowhere=kill", "group.before_commit=explode", "group.before_commit=kill@0", "x"])
def test_a_word_that_names_no_failpoint_ends_the_program(text: str) -> None:
    with pytest.raises(ValueError, match="PLACE=ACTION@HIT"):
        failpoints.read(text)
    asked = [sys.executable, "-m", "batchjob", "jobs"]
    environment = {**os.environ, failpoints.VARIABLE: text}
    ended = subprocess.run(asked, env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1
    assert f"batchjob: {failpoints.VARIABLE}={text}" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_none_is_armed_without_the_variable() -> None:
    assert failpoints.armed is None
    failpoints.reach("group.before_commit")


def test_the_document_lists_every_place_and_action() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, meaning in {**PLACES, **ACTIONS}.items():
        assert f"| `{name}` | {meaning} |" in text


# ---------------------------------------------------------------- the budget


def test_a_budget_is_kept_also_by_a_job_that_is_killed(tmp_path: Path) -> None:
    """What the ledger billed, at the job's prices, never passes it; requests that a kill left open are in it."""
    environment = {failpoints.VARIABLE: "request.after_last_byte=kill@30"}
    budget = 0.02
    with World(tmp_path, Plan(1, "resend", 400, ".csv", 8, (0.01, 0.02), ()), environment=environment) as world:
        (tmp_path / "job.toml").write_text('[prices."m"]\ninput = 1.0\noutput = 1.0\n')
        code, said = world.run(world.arguments("start", "--budget", str(budget)))
        assert code == -signal.SIGKILL, said
        environment[failpoints.VARIABLE] = ""
        code, said = world.run(world.arguments("resume"))
        assert code == 5, said
        world.judge()
        status, ledger = world.status(), world.endpoint.bills()
        assert status is not None
        world.oracle.see_cost(status, ledger, world.at.requests, prices=(1e-6, 1e-6), budget=budget)
        spent = sum(sum(bill.tokens) for bill in ledger if bill.billed) / 1e6
        assert budget / 2 < spent <= budget
    assert world.oracle.objections == []
