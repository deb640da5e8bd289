"""Review: which rows are to be looked at and why, and what a person says of them."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.corrections import log
from batchjob.corrections.standing import SAMPLE
from batchjob.scoring.interval import wilson
from tests.faults.server import Exchange, FaultServer, completion, http
from tests.page.client import Page, viewed
from tests.page.jobs import FILTERED, MARKUP, NEAR, OFF_LIST, ROWS, SCRIPT

if TYPE_CHECKING:
    from tests.conftest import BatchJob

HAVE_NO_LABEL = len(FILTERED) + len(OFF_LIST)


@pytest.fixture
def page(jobs: BatchJob) -> Iterator[Page]:
    """The page of jobs that nobody corrected yet."""
    (jobs.folder / "batchjob.db.corrections").unlink(missing_ok=True)
    with viewed(jobs) as page:
        yield page


def queued(page: Page, queue: str, job: str = "one", **more: object) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    told = {"beyond": "0"}
    while told["beyond"] is not None:
        told = page.ask("/api/review/rows", job=job, queue=queue, after=told["beyond"], **more)
        rows += told["rows"]  # type: ignore[arg-type]
    return rows


def counts(told: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {queue["name"]: (queue["done"], queue["total"]) for queue in told["queues"]}


def test_each_queue_has_the_rows_of_its_reason(page: Page) -> None:
    assert counts(page.ask("/api/review", job="one")) == {
        "content_filter": (0, len(FILTERED)),
        "off_list": (0, len(OFF_LIST)),
        "near": (0, len(NEAR)),
        SAMPLE: (0, 100),
    }
    assert [row["number"] for row in queued(page, "content_filter")] == list(FILTERED)
    off_list = queued(page, "off_list")
    assert [row["number"] for row in off_list] == list(OFF_LIST)
    assert [(row["answer"], row["label"], row["kind"]) for row in off_list] == [(SCRIPT, None, "off_list")] * 3
    assert off_list[0]["columns"] == {SCRIPT: SCRIPT}
    assert [(row["number"], row["answer"]) for row in queued(page, "near")] == [(n, "ALPHA!") for n in NEAR]
    _, asked = counts(page.ask("/api/review", job="many"))["disagreed"]
    disagreed = [row["number"] for row in queued(page, "disagreed", "many")]
    assert len(disagreed) == len(set(disagreed)) == asked > 5
    story = page.ask("/api/row", job="many", number=disagreed[0])["story"]["requests"]
    assert [(one["purpose"], one["error"]) for one in story] == [("label", None), ("verify", "asked alone: beta")]


def test_what_a_person_says_is_stored_before_it_is_answered_and_can_be_undone(page: Page, jobs: BatchJob) -> None:
    path = jobs.folder / "batchjob.db.corrections"
    said = page.say(job="one", row=OFF_LIST[0], label=MARKUP, why="off_list")
    assert said.status == 200
    assert counts(said.document)["off_list"] == (1, 3)
    (stored,) = log.read(path)[0]
    assert (stored.row, stored.label, stored.before, stored.model, stored.why) == (10, MARKUP, None, None, "off_list")
    assert stored.who
    assert [row["number"] for row in queued(page, "off_list")] == list(OFF_LIST[1:])
    (line,) = page.ask("/api/rows", job="one", after=9)["rows"][:1]
    assert (line["label"], line["source"]) == (MARKUP, "human")
    assert [one["label"] for one in page.ask("/api/row", job="one", number=10)["said"]] == [MARKUP]
    page.say(job="one", row=5, label="beta", why="row")

    def by_hand(**wanted: object) -> list[int]:
        return [row["number"] for row in page.ask("/api/rows", job="one", source="human", **wanted)["rows"]]

    assert by_hand() == by_hand(last="") == [5, 10]
    assert (by_hand(after=5), by_hand(before=10), by_hand(label="beta"), by_hand(state="failed")) == (
        [10],
        [5],
        [5],
        [10],
    )
    assert (by_hand(q="row 5"), by_hand(q="R-10"), by_hand(q="no")) == ([5], [10], [])
    page.say(job="one", row=NEAR[0], label="beta", why="near")
    assert (by_hand(matched="near"), by_hand(below="0.9"), by_hand(kind="off_list")) == ([NEAR[0]], [], [10])
    page.say(job="one", row=NEAR[0], label=None, why="near")
    file = page.get("/download", job="one", format="csv", source="human").body.decode()
    assert file == jobs("export", "one", "-o", "-", "--only", "human").out
    page.say(job="one", row=5, label=None, why="row")
    exported = jobs("export", "one", "-o", "-", "--only", "human").out
    assert [row["id"] for row in csv.DictReader(io.StringIO(exported))] == ["R-10"]
    page.say(job="one", row=OFF_LIST[0], label=None, why="off_list")
    assert [row["number"] for row in queued(page, "off_list")] == list(OFF_LIST)


@pytest.mark.parametrize(
    "wanted",
    [{"label": "beta"}, {"label": "alpha"}, {"source": "model"}, {"label": "beta", "source": "model"}],
    ids=["given", "taken", "source", "both"],
)
def test_a_view_by_label_or_source_has_the_rows_that_show_it(
    page: Page, jobs: BatchJob, wanted: dict[str, str]
) -> None:
    (jobs.folder / "said.csv").write_text("id,label\n" + "".join(f"R-{n},beta\n" for n in range(8, 130, 2)))
    assert jobs("correct", "one", "--file", "said.csv").code == 0
    lines = csv.DictReader(io.StringIO(jobs("export", "one", "-o", "-").out))
    shown = [line["id"] for line in lines if all(line[name] == value for name, value in wanted.items())]

    def walked(back: bool) -> list[str]:
        keys: list[str] = []
        place: dict[str, object] = {"last": ""} if back else {}
        while True:
            told = page.ask("/api/rows", job="one", **wanted, **place)
            found = [row["key"] for row in told["rows"]]
            assert len(found) <= 50
            keys = [*found, *keys] if back else [*keys, *found]
            if told["ended"]:
                return keys
            place = {"before" if back else "after": told["looked_to"]}

    assert walked(back=False) == walked(back=True) == shown
    file = page.get("/download", job="one", format="csv", **wanted).body.decode()
    assert [line["id"] for line in csv.DictReader(io.StringIO(file))] == shown


def test_the_random_sample_gives_the_accuracy_that_a_recount_gives(page: Page, jobs: BatchJob) -> None:
    sample = queued(page, SAMPLE)
    assert len(sample) == 100, "a piece after the other, to its end"
    for row in sample:
        row["right"] = row["number"] % 14 != 0  # the person's opinion
        label = row["label"] if row["right"] else "beta"
        assert page.say(job="one", row=row["number"], label=label, why=SAMPLE).status == 200
    assert queued(page, SAMPLE) == []
    numbers = [row["number"] for row in sample]
    assert len(set(numbers)) == 100
    assert numbers != sorted(numbers), "it comes in no order"
    assert not {*numbers} & {*FILTERED, *OFF_LIST}
    hand = json.loads(jobs("status", "one", "--json").out)["by_hand"]
    hits = sum(row["right"] for row in sample)
    expected = wilson(hits, 100)
    assert expected is not None
    assert hand["sample"] == {
        "hits": hits,
        "n": 100,
        "share": expected.share,
        "low": expected.low,
        "high": expected.high,
    }
    low, high = round(100 * expected.low), round(100 * expected.high)
    assert f"accuracy {hits} % ({low} to {high}), n=100" in jobs("status", "one").out
    assert (hand["rows"], hand["changed"]) == (100, 100 - hits)
    assert counts(page.ask("/api/review", job="one"))[SAMPLE] == (100, 100)


def test_a_row_of_the_sample_that_was_reviewed_for_another_reason_is_asked_again(page: Page) -> None:
    first = queued(page, SAMPLE)[0]
    page.say(job="one", row=first["number"], label="beta", why="near")
    again = queued(page, SAMPLE)[0]
    assert (again["number"], again["said"]) == (first["number"], "beta")
    assert page.ask("/api/review", job="one")["hand"]["sample"] is None, "it came by its reason and not by chance"


def test_what_is_no_correction_is_refused_and_nothing_is_stored(page: Page, jobs: BatchJob) -> None:
    good = {"job": "one", "row": 5, "label": "beta", "why": "near"}
    wrong = (
        {"label": "no"},
        {"row": ROWS + 1},
        {"job": "x"},
        {"row": "5"},
        {"row": 10**30},
        {"label": None},
        {"why": 1},
    )
    for change in wrong:
        answer = page.say(**{**good, **change})
        assert answer.status in (400, 404), change
        assert answer.document["error"]
    own = {"Cookie": page.cookie, "Origin": f"http://127.0.0.1:{page.port}"}
    json_ = {"Content-Type": "application/json"}
    body = json.dumps(good)
    for headers in (
        own,
        {**own, "Content-Type": "text/plain"},
        {**own, **json_, "Origin": "http://evil.example"},
        json_,
    ):
        assert page.raw("POST", "/api/say", headers, body).status in (400, 403), headers
    assert page.raw("POST", "/api/say", {**own, **json_}, "x" * 100_000).status == 413
    assert page.raw("GET", "/api/say", own).status == 405
    assert not (jobs.folder / "batchjob.db.corrections").exists()


def test_a_correction_that_cannot_be_stored_says_so(page: Page, jobs: BatchJob) -> None:
    path = jobs.folder / "batchjob.db.corrections"
    path.symlink_to(jobs.folder / "theirs")
    answer = page.say(job="one", row=5, label="beta", why="near")
    assert answer.status == 400
    assert "is a link" in answer.document["error"]
    path.unlink()
    assert page.say(job="one", row=5, label="beta", why="near").status == 200
    assert os.listdir(jobs.folder).count("theirs") == 0


def test_a_log_that_others_wrote_in_is_told_and_left_as_it_is(page: Page, jobs: BatchJob) -> None:
    path = jobs.folder / "batchjob.db.corrections"
    assert page.say(job="one", row=5, label="beta", why="near").status == 200
    good = path.read_bytes()
    path.write_bytes(b"what nobody of ours wrote\n")
    answers = [page.get(f"/api/{what}", job="one") for what in ("job", "rows", "review")]
    answers.append(page.say(job="one", row=6, label="beta", why="near"))
    for answer in answers:
        assert (answer.status, "a line that batchjob did not write" in answer.document["error"]) == (503, True)
    assert path.read_bytes() == b"what nobody of ours wrote\n"
    path.write_bytes(good)
    assert page.ask("/api/job", job="one")["status"]["by_hand"]["rows"] == 1, "it is looked at anew"


def test_of_two_who_review_one_row_the_last_word_counts_and_both_are_kept(page: Page, jobs: BatchJob) -> None:
    with viewed(jobs) as other:
        page.say(job="one", row=7, label="beta", why=SAMPLE)
        other.say(job="one", row=7, label=MARKUP, why=SAMPLE)
        for each in (page, other):
            assert [one["label"] for one in each.ask("/api/row", job="one", number=7)["said"]] == ["beta", MARKUP]
            assert each.ask("/api/review", job="one")["hand"]["rows"] == 1


def test_labels_of_the_second_model_and_unsure_ones_are_queues_of_their_own(batchjob: BatchJob) -> None:
    async def by_model(x: Exchange) -> None:
        await x.send(http(completion("alpha" if x.body["model"] == "n" or x.row > 2 else "no such label")))

    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},row {n}\n" for n in range(1, 6)))
    with FaultServer(by_model).running() as server:
        flags = ("--labels", "alpha,beta", "--base-url", server.url, "--model", "m", "--rpm", "0", "--quiet")
        ended = batchjob("start", "in.csv", *flags, "--second-model", "n")
    assert ended.code == 0, ended
    with viewed(batchjob) as page:
        assert counts(page.ask("/api/review", job="in"))["second"] == (0, 2)
        assert [row["number"] for row in queued(page, "second", "in")] == [1, 2]


def test_rows_are_queued_of_which_a_column_or_another_job_says_something_else(batchjob: BatchJob) -> None:
    gold = {1: "alpha", 2: "beta", 3: "beta", 4: "", 5: "alpha", 6: "no label of ours"}
    (batchjob.folder / "in.csv").write_text("id,text,gold\n" + "".join(f"{n},row {n},{gold[n]}\n" for n in gold))

    async def by_model(x: Exchange) -> None:
        await x.send(http(completion("alpha" if x.body["model"] == "m" or x.row != 5 else "beta")))

    with FaultServer(by_model).running() as server:
        flags = ("--labels", "alpha,beta", "--base-url", server.url, "--rpm", "0", "--quiet")
        batchjob("start", "in.csv", *flags, "--model", "m")
        batchjob("start", "in.csv", *flags, "--model", "n", "--name", "other", "--new")
    with viewed(batchjob) as page:
        told = page.ask("/api/review", job="in")
        assert (told["columns"], told["jobs"]) == (["gold"], ["other"])
        assert counts(told)["gold:gold"] == (0, None)
        assert [(row["number"], row["label"], row["other"]) for row in queued(page, "gold:gold", "in")] == [
            (2, "alpha", "beta"),
            (3, "alpha", "beta"),
            (6, "alpha", "no label of ours"),
        ]
        assert [(row["number"], row["other"]) for row in queued(page, "job:other", "in")] == [(5, "beta")]
        said = page.say(job="in", row=5, label="beta", why="job:other")
        assert counts(said.document)["job:other"] == (1, None)
        assert queued(page, "job:other", "in") == []
        assert queued(page, "job:in", "other") == [], "what a person said of it counts there, too"
        for queue, why in (
            ("gold:no", "is no column"),
            ("job:no", "no job is named"),
            ("gold:text", "is the text itself"),
        ):
            answer = page.get("/api/review/rows", job="in", queue=queue)
            assert why in answer.document["error"]


def test_the_answers_of_a_job_with_several_are_reviewed_one_by_one(batchjob: BatchJob) -> None:
    fields = (
        '[[fields]]\nname = "a"\nlabels = ["x", "y"]\n[[fields]]\nname = "b"\nkind = "several"\nlabels = ["p", "q"]\n'
        '[[fields]]\nname = "c"\nkind = "number"\nmin = 1\nmax = 5\n'
    )
    (batchjob.folder / "job.toml").write_text(f'model = "m"\nrpm = 0\nquiet = true\n{fields}')
    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},row {n}\n" for n in range(1, 9)))

    async def all_but_one(x: Exchange) -> None:
        values = {"a": "z" if x.row == 2 else "x", "b": ["p"], "c": 3}
        await x.send(http(completion(json.dumps(values))))

    with FaultServer(all_but_one).running() as server:
        assert batchjob("start", "in.csv", "--base-url", server.url).code == 4
    with viewed(batchjob) as page:
        told = page.ask("/api/review", job="in")
        assert (told["fields"], told["field"], told["labels"]) == (["a", "b", "c"], "a", ["x", "y"])
        assert counts(told) == {"off_list:a": (0, 1), SAMPLE: (0, 7)}
        assert [row["number"] for row in queued(page, "off_list:a", "in")] == [2]
        said = page.say(job="in", row=2, label="y", why="off_list:a", field="a")
        assert counts(said.document)["off_list:a"] == (1, 1)
        (line,) = [row for row in page.ask("/api/rows", job="in")["rows"] if row["number"] == 2]
        assert (json.loads(line["label"]), line["source"]) == ({"a": "y", "b": ["p"], "c": 3}, "human")
        told = page.ask("/api/review", job="in", field="b")
        assert (told["kind"], told["labels"], counts(told)) == ("several", ["p", "q"], {SAMPLE: (0, 7)})
        sample = queued(page, SAMPLE, "in", field="b")
        assert {row["label"] for row in sample} == {'["p"]'}
        for row in sample:
            label = "[]" if row["number"] == 1 else '["p"]'
            last = page.say(job="in", row=row["number"], label=label, why=SAMPLE, field="b")
        hand = last.document["hand"]["fields"]["b"]
        assert (hand["hits"], hand["n"]) == (6, 7)
        assert queued(page, SAMPLE, "in", field="b") == []
        assert len(queued(page, SAMPLE, "in", field="c")) == 7
        wrong = page.say(job="in", row=1, label="9", why="row", field="c")
        assert (wrong.status, "a whole number from 1 to 5" in wrong.document["error"]) == (400, True)
        story = page.ask("/api/row", job="in", number=1)
        assert story["values"] == {"a": "x", "b": '["p"]', "c": "3"}
        assert page.get("/api/review", job="in", field="no").status == 400
    assert "accuracy of b 86 % (49 to 97), n=7" in batchjob("status").out
    assert batchjob("report", "-o", "r.md").code == 0
    report = (batchjob.folder / "r.md").read_text()
    assert "Of b, 85.7 % were right, between 48.7 and 97.4 %: a person judged 7 rows drawn by chance." in report
