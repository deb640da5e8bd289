"""What labelling would take, said before it is paid for: profile, start --dry-run, and a start with other settings."""

from __future__ import annotations

import json
import random
import re
import shlex
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.forecast.counting import Frequent, HashSet, Lengths
from tests.terminals import in_terminal

if TYPE_CHECKING:
    from tests.conftest import BatchJob

LABELS = ("--labels", "billing,refund,other")
TASK = (*LABELS, "--model", "m", "--base-url", "http://127.0.0.1:1")
PRICED = '[prices."m"]\ninput = 1.0\noutput = 4.0\n'

MIXED = """\
id,text,lang
1,Refund please,en
2,refund  please!,en
3,,en
4,Where is my card,en
5,Refund please,de
6,退款,zh
7,bad
8,Привет,ru
"""


@pytest.fixture
def unheard() -> Iterator[tuple[str, Callable[[], bool]]]:
    """An endpoint's address, and whether anybody has called there."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.settimeout(0.2)

    def called() -> bool:
        try:
            listening.accept()
        except TimeoutError:
            return False
        return True

    yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1", called
    listening.close()


def profile(job: BatchJob, *arguments: str) -> dict[str, Any]:
    ended = job("profile", *arguments, "--json")
    assert ended.code == 0, ended.err
    document: dict[str, Any] = json.loads(ended.out)
    return document


def write(job: BatchJob, text: str = MIXED, name: str = "t.csv") -> set[str]:
    (job.folder / name).write_text(text)
    return files(job)


def write_distinct(job: BatchJob, rows: int) -> None:
    write(job, "id,text\n" + "".join(f"{n},ticket number {n} about a refund\n" for n in range(1, rows + 1)))


def files(job: BatchJob) -> set[str]:
    return {file.name for file in job.folder.iterdir()}


# ---------------------------------------------------------------- profile


def test_profile_counts_rows_defects_duplicates_scripts_and_languages(batchjob: BatchJob) -> None:
    write(batchjob)
    found = profile(batchjob, "t.csv", *TASK)
    assert found["rows"] == {"total": 8, "to_label": 6, "blank": 1, "defective": 1}
    assert found["defects"] == {"ragged_row": 1}
    duplicates = found["duplicates"]
    assert (duplicates["exact"], duplicates["loose"], found["loose_saves"]) == (1, 2, 1)
    assert duplicates["alike"] == [["Refund please", "refund  please!"]]
    assert [(found["count"], found["exact"]) for found in duplicates["most_frequent"]] == [(2, True)]
    assert found["scripts"] == {"Latin": 4, "Han": 1, "Cyrillic": 1}
    assert found["languages"] == {"unknown": 4, "zh": 1, "ru": 1}
    assert found["settled_by"] == {"request": 5, "rule": 0, "cache": 0, "duplicate": 1, "fallback": 0, "failed": 2}
    assert found["estimates"][0]["requests"] == 5


def test_profile_says_what_loose_would_save_and_shows_pairs_of_what_it_would_join(batchjob: BatchJob) -> None:
    long = "word " * 40
    texts = ["tell US", "tell us.", "Tell us!", f"{long}end", f"{long}end!", "the same", "the  same", "alone"]
    write(batchjob, "id,text\n" + "".join(f"{n},{text}\n" for n, text in enumerate(texts)))
    said = batchjob("profile", "t.csv", *TASK).out
    assert "1 text stood there before" in said
    assert re.search(r"^loose +3 texts more but for case or closing .*--dedupe loose.* 3 rows fewer to pay", said, re.M)
    assert "'tell US' and 'tell us.'" in said
    assert re.search(r"  'word .*\.\.\..*end' and 'word .*\.\.\..*end!'", said)
    loosely = profile(batchjob, "t.csv", *TASK, "--dedupe", "loose")
    assert (loosely["settled_by"]["request"], loosely["loose_saves"]) == (4, None)
    assert profile(batchjob, "t.csv", *TASK)["settled_by"]["request"] == 4 + 3
    assert profile(batchjob, "t.csv", *TASK, "--dedupe", "off")["settled_by"]["request"] == 8


def test_profile_and_a_dry_run_send_nothing_and_write_nothing(
    batchjob: BatchJob, unheard: tuple[str, Callable[[], bool]]
) -> None:
    url, called = unheard
    before = write(batchjob)
    for arguments in (("profile", "t.csv"), ("start", "t.csv", "--dry-run")):
        ended = batchjob(*arguments, *LABELS, "--model", "m", "--base-url", url)
        assert (ended.code, ended.err) == (0, "")
    assert files(batchjob) == before
    assert not called()


def test_without_labels_model_and_endpoint_profile_says_what_it_cannot_tell_and_how_to_change_that(
    batchjob: BatchJob,
) -> None:
    write(batchjob)
    ended = batchjob("profile", "t.csv")
    assert ended.code == 0
    for given in ("--labels", "--model", "--base-url"):
        assert re.search(rf"^unknown .*give {given}", ended.out, re.MULTILINE), given
    assert "0.0000 USD" not in ended.out
    assert ended.out.splitlines()[-1].endswith("--labels A,B,C --model NAME --base-url URL")
    found = profile(batchjob, "t.csv")
    assert {estimate["input_tokens"] for estimate in found["estimates"]} == {None}


def test_an_unknown_price_is_unknown_and_a_given_one_makes_a_cost(batchjob: BatchJob) -> None:
    write(batchjob)
    without = batchjob("profile", "t.csv", *TASK).out
    assert "cost    unknown" in without
    assert "give it as --price IN,OUT" in without
    assert [e["cost"] for e in profile(batchjob, "t.csv", *TASK)["estimates"]] == [
        {"expected_usd": None, "worst_usd": None}
    ] * 3
    write(batchjob, PRICED, "job.toml")
    for estimate in profile(batchjob, "t.csv", *TASK)["estimates"]:
        expected = (estimate["input_tokens"] + 4 * estimate["output_tokens"]) / 1e6
        assert estimate["cost"]["expected_usd"] == pytest.approx(expected)
        assert estimate["cost"]["worst_usd"] > expected


def test_one_unknown_price_among_several_models_leaves_the_whole_cost_unknown(batchjob: BatchJob) -> None:
    write(batchjob)
    write(batchjob, PRICED + '[[routes]]\nname = "cjk"\nmodel = "large"\nscript = "Han"\n', "job.toml")
    found = profile(batchjob, "t.csv", *TASK)
    assert found["estimates"][0]["cost"]["expected_usd"] is None
    assert any("'large'" in reason for reason in found["unknown"])


def test_profile_counts_the_rows_of_each_rule_and_route_and_names_those_that_take_none(batchjob: BatchJob) -> None:
    write(batchjob)
    rules = [("refunds", "refund", "^refund "), ("never", "other", "zebra")]
    toml = "".join(f'[[rules]]\nname = "{n}"\nlabel = "{label}"\npattern = "{p}"\n' for n, label, p in rules)
    toml += '[[routes]]\nname = "cyrillic"\nmodel = "m2"\ncolumn = "lang"\nvalue = "ru"\n'
    toml += '[[routes]]\nname = "long"\nmodel = "m2"\nmin_length = 500\n'
    write(batchjob, toml, "job.toml")
    found = profile(batchjob, "t.csv", *TASK)
    assert found["rules"] == {"refunds": 3, "never": 0}
    assert found["routes"] == {"cyrillic": 1, "long": 0}
    assert (found["settled_by"]["rule"], found["settled_by"]["request"]) == (3, 3)
    said = batchjob("profile", "t.csv", *TASK).out
    assert "rule      never takes no row" in said
    assert "route     long takes no row" in said


def test_profile_counts_the_rows_whose_label_is_in_the_cache_and_adds_nothing_to_the_database(
    batchjob: BatchJob,
) -> None:
    write(batchjob)
    batchjob("start", "t.csv", *LABELS, "--sandbox", "--rpm", "0", "--quiet")
    write(batchjob, "text\nRefund  please\n Where is my card\nsomething new\n", "u.csv")
    found = profile(batchjob, "u.csv", *LABELS, "--sandbox")
    assert (found["settled_by"]["cache"], found["settled_by"]["request"]) == (2, 1)
    assert profile(batchjob, "u.csv", *LABELS, "--sandbox", "--no-cache")["settled_by"]["request"] == 3
    assert len(json.loads(batchjob("jobs", "--json").out)) == 1


@pytest.mark.parametrize("rows_per_request", [1, 10])
def test_the_estimate_is_near_what_a_run_then_reports(batchjob: BatchJob, rows_per_request: int) -> None:
    write_distinct(batchjob, 95)
    task = (*LABELS, "--sandbox", "--rpm", "0", "--rows-per-request", str(rows_per_request))
    estimates = profile(batchjob, "t.csv", *task)["estimates"]
    estimate = next(found for found in estimates if found["rows_per_request"] == rows_per_request)
    ended = batchjob("start", "t.csv", *task, "--quiet")
    assert ended.code == 0, ended.err
    status = json.loads(batchjob("status", "--json").out)
    assert status["requests"]["sent"] == estimate["requests"]
    assert estimate["input_tokens"] == pytest.approx(status["usage"]["input_tokens"], rel=0.15)
    # The sandbox counts JSON's punctuation by characters, as few tokens; a tokenizer makes one of each.
    assert 0.9 < estimate["output_tokens"] / status["usage"]["output_tokens"] < 2


def test_the_command_it_ends_with_can_be_pasted_into_a_shell(batchjob: BatchJob) -> None:
    write(batchjob, "id,the text\n" + "".join(f"{n},refund {n}\n" for n in range(600)), "my file's.csv")
    ended = batchjob("profile", "my file's.csv", *LABELS, "--text-column", "the text", "--sandbox", "--rpm", "0")
    line = ended.out.splitlines()[-1].removeprefix("next      ")
    assert line.startswith("batchjob start ")
    assert "--rows-per-request 10" in line or "--rows-per-request 25" in line
    typed = f"{batchjob.command} {line.removeprefix('batchjob ')} --quiet"
    done = subprocess.run(typed, shell=True, cwd=batchjob.folder, env=batchjob.environment, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(batchjob("status", "--json").out)["rows"]["done"] == 600


def test_only_the_rows_within_the_limit_are_looked_at(batchjob: BatchJob) -> None:
    write_distinct(batchjob, 4500)
    assert profile(batchjob, "t.csv", *TASK, "--limit", "2000")["rows"]["total"] == 2000
    assert profile(batchjob, "t.csv", *TASK, "--limit", "4001")["rows"]["total"] == 4001


def test_slower_quotas_take_longer(batchjob: BatchJob) -> None:
    write_distinct(batchjob, 600)
    seconds = [
        profile(batchjob, "t.csv", *TASK, *quota)["estimates"][0]["seconds"]
        for quota in (("--rpm", "0"), ("--rpm", "600"), ("--rpm", "60"), ("--rpm", "0", "--tpm", "6000"))
    ]
    assert seconds == pytest.approx([60, 60.9, 609.1, seconds[3]], abs=0.2)
    assert seconds[3] > 600


def test_the_lengths_are_drawn_within_forty_columns(batchjob: BatchJob) -> None:
    write(batchjob, "text\n" + "".join(f"{'x' * (n % 3000)}y{n}\n" for n in range(1, 9000, 7)))
    shown = in_terminal(batchjob, 40, "profile", "t.csv")
    assert shown.code == 0
    lines = [
        line for line in shown.out.replace("\r\n", "\n").split("\x1b[K")[-1].splitlines() if not line.startswith("next")
    ]
    assert sum("#" in line for line in lines) >= 5
    assert [line for line in lines if len(line) > 40 and "prices" not in line] == []


def test_memory_stays_flat(batchjob: BatchJob) -> None:
    peaks = []
    for rows in (5_000, 100_000):
        write_distinct(batchjob, rows)
        # By way of a small process: a child's peak begins with that of the process it was forked from.
        measure = (
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
        )
        command = [sys.executable, "-c", measure, batchjob.command, "profile", "t.csv", *TASK]
        measured = subprocess.run(
            command, cwd=batchjob.folder, env=batchjob.environment, capture_output=True, text=True
        )
        peaks.append(int(measured.stdout) / 1024)
    assert peaks[1] < 150
    assert peaks[1] - peaks[0] < 25


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("nope.csv",), 1, "no file"),
        (("t.csv", "--text-column", "nope"), 1, "its columns are"),
        (("t.csv", "--labels", "a,a"), 2, "given twice"),
        (("t.csv", "--base-url", "host"), 2, "http://"),
        (("t.csv", "--config", "nope.toml"), 2, "batchjob init"),
        (("t.csv", "--db", "t.csv", *TASK), 1, "not a database"),
        (("t.csv", "--rpm", "-1"), 2, "rpm"),
        (("t.csv", *TASK, "--budget", "1"), 2, "no price is known"),
    ],
)
def test_a_wrong_use_ends_in_one_sentence(
    batchjob: BatchJob, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    write(batchjob)
    ended = batchjob("profile", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert sentence in ended.err
    assert len(ended.err.splitlines()) == 1


# ---------------------------------------------------------------- start --dry-run


def test_a_dry_run_of_a_new_job_says_its_plan_on_stdout_and_makes_no_job(batchjob: BatchJob) -> None:
    before = write(batchjob)
    ended = batchjob("start", "t.csv", *LABELS, "--sandbox", "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("plan      a new job, t, in ")
    assert "requests  5 with 1 row in each" in ended.out
    assert "nothing was sent or written" in ended.out
    assert files(batchjob) == before


def test_a_dry_run_of_a_begun_job_plans_only_what_is_left_of_it(batchjob: BatchJob) -> None:
    write_distinct(batchjob, 30)
    task = (*LABELS, "--sandbox", "--rpm", "0", "--quiet")
    batchjob("start", "t.csv", *task, "--limit", "12")
    ended = batchjob("start", "t.csv", *task, "--dry-run")
    assert ended.out.startswith("plan      going on with job t: 12 of 30")
    assert "requests  18 with 1 row in each" in ended.out
    assert "requests  3 with 1 row in each" in batchjob("start", "t.csv", *task, "--limit", "15", "--dry-run").out
    assert "none is left" in batchjob("start", "t.csv", *task, "--limit", "12", "--dry-run").out


def test_a_dry_run_with_other_settings_says_what_changed(batchjob: BatchJob) -> None:
    write_distinct(batchjob, 5)
    batchjob("start", "t.csv", *LABELS, "--sandbox", "--rpm", "0", "--quiet")
    ended = batchjob("start", "t.csv", "--labels", "a,b", "--sandbox", "--dry-run")
    assert "plan      a new job, t-2" in ended.out
    assert "labels: billing, refund, other -> a, b" in ended.out
    assert len(json.loads(batchjob("jobs", "--json").out)) == 1


def test_a_dry_run_says_what_would_keep_the_job_from_running(batchjob: BatchJob) -> None:
    write(batchjob)
    write(batchjob, PRICED, "job.toml")
    remote = (*LABELS, "--model", "m", "--base-url", "https://api.example.com/v1")
    ended = batchjob("start", "t.csv", *remote, "--budget", "0.000001", "--dry-run")
    assert ended.code == 0
    assert "but       no API key" in ended.out
    left = "but       0.0000010 USD of the budget are left"
    assert f"{left}, and less than 0.01 USD are likely needed" in ended.out
    assert f"{left}, and a request could cost " in ended.out
    refused = batchjob("start", "t.csv", *remote[:2], "--model", "n", *remote[4:], "--budget", "1", "--dry-run")
    assert (refused.code, refused.out) == (2, "")


def test_the_budget_that_a_profile_suggests_is_enough_for_the_job(
    batchjob: BatchJob, sandbox: Callable[..., str]
) -> None:
    write_distinct(batchjob, 12)
    thinks = ("--base-url", sandbox(), "--model", "gpt-5-mini", "--provider", "openai", "--price", "0.25,2")
    *_, next_ = batchjob("profile", "t.csv", *LABELS, *thinks).out.splitlines()
    assert " --budget 0.0" in next_
    assert batchjob(*shlex.split(next_.removeprefix("next      batchjob ")), "--quiet").code == 0


# ---------------------------------------------------------------- start with other settings


def test_a_start_with_another_task_says_that_every_row_is_paid_for_again(batchjob: BatchJob) -> None:
    write_distinct(batchjob, 5)
    task = ("--sandbox", "--rpm", "0", "--quiet")
    batchjob("start", "t.csv", *LABELS, *task)
    assert "every row is paid for\n" in batchjob("start", "t.csv", *LABELS, "--temperature", "1", *task).err


def test_a_start_with_settings_that_keep_the_cache_says_how_few_rows_are_paid_for(batchjob: BatchJob) -> None:
    write_distinct(batchjob, 5)
    task = (*LABELS, "--sandbox", "--rpm", "0", "--quiet")
    batchjob("start", "t.csv", *task, "--limit", "3")
    ended = batchjob("start", "t.csv", *task, "--encoding", "latin-1")
    assert "2 of 5 rows are paid for; without a request: 3 from the label cache" in ended.err
    assert "every row is paid" not in ended.err
    assert json.loads(batchjob("status", "t-2", "--json").out)["requests"]["sent"] == 2


def test_of_a_large_input_only_the_first_rows_are_spoken_of(batchjob: BatchJob) -> None:
    write_distinct(batchjob, 2500)
    task = (*LABELS, "--sandbox", "--rpm", "0", "--quiet")
    batchjob("start", "t.csv", *task, "--limit", "10")
    ended = batchjob("start", "t.csv", *task, "--encoding", "latin-1", "--limit", "2100")
    assert re.search(r"1,990 of its first 2,000 rows \(it had [\d,]+ when", ended.err), ended.err


# ---------------------------------------------------------------- counting in little memory


def test_the_set_of_hashes_knows_what_a_set_knows() -> None:
    chance = random.Random(7)
    hashes, known = HashSet(), set[int]()
    for _ in range(60_000):
        hash_ = chance.choice((chance.getrandbits(64), chance.randrange(20_000), -chance.randrange(20_000)))
        new = (hash_ & (1 << 64) - 1 or 1) not in known
        assert hashes.add(hash_) is new
        known.add(hash_ & (1 << 64) - 1 or 1)


@pytest.mark.parametrize("different", [50, 3000])
def test_the_most_frequent_texts_are_exact_or_marked_as_lower_bounds(different: int) -> None:
    chance = random.Random(different)
    texts = [str(int(chance.paretovariate(0.7)) % different) for _ in range(40_000)]
    frequent, seen = Frequent(200), set[str]()
    for text in texts:
        if text in seen:
            frequent.add(hash(text), text)
        seen.add(text)
    true = Counter(texts)
    top = list(frequent.top(5))
    assert [text for text, _, _ in top[:3]] == [text for text, _ in true.most_common(3)]
    for text, count, exact in top:
        assert count == true[text] if exact else count <= true[text]
    assert different == 3000 or all(exact for *_, exact in top)


def test_lengths_are_exact_up_to_1023_characters_and_within_a_percent_above() -> None:
    chance = random.Random(3)
    lengths = sorted(int(chance.lognormvariate(5, 1.6)) + 1 for _ in range(20_000))
    counted = Lengths()
    for length in lengths:
        counted.add(length)
    found = counted.document()
    assert (found["min"], found["max"], found["median"]) == (lengths[0], lengths[-1], lengths[9_999])
    assert found["p95"] == pytest.approx(lengths[18_999], rel=0.01)
    assert sum(bucket["rows"] for bucket in found["histogram"]) == 20_000
    for bucket in found["histogram"]:
        inside = [length for length in lengths if bucket["from"] <= length <= (bucket["to"] or sys.maxsize)]
        assert bucket["rows"] == len(inside)


def test_a_module_that_only_analyses_imports_no_database_and_no_network() -> None:
    code = "import sys, batchjob.forecast.work; print({'sqlite3', 'aiohttp', 'aiosqlite', 'click'} & set(sys.modules))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.home())
    assert ended.stdout.strip() == "set()", ended.stderr
