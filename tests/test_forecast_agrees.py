"""What `profile` and `--dry-run` say of an input is what becomes of its rows: the same shortcuts settle them."""

from __future__ import annotations

import csv
import json
import random
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import BatchJob

WORDS = ("card", "refund", "PIN", "Überweisung", "换卡", "please", "now", "thanks")
RULE = '[[rules]]\nname = "thanks"\nlabel = "other"\nwords = ["thanks"]\n'
PROMPTS = (
    None,
    "{more}: {text}\nLabels:\n{labels}",
    "Is it about {more}, {id} or {text}?",
    "Decide for {more}.\nLabels:\n{labels}",
)
ROUTE = '[[routes]]\nname = "long"\nmodel = "large"\nmin_length = 24\n'


def text(chance: random.Random) -> str:
    """A short text, often the same as another but for case, spaces and punctuation; sometimes none."""
    if chance.random() < 0.07:
        return chance.choice(("", " ", "\t", "\u3000", "\u200b", "\ufeff"))
    said = " ".join(chance.choices(WORDS, k=chance.randint(1, 5)))
    return chance.choice((said, said, said.upper(), f" {said}  ", f"{said}.", f"{said}?!"))


def write(batchjob: BatchJob, name: str, texts: list[str], chance: random.Random) -> None:
    with (batchjob.folder / name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "more"])
        for number, said in enumerate(texts, start=1):
            defect = chance.random() < 0.04
            more = chance.choice(("x", "X.", ""))
            writer.writerow([number, said, more, "too", "many"] if defect else [number, said, more])


def test_answers_off_the_list_that_are_remembered_are_told_as_the_fallback(
    batchjob: BatchJob, sandbox: Callable[..., str]
) -> None:
    chance = random.Random(1)
    base = ["--base-url", sandbox("--fault", "off_list=1"), "--model", "toy", "--labels", "card,other", "--rpm", "0"]
    write(batchjob, "before.csv", ["one", "two"], chance)
    write(batchjob, "in.csv", ["one", "two", "one"], chance)
    assert batchjob("start", "before.csv", *base, "--fallback", "other").code == 0
    for fallback, told in (("other", {"fallback": 3}), (None, {"request": 2, "duplicate": 1})):
        chosen = ["--fallback", fallback] if fallback else []
        settled = json.loads(batchjob("profile", "in.csv", *base, *chosen, "--json").out)["settled_by"]
        assert {by: count for by, count in settled.items() if count} == told
    assert batchjob("start", "in.csv", *base, "--fallback", "other").code == 0
    assert json.loads(batchjob("status", "--json").out)["sources"]["fallback"] == 3


@pytest.mark.parametrize("seed", range(12))
def test_profile_dry_run_and_run_agree_on_every_row(batchjob: BatchJob, sandbox: Callable[..., str], seed: int) -> None:
    chance = random.Random(f"agree {seed}")
    chosen = "".join(part for part in (RULE, ROUTE) if chance.random() < 0.6)
    (batchjob.folder / "job.toml").write_text(chosen)
    base = ["--base-url", sandbox(), "--model", "toy", "--labels", "card,refund,other", "--rpm", "0"]
    base += ["--dedupe", chance.choice(("exact", "loose", "off"))]
    base += ["--no-cache"] if chance.random() < 0.25 else []
    base += ["--prompt", prompt] if (prompt := chance.choice(PROMPTS)) else []
    base += ["--rows-per-request", "4"] if chance.random() < 0.3 else []
    base += ["--fallback", "other"] if chance.random() < 0.5 else []
    base += ["--limit", "40"] if chance.random() < 0.3 else []
    texts = [text(chance) for _ in range(chance.randint(20, 90))]
    write(batchjob, "before.csv", chance.sample(texts, len(texts) // 3), chance)
    write(batchjob, "in.csv", texts, chance)
    assert batchjob("start", "before.csv", *base).code in (0, 4)

    told = json.loads(batchjob("profile", "in.csv", *base, "--json").out)
    planned = batchjob("start", "in.csv", *base, "--dry-run").out
    ran = batchjob("start", "in.csv", *base)
    assert ran.code in (0, 4), ran.err
    status = json.loads(batchjob("status", "--json").out)

    settled, sources = told["settled_by"], status["sources"]
    assert settled == {
        "request": sources["model"],
        "rule": sources["rule"],
        "cache": settled["cache"],
        "duplicate": settled["duplicate"],
        "fallback": sources["fallback"],
        "failed": status["rows"]["failed"],
    }
    assert settled["cache"] + settled["duplicate"] == sources["cache"] + sources["duplicate"]
    if "--rows-per-request" not in base:
        assert settled["request"] == status["requests"]["answered"]
    assert re.search(rf"^to pay    {settled['request']} rows?; ", planned, re.MULTILINE), planned
