"""Jobs with several answers a text, from the command to what the endpoint bills."""

from __future__ import annotations

import csv
import json
import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.model import InputSource, Remembered, Row
from batchjob.settings.config import merge
from batchjob.shortcuts import FieldWalk
from batchjob.task.asked import prompt_of

if TYPE_CHECKING:
    from tests.conftest import BatchJob

TASK = """
[[fields]]
name = "category"
labels = ["card arrival", "refund"]

[[fields]]
name = "topics"
kind = "several"
labels = ["app", "card", "money"]

[[fields]]
name = "text"
kind = "text"

[[fields]]
name = "score"
kind = "number"
min = 1
max = 5
"""
NAMES = ("category", "topics", "text", "score")
Start = Callable[..., str]


class Job:
    """A folder with a task of four fields, an endpoint and its ledger."""

    def __init__(self, batchjob: BatchJob, sandbox: Start) -> None:
        self.batchjob, self._sandbox = batchjob, sandbox
        self.ledger = batchjob.folder / "ledger.jsonl"
        (batchjob.folder / "job.toml").write_text(TASK)
        self.write([f"text number {n}" for n in range(30)])

    def write(self, texts: list[str]) -> None:
        lines = [f"{n},{text}\n" for n, text in enumerate(texts, 1)]
        (self.batchjob.folder / "in.csv").write_text("id,text\n" + "".join(lines))

    def start_sandbox(self, *options: str) -> str:
        return self._sandbox("--ledger", str(self.ledger), *options)

    def run(self, command: str, *more: str, code: int = 0, sandbox: tuple[str, ...] = ()) -> dict[str, Any]:
        """A command that runs the job, with an endpoint of its own; its summary."""
        url = self.start_sandbox(*sandbox)
        ended = self.batchjob(*command.split(), "--base-url", url, "--model", "m", "--rpm", "0", *more, "--json")
        assert ended.code == code, ended.err
        found: dict[str, Any] = json.loads(ended.out)
        return found

    def billed(self) -> list[dict[str, Any]]:
        """What each text was answered for each field that it was asked for, request by request."""
        lines = [json.loads(line) for line in self.ledger.read_text().splitlines()]
        return [json.loads(row["label"]) for line in lines for row in line["rows"] if line["billed"]]

    def exported(self, *more: str) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in self.batchjob("export", "-o", "-", "--format", "jsonl", *more).out.splitlines()
        ]


@pytest.fixture
def job(batchjob: BatchJob, sandbox: Start) -> Job:
    return Job(batchjob, sandbox)


@pytest.mark.parametrize("many", [(), ("--rows-per-request", "7")], ids=["one", "many"])
def test_each_field_is_a_column_of_its_own_and_counted_by_its_values(job: Job, many: tuple[str, ...]) -> None:
    status = job.run("start in.csv", *many)
    rows, given = job.exported(), sorted(job.billed(), key=lambda one: int(one["text"].split()[-1]))
    assert [{name: row[name] for name in NAMES} for row in rows] == given
    assert [row["input_text"] for row in rows] == [f"text number {n}" for n in range(30)]
    assert status["labels"] == {}
    fields = status["fields"]
    assert fields["category"]["values"] == Counter(one["category"] for one in given)
    assert fields["topics"]["values"] == Counter(topic for one in given for topic in one["topics"])
    assert [fields[name]["values"] for name in ("text", "score")] == [{}, {}]
    table = list(csv.DictReader(job.batchjob("export", "-o", "-").out.splitlines()))
    assert [(row["score"], json.loads(row["topics"])) for row in table] == [
        (str(o["score"]), o["topics"]) for o in given
    ]
    assert "counters    equal to what they count" in job.batchjob("doctor").out


def test_each_field_is_scored_by_itself_and_a_field_is_named_where_one_is_meant(job: Job) -> None:
    job.run("start in.csv")
    rows = job.exported()
    gold = [("id", "gold"), *((row["id"], row["category"] if n else "refund") for n, row in enumerate(rows))]
    (job.batchjob.folder / "gold.csv").write_text("".join(f"{a},{b}\n" for a, b in gold))
    scored = ("score", "--gold-file", "gold.csv")
    report = json.loads(job.batchjob(*scored, "--field", "category", "--json").out)
    assert (report["rows"]["scored"], report["rows"]["right"]) == (30, 29 + (rows[0]["category"] == "refund"))
    assert "name one of them with --field: category, topics, text, score" in job.batchjob(*scored).err
    refused = job.batchjob("correct", "in", "1", "refund")
    assert "name one of them with --field: category, topics, text, score" in refused.err
    assert "name one of them with --field: category, topics, text, score" in job.batchjob("compare", "in", "in").err


@pytest.mark.parametrize("limit", [(), ("--limit", "1")], ids=["at once", "by the cache"])
def test_rows_with_the_text_of_a_row_that_lacks_a_field_have_its_others_too(job: Job, limit: tuple[str, ...]) -> None:
    job.write(["bad one", "bad  one", "BAD one!"])
    loose = ("--dedupe", "loose")
    job.run("start in.csv", *loose, *limit, code=4, sandbox=("--poison", "(?i)bad", "--poison-fault", "off_list"))
    if limit:
        assert job.batchjob("resume", *loose, "--quiet").code == 4
    first, *others = job.exported()
    has = {name for name in NAMES if first[name] is not None}
    assert 0 < len(has) < len(NAMES)
    for row in others:
        assert {name: row[name] for name in NAMES} == {name: first[name] for name in NAMES}
        assert row["state"] == "failed"
    assert len(job.billed()) == 1


def test_a_field_that_failed_is_asked_for_alone_and_the_others_stay(job: Job) -> None:
    job.write(["good", "bad one", "bad two", "bad  one"])
    status = job.run("start in.csv", code=4, sandbox=("--poison", "bad", "--poison-fault", "off_list"))
    assert status["errors"][0]["kind"] == "off_list:score"
    assert (status["fields"]["score"]["failed"], status["fields"]["category"]["failed"]) == (3, 0)
    before = job.exported()
    assert [row["state"] for row in before] == ["done", "failed", "failed", "failed"]
    assert all(row["category"] and row["score"] is None for row in before[1:3])
    assert "score: 'something_else_entirely' is not a whole number from 1 to 5" in job.batchjob("errors").out
    assert len(job.billed()) == 3
    asked = [job.batchjob("errors", "--kind", f"off_list:{name}") for name in ("topics", "score,topics", "scroe")]
    assert [ended.code for ended in asked] == [0, 0, 2]
    assert "there is no error kind 'off_list:scroe': did you mean 'off_list:score'?" in asked[2].err
    after = job.run("retry --kind off_list:score")
    assert after["rows"]["done"] == 4
    assert [list(one) for one in job.billed()[3:]] == [["score"], ["score"]]
    assert [row["category"] for row in job.exported()[:3]] == [row["category"] for row in before[:3]]
    assert all(row["score"] for row in job.exported())


def test_nobody_is_told_to_give_a_fallback_which_fields_do_not_take(job: Job) -> None:
    job.write([f"bad {n}" for n in range(8)] + [" "])
    status = job.run("start in.csv", code=3, sandbox=("--poison", "bad", "--poison-fault", "off_list"))
    assert "What to do: retry asks for these fields alone" in status["reason"]
    assert status["reason_kind"] == "off_list:score"
    job.write([" ", "good"])
    for command in ("profile in.csv", "start in.csv --dry-run", "start in.csv", "errors"):
        ended = job.batchjob(*command.split(), *("--sandbox",) * (command != "errors"))
        assert "there is nothing to label: --blank skip lets such rows pass" in ended.out + ended.err
        assert "fallback" not in ended.out + ended.err
    assert "  type      batchjob resume in-2 --blank skip" in ended.out
    assert job.batchjob("resume", "in-2", "--blank", "skip").code == 0


def test_another_job_has_the_fields_of_the_same_text_from_the_cache(job: Job) -> None:
    job.write(["good", "new"])
    url = job.start_sandbox()
    for name, limit in (("first", 1), ("second", 2)):
        task = ("--base-url", url, "--model", "m", "--name", name, "--new", "--limit", str(limit))
        ended = job.batchjob("start", "in.csv", *task, "--json")
        assert ended.code == 0, ended.err
    assert json.loads(ended.out)["sources"] | {"cache": 1, "model": 1} == json.loads(ended.out)["sources"]
    assert len(job.billed()) == 2


def test_a_text_that_was_answered_in_part_by_another_job_is_asked_for_the_rest() -> None:
    config = merge({"base_url": "u", "model": "m", "fields": [{"name": n, "kind": "yes_no"} for n in ("a", "b")]})
    source = InputSource("in.csv", "csv", "utf-8", ("text",), None, "text", None, None)
    walk = FieldWalk(config, source, prompt_of(config, source), None)
    (case,) = walk.by_row([Row(1, "t")])[1]
    assert case.key
    partly = '{"fields":{"a":"yes"},"others":{}}'
    done, (left,) = walk.by_text([case], {case.key: Remembered(case.key, partly, True, 9)})
    assert (done, left.row.answer) == ([], partly)
    ((_, said), _) = prompt_of(config, source).messages([left.row])
    assert ('"b": ' in said, '"a": ' in said) == (True, False)


def test_what_a_shared_answer_leaves_open_is_asked_for_alone(job: Job) -> None:
    status = job.run(
        "start in.csv", "--rows-per-request", "10", sandbox=("--fault", "off_list=0.4", "--seed", "3"), code=4
    )
    shared = [one for one in job.billed() if len(one) == 4]
    alone = [one for one in job.billed() if len(one) == 1]
    assert len(shared) == 30
    assert alone
    assert all(list(one) == ["score"] for one in alone)
    assert status["rows"]["done"] + status["rows"]["failed"] == 30


def test_a_job_with_fields_that_is_killed_goes_on_with_what_is_missing(job: Job) -> None:
    job.write([f"text number {n}" for n in range(400)])
    url = job.start_sandbox("--latency", "0.02", "--fault", "off_list=0.2", "--idempotent")
    task = ("--base-url", url, "--model", "m", "--rpm", "0")
    process = job.batchjob.begin("start", "in.csv", *task, "--quiet")
    until = time.monotonic() + 20
    while (not job.ledger.exists() or job.ledger.read_text().count("\n") < 150) and time.monotonic() < until:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    committed = {row["id"]: row for row in job.exported() if row["category"]}
    assert job.batchjob("resume", "--quiet").code == 4
    assert job.batchjob("retry", "--quiet", "--max-paid", "9").code == 0
    rows = {row["id"]: row for row in job.exported()}
    assert committed
    assert all(
        rows[key][name] == row[name] for key, row in committed.items() for name in NAMES if row[name] is not None
    )
    assert Counter(name for one in job.billed() for name in one if one[name] is not None) == dict.fromkeys(NAMES, 400)
