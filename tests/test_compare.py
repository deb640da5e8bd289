"""`compare`: two jobs beside each other, recounted by others."""

from __future__ import annotations

import csv
import json
from fractions import Fraction
from math import comb
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.scoring.counts import Counts, Judged
from batchjob.scoring.pairs import duel

if TYPE_CHECKING:
    from tests.conftest import BatchJob

TICKETS = Path(__file__).resolve().parent.parent / "examples" / "tickets.csv"
LABELS = TICKETS.with_name("labels.txt")
TASK = ("--labels-file", str(LABELS), "--sandbox", "--rpm", "0", "--quiet")
OTHERWISE = ("--prompt", "Answer {labels}\n{text}\nAnswer edit_personal_details!", "--price", "1,2", "--new")


def write(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def jobs(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type[BatchJob]) -> BatchJob:
    """The command in a folder with jobs `t` and `t-2` of 121 rows, the last of which fails, and `u` of other rows."""
    batchjob = batchjob_in(tmp_path_factory.mktemp("jobs"))
    with TICKETS.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    write(batchjob.folder / "t.csv", [header, *rows[:120], ["blank", "", "age_limit"]])
    others = [*reversed(rows[90:140]), rows[139], rows[139]]
    write(batchjob.folder / "u.csv", [["id", "text"], *([f"u{number}", row[1]] for number, row in enumerate(others))])
    assert batchjob("start", "t.csv", *TASK).code == 4
    assert batchjob("start", "t.csv", *TASK, *OTHERWISE).code == 4
    assert batchjob("start", "u.csv", *TASK, *OTHERWISE, "--limit", "40").code == 0
    for name in ("t", "t-2", "u"):
        assert batchjob("export", name, "-o", f"{name}-labels.csv").code == 0
    return batchjob


def compared(batchjob: BatchJob, *arguments: str) -> dict[str, Any]:
    ended = batchjob("compare", *arguments, "--json")
    assert ended.code == 0, ended.err
    document: dict[str, Any] = json.loads(ended.out)
    return document


def labels_of(batchjob: BatchJob, job: str) -> list[str]:
    return [row["label"] for row in read(batchjob.folder / f"{job}-labels.csv")]


def test_scikit_learn_finds_the_same_agreement(jobs: BatchJob) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not here: make installs it")
    found = compared(jobs, "t", "t-2", "--gold", "gold")
    rows = read(jobs.folder / "t-labels.csv")
    a, b, gold = labels_of(jobs, "t"), labels_of(jobs, "t-2"), [row["gold"] for row in rows]
    assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(a[:120], b[:120]))
    assert found["agreement"]["share"] == pytest.approx(metrics.accuracy_score(a[:120], b[:120]))
    assert found["accuracy_a"]["share"] == pytest.approx(metrics.accuracy_score(gold, a))
    assert found["accuracy_b"]["share"] == pytest.approx(metrics.accuracy_score(gold, b))


def test_who_is_right_where_is_counted_and_failed_rows_are_wrong(jobs: BatchJob) -> None:
    found = compared(jobs, "t", "t-2", "--gold", "gold")
    gold = [row["gold"] for row in read(jobs.folder / "t-labels.csv")]
    right = [(a == one, b == one) for a, b, one in zip(labels_of(jobs, "t"), labels_of(jobs, "t-2"), gold, strict=True)]
    cells = {"both": (True, True), "only_a": (True, False), "only_b": (False, True), "neither": (False, False)}
    assert {name: found["right"][name] for name in cells} == {name: right.count(who) for name, who in cells.items()}
    assert found["right"]["only_a"] > found["right"]["only_b"]
    assert found["unlabelled"] == 1
    said = jobs("compare", "t", "t-2", "--gold", "gold").out
    assert "A is right more often (McNemar's exact test, p " in said
    assert "1 row failed in one or both, with no label to compare" in said


def test_cost_and_tokens_are_those_of_the_rows_that_went_out(jobs: BatchJob) -> None:
    found, status = compared(jobs, "t", "t-2"), json.loads(jobs("status", "t-2", "--json").out)
    assert found["b"]["asked"] == 120
    assert found["b"]["usd_per_1000"] == pytest.approx(1000 * status["cost"]["usd"] / 120)
    assert found["b"]["input_tokens_per_1000"] == pytest.approx(1000 * status["usage"]["input_tokens"] / 120)
    assert 0 <= found["b"]["seconds_median"] <= found["b"]["seconds_p95"]
    assert [one["setting"] for one in found["differs"]] == ["prompt", "price"]


def test_disagreements_are_written_with_both_labels_and_gold(jobs: BatchJob) -> None:
    compared(jobs, "t", "t-2", "--gold", "gold", "--disagreements", "differ.csv")
    rows = read(jobs.folder / "t-labels.csv")
    expected = [
        {"id": row["id"], "text": row["text"], "label_t": row["label"], "label_t-2": other, "gold": row["gold"]}
        for row, other in zip(rows, labels_of(jobs, "t-2"), strict=True)
        if row["label"] != other
    ]
    assert expected
    assert read(jobs.folder / "differ.csv") == expected
    before = (jobs.folder / "t.csv").read_bytes()
    ended = jobs("compare", "t", "t-2", "--disagreements", "t.csv")
    assert ended.code == 2
    assert "would be written over" in ended.err
    ended = jobs("compare", "t", "t-2", "--disagreements", "-")
    assert (ended.code, "stdout has the comparison: name a file" in ended.err) == (2, True)
    assert (jobs.folder / "t.csv").read_bytes() == before


def test_jobs_of_two_inputs_are_paired_by_text(jobs: BatchJob) -> None:
    found = compared(jobs, "t", "u")
    t = {row["text"]: row["label"] for row in read(jobs.folder / "t-labels.csv")}
    u = {row["text"]: row["label"] for row in read(jobs.folder / "u-labels.csv") if row["label"]}
    shared = t.keys() & u.keys()
    assert found["paired_by"] == "text"
    assert (found["agreement"]["n"], found["agreement"]["hits"]) == (len(shared), sum(t[x] == u[x] for x in shared))
    assert found["unpaired"] == 121 - 30 + 20 + 2  # rows, also those whose text stands there before
    assert found["unended"] == 30 - len(shared)


def test_gold_that_is_no_label_is_named(jobs: BatchJob) -> None:
    found = compared(jobs, "t", "t-2", "--gold", "id")
    assert (found["foreign_rows"], found["right"]["neither"]) == (121, 121)
    said = jobs("compare", "t", "t-2", "--gold", "id").out
    assert "gold of 121 rows is none of the two jobs' labels, so they count as wrong:\n  1 T-0001\n" in said
    assert compared(jobs, "t", "t-2", "--gold", "gold")["foreign_rows"] == 0


def test_a_job_is_itself(jobs: BatchJob) -> None:
    found = compared(jobs, "t", "t", "--gold", "gold")
    assert (found["agreement"]["share"], found["kappa"], found["right"]["p"]) == (1.0, 1.0, 1.0)
    assert (found["differs"], found["disagreements"]) == ([], [])
    said = jobs("compare", "t", "t", "--gold", "gold").out
    assert "none differ that say how rows are asked" in said
    assert "both are right equally often (McNemar's exact test, p = 1.0000)" in said


# ---------------------------------------------------------------- the arithmetic


@given(st.integers(0, 300), st.integers(0, 300))
def test_mcnemars_p_is_that_of_a_coin(only_a: int, only_b: int) -> None:
    n, k = only_a + only_b, min(only_a, only_b)
    exact = min(Fraction(2 * sum(comb(n, i) for i in range(k + 1)), 2**n), Fraction(1))
    assert duel(5, only_a, only_b, 7).p == pytest.approx(float(exact), rel=1e-9)


def test_mcnemars_p_of_many_rows_is_found() -> None:
    assert duel(0, 500_000, 501_000, 0).p == pytest.approx(0.3178, abs=1e-3)  # as the normal distribution has it
    assert duel(0, 10, 1_000_000, 0).p == 0.0


def test_kappa_of_two_who_always_say_one_thing_is_unknown() -> None:
    counts = Counts("ab")
    for _ in range(3):
        counts.add(Judged("1", "t", "a", "a", None, None, None))
    assert counts.kappa is None


def test_one_of_several_answers_is_compared_and_rows_shown_as_examples_are_left_out(batchjob: BatchJob) -> None:
    fields = '[[fields]]\nname = "topic"\nlabels = ["card_arrival", "change_pin"]\n'
    fields += '[[fields]]\nname = "sure"\nkind = "yes_no"\n'
    (batchjob.folder / "f.toml").write_text(f"sandbox = true\nrpm = 0\nquiet = true\nlimit = 20\n{fields}")
    assert batchjob("start", str(TICKETS), "--config", "f.toml", "--name", "f").code == 0
    found = compared(batchjob, "f", "f", "--field", "topic")
    assert (found["agreement"]["n"], found["agreement"]["share"]) == (20, 1.0)
    (batchjob.folder / "g.toml").write_text((batchjob.folder / "f.toml").read_text().replace(', "change_pin"]', "]"))
    assert batchjob("start", str(TICKETS), "--config", "g.toml", "--name", "g", "--new").code == 0
    assert compared(batchjob, "f", "g", "--field", "sure")["differs"] == [
        {
            "setting": "fields",
            "a": '{"name":"topic","labels":["card_arrival","change_pin"]}',
            "b": '{"name":"topic","labels":["card_arrival"]}',
        }
    ]
    ended = batchjob("compare", "f", "f")
    assert (ended.code, "name one of them with --field: topic, sure" in ended.err) == (2, True)

    task = (*TASK, "--labels", "card_arrival,change_pin")[2:]
    write(
        batchjob.folder / "t.csv",
        [
            ["id", "text", "gold"],
            ["1", "Where is my card?", "card_arrival"],
            ["2", "My PIN", "change_pin"],
            ["3", "A card that arrives", "card_arrival"],
        ],
    )
    assert batchjob("start", "t.csv", *task, "--name", "plain").code == 0
    assert batchjob("start", "t.csv", *task, "--name", "shown", "--new", "--examples", "2", "--gold", "gold").code == 0
    found = compared(batchjob, "plain", "shown", "--gold", "gold")
    assert (found["examples"], found["accuracy_a"]["n"]) == (2, 1)
    assert "2 rows shown to a model as examples" in batchjob("compare", "plain", "shown").out
