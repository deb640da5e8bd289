"""What a task may hold besides its labels: what each means, and examples."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.errors import SettingError
from batchjob.model import Row
from batchjob.settings.complete import check
from batchjob.settings.config import JobConfig, merge
from batchjob.settings.jobfile import resolve_files
from batchjob.settings.labelsfile import read_labels_file
from batchjob.settings.tables import Example
from batchjob.task.examples import Draw, is_example
from batchjob.task.identity import Task
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt

if TYPE_CHECKING:
    from tests.conftest import BatchJob

PLAIN: dict[str, Any] = {"base_url": "https://host/v1", "model": "m", "labels": ["refund", "other"]}
REFUND = "money back\n for  what was bought"


def test_what_a_label_means_stands_below_it_also_where_the_prompt_names_all_labels() -> None:
    labels, described = LabelSet(("refund", "other")), {"refund": REFUND}
    listed = "- refund\n  money back for what was bought\n- other"
    assert Prompt(labels, None, descriptions=described).messages([Row(1, "x")])[0][1].endswith(f"Labels:\n{listed}")
    named = Prompt(labels, "Is it refund or other?", descriptions=described)
    assert named.appends_labels
    assert named.messages([Row(1, "x")])[0][1].endswith(f"Labels:\n{listed}")


def test_a_description_decides_the_label_and_white_space_around_it_does_not() -> None:
    plain, described = Task.of(merge(PLAIN)), Task.of(merge({**PLAIN, "descriptions": {"refund": "money back"}}))
    assert described.digest != plain.digest
    assert described.question != plain.question
    for same in ({"refund": " money  back\n"}, {"other": " ", "refund": "money back"}):
        assert Task.of(merge({**PLAIN, "descriptions": same})).digest == described.digest
    assert Task.of(merge({**PLAIN, "descriptions": {"other": ""}})).digest == plain.digest


def test_descriptions_of_labels_that_a_later_layer_replaces_go_with_them() -> None:
    first = {**PLAIN, "descriptions": {"refund": "r", "other": "o"}}
    assert merge(first, {"labels": ["other", "new"]}).descriptions == {"other": "o"}
    assert merge(first, {"descriptions": {"other": "p"}}).descriptions == {"refund": "r", "other": "p"}
    with pytest.raises(SettingError, match=r"'refnd' is described, and is no label .* refund, other"):
        check(merge(PLAIN, {"descriptions": {"refnd": "r"}}))


def test_a_file_of_labels_may_say_what_they_mean() -> None:
    text = 'Label,Description\nrefund,"money, back"\n\nother\n'
    assert read_labels_file(text, "f") == {"labels": ["refund", "other"], "descriptions": {"refund": "money, back"}}
    assert read_labels_file("a\nb\n", "f") == {"labels": ["a", "b"]}
    for wrong, said in (("a,b,c", "label number 2"), (",b", "label number 2"), ('"a', "line 3 is no CSV")):
        with pytest.raises(SettingError, match=said):
            read_labels_file(f"label,meaning\nx,y\n{wrong}\n", "f")


def test_a_prompt_with_the_line_ends_of_windows_asks_the_same(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_bytes(b"\xef\xbb\xbfWhich is it?\r\n{labels}\r\n")
    read = resolve_files({"prompt_file": "p.txt"}, base=tmp_path, origin="command line")
    assert read[0] == {"prompt": "Which is it?\n{labels}\n"}


def test_the_table_of_labels_is_what_the_endpoint_is_told_and_a_flag_adds_to_it(batchjob: BatchJob) -> None:
    (batchjob.folder / "in.csv").write_text("text\nwhere is my money\n")
    (batchjob.folder / "job.toml").write_text('[labels]\nrefund = "money back"\nother = ""\n')
    shown = batchjob("start", "in.csv", "--sandbox", "--show-prompt", "--describe", "other=all else").out
    assert "- refund\n  money back\n- other\n  all else" in shown
    ended = batchjob("start", "in.csv", "--sandbox", "--json")
    assert ended.code == 0, ended.err
    assert set(json.loads(ended.out)["labels"]) <= {"refund", "other"}
    wrong = batchjob("start", "in.csv", "--sandbox", "--describe", "other")
    assert wrong.code == 2
    assert "--describe 'other': give LABEL=TEXT" in wrong.err


# ---------------------------------------------------------------- examples


def drawn(rows: list[tuple[str, str]], count: int, seed: int = 0, labels: tuple[str, ...] = ("a", "b", "c")) -> Any:
    draw = Draw(labels, count, seed, "gold")
    for line, (text, gold) in enumerate(rows, 2):
        draw.add(text, gold, line)
    return draw.chosen()


ROWS = [(f"text {n}", "a" if n % 10 else "b" if n % 20 else "c") for n in range(200)]


def test_examples_are_drawn_evenly_whatever_the_order_of_rows_and_by_the_seed() -> None:
    found = drawn(ROWS, 7)
    assert sorted(Counter(one.label for one in found).values()) == [2, 2, 3]
    assert drawn(ROWS[::-1], 7) == found != drawn(ROWS, 7, seed=1)
    assert drawn(ROWS, 2) == found[:2], "fewer examples are the first of more"
    assert set(found) <= {Example(*row) for row in ROWS}


def test_a_text_is_drawn_once_and_not_at_all_where_people_disagree_or_say_nothing() -> None:
    rows = [("x", "a"), (" x ", "a"), ("y", "a"), ("y", "b"), ("z", ""), (" ", "b"), ("w", "b")]
    assert {(one.text, one.label) for one in drawn(rows, 2)} == {("x", "a"), ("w", "b")}
    with pytest.raises(SettingError, match="only 2 texts of the rows that are read for it"):
        drawn(rows, 3)


def test_values_of_gold_that_are_no_labels_are_named_with_the_line_they_stand_on_first() -> None:
    with pytest.raises(SettingError, match=r"'A' \(2 rows, first on line 3\); 'd' \(1 row, first on line 4\)"):
        drawn([("x", "a"), ("y", "A"), ("z", "d"), ("w", "A")], 1)


@pytest.mark.parametrize(("dedupe", "same"), [("exact", False), ("off", False), ("loose", True)])
def test_a_row_with_an_examples_text_is_known_as_one(dedupe: str, same: bool) -> None:
    config = merge({**PLAIN, "dedupe": dedupe, "examples": [{"text": "Pay me  back", "label": "refund"}]})
    known = is_example(config)
    assert known(" Pay me back")
    assert known("pay me back!") == same
    assert not known("Pay me")
    assert not is_example(JobConfig())("")


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        (None, "Labels:\n- refund\n- other\n\n{examples}"),
        ("refund or other?\n", "refund or other?\n\n{examples}"),
        ("refund or other? {text}", "{examples}\n\nrefund or other? a text"),
    ],
)
def test_examples_stand_behind_the_prompt_or_before_one_that_holds_the_text(prompt: str | None, expected: str) -> None:
    told = 'Examples of texts, each with the label it is to get:\n{"text":"say \\"x\\"\\n- y","label":"other"}'
    examples = (Example('say "x"\n- y', "other"),)
    asked = Prompt(LabelSet(("refund", "other")), prompt, examples=examples)
    assert asked.messages([Row(1, "a text")])[0][1].endswith(expected.replace("{examples}", told))
    assert asked.examples_tokens > 20
    assert told in asked.messages([Row(1, "a text"), Row(2, "b")])[0][1]


def test_an_example_has_a_label_of_the_job_and_a_text() -> None:
    for text, label, said in (("x", "refnd", "'refnd' is not a label"), (" ", "other", "its text is blank")):
        with pytest.raises(SettingError, match=f"example number 2: {said}"):
            check(merge(PLAIN, {"examples": [{"text": "y", "label": "other"}, {"text": text, "label": label}]}))


def test_a_drawn_job_goes_on_with_its_draw_and_its_rows_are_left_out_of_the_score(
    batchjob: BatchJob, sandbox: Callable[..., str]
) -> None:
    lines = [f"{n},text {n // 2},{'ab'[n // 2 % 2]}\n" for n in range(40)]
    table, ledger = batchjob.folder / "in.csv", batchjob.folder / "ledger.jsonl"
    table.write_text("id,text,gold\n" + "".join(lines))
    task = ("--labels", "a,b", "--base-url", sandbox("--ledger", str(ledger)), "--model", "m", "--rpm", "0")
    drawing = ("start", "in.csv", *task, "--examples", "4", "--gold", "gold", "--price", "1,1")
    dry = batchjob(*drawing, "--dry-run").out
    assert "examples  4 stand in each request: about " in dry
    assert "for the examples" in dry
    first = batchjob(*drawing, "--limit", "10", "--json")
    assert (first.code, json.loads(first.out)["rows"]["done"]) == (0, 10), first.err
    rows = [(f"text {n // 2}", "ab"[n // 2 % 2]) for n in range(40)]
    grown = ((f"grown {n}", "a") for n in range(99))
    text, label = next(row for row in grown if drawn([*rows, row], 4) != drawn(rows, 4))
    table.write_text("id,text,gold\n" + "".join(lines) + f"40,{text},{label}\n")
    again = batchjob(*drawing, "--append", "--json")
    assert (again.code, json.loads(again.out)["rows"]["done"]) == (0, 41), again.err
    assert len(ledger.read_text().splitlines()) == 21, "one request a text: it is the same job with the same question"
    assert len(batchjob("jobs").out.splitlines()) == 3
    report = json.loads(batchjob("score", "--gold", "gold", "--json").out)
    assert (report["rows"]["examples"], report["rows"]["scored"]) == (8, 33)
    assert "8 that the model was told as examples" in batchjob("score", "--gold", "gold").out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--examples", "2"), "name its column with --gold"),
        (("--gold", "gold"), "give --examples N too"),
        (("--examples", "2", "--gold", "text"), "--gold 'text' is the text itself"),
        (("--examples", "2", "--gold", "gole"), "did you mean 'gold'?"),
        (("--examples", "2", "--gold", "gold"), "--gold gold: values there are no labels of this job: 'c' (1 row"),
    ],
)
def test_examples_that_cannot_be_drawn_are_an_error_before_anything_is_made(
    batchjob: BatchJob, options: tuple[str, ...], said: str
) -> None:
    (batchjob.folder / "in.csv").write_text("text,gold\nx,a\ny,c\n")
    ended = batchjob("start", "in.csv", "--sandbox", "--labels", "a,b", *options)
    assert (ended.code, said in " ".join(ended.err.split())) == (2, True), ended.err
    assert not (batchjob.folder / "batchjob.db").exists()
