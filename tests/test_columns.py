"""Prompts that use columns besides the text, from the command to what the endpoint gets."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.conftest import BatchJob

TASK = ("--model", "m", "--labels", "spam,ham", "--rpm", "0")
Start = Callable[..., str]
PROMPT = "{subject}\n{text}"
LISTED = "\n\nLabels:\n- spam\n- ham"


class Job:
    """A job's folder, with an endpoint and its ledger."""

    def __init__(self, batchjob: BatchJob, sandbox: Start) -> None:
        self.batchjob = batchjob
        self._ledger = batchjob.folder / "ledger.jsonl"
        self.task = (*TASK, "--base-url", sandbox("--ledger", str(self._ledger)))

    def write(self, rows: Sequence[Sequence[str]], header: str = "id,text,subject", name: str = "in.csv") -> str:
        with (self.batchjob.folder / name).open("w", newline="") as file:
            csv.writer(file).writerows([header.split(","), *rows])
        return name

    def start(self, *more: str, code: int = 0) -> str:
        ended = self.batchjob("start", *more, *self.task)
        assert ended.code == code, ended.err
        return str(ended.err)

    def asked(self) -> list[str]:
        """What the endpoint was asked, sorted; without the list of labels at its end."""
        lines = self._ledger.read_text().splitlines() if self._ledger.exists() else []
        return sorted(row["text"].removesuffix(LISTED) for line in lines for row in json.loads(line)["rows"])

    def exported(self) -> list[dict[str, str]]:
        return list(csv.DictReader(self.batchjob("export", "-o", "-").out.splitlines()))


@pytest.fixture
def job(batchjob: BatchJob, sandbox: Start) -> Job:
    return Job(batchjob, sandbox)


ROWS = [["1", "a", "bc"], ["2", "ab", "c"], ["3", " a", "bc "], ["4", "a", "c"], ["5", "a", ""]]


@pytest.mark.parametrize("many", [(), ("--rows-per-request", "3")], ids=["one", "many"])
def test_a_label_is_shared_only_where_all_columns_of_the_prompt_are_the_same(job: Job, many: tuple[str, ...]) -> None:
    job.start(job.write(ROWS), "--prompt", PROMPT, *many)
    assert job.asked() == sorted(["bc\na", "c\nab", "c\na", "\na"])
    assert [row["source"] for row in job.exported()] == ["model", "model", "duplicate", "model", "model"]
    assert [row["subject"] for row in job.exported()] == [subject for _, _, subject in ROWS]
    job.start(job.write([*ROWS, ["6", "a", "new"]], name="tomorrow.csv"), "--prompt", PROMPT, *many)
    assert len(job.asked()) == 5
    job.start("in.csv", "--new", "--name", "text-alone", "--prompt", "{text}")
    assert len(job.asked()) == 7


def test_loosely_each_column_is_compared_loosely_and_by_itself(job: Job) -> None:
    rows = [["1", "Yes!", "Re: card"], ["2", "yes", "RE: CARD."], ["3", "yes re", ": card"], ["4", "yes", "re card"]]
    job.start(job.write(rows), "--prompt", PROMPT, "--dedupe", "loose")
    assert [row["source"] for row in job.exported()] == ["model", "duplicate", "model", "model"]


def test_a_prompt_without_the_text_is_the_system_message_and_the_text_the_users(job: Job) -> None:
    job.start(
        job.write([["1", "one", "A"], ["2", "one", "B"]]), "--prompt", "Spam or ham about {subject}?\nLabels:\n{labels}"
    )
    assert job.asked() == ["one", "one"]


def test_the_id_is_a_column_too_also_of_a_row_that_was_lost(job: Job) -> None:
    rows = [["x-1", "same", "s"], ["x-2", "same", "s"], ["x-3", "same", "s"]]
    lost = {"BATCHJOB_FAILPOINT": "request.after_last_byte=kill@1"}
    command = ("start", job.write(rows), *job.task, "--prompt", "{id}: {text}", "--on-unconfirmed", "hold")
    assert job.batchjob(*command, env=lost).code < 0
    assert job.batchjob(*command).code == 4
    assert job.asked() == ["x-1: same", "x-2: same", "x-3: same"]
    assert [row["state"] for row in job.exported()] == ["unconfirmed", "done", "done"]
    assert job.batchjob("retry", "--kind", "unconfirmed").code == 0
    assert job.asked() == ["x-1: same", "x-1: same", "x-2: same", "x-3: same"]


def test_under_hold_a_lost_question_is_held_where_all_its_columns_are_the_same(job: Job) -> None:
    rows = [["1", "same", "a"], ["2", "same", "b"], ["3", "same ", "a"]]
    lost = {"BATCHJOB_FAILPOINT": "request.after_last_byte=kill@1"}
    command = ("start", job.write(rows), *job.task, "--prompt", PROMPT, "--on-unconfirmed", "hold")
    assert job.batchjob(*command, env=lost).code < 0
    assert job.batchjob(*command).code == 4
    assert [row["state"] for row in job.exported()] == ["unconfirmed", "done", "unconfirmed"]


def test_values_of_jsonl_stand_in_the_prompt_as_the_file_shows_them(job: Job) -> None:
    rows: list[dict[str, Any]] = [
        {"text": "one", "n": 5, "x": 1.5, "flag": True, "tags": ["a", {"b": None}], "none": None, "s": "é{text}"},
        {"text": "two", "n": 12345678901234567890},
        {"text": 7},
    ]
    (job.batchjob.folder / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    job.start("in.jsonl", "--prompt", "{n}|{x}|{flag}|{tags}|{none}|{s}|{text}")
    assert job.asked() == sorted(
        ['5|1.5|true|["a", {"b": null}]||é{text}|one', "12345678901234567890||||||two", "||||||7"]
    )


def test_a_blank_text_is_not_sent_whatever_its_other_columns_hold(job: Job) -> None:
    job.start(job.write([["1", "\u200b", "a subject"], ["2", "a text", ""]]), "--prompt", PROMPT, code=4)
    assert [row["error"].partition(":")[0] for row in job.exported()] == ["blank_text", ""]
    assert job.asked() == ["\na text"]


@pytest.mark.parametrize("prompt", ["{subjct}: {text}", "{Text}", "Classify {{text}} into {{labels}}"])
@pytest.mark.parametrize("command", ["start", "start --dry-run", "start --show-prompt", "profile"])
def test_a_name_that_is_no_column_is_refused_before_anything_is_sent_or_written(
    job: Job, prompt: str, command: str
) -> None:
    before = set(job.batchjob.folder.iterdir()) | {job.batchjob.folder / job.write(ROWS)}
    name, *more = command.split()
    ended = job.batchjob(name, "in.csv", *more, *job.task, "--prompt", prompt)
    assert (ended.code, ended.out) == (2, "")
    assert "{{" in ended.err
    assert set(job.batchjob.folder.iterdir()) == before
    assert job.asked() == []


def test_a_list_of_labels_that_is_appended_is_said_at_start_in_a_dry_run_and_in_a_profile(job: Job) -> None:
    name = job.write([["1", "in spam we trust", "hamster"]])
    unnamed, named = ("--prompt", "Decide about the spamming hamsters."), ("--prompt", "Say spam or ham.")
    for command in (("start", name, "--dry-run"), ("profile", name), ("start", name)):
        told = job.batchjob(*command, *job.task, *unnamed)
        assert "list of labels is put at its end" in told.out + told.err
        silent = job.batchjob(*command, *job.task, *named)
        assert "list of labels" not in silent.out + silent.err
    found = json.loads(job.batchjob("profile", name, *job.task, "--prompt", "{subject}", "--json").out)
    assert found["prompt"] == {"columns": ["subject"], "labels_appended": True}


def test_show_prompt_prints_the_first_request_and_sends_and_writes_nothing(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = job.write([["1", "", "blank"], ["2", "first text", "Invoice {text}"], ["3", "second", "Other"]])
    before = set(job.batchjob.folder.iterdir())
    asked = ("start", name, *job.task, "--show-prompt", "--prompt", "Subject: {subject}\n{text}\n{labels}")
    told = job.batchjob(*asked, env={"OPENAI_API_KEY": "sk-secret"})
    assert told.code == 0, told.err
    assert "\nuser:\nSubject: Invoice {text}\nfirst text\n- spam\n- ham\n" in told.out
    assert '"model":"m"' in told.out
    assert '"temperature":0.0' in told.out
    assert "row 2" in told.out
    assert "sk-secret" not in told.out + told.err
    many = job.batchjob(*asked, "--rows-per-request", "9").out
    assert '{"1":{"subject":"Invoice {text}","text":"first text"},"2":{"subject":"Other","text":"second"}}' in many
    assert "\nsystem:\nSubject: {subject}\n{text}\n- spam\n- ham\n" in many
    planned = job.batchjob("start", name, *job.task, "--dry-run", "--prompt", "Subject: {subject}: {text}").out
    assert "\nuser      Subject: Invoice {text}: first text  Labels:" in planned
    assert set(job.batchjob.folder.iterdir()) == before
    assert job.asked() == []
    empty = job.write([["1", "", "blank"]], name="empty.csv")
    assert "needs a request" in job.batchjob("start", empty, *job.task, "--show-prompt").out


def test_what_show_prompt_prints_is_what_is_sent(job: Job, tmp_path: Path) -> None:
    name = job.write([["1", "first text", "Invoice"]])
    shown = job.batchjob("start", name, *job.task, "--show-prompt", "--prompt", PROMPT).out
    job.start(name, "--prompt", PROMPT)
    assert job.asked()[0] + LISTED in shown


PRICED = '[prices."m"]\ninput = 1.0\noutput = 1.0\n'


@pytest.mark.parametrize("many", ["1", "10"])
def test_tokens_and_cost_go_by_all_columns_of_the_prompt(job: Job, many: str) -> None:
    (job.batchjob.folder / "job.toml").write_text(PRICED)
    rows = [[str(n), f"text {n}", f"a long subject of words {n} " * 20] for n in range(60)]
    name = job.write(rows)
    given = (name, *job.task, "--rows-per-request", many)
    with_column = json.loads(job.batchjob("profile", *given, "--prompt", PROMPT, "--json").out)
    text_alone = json.loads(job.batchjob("profile", *given, "--prompt", "{text}", "--json").out)
    assert with_column["characters"]["min"] > 400 > text_alone["characters"]["max"]
    (estimate,) = [found for found in with_column["estimates"] if found["rows_per_request"] == int(many)]
    job.start(name, "--prompt", PROMPT, "--rows-per-request", many)
    status = json.loads(job.batchjob("status", "--json").out)
    assert status["usage"]["input_tokens"] == pytest.approx(estimate["input_tokens"], rel=0.15)
    assert status["requests"]["sent"] == estimate["requests"]
    assert status["cost"]["usd"] <= estimate["cost"]["worst_usd"]


@pytest.mark.parametrize("many", ["1", "10"])
def test_a_budget_is_kept_where_most_of_a_request_is_in_another_column(job: Job, many: str) -> None:
    (job.batchjob.folder / "job.toml").write_text(PRICED)
    rows = [[str(n), f"text {n}", f"a long subject of words {n} " * 50] for n in range(200)]
    given = (job.write(rows), "--prompt", PROMPT, "--rows-per-request", many)
    job.start(*given, "--budget", "0.02", code=5)
    assert json.loads(job.batchjob("status", "--json").out)["cost"]["usd"] <= 0.02
    assert 0 < len(job.asked()) < 200
