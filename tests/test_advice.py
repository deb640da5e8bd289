"""Advice, followed: what a run says to type next is typed, and the job goes on."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import BatchJob, Ended

Sandbox = Callable[..., str]


def begin(batchjob: BatchJob, *options: str, rows: int = 8) -> Ended:
    lines = [f"t{n},ticket {n}: a refund please" for n in range(1, rows + 1)]
    (batchjob.folder / "t.csv").write_text("\n".join(["id,text", *lines]) + "\n")
    return batchjob("start", "t.csv", "--labels", "refund,other", "--rpm", "0", "--concurrency", "1", *options)


def next_of(ended: Ended) -> str:
    """What it says to type next."""
    (line,) = [line for line in (ended.out + ended.err).splitlines() if line.startswith("next ")]
    return line.removeprefix("next      ").rpartition(": ")[2]


def typed(batchjob: BatchJob, command: str, **places: str) -> Ended:
    """The command, with the words that stand in capitals put in."""
    words = [places.get(word, word) for word in shlex.split(command)]
    assert words[0] == "batchjob"
    return batchjob(*words[1:])


def status(batchjob: BatchJob) -> dict[str, object]:
    found: dict[str, object] = json.loads(batchjob("status", "--json").out)
    return found


def test_a_job_whose_model_is_unknown_goes_on_with_another(batchjob: BatchJob, sandbox: Sandbox) -> None:
    url = sandbox("--model", "right")
    refused = begin(batchjob, "--base-url", url, "--model", "wrong", "--db", "my jobs.db")
    assert refused.code == 3
    assert "resume with --base-url or --model" in refused.err
    looked = typed(batchjob, next_of(refused))
    assert "right" in looked.out
    resumed = batchjob("resume", "--model", "right", "--db", "my jobs.db")
    assert "rows that have a label keep it; the others are asked with other settings: model" in resumed.err
    assert (resumed.code, next_of(resumed)) == (0, "batchjob export t -o t-labels.csv --db 'my jobs.db'")
    assert typed(batchjob, next_of(resumed)).code == 0
    assert (batchjob.folder / "t-labels.csv").read_text().count("refund") >= 8


def test_what_an_error_says_to_type_names_the_database_and_does_what_it_says(batchjob: BatchJob) -> None:
    here = ("--db", "my jobs.db")
    (batchjob.folder / "job.toml").write_text('labels = ["refund", "other"]\nsandbox = true\nrpm = 0\n')
    (batchjob.folder / "t.csv").write_text("id,text\n1,a refund please\n2,\n")
    none = batchjob("status", *here)
    assert (none.code, next_of(none)) == (1, "batchjob start INPUT --db 'my jobs.db'")
    assert typed(batchjob, next_of(none), INPUT="t.csv").code == 4
    for asked in (("status", "tickets"), ("resume",)):
        refused = batchjob(*asked, *here)
        assert (refused.code, next_of(refused)) == (1, "batchjob jobs --db 'my jobs.db'")
        assert typed(batchjob, next_of(refused)).out.split()[5:] != []
    again = ("start", "t.csv", "--labels", "refund,invoice", *here)
    refused = batchjob(*again)
    assert (refused.code, next_of(refused)) == (2, "batchjob retry t OPTIONS --db 'my jobs.db'")
    assert next_of(refused) in batchjob(*again, "--dry-run").out
    assert not (batchjob.folder / "batchjob.db").exists()


def test_rows_that_fail_alike_are_asked_otherwise_in_the_same_job_and_none_is_paid_again(
    batchjob: BatchJob, sandbox: Sandbox
) -> None:
    url = sandbox("--fault", "off_list=1")
    refused = begin(batchjob, "--base-url", url, "--model", "m")
    assert (refused.code, "give --fallback LABEL" in refused.err) == (3, True)
    looked = typed(batchjob, next_of(refused))
    assert "5 off_list" in looked.out
    resumed = typed(batchjob, next_of(looked), LABEL="other")
    assert resumed.code == 4
    looked = typed(batchjob, next_of(resumed))
    retried = typed(batchjob, next_of(looked))
    assert retried.code == 0
    document = status(batchjob)
    assert document["labels"] == {"other": 8}
    assert document["requests"]["sent"] == 8  # type: ignore[index]


def test_what_was_out_when_a_run_died_goes_to_the_model_that_is_asked_now(batchjob: BatchJob, sandbox: Sandbox) -> None:
    slow, quick = sandbox("--latency", "60", "--model", "old"), sandbox("--model", "new")
    (batchjob.folder / "t.csv").write_text("id,text\nt1,a refund please\n")
    asked = ("--labels", "refund,other", "--base-url", slow, "--model", "old")
    running = batchjob.begin("start", "t.csv", *asked, stderr=subprocess.DEVNULL)
    while '"in_flight": 1' not in batchjob("status", "--json").out:
        assert running.poll() is None
    running.kill()
    running.communicate()
    assert batchjob("resume", "--model", "new", "--base-url", quick).code == 0
    assert status(batchjob)["requests"]["resent_as_new"] == 1  # type: ignore[index]


def test_a_key_that_is_missing_is_looked_for_and_then_the_job_goes_on(batchjob: BatchJob, sandbox: Sandbox) -> None:
    url = sandbox("--require-key", "sk-toy")
    refused = begin(batchjob, "--base-url", url, "--model", "m")
    assert (refused.code, "doctor shows which variable" in refused.err) == (3, True)
    assert "none is set" in typed(batchjob, next_of(refused)).out
    batchjob.environment["MY_KEY"] = "sk-toy"
    assert batchjob("resume", "--api-key-env", "MY_KEY").code == 0


def test_a_budget_is_used_as_far_as_it_goes_and_the_next_one_is_enough(batchjob: BatchJob, sandbox: Sandbox) -> None:
    asked = ("--base-url", sandbox(), "--model", "m", "--price", "100,100", "--rows-per-request", "20")
    stopped = begin(batchjob, *asked, "--budget", "0.1", rows=60)
    assert stopped.code == 5
    said = re.search(r"([\d.]+) USD of the budget of 0.1000 USD are spent, .* could cost ([\d.]+) USD", stopped.err)
    assert said is not None
    document = status(batchjob)
    assert document["rows"]["done"] % 20 > 0  # type: ignore[index]  # smaller requests went out near the limit
    assert float(said[1]) == round(document["cost"]["usd"], 4) <= 0.1 < float(said[1]) + float(said[2])  # type: ignore[index]
    assert document["cost"]["prices"] == {"m": "--price"}  # type: ignore[index]
    assert typed(batchjob, next_of(stopped)).code == 0


def test_credit_that_ran_out_is_no_command_to_give_again_at_once(batchjob: BatchJob, sandbox: Sandbox) -> None:
    refused = begin(batchjob, "--base-url", sandbox("--fault", "402=1"), "--model", "m")
    assert refused.code == 3
    assert "next      when that is mended: batchjob resume t" in refused.err
    assert "next      when that is mended: batchjob resume t" in batchjob("status").out


def test_answers_that_were_cut_are_bought_with_more_tokens(batchjob: BatchJob, sandbox: Sandbox) -> None:
    url = sandbox("--poison", "ticket 3:", "--poison-fault", "length")
    assert begin(batchjob, "--base-url", url, "--model", "m").code == 4
    looked = batchjob("errors")
    assert next_of(looked) == "batchjob retry t --kind truncated_answer --max-tokens 2000"
    assert typed(batchjob, next_of(looked)).code == 4
    assert next_of(batchjob("errors")) == "batchjob retry t --kind truncated_answer --max-tokens 8000"


def test_a_text_that_the_endpoint_does_not_take_is_exported_to_be_labelled_by_hand(
    batchjob: BatchJob, sandbox: Sandbox
) -> None:
    url = sandbox("--poison", "ticket 3:")
    assert begin(batchjob, "--base-url", url, "--model", "m").code == 4
    looked = batchjob("errors")
    assert typed(batchjob, next_of(looked)).code == 0
    assert "t3," in (batchjob.folder / "t-content_filter.csv").read_text()


def test_the_price_of_a_second_model_is_given_to_start_and_kept_for_retry(batchjob: BatchJob, sandbox: Sandbox) -> None:
    url = sandbox("--fault", "off_list=1", "--poison-model", "m")
    asked = ("--base-url", url, "--model", "m", "--price", "1,1", "--budget", "1", "--max-paid", "1", "--limit", "1")
    assert begin(batchjob, *asked, rows=1).code == 4
    refused = batchjob("retry", "--second-model", "large")
    assert (refused.code, 'Give it to start, in job.toml as [prices."large"]' in refused.err) == (2, True)
    (batchjob.folder / "job.toml").write_text('[prices."large"]\ninput = 1\noutput = 1\n')
    assert "going on with job t" in begin(batchjob, *asked, rows=1).err
    assert "in 1 answer" in batchjob("retry", "--second-model", "large").err


def test_a_price_that_is_given_when_all_is_answered_is_not_taken_for_a_missing_usage(
    batchjob: BatchJob, sandbox: Sandbox
) -> None:
    assert "give --price IN,OUT" in begin(batchjob, "--base-url", sandbox(), "--model", "m").err
    told = batchjob("resume", "t", "--price", "1,1").err
    assert "cost      unknown: no price was known when it was answered" in told


def test_a_retry_without_failed_rows_says_which_it_asks(batchjob: BatchJob) -> None:
    down = begin(batchjob, "--base-url", "http://127.0.0.1:1/v1", "--model", "m", "--max-outage", "0.2")
    assert down.code == 1
    retried = batchjob("retry")
    assert "no row of job t failed; of 8 rows without a label, those that a run before took up are asked" in retried.err
    assert "got no connection" in retried.err.split("this run")[1]


def test_a_blank_row_that_takes_the_fallback_is_not_said_to_have_an_answer(batchjob: BatchJob) -> None:
    (batchjob.folder / "t.csv").write_text("id,text\n1,\n")
    begun = batchjob("start", "t.csv", "--labels", "refund,other", "--sandbox", "--fallback", "other")
    assert "fallback  1 row, blank or with an answer that was none of the labels" in begun.err
    batchjob("report", "-o", "report.md")
    assert "the text was blank, or the answer none of the labels" in (batchjob.folder / "report.md").read_text()
