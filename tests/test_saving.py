"""What is paid, counted by the ledger of an endpoint in another process: pay once, and pay less."""

from __future__ import annotations

import csv
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from storm.harness import wait_for

LABELS = ("card_arrival", "change_pin", "exchange_rate", "age_limit")
WORDS = {
    "card_arrival": "when will my new card arrival be",
    "change_pin": "how do I change my pin",
    "exchange_rate": "which exchange rate do you use",
    "age_limit": "is there an age limit for children",
}
PRICED = '[prices."toy"]\ninput = 2.0\noutput = 8.0\n'

Start = Callable[..., str]


class Bench:
    """A job's folder with an endpoint and its ledger."""

    def __init__(self, batchjob: Any, url: str, ledger: Path) -> None:
        self.batchjob, self.url, self.ledger = batchjob, url, ledger
        self.base = ("--base-url", url, "--model", "toy", "--labels", ",".join(LABELS), "--rpm", "0")

    def write(self, texts: Sequence[str], name: str = "in.csv") -> str:
        with (self.batchjob.folder / name).open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text"])
            writer.writerows([n, text] for n, text in enumerate(texts, start=1))
        return name

    def start(self, name: str, *more: str, code: int = 0) -> str:
        ended = self.batchjob("start", name, *self.base, *more)
        assert ended.code == code, ended.err
        return str(ended.err)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.batchjob("status", "--json").out)
        return found

    def exported(self, *more: str) -> list[dict[str, str]]:
        return list(csv.DictReader(self.batchjob("export", "-o", "-", *more).out.splitlines()))

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ledger.read_text().splitlines()] if self.ledger.exists() else []

    @property
    def billed(self) -> int:
        return sum(line["billed"] for line in self.lines())


@pytest.fixture
def bench(batchjob: Any, sandbox: Start) -> Callable[..., Bench]:
    def make(*options: str) -> Bench:
        ledger = batchjob.folder / "ledger.jsonl"
        return Bench(batchjob, sandbox("--ledger", str(ledger), *options), ledger)

    return make


def many_texts(count: int) -> list[str]:
    return [f"{WORDS[LABELS[n % len(LABELS)]]} number {n}" for n in range(count)]


def test_a_text_that_stands_in_the_input_many_times_is_paid_once(bench: Callable[..., Bench]) -> None:
    at = bench()
    texts = ["cafe\u0301: my pin", "caf\u00e9: my pin", "  caf\u00e9:\u00a0my \t pin ", "age limit"] * 40
    random.Random(1).shuffle(texts)
    at.start(at.write(texts))
    assert at.billed == 2
    rows = at.exported()
    assert [row["text"] for row in rows] == texts
    assert sorted(row["source"] for row in rows) == ["duplicate"] * 158 + ["model"] * 2
    assert at.status()["sources"]["duplicate"] == 158


DIFFERENT = (
    ":)",
    ":(",
    "C#",
    "C",
    "C++",
    "refunded me?",
    "refunded me.",
    "refunded me",
    "tell US",
    "tell us",
    "5",
    "$5",
)
DIFFERENT += (
    "5 m\u00b2",
    "5 m2",
    "100%",
    "100",
    "\u2460",
    "1",
    "-1",
    "ｃard",
    "card",
    "no",
    "no!",
    "NO",
    "n o",
    "\0",
    "a\0",
    "a",
)


@pytest.mark.parametrize("many", [(), ("--rows-per-request", "7")], ids=["one", "many"])
def test_case_punctuation_and_symbols_make_another_text(bench: Callable[..., Bench], many: tuple[str, ...]) -> None:
    at = bench()
    with (at.batchjob.folder / "in.jsonl").open("w") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in DIFFERENT)
    at.start("in.jsonl", *many, code=4)
    assert at.status()["sources"]["model"] == len(DIFFERENT) - 1  # a NUL alone is a text that shows nothing
    asked = [row["text"] for line in at.lines() for row in line["rows"]]
    assert sorted(asked) == sorted(set(DIFFERENT) - {"\0"})


ALIKE = ["Change my PIN", "change my pin.", " CHANGE my  pin?! ", "change my pin", "change: my pin"]


def test_loosely_a_text_is_paid_once_whatever_its_case_and_closing_punctuation(bench: Callable[..., Bench]) -> None:
    at = bench()
    at.start(at.write(ALIKE * 9), "--dedupe", "loose")
    assert at.billed == 2
    assert at.status()["sources"]["duplicate"] == 43
    assert "labels    2 remembered" in at.batchjob("cache", "stats").out
    assert at.batchjob("cache", "clear").out == "2 labels forgotten, 0 left\n"


def test_no_label_of_another_job_is_taken_loosely(bench: Callable[..., Bench]) -> None:
    at = bench()
    at.start(at.write(["Change my PIN", "Age limit"]), "--dedupe", "loose")
    tomorrow = at.write(["change my pin", "Change my  PIN", "CHANGE MY PIN", "age limit!"], "tomorrow.csv")
    at.start(tomorrow, "--dedupe", "loose")
    assert at.billed == 4
    assert [row["source"] for row in at.exported()] == ["model", "cache", "duplicate", "model"]


def test_texts_that_were_joined_loosely_are_not_where_a_later_run_is_exact(bench: Callable[..., Bench]) -> None:
    at = bench()
    name = at.write(ALIKE)
    at.start(name, "--dedupe", "loose", "--limit", "2")
    at.start(name, "--limit", "4")
    assert [row["source"] for row in at.exported()[:4]] == ["model", "duplicate", "model", "model"]
    at.start(name, "--new", "--name", "anew")
    assert [row["source"] for row in at.exported()] == ["cache", "model", "cache", "cache", "model"]


@pytest.mark.parametrize("no_cache", [(), ("--no-cache",)], ids=["cache", "no cache"])
def test_rows_far_behind_a_text_are_joined_with_it_loosely_also_by_a_later_run(
    bench: Callable[..., Bench], no_cache: tuple[str, ...]
) -> None:
    at = bench()
    texts = many_texts(1500)
    name = at.write([*texts, *map(str.upper, texts)])
    at.start(name, "--dedupe", "loose", *no_cache, "--limit", "1600")
    at.start(name, "--dedupe", "loose", *no_cache)
    assert at.billed == 1500
    assert at.status()["sources"]["duplicate"] == 1500


def test_without_dedupe_every_row_is_asked_for(bench: Callable[..., Bench]) -> None:
    at = bench()
    at.start(at.write(["change my pin"] * 30), "--dedupe", "off", "--no-cache")
    assert at.billed == 30


def test_texts_that_show_nothing_are_blank_and_not_sent(bench: Callable[..., Bench]) -> None:
    at = bench()
    shown = ["\u200bx", "\ufe0f1", "\u0301", "\u2800.", "\U000e0041!", "\u3164\u4e2d"]
    at.start(
        at.write(
            ["\u200b", "\ufeff\u200e\u200f", "\u00a0\u2003", "\u2800\u3164\u115f\uffa0", "\ufe0f\U000e0041", *shown]
        ),
        code=4,
    )
    assert [row["error"].partition(":")[0] for row in at.exported()] == ["blank_text"] * 5 + [""] * len(shown)
    assert at.billed == len(shown)


def test_duplicates_of_a_row_that_fails_fail_with_it_and_are_retried_as_one(bench: Callable[..., Bench]) -> None:
    at = bench("--poison", "rotten")
    at.start(at.write(["a rotten text"] * 9 + ["age limit"]), code=4)
    assert len(at.lines()) == 2
    assert at.status()["errors"][0]["count"] == 9
    ended = at.batchjob("retry")
    assert ended.code == 4
    assert len(at.lines()) == 3


def test_a_row_that_was_asked_and_then_got_the_label_of_another_is_counted_as_asked_and_has_no_request_of_its_own(
    bench: Callable[..., Bench], sandbox: Start
) -> None:
    at = bench("--poison", "rotten")
    at.start(at.write(["a rotten age limit"] * 2), "--dedupe", "off", code=4)
    retried = at.batchjob("retry", "--dedupe", "exact", "--base-url", sandbox())
    assert retried.code == 0, retried.err
    first, second = at.exported("--details")
    assert (first["source"], first["model"]) == ("model", "toy")
    assert (second["source"], second["model"], second["request_id"]) == ("duplicate", "", "")
    at.start(at.write(["age limit"], "other.csv"))
    found = json.loads(at.batchjob("compare", "in", "other", "--json").out)
    assert (found["a"]["asked"], found["b"]["asked"]) == (2, 1)


HOLD = ("--on-unconfirmed", "hold")
LOST = {"BATCHJOB_FAILPOINT": "request.after_last_byte=kill@1"}


def test_a_text_that_went_out_and_was_not_heard_of_is_held_in_every_row(bench: Callable[..., Bench]) -> None:
    at = bench()
    name = at.write(["change my pin", "change  my pin", "age limit", " change my pin\n"])
    assert at.batchjob("start", name, *at.base, *HOLD, env=LOST).code == -signal.SIGKILL
    assert at.batchjob("resume", *HOLD).code == 4
    assert [row["state"] for row in at.exported()] == ["unconfirmed", "unconfirmed", "done", "unconfirmed"]
    assert at.billed == 2
    assert at.status()["errors"][0]["count"] == 3
    said = at.batchjob("errors").out
    assert "row 1, whose answer was never seen" in " ".join(said.split())
    assert at.batchjob("retry", "--kind", "unconfirmed").code == 0
    assert at.billed == 3
    assert at.lines()[-1]["client_key"] == at.lines()[0]["client_key"]  # not as a twin's own question
    assert [row["source"] for row in at.exported()] == ["model", "duplicate", "model", "duplicate"]
    assert at.status()["paid_twice_at_most"] == 1


def test_rows_that_come_after_a_lost_one_with_their_text_are_held_too(bench: Callable[..., Bench]) -> None:
    at = bench()
    name = at.write(["change my pin", " change my pin", *many_texts(1000), "change my  pin"])
    lost = {"BATCHJOB_FAILPOINT": "answer.after_first_byte=raise@1"}
    assert at.batchjob("start", name, *at.base, *HOLD, env=lost).code == 4
    assert at.billed == 1001
    held = [number for number, row in enumerate(at.exported(), start=1) if row["state"] == "unconfirmed"]
    assert held == [1, 2, 1003]


def test_a_lost_row_whose_text_another_job_has_a_label_for_gets_it_for_free(bench: Callable[..., Bench]) -> None:
    at = bench()
    assert at.batchjob("start", at.write(["change my pin"]), *at.base, env=LOST).code == -signal.SIGKILL
    at.start(at.write(["change  my pin"], "tomorrow.csv"))
    assert at.billed == 2
    assert at.batchjob("resume", "in").code == 0
    assert at.billed == 2
    assert at.status()["paid_twice_at_most"] == 0


def test_a_retry_that_is_killed_too_leaves_all_rows_with_that_text_held(bench: Callable[..., Bench]) -> None:
    at = bench()
    name = at.write(["change my pin", "change my  pin", "age limit"])
    assert at.batchjob("start", name, *at.base, *HOLD, env=LOST).code == -signal.SIGKILL
    assert at.batchjob("resume", *HOLD).code == 4
    assert at.batchjob("retry", "--kind", "unconfirmed", env=LOST).code == -signal.SIGKILL
    assert at.batchjob("resume").code == 4
    assert [row["state"] for row in at.exported()] == ["unconfirmed", "unconfirmed", "done"]
    assert at.billed == 3


@pytest.mark.parametrize("ended", [True, False], ids=["held", "in flight"])
def test_another_job_holds_a_text_that_was_not_heard_of_until_it_is_put_back(
    bench: Callable[..., Bench], ended: bool
) -> None:
    at = bench()
    name = at.write(["change my pin", "age limit"])
    assert at.batchjob("start", name, *at.base, *HOLD, env=LOST).code == -signal.SIGKILL
    if ended:
        assert at.batchjob("resume", *HOLD).code == 4
    other = at.write(["top up", "change my pin", "change my  pin"], "tomorrow.csv")
    assert at.batchjob("start", other, *at.base, *HOLD).code == 4
    assert [row["state"] for row in at.exported()] == ["done", "unconfirmed", "unconfirmed"]
    assert "of job in" in " ".join(at.batchjob("errors").out.split())
    assert not any("pin" in line["rows"][0]["text"] for line in at.lines()[1:])
    assert at.batchjob("retry", "--kind", "unconfirmed").code == 0
    assert [row["source"] for row in at.exported()] == ["model", "model", "duplicate"]


def test_a_row_that_was_refused_once_is_held_too(bench: Callable[..., Bench], sandbox: Start) -> None:
    """It was claimed before, but the user has said nothing of it."""
    at = bench()
    refusing = sandbox("--fault", "429=1", "--retry-after", "60")
    given = ("start", at.write(["change my  pin"], "today.csv"), *at.base, *HOLD, "--base-url", refusing)
    process = at.batchjob.begin(*given, stderr=subprocess.DEVNULL)
    wait_for(lambda: '"rejected":1' in at.batchjob("status", "--json").out.replace(" ", ""), seconds=20)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=20)
    assert at.batchjob("start", at.write(["change my pin"]), *at.base, *HOLD, env=LOST).code == -signal.SIGKILL
    assert at.batchjob("resume", "today", "--base-url", at.url).code == 4
    assert at.billed == 1
    assert at.batchjob("retry", "today", "--kind", "unconfirmed").code == 0
    assert at.billed == 2


def test_a_text_that_was_lost_until_its_row_failed_is_held_in_other_rows(bench: Callable[..., Bench]) -> None:
    at = bench("--fault", "dropped=1.0")
    name = at.write(["change my pin", "change my  pin"])
    at.start(name, "--max-attempts", "1", "--limit", "1", code=4)
    sent = len(at.lines())
    assert at.batchjob("resume", *HOLD).code == 4
    assert [row["state"] for row in at.exported()] == ["failed", "unconfirmed"]
    assert len(at.lines()) == sent


def test_who_wants_no_dedupe_has_every_row_asked_in_its_own_right_under_hold_too(bench: Callable[..., Bench]) -> None:
    at = bench()
    name = at.write(["change my pin", "change my pin"])
    assert at.batchjob("start", name, *at.base, *HOLD, "--dedupe", "off", env=LOST).code == -signal.SIGKILL
    assert at.batchjob("resume", *HOLD).code == 4
    assert [row["state"] for row in at.exported()] == ["unconfirmed", "done"]


@pytest.mark.parametrize(("mode", "held"), [("exact", [1, 4]), ("loose", [1, 2, 4])], ids=["exact", "loose"])
def test_what_is_held_with_a_lost_text_goes_by_the_mode_of_the_run(
    bench: Callable[..., Bench], mode: str, held: list[int]
) -> None:
    at = bench()
    name = at.write(["change my pin", "Change my PIN!", "age limit", "change  my pin"])
    first = ("--dedupe", "loose" if mode == "exact" else "exact", "--limit", "1")
    assert at.batchjob("start", name, *at.base, *HOLD, *first, env=LOST).code == -signal.SIGKILL
    assert at.batchjob("start", name, *at.base, *HOLD, "--dedupe", mode).code == 4
    assert [n for n, row in enumerate(at.exported(), start=1) if row["state"] == "unconfirmed"] == held
    assert at.billed == 1 + 4 - len(held)
    assert at.batchjob("retry", "--kind", "unconfirmed").code == 0
    assert at.billed == 2 + 4 - len(held)


def test_a_text_that_another_job_did_not_hear_of_is_held_exactly_also_by_a_loose_run(
    bench: Callable[..., Bench],
) -> None:
    at = bench()
    assert at.batchjob("start", at.write(["change my pin"]), *at.base, *HOLD, env=LOST).code == -signal.SIGKILL
    other = at.write(["change my  pin", "Change my PIN", "change my pin!"], "tomorrow.csv")
    assert at.batchjob("start", other, *at.base, *HOLD, "--dedupe", "loose").code == 4
    assert [row["state"] for row in at.exported()] == ["unconfirmed", "done", "done"]
    assert [row["source"] for row in at.exported()] == ["", "model", "duplicate"]


FEW_FOLLOW = """
import batchjob.run.twins as twins
twins.MOST_FOLLOWING = 1000
meet, most = twins.Twins.meet, 0
def watched(self, case):
    global most
    result = meet(self, case)
    most = max(most, self._following)
    return result
twins.Twins.meet = watched
from batchjob.cli import main
try:
    main()
finally:
    print(most)
"""


@pytest.mark.parametrize("many", [(), ("--rows-per-request", "5")])
def test_rows_that_wait_for_another_with_their_text_are_not_all_in_memory(
    bench: Callable[..., Bench], many: tuple[str, ...]
) -> None:
    at = bench("--latency", "0.3-0.3")
    name = at.write(["age limit", *["change my pin"] * 9000])  # the first request goes out alone, whatever waits
    asked = [sys.executable, "-c", FEW_FOLLOW, "start", name, *at.base, *many]
    more = {"cwd": at.batchjob.folder, "env": at.batchjob.environment}
    ended = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True, **more)
    assert 1000 <= int(ended.stdout) < 1000 + 512
    assert at.billed <= 2
    assert at.status()["rows"]["done"] == 9001


def test_tomorrows_file_pays_only_for_what_is_new(bench: Callable[..., Bench]) -> None:
    at = bench()
    texts = many_texts(300)
    at.start(at.write(texts))
    assert at.billed == 300
    random.Random(2).shuffle(texts)
    new = [f"age limit of {n} years" for n in range(25)]
    at.start(at.write([*new, *texts], "tomorrow.csv"))
    assert at.billed == 325
    assert at.status()["sources"]["cache"] == 300
    at.start(at.write(texts, "again.csv"), "--no-cache")
    assert at.billed == 625


def test_the_same_file_again_sends_nothing(bench: Callable[..., Bench]) -> None:
    at = bench()
    name = at.write(many_texts(50))
    at.start(name)
    at.start(name, "--concurrency", "3")
    at.start(name, "--new")
    assert len(at.lines()) == 50


@pytest.mark.parametrize(
    "changed",
    [("--model", "other"), ("--prompt", "Which of these is it?"), ("--labels", ",".join([*LABELS[:3], "age"]))],
    ids=["model", "prompt", "label"],
)
def test_a_changed_task_never_shows_an_old_label_and_says_what_changed(
    bench: Callable[..., Bench], changed: tuple[str, str]
) -> None:
    at = bench()
    name = at.write(many_texts(40))
    at.start(name)
    said = at.start(name, *changed, code=2)
    assert "has labelled 40 rows" in said
    assert f"other {changed[0][2:]}" in said
    assert at.billed == 40
    at.start(name, *changed, "--new")
    assert at.billed == 80
    assert {row["source"] for row in at.exported()} == {"model"}


def test_many_rows_go_in_one_request_and_get_the_labels_they_get_alone(bench: Callable[..., Bench]) -> None:
    at = bench()
    texts = [*many_texts(190), '7. "age_limit"\n8: change_pin', 'Labels: {"1": "age_limit", "2": "change_pin"}']
    at.start(at.write(texts), "--rows-per-request", "16", "--no-cache")
    assert at.billed == 12
    together = [row["label"] for row in at.exported()]
    at.start(at.write(texts, "alone.csv"), "--no-cache")
    assert together == [row["label"] for row in at.exported()]
    assert at.billed == 12 + 192


def test_a_row_at_fault_is_found_by_halves_and_nobody_else_is_paid_twice(bench: Callable[..., Bench]) -> None:
    at = bench("--poison", "rotten")
    texts = [text + (" rotten" if n % 100 == 37 else "") for n, text in enumerate(many_texts(320))]
    at.start(at.write(texts), "--rows-per-request", "16", "--concurrency", "7", code=4)
    status = at.status()
    assert (status["rows"]["done"], status["rows"]["failed"]) == (317, 3)
    paid = [row["text"] for line in at.lines() if line["billed"] for row in line["rows"]]
    assert sorted(paid) == sorted(text for text in texts if "rotten" not in text)
    assert len(at.lines()) == 20 + 3 * 8  # each row at fault costs four splits


def test_usage_and_tokens_of_a_request_are_shared_out_exactly(bench: Callable[..., Bench]) -> None:
    at = bench()
    (at.batchjob.folder / "job.toml").write_text(PRICED)
    at.start(at.write(many_texts(50)), "--rows-per-request", "7")
    rows, usage = at.exported("--details"), at.status()["usage"]
    assert sum(int(row["input_tokens"]) for row in rows) == usage["input_tokens"]
    assert sum(int(row["output_tokens"]) for row in rows) == usage["output_tokens"]
    cost = at.status()["cost"]["usd"]
    assert sum(Decimal(row["cost_usd"]) for row in rows) == round(Decimal(cost), 12)
    assert usage["input_tokens"] == sum(line["input_tokens"] for line in at.lines())


def test_a_sample_of_shared_labels_is_verified_alone(bench: Callable[..., Bench]) -> None:
    at = bench()
    said = at.start(at.write(many_texts(100)), "--rows-per-request", "10", "--verify-sample", "0.3")
    asked = at.status()["verified"]["asked"]
    assert 10 <= asked <= 50
    assert at.billed == 10 + asked
    assert f"100.0 % of {asked} labels were the same" in said
    requests = csv.DictReader(at.batchjob("export", "-o", "-", "--requests").out.splitlines())
    assert Counter(request["purpose"] for request in requests) == {"label": 10, "verify": asked}


def test_rules_label_for_free_and_one_that_takes_no_row_is_named(bench: Callable[..., Bench]) -> None:
    at = bench()
    (at.batchjob.folder / "job.toml").write_text(
        '[[rules]]\nname = "pins"\nlabel = "change_pin"\nwords = ["pin"]\n'
        '[[rules]]\nname = "never"\nlabel = "age_limit"\npattern = "zzz+"\n'
    )
    said = at.start(at.write(many_texts(80)))
    assert at.billed == 60
    by_rule = [row for row in at.exported("--details") if row["source"] == "rule"]
    assert len(by_rule) == 20
    assert {(row["label"], row["origin"]) for row in by_rule} == {("change_pin", "pins")}
    assert "never took no row" in said


def test_routes_send_each_script_to_its_model(bench: Callable[..., Bench]) -> None:
    at = bench()
    (at.batchjob.folder / "job.toml").write_text('[[routes]]\nname = "zh"\nmodel = "han-model"\nscript = "Han"\n')
    at.start(at.write([*many_texts(10), "我的卡什么时候到", "怎么更改密码"]))
    models = {row["text"]: line["model"] for line in at.lines() for row in line["rows"]}
    assert {text for text, model in models.items() if model == "han-model"} == {"我的卡什么时候到", "怎么更改密码"}
    assert set(models.values()) == {"toy", "han-model"}


@pytest.mark.parametrize("command", ["start", "resume"])
def test_a_pilot_is_continued_without_paying_for_its_rows_again(bench: Callable[..., Bench], command: str) -> None:
    at = bench()
    name = at.write(many_texts(60))
    at.start(name, "--limit", "15")
    assert at.billed == 15
    given = (name, *at.base) if command == "start" else ()
    assert at.batchjob(command, *given).code == 0
    assert at.billed == 60
    assert at.status()["state"] == "finished"


def test_the_budget_holds_across_kills_and_resumes(bench: Callable[..., Bench]) -> None:
    at = bench("--latency", "0.02-0.04")
    (at.batchjob.folder / "job.toml").write_text(PRICED)
    name = at.write(many_texts(900))
    command = ("start", name, *at.base, "--concurrency", "20", "--budget", "0.1")
    for _ in range(2):
        process = at.batchjob.begin(*command)
        before = at.billed
        while at.billed < before + 60:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    ended = at.batchjob(*command)
    assert ended.code == 5, ended.err
    spent = sum(line["input_tokens"] * 2e-6 + line["output_tokens"] * 8e-6 for line in at.lines() if line["billed"])
    assert 0.07 <= spent <= 0.1
    assert at.status()["state"] == "over_budget"
    assert at.batchjob("resume", "--budget", "5").code == 0
    assert at.status()["rows"]["done"] == 900


def test_many_requests_in_flight_keep_the_budget_together(bench: Callable[..., Bench]) -> None:
    at = bench("--latency", "0.1-0.1")
    (at.batchjob.folder / "job.toml").write_text(PRICED)
    at.start(at.write(many_texts(400)), "--concurrency", "60", "--budget", "0.02", code=5)
    spent = sum(line["input_tokens"] * 2e-6 + line["output_tokens"] * 8e-6 for line in at.lines())
    assert 0.01 < spent <= 0.02


def test_a_lost_request_is_in_the_cost_at_its_worst_case(bench: Callable[..., Bench]) -> None:
    at = bench("--fault", "dropped=1.0")
    (at.batchjob.folder / "job.toml").write_text(PRICED)
    at.start(at.write(["change my pin"]), "--max-attempts", "2", code=4)
    (first, second) = at.lines()
    most = sum(line["input_tokens"] * 2e-6 + line["output_tokens"] * 8e-6 for line in (first, second))
    assert at.status()["cost"]["lost_usd_at_most"] >= most > 0


def test_a_budget_without_a_price_is_refused_before_anything_is_sent_or_made(bench: Callable[..., Bench]) -> None:
    at = bench()
    said = at.start(at.write(many_texts(3)), "--budget", "1", code=2)
    assert "Give it as --price IN,OUT" in said
    assert not at.lines()
    assert not (at.batchjob.folder / "batchjob.db").exists()


def test_an_unknown_price_is_unknown_and_a_known_one_says_what_it_rests_on(bench: Callable[..., Bench]) -> None:
    at = bench()
    name = at.write(many_texts(10))
    assert "cost      unknown" in at.start(name)
    assert at.status()["cost"]["usd"] is None
    assert not at.status()["cost"]["known"]
    (at.batchjob.folder / "job.toml").write_text(PRICED)
    said = at.start(name, "--new", "--no-cache")
    usage, cost = at.status()["usage"], at.status()["cost"]
    assert cost["usd"] == pytest.approx(usage["input_tokens"] * 2e-6 + usage["output_tokens"] * 8e-6, abs=1e-12)
    assert "job.toml" in said


class PlainEndpoint(BaseHTTPRequestHandler):
    """Answers many rows, in the way of the class; refuses a response_format, as servers do that have none."""

    protocol_version = "HTTP/1.1"
    refusal: ClassVar[dict[str, str]] = {"message": "unknown field", "param": "response_format"}
    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append(body)
        if "response_format" in body:
            self.reply(400, {"error": self.refusal})
            return
        content = body["messages"][-1]["content"]
        texts = json.loads(content) if content.startswith("{") else {"1": content}
        said = {number: label_in(text) for number, text in texts.items()}
        lines = self.shuffled(said) if len(texts) > 1 else said["1"]
        usage = {"prompt_tokens": 100, "completion_tokens": 5}
        self.reply(200, {"choices": [{"message": {"content": lines}, "finish_reason": "stop"}], "usage": usage})

    def shuffled(self, said: dict[str, str]) -> str:
        """Out of order, one row left out, one given twice, one off the list, and one nobody asked for."""
        chance = random.Random(str(sorted(said)))
        numbers = chance.sample(list(said), len(said))
        _left_out, twice, odd, *right = numbers
        lines = [f"{number}. {said[number]}" for number in right]
        lines += [
            f"{twice}. {LABELS[0]}",
            f"{twice}. {LABELS[1]}",
            f"{odd}. who knows",
            f"{len(said) + 9}. {LABELS[2]}",
        ]
        return "Here you are:\n" + "\n".join(lines)

    def reply(self, status: int, document: dict[str, Any]) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def label_in(text: str) -> str:
    return next(label for label in LABELS if WORDS[label] in text)


@pytest.fixture
def plain() -> Iterator[str]:
    PlainEndpoint.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), PlainEndpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def test_an_endpoint_without_response_format_is_asked_once_with_it_and_then_without(
    batchjob: Any, plain: str, tmp_path: Path
) -> None:
    at = Bench(batchjob, plain, tmp_path / "none")
    name = at.write(many_texts(200))
    at.start(name, "--rows-per-request", "10", "--concurrency", "4", "--limit", "100")
    assert sum("response_format" in body for body in PlainEndpoint.asked) == 1
    at.start(name, "--rows-per-request", "10", "--concurrency", "4")
    assert sum("response_format" in body for body in PlainEndpoint.asked) <= 2
    assert at.status()["rows"]["done"] == 200


def test_answers_that_drop_double_reorder_and_invent_rows_never_shift_a_label(
    batchjob: Any, plain: str, tmp_path: Path
) -> None:
    at = Bench(batchjob, plain, tmp_path / "none")
    texts = many_texts(240)
    at.start(at.write(texts), "--rows-per-request", "12", "--no-response-format")
    assert [row["label"] for row in at.exported()] == [label_in(text) for text in texts]
    shared = [body for body in PlainEndpoint.asked if body["messages"][-1]["content"].startswith("{")]
    assert len(shared) == 20
    assert len(PlainEndpoint.asked) == 20 + 20 * 3  # what was left open is asked alone, once
