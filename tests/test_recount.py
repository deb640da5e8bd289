"""What `try`, `score` and `compare` count of BANKING77's rows, counted once more by pandas, scikit-learn and SciPy."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import BatchJob

WHY_NOT = "pandas and scikit-learn are not here: make installs them"
pandas = pytest.importorskip("pandas", reason=WHY_NOT)
metrics = pytest.importorskip("sklearn.metrics", reason=WHY_NOT)
stats = pytest.importorskip("scipy.stats", reason=WHY_NOT)

TICKETS = Path(__file__).resolve().parent.parent / "examples" / "tickets.csv"
LABELS = TICKETS.with_name("labels.txt")
TASK = ("--labels-file", str(LABELS), "--sandbox", "--rpm", "0", "--quiet")


def document(batchjob: BatchJob, *arguments: str) -> dict[str, Any]:
    ended = batchjob(*arguments, "--json")
    assert ended.code == 0, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def interval(hits: int, n: int) -> tuple[float, float]:
    found = stats.binomtest(hits, n).proportion_ci(method="wilson")
    return pytest.approx(found.low), pytest.approx(found.high)


def test_two_ways_of_asking_are_counted_as_others_count_them(batchjob: BatchJob) -> None:
    (batchjob.folder / "a.txt").write_text("Answer with one of:\n{labels}")
    (batchjob.folder / "b.txt").write_text("Answer {labels}\n{text}\nAnswer edit_personal_details!")
    tickets = pandas.read_csv(TICKETS, dtype=str, keep_default_na=False)
    ways = ("--prompt-file", "a.txt", "--prompt-file", "b.txt")
    tried = document(batchjob, "try", str(TICKETS), *TASK, *ways, "--gold", "gold", "-n", "60")
    gold = tickets.set_index("id")["gold"]
    for at, variant in enumerate(tried["variants"]):
        given = pandas.Series({row["id"]: row["answers"][at]["label"] for row in tried["rows"]})
        share = variant["accuracy"]
        assert share["share"] == pytest.approx(metrics.accuracy_score(gold[given.index], given))
        assert (share["low"], share["high"]) == interval(share["hits"], 60)
    for name, variant in zip("ab", tried["variants"], strict=True):
        assert batchjob(*shlex.split(variant["start"])[1:], "--name", name, "--new").code == 0
        assert batchjob("export", name, "-o", f"{name}.csv").code == 0
    frames = [pandas.read_csv(batchjob.folder / f"{name}.csv", dtype=str) for name in "ab"]
    rows = frames[0].merge(frames[1], on="id", suffixes=("_a", "_b"), validate="1:1")
    right = {name: rows[f"label_{name}"] == rows["gold_a"] for name in "ab"}
    names = LABELS.read_text().split()
    for name in "ab":
        found, label = document(batchjob, "score", name, "--gold", "gold"), rows[f"label_{name}"]
        assert (found["accuracy"]["hits"], found["accuracy"]["n"]) == (right[name].sum(), 300)
        assert (found["accuracy"]["low"], found["accuracy"]["high"]) == interval(found["accuracy"]["hits"], 300)
        macro = metrics.f1_score(rows["gold_a"], label, labels=names, average="macro", zero_division=0)
        assert found["macro_f1"] == pytest.approx(macro)
        table = pandas.crosstab(rows["gold_a"], label)
        confused = {(one["gold"], one["label"]): one["rows"] for one in found["confusions"]}
        assert confused == {pair: n for pair, n in table.stack().items() if n and pair[0] != pair[1]}
    found = document(batchjob, "compare", "a", "b", "--gold", "gold")
    assert found["kappa"] == pytest.approx(metrics.cohen_kappa_score(rows["label_a"], rows["label_b"]))
    who = pandas.crosstab(right["a"], right["b"]).reindex(index=[True, False], columns=[True, False], fill_value=0)
    duel = found["right"]
    assert [duel["both"], duel["only_a"], duel["only_b"], duel["neither"]] == who.to_numpy().ravel().tolist()
    assert duel["only_a"] != duel["only_b"], "or the prompts do not differ"
    exact = stats.binomtest(duel["only_a"], duel["only_a"] + duel["only_b"]).pvalue
    assert duel["p"] == pytest.approx(exact)
