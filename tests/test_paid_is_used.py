"""What was paid is used: kept answers are read again, and nobody pays for rows that are done by a slip."""

from __future__ import annotations

import csv
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import BatchJob

TEXTS = {"one": "a", "two": "b", "three": "c", "four": "Perhaps it is c."}


class Model:
    """An endpoint that answers each text in its own way; `asked` holds (model, text) of each request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        self.answers: dict[str, str] = dict(TEXTS)
        self.finish: dict[str, str] = {}
        self.taken = 1_000  # requests, before the key is refused
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                body = json.dumps(model.answer(asked)).encode()
                self.send_response(200 if len(model.asked) <= model.taken else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        text = asked["messages"][-1]["content"]
        self.asked.append((asked["model"], text))
        said = "b" if asked["model"] == "large" else self.answers[text]
        reason = "length" if asked["max_tokens"] < 1000 and text in self.finish else "stop"
        return {"choices": [{"message": {"content": said}, "finish_reason": reason}]}


@pytest.fixture
def model() -> Iterator[Model]:
    model = Model()
    yield model
    model.server.shutdown()


@pytest.fixture
def job(batchjob: BatchJob, model: Model) -> BatchJob:
    """A finished job of four rows; the answers to two of them were none of its labels."""
    (batchjob.folder / "t.csv").write_text("id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(TEXTS, 1)))
    assert start(batchjob, model, "--labels", "a,b").code == 4
    assert len(model.asked) == 4
    return batchjob


def start(batchjob: BatchJob, model: Model, *more: str) -> Any:
    return batchjob("start", "t.csv", "--base-url", model.url, "--model", "small", "--rpm", "0", *more)


def labels(job: BatchJob) -> list[tuple[str, str]]:
    return [(row["label"], row["source"]) for row in csv.DictReader(job("export", "-o", "-").out.splitlines())]


def test_a_label_that_was_missing_is_read_from_the_kept_answer(job: BatchJob, model: Model) -> None:
    assert job("retry", "--labels", "a,b,c").code == 4
    assert model.asked[4:] == [("small", "four")]  # which is no label still, and is asked again
    assert labels(job) == [("a", "model"), ("b", "model"), ("c", "model"), ("", "")]
    status = json.loads(job("status", "--json").out)
    assert (status["matched"], status["requests"]["answered"]) == ({"exact": 3, "near": 0}, 5)
    assert "counters    equal" in job("doctor").out


def test_a_fallback_is_taken_where_the_kept_answer_is_no_label(job: BatchJob, model: Model) -> None:
    assert job("retry", "--fallback", "b").code == 0
    assert len(model.asked) == 4
    assert labels(job) == [("a", "model"), ("b", "model"), ("b", "fallback"), ("b", "fallback")]


def test_another_model_is_asked_before_its_fallback_is_taken(job: BatchJob, model: Model) -> None:
    assert job("retry", "--model", "large", "--fallback", "a").code == 0
    assert sorted(model.asked[4:]) == [("large", "four"), ("large", "three")]
    assert labels(job)[2:] == [("b", "model"), ("b", "model")]
    again = start(job, model, "--labels", "a,b")
    assert again.code == 0
    assert "going on with job t" in again.err
    assert len(model.asked) == 6


def test_a_stop_before_another_model_is_asked_gives_no_row_its_fallback(job: BatchJob, model: Model) -> None:
    model.taken = 5
    assert job("retry", "--model", "large", "--fallback", "a", "--concurrency", "1").code == 3
    model.taken = 1_000
    assert job("resume").code == 0
    assert sorted(set(model.asked[4:])) == [("large", "four"), ("large", "three")]
    assert labels(job)[2:] == [("b", "model"), ("b", "model")]


def test_an_answer_is_one_to_its_own_question_again_when_that_is_asked_again(job: BatchJob, model: Model) -> None:
    model.taken = 4
    assert job("retry", "--model", "large").code == 3
    model.taken = 1_000
    assert job("resume", "--model", "small", "--fallback", "a").code == 0
    assert model.asked[4:] == [("large", "three")]
    assert labels(job)[2:] == [("a", "fallback")] * 2


def test_of_an_answer_that_was_cut_to_be_kept_no_label_is_read(job: BatchJob, model: Model) -> None:
    model.answers["four"] = f"Let me see.\n\n**a**\n\n{'The text is about it. ' * 100}\n</think>\n\nneither"
    for _ in range(2):  # the second time with a kept one
        assert job("retry").code == 4
    assert [text for _, text in model.asked[4:]] == ["three", "four"] * 2
    assert labels(job)[2:] == [("", ""), ("", "")]


def test_a_start_with_a_fallback_pays_for_nothing_again(job: BatchJob, model: Model) -> None:
    assert start(job, model, "--labels", "a,b", "--fallback", "b").code == 0
    assert len(model.asked) == 4
    assert labels(job) == [("a", "cache"), ("b", "cache"), ("b", "fallback"), ("b", "fallback")]


@pytest.mark.parametrize("other", [("--labels", "a,b,c"), ("--labels", "a,b", "--model", "large")])
def test_a_start_that_would_pay_for_rows_that_are_done_is_refused_with_the_two_ways_on(
    job: BatchJob, model: Model, other: tuple[str, ...]
) -> None:
    refused = start(job, model, *other)
    assert refused.code == 2
    for part in ("has labelled 2 rows", "--new", "To ask the 2 that failed", "batchjob retry t"):
        assert part in refused.err
    assert "but       job 't' has labelled 2 rows" in start(job, model, *other, "--dry-run").out
    assert len(model.asked) == 4
    assert len(json.loads(job("jobs", "--json").out)) == 1
    start(job, model, *other, "--new")
    assert len(model.asked) == 8


def test_neither_a_second_model_nor_fields_pay_for_rows_that_are_done_by_a_slip(job: BatchJob, model: Model) -> None:
    other = ("--labels", "a,b", "--second-model", "large")
    refused = start(job, model, *other)
    for part in ("has labelled 2 rows", "with other second model", "To ask the 2 that failed", "batchjob retry t"):
        assert part in " ".join(refused.err.split())
    assert len(model.asked) == 4
    assert job("retry", *other[2:], "--quiet").code == 0
    assert model.asked[4:].count(("large", "three")) == model.asked[4:].count(("large", "four")) == 1
    asked = len(model.asked)
    below = start(job, model, *other, "--confidence", "--second-below", "0.5", "--quiet")
    assert (below.code, "with other second below" in " ".join(below.err.split())) == (2, True)
    (job.folder / "job.toml").write_text('[[fields]]\nname = "topic"\nlabels = ["a", "b"]\n')
    fields = start(job, model)
    assert (fields.code, "has labelled 4 rows" in fields.err, "To ask" in fields.err) == (2, True, False)
    assert len(model.asked) == asked


def test_a_start_is_refused_also_where_more_rows_failed_than_would_be_asked(batchjob: BatchJob, model: Model) -> None:
    (batchjob.folder / "t.csv").write_text("text\none\ntwo\n" + "three\n" * 4)
    assert start(batchjob, model, "--labels", "a,b").code == 4
    assert len(model.asked) == 3
    assert "has labelled 2 rows" in start(batchjob, model, "--labels", "a,b,c").err
    assert len(model.asked) == 3


def test_a_start_with_other_labels_goes_on_where_no_row_is_done(batchjob: BatchJob, model: Model) -> None:
    (batchjob.folder / "t.csv").write_text("text\none\ntwo\n")
    assert start(batchjob, model, "--labels", "x,y").code == 4
    assert start(batchjob, model, "--labels", "a,b").code == 0
    assert labels(batchjob) == [("a", "model"), ("b", "model")]


def test_what_was_cut_is_asked_again_with_more_room_and_nothing_else_is(job: BatchJob, model: Model) -> None:
    model.finish = {"two": "length"}
    assert start(job, model, "--labels", "a,b", "--new", "--no-cache").code == 4
    assert job("retry", "--kind", "truncated_answer", "--max-tokens", "2000").code == 4
    assert model.asked[8:] == [("small", "two")]
    assert labels(job)[1] == ("b", "model")


def test_rows_that_were_never_tried_are_not_asked_otherwise(batchjob: BatchJob, model: Model) -> None:
    (batchjob.folder / "t.csv").write_text("id,text\n1,three\n2,one\n")
    assert start(batchjob, model, "--labels", "a,b", "--limit", "1").code == 4
    refused = batchjob("retry", "--model", "large")
    assert refused.code == 1
    assert "batchjob resume t" in refused.err
    assert len(model.asked) == 1
