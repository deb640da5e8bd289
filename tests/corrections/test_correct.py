"""`batchjob correct`, and who reads what people said: status, export, remove."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import batchjob as bj
from batchjob.jobs.plans import plan_retry
from batchjob.jobs.run import run
from batchjob.logs import make_logger
from tests.waiting import is_under_way, until

if TYPE_CHECKING:
    from tests.conftest import BatchJob

ROWS = "T-1,invoice twice\nT-2,\nT-3,card lost\nT-3,card lost too\n"


@pytest.fixture
def job(batchjob: BatchJob) -> BatchJob:
    """A job of four rows: one blank, and two with one id."""
    (batchjob.folder / "in.csv").write_text("id,text\n" + ROWS)
    batchjob("start", "in.csv", "--labels", "billing,card,other", "--sandbox", "--rpm", "0", "--quiet")
    return batchjob


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type) -> BatchJob:
    """The same for all tests that change nothing."""
    batchjob: BatchJob = batchjob_in(tmp_path_factory.mktemp("untouched"))
    (batchjob.folder / "in.csv").write_text("id,text\n" + ROWS)
    batchjob("start", "in.csv", "--labels", "billing,card,other", "--sandbox", "--rpm", "0", "--quiet")
    return batchjob


def exported(job: BatchJob, *more: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(job("export", "-o", "-", *more).out)))


def test_a_person_has_the_last_word_and_the_jobs_own_label_stays(job: BatchJob) -> None:
    before = exported(job)
    assert "model_label" not in before[0]
    own = before[0]["label"]
    other = "card" if own != "card" else "billing"
    said = job("correct", "in", "T-1", other.upper())
    assert said.code == 0
    assert f"row 1 (T-1): {other}; the job's own label is {own}" in said.out
    assert "row 2 (T-2): other; the job gave no label" in job("correct", "in", "#2", "other").out
    first, second, *rest = exported(job)
    assert (first["label"], first["source"], first["state"], first["model_label"]) == (other, "human", "done", own)
    assert (second["label"], second["source"], second["state"], second["error"]) == ("other", "human", "done", "")
    assert second["model_label"] == ""
    assert [{**row, "model_label": ""} for row in rest] == [{**row, "model_label": ""} for row in before[2:]]
    assert [row["id"] for row in exported(job, "--only", "human")] == ["T-1", "T-2"]
    assert [row["id"] for row in exported(job, "--only", "done")] == ["T-1", "T-2", "T-3", "T-3"]
    assert exported(job, "--only", "failed") == exported(job, "--only", "blank_text") == []
    told = json.loads(job("status", "--json").out)
    assert told["by_hand"] == {"rows": 2, "changed": 1, "unlabelled": 1, "sample": None, "fields": {}}
    assert told["rows"]["failed"] == 1, "the work table is as it was"
    assert "by hand   2 rows, 1 had another label, 1 had none" in job("status").out


def test_errors_leave_out_what_people_labelled_and_ask_nobody_to_retry_it(batchjob: BatchJob) -> None:
    (batchjob.folder / "b.csv").write_text("id,text\n1,\n2,\n3,\n")
    batchjob("start", "b.csv", "--labels", "card,other", "--sandbox", "--quiet")
    for labelled, left in (("1", ["2", "3"]), ("2", ["3"]), ("3", [])):
        batchjob("correct", "b", labelled, "card")
        (kind,) = json.loads(batchjob("errors", "--json").out)["kinds"]
        assert (kind["count"], kind["by_hand"]) == (3, int(labelled))
        assert [row["key"] for row in kind["rows"]] == left
        assert [row["id"] for row in bj.open(batchjob.folder / "batchjob.db").job("b").errors()] == left
        said = batchjob("errors", "--kind", "blank_text").out
        assert f"by hand   {labelled} of them got a label" in said
        assert ("type      batchjob retry b --kind blank_text" in said) == bool(left)
        assert " more: " not in said
    assert said.endswith("next      batchjob export b -o b-labels.csv\n")


def test_what_was_said_is_taken_back(job: BatchJob) -> None:
    own = exported(job)[0]["label"]
    assert "not corrected, so there is nothing to take back" in job("correct", "in", "T-1", "--undo").err
    job("correct", "in", "T-1", "other")
    assert "row 1 (T-1): other is taken back" in job("correct", "in", "T-1", "--undo").out
    assert exported(job)[0]["label"] == own
    assert json.loads(job("status", "--json").out)["by_hand"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("in", "T-1", "bill"), "'bill' is no label of this job: did you mean 'billing'?"),
        (("in", "T-9", "card"), "no row of job 'in' has the id 'T-9'"),
        (("in", "#" + "9" * 5000, "card"), "no row of job 'in' has the id '#9"),
        (("in", "T-3", "card"), "2 rows have the id 'T-3': say which by its place, such as '#3' and '#4'"),
        (("in", "#5", "card"), "has no row 5: its rows are 1 to 4"),
        (("no", "T-1", "card"), "no job is named 'no'"),
        (("in", "T-1"), "say batchjob correct JOB ID LABEL"),
        (("in",), "say batchjob correct JOB ID LABEL"),
        (("in", "T-1", "card", "--file", "x.csv"), "say batchjob correct JOB ID LABEL"),
    ],
)
def test_what_is_no_row_or_no_label_is_refused_and_nothing_is_stored(
    untouched: BatchJob, words: tuple[str, ...], said: str
) -> None:
    ended = untouched("correct", *words)
    assert ended.code in (1, 2)
    assert said in ended.err
    assert not (untouched.folder / "batchjob.db.corrections").exists()


def test_an_edited_export_says_what_differs_from_it_all_or_nothing(batchjob: BatchJob) -> None:
    (batchjob.folder / "b.csv").write_text("id,text\n" + "".join(f"R-{n},card lost {n}\n" for n in range(30)))
    batchjob("start", "b.csv", "--labels", "billing,card,other", "--sandbox", "--rpm", "0", "--quiet")
    batchjob("export", "b", "-o", "out.csv")
    rows = list(csv.DictReader((batchjob.folder / "out.csv").open()))
    for n, label in ((3, "other"), (4, "Billing"), (5, ""), (6, rows[6]["label"])):
        rows[n]["label"] = label

    def write(name: str) -> None:
        with (batchjob.folder / name).open("w") as file:
            writer = csv.DictWriter(file, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)

    write("edited.csv")
    said = batchjob("correct", "b", "--file", "edited.csv")
    assert "2 rows corrected, 27 as they were" in said.out, said
    after = list(csv.DictReader(io.StringIO(batchjob("export", "b", "-o", "-").out)))
    assert [row["label"] for row in after[3:5]] == ["other", "billing"]
    assert [row["source"] for row in after].count("human") == 2
    assert "0 rows corrected, 29 as they were" in batchjob("correct", "b", "--file", "edited.csv").out
    rows[0]["label"], rows[7]["label"] = "other", "nonsense"
    write("wrong.csv")
    refused = batchjob("correct", "b", "--file", "wrong.csv")
    assert "wrong.csv, line 9: 'nonsense' is no label of this job" in refused.err
    assert batchjob("export", "b", "-o", "-").out.count("human") == 2


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("c.csv", "id,label,note\nT-1,card,x\nT-2,billing,more,than there are columns\n", 3),
        ("c.csv", "id,label,note\nT-1,card\n", 2),
        ("c.jsonl", '{"id": "T-1", "label": "card"}\n{"id": "T-2", "label": true}\n', 2),
        ("c.jsonl", '{"id": "T-1", "label": "card"}\n{"id": "T-2", \n', 2),
    ],
)
def test_a_file_with_a_row_of_which_nobody_knows_what_it_says_is_refused_as_a_whole(
    untouched: BatchJob, name: str, content: str, line: int
) -> None:
    (untouched.folder / name).write_text(content)
    for command in (("correct", "in", "--file", name), ("score", "--gold-file", name)):
        ended = untouched(*command)
        assert (ended.code, f"{name}, line {line}: " in ended.err) == (1, True), ended.err
    assert json.loads(untouched("status", "--json").out)["by_hand"] is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,label\nT-1,cärd\n".encode("cp1252"), "is not utf-8: save it as CSV in UTF-8, with commas, and the names"),
        (b"Report\nid,label\nT-1,card\nT-2,card\n", "line 2 and all below have 2: save it as CSV"),
        (b"id;label\nT-1;card;x\n", "line 2 has 3 fields and the header 2: save it as CSV"),
        (b"ID,label\nT-1,card\n", "has no column 'id'; its columns are: ID, label. Did you mean ID?"),
        (b"id,lable\nT-1,card\n", "has no column 'label'; its columns are: id, lable. Did you mean lable?"),
    ],
)
def test_nobody_is_told_an_option_that_a_file_of_labels_does_not_take(
    untouched: BatchJob, content: bytes, said: str
) -> None:
    (untouched.folder / "said.csv").write_bytes(content)
    for words in (("correct", "in", "--file", "said.csv"), ("score", "--gold-file", "said.csv", "--gold", "label")):
        ended = untouched(*words)
        assert ended.code in (1, 2)
        assert said in ended.err
        assert "--" not in ended.err


def test_the_file_belongs_to_the_database_and_to_its_job(job: BatchJob, tmp_path: Path) -> None:
    job("correct", "in", "T-1", "other")
    database, log = job.folder / "batchjob.db", job.folder / "batchjob.db.corrections"
    other = tmp_path / "copy"
    other.mkdir()
    shutil.copy(database, other / "copy.db")
    copy = str(other / "copy.db")
    assert json.loads(job("status", "--db", copy, "--json").out)["by_hand"] is None
    shutil.copy(log, f"{copy}.corrections")
    assert json.loads(job("status", "--db", copy, "--json").out)["by_hand"]["rows"] == 1
    removed = job("remove", "in")
    assert "1 correction by hand went with it" in removed.out
    assert log.read_bytes() == b""
    job("start", "in.csv", "--labels", "billing,card,other", "--sandbox", "--rpm", "0", "--quiet")
    shutil.copy(f"{copy}.corrections", log)
    assert json.loads(job("status", "--json").out)["by_hand"] is None, "they are of another job with this name"
    assert "the database's own" in job("export", "-o", "batchjob.db.corrections").err


def test_rows_are_corrected_while_the_job_runs(batchjob: BatchJob, sandbox: Callable[..., str]) -> None:
    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(400)))
    flags = ("--labels", "a,b", "--base-url", sandbox("--latency", "0.05"), "--model", "m", "--rpm", "0")
    run = batchjob.begin("start", "in.csv", *flags, "--concurrency", "2", "--quiet")
    until(lambda: is_under_way(batchjob))
    assert batchjob("correct", "in", "399", "b").code == 0
    assert is_under_way(batchjob)
    run.terminate()
    assert run.wait(20) == 130
    last = exported(batchjob)[-1]
    assert (last["label"], last["source"], last["state"]) == ("b", "human", "done")


def test_a_row_that_a_person_labelled_is_not_paid_for_by_a_retry(job: BatchJob) -> None:
    (job.folder / "more.csv").write_text("id,text\nT-1,\nT-2,\nT-3,card lost\n")
    start = ("start", "more.csv", "--labels", "billing,card,other", "--sandbox", "--rpm", "0", "--quiet")
    assert job(*start).code == 4
    assert job("correct", "more", "T-2", "card").code == 0
    ended = job("retry", "more", "--fallback", "other", "--no-quiet", "--log-format", "json")
    assert '"rows": 1' in ended.err
    assert '"labelled_by_hand": 1' in ended.err
    first, second, _ = exported(job, "more")
    assert (first["source"], second["source"], second["label"]) == ("fallback", "human", "card")
    status = json.loads(job("status", "more", "--json").out)["rows"]
    assert (status["done"], status["failed"]) == (2, 1)
    job("correct", "more", "T-2", "--undo")
    assert '"rows": 1' in job("retry", "more", "--no-quiet", "--log-format", "json").err


async def test_a_person_is_heard_also_between_a_retrys_plan_and_its_begin(job: BatchJob) -> None:
    plan = plan_retry("in", {"fallback": "other"}, db=str(job.folder / "batchjob.db"))
    assert job("correct", "in", "T-2", "card").code == 0
    await run(plan, key=None, log=make_logger(format="json", file=None, quiet=True))
    assert json.loads(job("status", "--json").out)["rows"]["failed"] == 1
    assert exported(job)[1]["source"] == "human"
