"""`score`: a job's labels beside gold ones, recounted by others."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchjob.model import InputSource, Row
from batchjob.scoring.counts import MOST_FOREIGN, MOST_PAIRS, Counts, Judged, macro_f1
from batchjob.scoring.interval import wilson
from batchjob.task.columns import column_reader, values_of

if TYPE_CHECKING:
    from tests.conftest import BatchJob

TICKETS = Path(__file__).resolve().parent.parent / "examples" / "tickets.csv"
LABELS = TICKETS.with_name("labels.txt")
TASK = ("--labels-file", str(LABELS), "--sandbox", "--rpm", "0", "--quiet")
ODD = [
    ("x1", "", "age_limit"),  # fails
    ("x2", "I lost my card yesterday evening", " lost_or_stolen_card "),
    ("x3", "Where is my new card?", "Card arrival"),  # is no label
    ("x4", "How do I change my PIN?", ""),  # no gold
    ("x5", "What is the age limit?", "age_limit"),  # behind the limit
    ("x6", "I want to close my account", "terminate_account"),
]
"""Rows behind those of the tickets."""


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type[BatchJob]) -> BatchJob:
    """The command in a folder with a job of the tickets and the odd rows, the last two of which are pending."""
    batchjob = batchjob_in(tmp_path_factory.mktemp("scored"))
    with TICKETS.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    with (batchjob.folder / "t.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*rows, *ODD])
    assert batchjob("start", "t.csv", *TASK, "--limit", "304").code == 4
    return batchjob


def report(batchjob: BatchJob, *arguments: str) -> dict[str, Any]:
    ended = batchjob("score", *arguments, "--json")
    assert ended.code == 0, ended.err
    document: dict[str, Any] = json.loads(ended.out)
    return document


def exported(batchjob: BatchJob) -> list[dict[str, str]]:
    """The rows that are scored, by an export: those with gold that are done or failed."""
    assert batchjob("export", "-o", "all.csv", "--all").code == 0
    with (batchjob.folder / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = [{**row, "gold": row["gold"].strip()} for row in csv.DictReader(file)]
    return [row for row in rows if row["gold"] and row["state"] in ("done", "failed")]


def test_scikit_learn_counts_the_same(scored: BatchJob) -> None:
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not here: make installs it")
    found, rows = report(scored, "--gold", "gold"), exported(scored)
    gold, given = [row["gold"] for row in rows], [row["label"] or "no label" for row in rows]
    assert found["accuracy"]["share"] == pytest.approx(metrics.accuracy_score(gold, given))
    names = LABELS.read_text().split()
    four = metrics.precision_recall_fscore_support(gold, given, labels=names, zero_division=0)
    by_name = {one["label"]: one for one in found["labels"]}
    for name, *numbers in zip(names, *four, strict=True):
        one = by_name[name]
        assert [one["precision"], one["recall"], one["f1"], one["support"]] == pytest.approx(numbers), name
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(gold, given, labels=names, average="macro"))
    matrix = metrics.confusion_matrix(gold, given, labels=[*names, "no label", "Card arrival"])
    assert sum(one["rows"] for one in found["confusions"]) == matrix.sum() - matrix.trace()


def test_failed_rows_are_wrong_and_pending_ones_are_left_out(scored: BatchJob) -> None:
    rows = report(scored, "--gold", "gold")["rows"]
    right = sum(row["label"] == row["gold"] for row in exported(scored))
    assert rows == {
        "scored": 303,
        "right": right,
        "failed": 1,
        "pending": 2,
        "unconfirmed": 0,
        "without_gold": 1,
        "examples": 0,
    }
    said = scored("score", "--gold", "gold").out
    assert f"{right} right of 303 scored, of them 1 failed, which counts as wrong" in said
    assert "left out  2 pending or in flight, 1 without gold" in said


def test_gold_that_is_no_label_is_named_first(scored: BatchJob) -> None:
    found = report(scored, "--gold", "gold")
    assert found["foreign_gold"] == [{"gold": "Card arrival", "rows": 1, "nearest": "card_arrival"}]
    lines = scored("score", "--gold", "gold").out.splitlines()
    assert lines[1:3] == [
        "gold of 1 row is none of the job's labels, so it counts as wrong:",
        "  1 Card arrival; is it card_arrival?",
    ]


def test_gold_may_stand_in_a_file_of_its_own(scored: BatchJob) -> None:
    rows = exported(scored)
    (scored.folder / "gold.jsonl").write_text(
        "".join(json.dumps({"id": row["id"], "label": row["gold"]}) + "\n" for row in rows)
        + '{"id": "nobody", "label": "age_limit"}\n'
    )
    by_file, by_column = report(scored, "--gold-file", "gold.jsonl"), report(scored, "--gold", "gold")
    assert by_file["ids_without_row"] == 1
    for key in ("accuracy", "macro_f1", "labels", "confusions"):
        assert by_file[key] == by_column[key]


def test_what_is_no_gold_is_said_with_what_to_do(scored: BatchJob) -> None:
    (scored.folder / "twice.csv").write_text("id,gold\nT-1,age_limit\nT-1, age_limit\nT-1,change_pin\n")
    (scored.folder / "none.csv").write_text("id,answer\nT-1,age_limit\n")
    wrong = {
        (): "say where the right labels are",
        ("--gold", "golds"): "did you mean 'gold'",
        ("--gold", "text"): "is the text itself",
        ("--gold-file", "twice.csv"): "twice.csv, line 4: id T-1 has gold 'age_limit' above and 'change_pin' here",
        ("--gold-file", "none.csv"): "its columns are: id, answer",
        ("--gold-file", "nowhere.csv"): "nowhere.csv",
    }
    for arguments, said in wrong.items():
        ended = scored("score", *arguments)
        assert ended.code in (1, 2), arguments
        assert said in ended.err


FIELDS = """
[[fields]]
name = "topics"
kind = "several"
labels = ["app", "card", "cash, coins"]
[[fields]]
name = "share"
kind = "number"
min = 0
max = 9
decimals = 1
[[fields]]
name = "note"
kind = "text"
"""


def test_gold_of_several_labels_and_of_numbers_counts_by_what_it_means(batchjob: BatchJob) -> None:
    (batchjob.folder / "job.toml").write_text(f"sandbox = true\nrpm = 0\nquiet = true\n{FIELDS}")
    (batchjob.folder / "t.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(40)))
    assert batchjob("start", "t.csv").code == 0
    rows = [json.loads(line) for line in batchjob("export", "-o", "-", "--format", "jsonl").out.splitlines()]
    assert {len(row["topics"]) for row in rows} == {0, 1, 2, 3}
    for name, spelled, foreign in (
        ("topics", lambda value: json.dumps(value[::-1]), "Card"),
        ("share", lambda value: f" {value:.3f} ", "10"),
        ("note", lambda value: f"{value} ", ""),
    ):
        gold = [{"id": row["id"], "gold": spelled(row[name])} for row in rows[:-1]]
        gold.append({"id": rows[-1]["id"], "gold": foreign})
        (batchjob.folder / "gold.jsonl").write_text("".join(json.dumps(one) + "\n" for one in gold))
        found = report(batchjob, "--gold-file", "gold.jsonl", "--field", name)
        assert (found["field"], found["rows"]["scored"], found["rows"]["right"]) == (name, 39 + bool(foreign), 39)
        assert [one["gold"] for one in found["foreign_gold"]] == [foreign] * bool(foreign)
        assert found["macro_f1"] is None, "its labels are not the values"
    assert batchjob("export", "-o", "out.jsonl").code == 0
    found = report(batchjob, "--gold-file", "out.jsonl", "--gold", "topics", "--field", "topics")
    assert found["rows"]["right"] == 40, "an array, as the export has it"
    assert "0 rows corrected, 120 as they were" in batchjob("correct", "t", "--file", "out.jsonl").out
    plain = [row for row in rows if "cash, coins" not in row["topics"] and row["topics"]]
    (batchjob.folder / "gold.csv").write_text(
        "".join(["id,topics\n", *(f'{r["id"]},"{"; ".join(r["topics"])}"\n' for r in plain)])
    )
    found = report(batchjob, "--gold-file", "gold.csv", "--gold", "topics", "--field", "topics")
    assert found["rows"]["right"] == len(plain)
    same = batchjob("correct", "t", "--file", "gold.csv")
    assert f"0 rows corrected, {len(plain)} as they were" in same.out, "what is gold to score means the same to correct"


def test_a_blank_cell_of_a_gold_file_says_nothing(scored: BatchJob) -> None:
    (scored.folder / "some.csv").write_text("id,gold\nT-0001,\nT-0001,age_limit\nnobody,\nT-0002, \n")
    found = report(scored, "--gold-file", "some.csv")
    assert (found["rows"]["scored"], found["ids_without_row"]) == (1, 0)


def test_rows_that_share_an_id_with_gold_in_a_file_are_said(batchjob: BatchJob) -> None:
    (batchjob.folder / "t.csv").write_text("id,text\n1,one\n1,two\n2,three\n")
    (batchjob.folder / "gold.csv").write_text("id,gold\n1,a\n2,a\n")
    assert batchjob("start", "t.csv", "--labels", "a,b", *TASK[2:]).code == 0
    found = report(batchjob, "--gold-file", "gold.csv")
    assert (found["rows"]["scored"], found["rows_of_shared_ids"]) == (3, 1)
    said = batchjob("score", "--gold-file", "gold.csv").out
    assert "same id   1 row with the id of a row before: the gold file's word counts for both" in said


def test_values_that_are_too_many_are_not_told_apart() -> None:
    counts = Counts((), known=lambda value: True)
    for row in judged([(f"value {n}", f"value {n}") for n in range(MOST_FOREIGN + 1)]):
        counts.add(row)
    assert (counts.right, list(counts.labels()), counts.kappa) == (MOST_FOREIGN + 1, [], None)


def test_gold_is_read_as_tables_write_it_a_column_with_gaps_or_by_another_system(batchjob: BatchJob) -> None:
    (batchjob.folder / "t.csv").write_text("text,gold,other\na,1.0,1.0\nb,,\nc,cafe\u0301,1.5\n")
    ask = ("--labels", "1,caf\u00e9", "--sandbox", "--rpm", "0", "--quiet", "--new")
    assert batchjob("start", "t.csv", *ask).code == 0
    for row, label in (("#1", "1.0"), ("#3", "cafe\u0301")):
        assert batchjob("correct", "t", row, label).code == 0
    found = report(batchjob, "--gold", "gold")
    assert (found["rows"]["scored"], found["rows"]["right"], found["foreign_gold"]) == (2, 2, [])
    assert [one["gold"] for one in report(batchjob, "--gold", "other")["foreign_gold"]] == ["1.5"]
    assert batchjob("start", "t.csv", *ask, "--examples", "2", "--gold", "gold", "--dry-run").code == 0
    compared = json.loads(batchjob("compare", "t", "t", "--gold", "gold", "--json").out)
    assert compared["foreign_gold"] == []


def test_a_number_or_a_boolean_is_gold_as_the_file_shows_it(batchjob: BatchJob) -> None:
    rows = [{"text": "one", "gold": 1, "n": {"a": 2}}, {"text": "zero", "gold": True}, {"text": "two", "gold": None}]
    (batchjob.folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert batchjob("start", "t.jsonl", "--labels", "1,true", "--sandbox", "--rpm", "0", "--quiet").code == 0
    found = report(batchjob, "--gold", "gold")
    assert (found["rows"]["scored"], found["rows"]["without_gold"], found["foreign_gold"]) == (2, 1, [])


# ---------------------------------------------------------------- the arithmetic

NAMES = st.sampled_from(["a", "b", "c", "d"])
ROWS = st.lists(st.tuples(NAMES | st.just("foreign"), NAMES | st.none()), min_size=1, max_size=60)


def judged(rows: list[tuple[str, str | None]]) -> Iterator[Judged]:
    for gold, label in rows:
        yield Judged("1", "t", gold, label, label and "model", None if label else "off_list", None)


def test_an_answer_of_a_row_that_lacks_others_has_a_source_with_a_name() -> None:
    counts = Counts("ab")
    counts.add(Judged("1", "t", "a", "a", None, "off_list:score", None))
    assert counts.sources == {"failed": [1, 1]}


@given(ROWS)
def test_counts_are_those_of_a_recount_by_definition(rows: list[tuple[str, str | None]]) -> None:
    counts = Counts("abcd")
    for row in judged(rows):
        counts.add(row)
    assert counts.right == sum(gold == label for gold, label in rows)
    found = {one.label: one for one in counts.labels()}
    for name in {*(gold for gold, _ in rows if gold in "abcd"), *(label for _, label in rows if label)}:
        said, so = [gold for gold, label in rows if label == name], [label for gold, label in rows if gold == name]
        assert found[name].precision == (said.count(name) / len(said) if said else None)
        assert found[name].recall == (so.count(name) / len(so) if so else None)
        assert found[name].f1 == pytest.approx(2 * said.count(name) / (len(said) + len(so)))
    wrong = [(gold, label) for gold, label in rows if gold != label]
    assert {(one.gold, one.label): one.rows for one in counts.confusions()} == {
        pair: wrong.count(pair) for pair in wrong
    }
    mean = sum(one.f1 for one in found.values()) / len(found) if found else None
    assert macro_f1(list(found.values())) == (mean and pytest.approx(mean))


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_interval_ends_where_a_share_would_be_refused_at_95_percent(counted: tuple[int, int]) -> None:
    hits, n = counted
    found = wilson(hits, n)
    assert found is not None
    assert 0 <= found.low <= found.share <= found.high <= 1
    for end in {found.low, found.high} - {0.0, 1.0}:
        assert abs(found.share - end) == pytest.approx(1.959964 * (end * (1 - end) / n) ** 0.5, abs=1e-6)


def test_the_interval_of_93_in_100_is_86_to_97() -> None:
    found = wilson(93, 100)
    assert found is not None
    assert (round(100 * found.low), round(100 * found.high)) == (86, 97)
    assert wilson(0, 0) is None


def test_a_wrong_column_of_gold_takes_little_memory() -> None:
    counts = Counts("ab")
    rows = MOST_PAIRS + 500
    for row in judged([(f"value {n}", "a") for n in range(rows)]):
        counts.add(row)
    assert (counts.rows, counts.right, counts.foreign.rows) == (rows, 0, rows)
    assert len(counts.foreign.values) == MOST_FOREIGN
    assert (len(counts.confusions()), counts.untold_pairs) == (MOST_PAIRS, 500)


SOURCE = InputSource("/t", "csv", "utf-8", ("a", "id", "text", "b"), "id", "text", 1, 1)
RESTS = (None, '["1","x"]', '["1"]', "[]", '{"b":true,"a":null}', '{"b":[1, 2]}', '{"b":1.50}', '{"id":"y"}')


@pytest.mark.parametrize("rest", RESTS)
@pytest.mark.parametrize("name", ["a", "b", "id", "later"])
def test_one_column_is_read_as_all_are(rest: str | None, name: str) -> None:
    (expected,) = values_of(SOURCE, Row(1, "t", rest=rest, key="k"), [name])
    assert column_reader(SOURCE, name)("k", rest) == expected
