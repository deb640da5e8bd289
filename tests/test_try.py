"""`try`: a few rows, in several ways of asking, by jobs of their own."""

from __future__ import annotations

import csv
import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from batchjob.cli.trial import command
from batchjob.cli.typed import quoted, start_line
from batchjob.views.lines import width
from tests.terminals import in_terminal

if TYPE_CHECKING:
    from tests.conftest import BatchJob

Sandbox = Callable[..., str]
TICKETS = Path(__file__).resolve().parent.parent / "examples" / "tickets.csv"
LABELS = TICKETS.with_name("labels.txt")
TASK = ("--labels-file", str(LABELS), "--rpm", "0", "--quiet")


def tickets() -> list[dict[str, str]]:
    with TICKETS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def document(batchjob: BatchJob, *arguments: str, code: int = 0) -> dict[str, Any]:
    ended = batchjob("try", *arguments, "--json")
    assert ended.code == code, ended.err
    found: dict[str, Any] = json.loads(ended.out)
    return found


def paid(ledger: Path) -> int:
    """Requests that were answered."""
    return len(ledger.read_text().splitlines()) if ledger.exists() else 0


def test_rows_are_drawn_by_a_seed_and_paid_once(batchjob: BatchJob, sandbox: Sandbox) -> None:
    ledger = batchjob.folder / "ledger"
    ask = (str(TICKETS), *TASK, "--base-url", sandbox("--ledger", str(ledger)), "--model", "toy")
    first = document(batchjob, *ask)
    assert (len(first["rows"]), paid(ledger)) == (10, 10)
    ids = [row["id"] for row in first["rows"]]
    assert ids == sorted(ids) != [row["id"] for row in tickets()[:10]]
    assert first["variants"][0]["whole"]["to_ask"] == 290

    again = document(batchjob, *ask)
    assert (again["rows"], paid(ledger)) == (first["rows"], 10)
    assert again["variants"][0]["whole"]["to_ask"] == 290
    assert [row["id"] for row in document(batchjob, *ask, "--seed", "2")["rows"]] != ids
    assert [row["id"] for row in document(batchjob, *ask, "--sample", "first", "-n", "3")["rows"]] == [
        "T-0001",
        "T-0002",
        "T-0003",
    ]

    asked = paid(ledger)
    started = shlex.split(again["variants"][0]["start"])
    assert batchjob(*started[1:]).code == 0
    status = json.loads(batchjob("status", "--json").out)
    assert status["job"] == "tickets"
    assert status["sources"]["cache"] == asked
    assert paid(ledger) == 300


def test_the_prompt_is_shown_as_it_is_sent(batchjob: BatchJob) -> None:
    (batchjob.folder / "p.txt").write_text("One of\n{labels}\nfor {text}?")
    ended = batchjob("try", str(TICKETS), *TASK, "--sandbox", "--prompt-file", "p.txt", "-n", "1", "--sample", "first")
    assert ended.code == 0, ended.err
    listed = "\n".join(f"- {label}" for label in sorted(LABELS.read_text().split()))
    sent = f"user:\nOne of\n{listed}\nfor {tickets()[0]['text']}?\n"
    assert sent in ended.out
    shown = batchjob("start", str(TICKETS), *TASK, "--sandbox", "--prompt-file", "p.txt", "--show-prompt")
    assert shown.out.rstrip("\n") in ended.out


def test_each_model_with_each_prompt_is_a_column_beside_gold(batchjob: BatchJob, sandbox: Sandbox) -> None:
    (batchjob.folder / "p.txt").write_text("Labels:\n{labels}\nfor {text}")
    (batchjob.folder / "q.txt").write_text("Labels:\n{labels}\nfor {text}, edit_personal_details perhaps")
    url = sandbox("--model", "small", "--model", "large", "--poison", "the age limit", "--poison-fault", "off_list")
    ask = (str(TICKETS), *TASK, "--base-url", url, "--price", "1,2", "--gold", "gold", "-n", "20")
    ways = ("--model", "small", "--model", "large", "--prompt-file", "p.txt", "--prompt-file", "q.txt")
    found = document(batchjob, *ask, *ways)
    assert [one["name"] for one in found["variants"]] == [
        "small, p.txt",
        "small, q.txt",
        "large, p.txt",
        "large, q.txt",
    ]
    gold = {row["id"]: row["gold"] for row in tickets()}
    for at, one in enumerate(found["variants"]):
        right = [row["answers"][at]["label"] == gold[row["id"]] for row in found["rows"]]
        assert (one["accuracy"]["hits"], one["accuracy"]["n"]) == (sum(right), 20)
        usage = one["side"]
        each = (usage["input_tokens_per_1000"] + 2 * usage["output_tokens_per_1000"]) / 1e9
        assert one["whole"]["usd"] == pytest.approx(280 * each)
    for row in found["rows"]:
        labels = {one["label"] for one in row["answers"]} | {gold[row["id"]]}
        assert row["agree"] == (len(labels) == 1)
    said = batchjob("try", *ask, *ways).out
    assert "A         small, p.txt, job try-tickets\nB         small, q.txt, job try-tickets-2\n" in said
    assert said.count("POST ") == 2


def test_what_is_left_to_ask_is_so_also_behind_a_try_that_was_broken_off(batchjob: BatchJob, sandbox: Sandbox) -> None:
    bad = ("--poison", "the age limit|refunds", "--poison-fault", "off_list")
    ask = (str(TICKETS), *TASK, "--base-url", sandbox(*bad), "--model", "toy", "-n", "150")
    killed = batchjob("try", *ask, env={"BATCHJOB_FAILPOINT": "results.after_commit=kill@5"})
    assert killed.code != 0
    found = document(batchjob, *ask, code=4)
    labelled = sum(row["answers"][0]["label"] is not None for row in found["rows"])
    (variant,) = found["variants"]
    assert variant["whole"]["to_ask"] == 300 - labelled < 300 - 100
    planned = batchjob(*shlex.split(variant["start"])[1:], "--dry-run").out
    assert f"to pay    {variant['whole']['to_ask']} rows" in planned


def test_an_answer_off_the_list_stands_there_as_it_came(batchjob: BatchJob, sandbox: Sandbox) -> None:
    url = sandbox("--poison", "refunds", "--poison-fault", "off_list")
    ended = batchjob("try", str(TICKETS), *TASK, "--base-url", url, "--model", "toy")
    assert ended.code == 4
    (line,) = (line for line in ended.out.splitlines() if "Do you give refunds?" in line)
    assert line.startswith("!  T-0133  Do you give refunds?")
    assert line.endswith("(off_list): 'something_else_entirely'")


def test_a_model_that_is_refused_leaves_the_others_their_column(batchjob: BatchJob, sandbox: Sandbox) -> None:
    ask = (str(TICKETS), *TASK, "--base-url", sandbox("--model", "large"), "-n", "3")
    both = ("--model", "nowhere", "--model", "large")
    ended = batchjob("try", *ask, *both)
    assert ended.code == 3
    assert "job try-tickets: refused" in ended.err
    assert "next      batchjob doctor" in ended.err
    assert "A         nothing was answered\n" in ended.out
    found = document(batchjob, *ask, *both, code=3)
    assert [one["exit_code"] for one in found["variants"]] == [3, 0]
    labels = [[one["label"] for one in row["answers"]] for row in found["rows"]]
    assert [(first is None, second is None) for first, second in labels] == [(True, False)] * 3


def test_an_endpoint_that_answers_nothing_is_told_of_beside_what_was_found(batchjob: BatchJob) -> None:
    dead = ("--base-url", "http://127.0.0.1:9/v1", "--model", "m", "--max-outage", "0")
    ended = batchjob("try", str(TICKETS), *TASK, *dead, "-n", "2")
    assert ended.code == 1, ended.err
    assert "no answer for" in ended.err
    assert "nothing was answered\n" in ended.out


def test_its_jobs_are_listed_only_when_asked_for_and_are_never_the_latest(batchjob: BatchJob) -> None:
    document(batchjob, str(TICKETS), *TASK, "--sandbox", "-n", "2")
    ended = batchjob("jobs")
    assert "no jobs yet" in ended.out
    assert "left out  1 of batchjob try: --all shows them" in ended.out
    assert "try-tickets  finished  2/2" in batchjob("jobs", "--all").out
    assert batchjob("status").code == 1
    assert batchjob("start", str(TICKETS), *TASK, "--sandbox", "--limit", "5").code == 0
    document(batchjob, str(TICKETS), *TASK, "--sandbox", "-n", "3")
    assert json.loads(batchjob("status", "--json").out)["job"] == "tickets"
    assert [one["job"] for one in json.loads(batchjob("jobs", "--json").out)] == ["tickets"]
    assert batchjob("resume").code == 0
    assert json.loads(batchjob("status", "--json").out)["rows"]["done"] == 300


def test_with_gold_only_rows_that_have_some_are_drawn(batchjob: BatchJob) -> None:
    rows = [{"text": f"I lost my card {n}", **({"right": "lost_or_stolen_card"} if n > 96 else {})} for n in range(100)]
    (batchjob.folder / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ask = ("t.jsonl", *TASK, "--sandbox", "--gold")
    found = document(batchjob, *ask, "right")
    assert [row["id"] for row in found["rows"]] == ["98", "99", "100"]
    assert found["variants"][0]["accuracy"]["n"] == 3
    ended = batchjob("try", *ask, "rigth")
    assert ended.code == 2
    assert "no row has a value in 'rigth'" in ended.err
    assert batchjob("try", *ask, "text").code == 2


FIELDS = """
sandbox = true
rpm = 0
quiet = true
[[fields]]
name = "topic"
labels = ["card_arrival", "age_limit"]
[[fields]]
name = "parts"
kind = "several"
labels = ["app", "card", "money"]
[[fields]]
name = "score"
kind = "number"
min = 1
max = 5
"""


def test_of_several_answers_each_is_shown_and_one_may_be_judged(batchjob: BatchJob, sandbox: Sandbox) -> None:
    rows = [{"text": f"bad {n}", "parts": ["money", "card"]} for n in range(3)]
    (batchjob.folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (batchjob.folder / "job.toml").write_text(FIELDS.replace("sandbox = true\n", ""))
    url = sandbox("--model", "small", "--model", "large", "--poison", "bad 1", "--poison-fault", "off_list")
    ask = ("t.jsonl", "--base-url", url, "--model", "small", "--model", "large")
    found = document(batchjob, *ask, code=4)
    said = batchjob("try", *ask).out
    assert "a line a field: A | B\n" in said
    for row in found["rows"]:
        one, other = row["answers"]
        bad = row["text"] == "bad 1"
        assert (row["agree"], one["label"] is None, "score" in one["values"]) == (not bad, bad, not bad)
        assert one["values"] == other["values"]
        values = {**one["values"], **({"score": "(off_list): 'something_else_entirely'"} if bad else {})}
        shown = [value if isinstance(value, str) else msgspec.json.encode(value).decode() for value in values.values()]
        lines = [
            f"  {'!' if bad and name == 'score' else ' '} {name}: {a} | {a}"
            for name, a in zip(values, shown, strict=True)
        ]
        assert "\n".join([f"{'!' if bad else '='} {row['id']}: {row['text']}", *lines, ""]) in said

    assert "name one of them with --field: topic, parts, score" in batchjob("try", *ask, "--gold", "parts").err
    found = document(batchjob, *ask, "--gold", "parts", "--field", "parts", code=4)
    right = [row["answers"][0]["label"] == "card, money" for row in found["rows"]]
    assert [row["agree"] for row in found["rows"]] == right
    assert (found["variants"][0]["accuracy"]["hits"], found["variants"][0]["accuracy"]["n"]) == (sum(right), 3)
    assert "--field" not in found["variants"][0]["start"]


def test_rows_that_are_examples_are_not_drawn(batchjob: BatchJob) -> None:
    (batchjob.folder / "t.csv").write_text("".join(TICKETS.read_text(encoding="utf-8").splitlines(keepends=True)[:31]))
    ask = ("t.csv", *TASK, "--sandbox", "--examples", "3", "--gold", "gold", "-n", "40")
    found = document(batchjob, *ask)
    assert len(found["rows"]) == found["variants"][0]["accuracy"]["n"] == 27
    assert batchjob(*shlex.split(found["variants"][0]["start"])[1:]).code == 0
    assert json.loads(batchjob("status", "--json").out)["sources"]["cache"] == 27


def test_what_is_piped_in_can_be_tried(batchjob: BatchJob) -> None:
    ended = batchjob("try", "-", *TASK, "--sandbox", "-n", "2", "--json", input=TICKETS.read_text(encoding="utf-8"))
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert (found["input"], len(found["rows"])) == ("stdin", 2)


def test_a_try_that_died_before_its_rows_were_kept_is_made_by_the_same_command(batchjob: BatchJob) -> None:
    ask = (str(TICKETS), *TASK, "--sandbox", "-n", "2")
    killed = batchjob("try", *ask, env={"BATCHJOB_FAILPOINT": "input.before_commit=kill"})
    assert killed.code != 0
    ended = batchjob("resume", "try-tickets")
    assert (ended.code, "give that command again" in ended.err) == (1, True)
    found = document(batchjob, *ask)
    assert found["variants"][0]["job"] == "try-tickets"
    assert len(found["rows"]) == 2


@pytest.mark.parametrize("columns", [40, 160])
def test_the_table_fits_its_terminal(batchjob: BatchJob, columns: int) -> None:
    ask = ("try", str(TICKETS), *TASK, "--sandbox", "--gold", "gold", "--model", "a", "--model", "b", "-n", "4")
    lines = [line for line in in_terminal(batchjob, columns, *ask).out.splitlines() if "batchjob start" not in line]
    assert max(map(width, lines)) <= columns
    assert sum("T-0" in line for line in lines) == 4


def test_the_start_line_can_be_pasted_whatever_files_are_called(batchjob: BatchJob) -> None:
    folder = batchjob.folder
    for n, name in enumerate(("-a b.csv", "it's.csv", "☃ $x.csv")):
        (folder / name).write_text(
            "".join(["id,text,right\n", *(f"{n}-{at},I lost my card {n} {at},\n" for at in range(9))])
        )
    (folder / "my job.toml").write_text('gold = "right"\nsandbox = true\nrpm = 0\nquiet = true\n')
    (folder / "-p 'q'.txt").write_text("One of\n{labels}\nfor {text}")
    (folder / "-a b.csv").write_text((folder / "-a b.csv").read_text().replace("0 0,", "0 0,card_arrival"))
    ask = (
        "--config",
        "my job.toml",
        "--labels",
        "card_arrival, age_limit",
        "--db",
        "d b.db",
        "--prompt-file",
        "-p 'q'.txt",
    )
    inputs = ("--", "-a b.csv", "it's.csv", "☃ $x.csv")
    tried = batchjob("try", "--json", *ask, "--describe", 'age_limit=how "old"', *inputs)
    assert tried.code == 0, tried.err
    (variant,) = json.loads(tried.out)["variants"]
    assert (variant["accuracy"]["n"], variant["whole"]["to_ask"]) == (1, 26)
    ended = batchjob(*shlex.split(variant["start"])[1:])
    assert ended.code == 0, ended.err
    status = json.loads(batchjob("status", "--db", "d b.db", "--json").out)
    assert (status["rows"]["done"], status["sources"]["cache"]) == (27, 1)


def test_a_word_of_a_line_to_paste_is_read_by_a_shell_as_it_was_given() -> None:
    words = [
        "a b",
        "it's",
        "One of\n{labels}\n\nfor {text}!",
        "tab\t'\\n",
        "caf\xe9",
        "\x85\u200b0",
        os.fsdecode(b"x\xff0.csv"),
        "",
        "$x `y`",
    ]
    line = " ".join(map(quoted, words))
    shown = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}
    )
    assert [os.fsdecode(word) for word in shown.stdout.split(b"\0")[:-1]] == words
    assert line.isprintable()


def test_a_password_of_the_database_is_not_repeated() -> None:
    url = "postgresql://me:hush@host/name?password=hush"
    with command.make_context("try", ["in.csv", "--db", url]) as context:
        assert "hush" not in start_line(context, {}, ("rows", "sample", "seed"))


def test_too_many_ways_are_refused_before_anything_is_read(batchjob: BatchJob) -> None:
    models = [word for n in range(11) for word in ("--model", f"m{n}")]
    ended = batchjob("try", "nowhere.csv", *TASK, "--sandbox", *models)
    assert (ended.code, "11 ways of asking are too many: 10 at most" in ended.err) == (2, True)


def test_the_draw_is_fair() -> None:
    from batchjob.jobs.intake import open_as_set
    from batchjob.jobs.trials import Wanted, draw
    from batchjob.settings.config import JobConfig

    counts = dict.fromkeys((row["id"] for row in tickets()), 0)
    for seed in range(30):
        reader = open_as_set([str(TICKETS)], JobConfig())
        drawn = draw(reader, Wanted(100, "random", seed, None, None), [], lambda text: False)
        for row in drawn.chunk.rows:
            counts[row[1]] += 1
    # Each of 300 rows is expected 10 times; a binomial strays by 2.6, and hardly ever by five times that.
    assert all(abs(count - 10) < 5 * 2.6 for count in counts.values())
