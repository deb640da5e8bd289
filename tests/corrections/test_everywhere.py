"""What a person said of rows is read alike by everything that reads labels, in each kind of store."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import batchjob as api
from batchjob.jobs.exports import export
from batchjob.stores import open_reader
from tests import postgres
from tests.page.client import viewed

if TYPE_CHECKING:
    from tests.conftest import BatchJob

KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT))]
ROWS = "T-1,invoice twice,card\nT-2,,other\nT-3,card lost,billing\nT-4,card found,other\n"
START = ("--labels", "billing,card,other", "--sandbox", "--rpm", "0", "--quiet")
FIELDS = """
[[fields]]
name = "category"
labels = ["card arrival", "refund"]

[[fields]]
name = "topics"
kind = "several"
labels = ["app", "card", "money"]

[[fields]]
name = "score"
kind = "number"
min = 1
max = 5
"""


@pytest.fixture(params=KINDS)
def job(request: pytest.FixtureRequest, batchjob: BatchJob) -> BatchJob:
    """A folder whose database is of this kind."""
    if request.param == "postgres":
        batchjob.environment["BATCHJOB_DB"] = postgres.clean_database()
    return batchjob


def exported(job: BatchJob, name: str, only: str | None = None) -> list[dict[str, str]]:
    """What an export has, made in this process: it is asked for often."""
    with open_reader(db_of(job)) as reader:
        export(reader, reader.job(name), str(job.folder / "exported.csv"), only=only)
    return list(csv.DictReader((job.folder / "exported.csv").open(encoding="utf-8")))


def told(job: BatchJob, *command: str) -> dict[str, Any]:
    ended = job(*command, "--json")
    assert ended.code == 0, ended.err
    document: dict[str, Any] = json.loads(ended.out)
    return document


def db_of(job: BatchJob) -> str:
    return job.environment.get("BATCHJOB_DB") or str(job.folder / "batchjob.db")


def test_labels_are_the_same_to_every_reader(job: BatchJob) -> None:
    (job.folder / "in.csv").write_text("id,text,gold\n" + ROWS)
    job("start", "in.csv", *START)
    job("start", "in.csv", *START, "--new", "--name", "other")
    own = [row["label"] for row in exported(job, "in")]
    right = ["card", "other", "billing", own[3]]
    said = job("correct", "in", "T-1", "card").out + job("correct", "in", "#2", "other").out
    (job.folder / "said.csv").write_text(f"id,label\nT-3,billing\nT-4,{own[3]}\n")
    said += job("correct", "in", "--file", "said.csv").out
    changed = sum(a != b for a, b in zip(own, right, strict=True) if a)
    kept = [n for n, label in enumerate(own) if label == right[n]]
    rows = exported(job, "in")
    assert [row["label"] for row in rows] == right
    assert [row["model_label"] for row in rows] == own
    assert [row["source"] for row in rows] == ["model" if n in kept else "human" for n in range(4)]
    assert {row["state"] for row in rows} == {"done"}
    assert [row["id"] for row in exported(job, "in", "human")] == [f"T-{n + 1}" for n in range(4) if n not in kept]
    hand = told(job, "status", "in")["by_hand"]
    assert (hand["rows"], hand["changed"], hand["unlabelled"]) == (4 - len(kept), changed, 1)
    score = told(job, "score", "in", "--gold", "gold")
    assert score["rows"]["right"] == 3 + (own[3] == "other")
    assert score["sources"]["human"]["right"] == 4 - len(kept)
    compared = told(job, "compare", "in", "other", "--gold", "gold")
    assert compared["agreement"]["hits"] == len([n for n in kept if own[n]])
    assert compared["accuracy_a"]["hits"] == score["rows"]["right"]
    job("report", "in", "-o", "r.md", "--gold", "gold")
    report = (job.folder / "r.md").read_text()
    assert f"| human | set by a person | {4 - len(kept)} |" in report
    assert f"By hand: {4 - len(kept)} rows" in report
    found = api.open(db_of(job)).job("in")
    assert (found.labels, found.status()["by_hand"]["rows"]) == (right, 4 - len(kept))
    assert [row["model_label"] or "" for row in found.rows()] == own
    with viewed(job, "in") as page:
        assert [row["label"] for row in page.ask("/api/rows", job="in")["rows"]] == right
        assert page.say(job="in", row=1, label="other", why="row").status == 200
        assert [one["label"] for one in page.ask("/api/row", job="in", number=1)["said"]] == ["card", "other"]
    assert exported(job, "in")[0]["label"] == "other"
    assert "row 1 (T-1): other is taken back" in job("correct", "in", "T-1", "--undo").out
    assert exported(job, "in")[0]["label"] == "card"
    assert "corrections by hand went with it" in job("remove", "in").out


def test_fields_are_corrected_each_by_itself(batchjob: BatchJob, sandbox: Callable[..., str]) -> None:
    job = batchjob
    (job.folder / "job.toml").write_text(FIELDS)
    (job.folder / "in.csv").write_text("id,text,gold\n1,text one,refund\n2,bad two,refund\n3,text three,refund\n")
    url = sandbox("--poison", "bad", "--poison-fault", "off_list")
    flags = ("--base-url", url, "--model", "m", "--rpm", "0", "--quiet")
    assert job("start", "in.csv", *flags).code == 4
    job("start", "in.csv", *flags, "--new", "--name", "other", "--no-cache")
    own = exported(job, "in")
    lacks = [name for name in ("category", "topics", "score") if not own[1][name]]
    assert lacks
    assert "name one of them with --field: category, topics, score" in job("correct", "in", "1", "refund").err
    assert (
        "'7' is no value of field score: it is a whole number from 1 to 5"
        in job("correct", "in", "1", "7", "--field", "score").err
    )
    assert "did you mean 'refund'?" in job("correct", "in", "1", "refunt", "--field", "category").err
    assert "is no value of field topics" in job("correct", "in", "1", "app,shoe", "--field", "topics").err
    said = job("correct", "in", "1", "Refund", "--field", "category").out
    assert f"row 1 (1), category: refund; the job's own answer is {own[0]['category']}" in said.replace(
        "row 1,", "row 1 (1),"
    )
    job("correct", "in", "1", "money, app", "--field", "topics")
    first = exported(job, "in")[0]
    assert (first["category"], json.loads(first["topics"]), first["source"]) == ("refund", ["app", "money"], "human")
    assert json.loads(first["model_label"])["category"] == own[0]["category"]
    given = {"category": "refund", "topics": "[]", "score": "2"}
    for at, name in enumerate(lacks, start=1):
        rows = exported(job, "in")
        rows[1][name] = given[name]
        with (job.folder / "edited.csv").open("w") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
        assert "1 answer corrected" in job("correct", "in", "--file", "edited.csv").out
        row = exported(job, "in")[1]
        assert (row[name], row["state"]) == (given[name], "done" if at == len(lacks) else "failed")
    assert (row["source"], row["error"]) == ("human", "")
    hand = told(job, "status", "in")["by_hand"]
    assert (hand["rows"], hand["unlabelled"], hand["sample"], hand["fields"]) == (2, 1, None, {})
    by_category = told(job, "score", "in", "--field", "category", "--gold", "gold")
    assert by_category["rows"]["right"] == sum(row["category"] == "refund" for row in exported(job, "in"))
    by_score = told(job, "score", "in", "--field", "score", "--gold", "gold")
    assert by_score["sources"]["human"]["rows"] == ("score" in lacks), "of the first row a person said other things"
    compared = told(job, "compare", "in", "other", "--field", "category")
    pairs = zip(exported(job, "in"), exported(job, "other"), strict=True)
    assert compared["agreement"]["hits"] == sum(a["category"] == b["category"] != "" for a, b in pairs)
    job("report", "in", "-o", "r.md", "--field", "category", "--gold", "gold")
    report = (job.folder / "r.md").read_text()
    assert "| human | set by a person | 2 |" in report
    assert "3 rows have a label" in report
    found = api.open(db_of(job)).job("in")
    assert [row is not None and row["category"] for row in found.fields] == [
        row["category"] for row in exported(job, "in")
    ]
    job("correct", "in", "1", "--undo", "--field", "category")
    assert exported(job, "in")[0]["category"] == own[0]["category"]
    assert "category was not corrected" in job("correct", "in", "1", "--undo", "--field", "category").err
    assert "counters    equal to what they count" in job("doctor").out
