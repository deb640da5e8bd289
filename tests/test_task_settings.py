"""What a task may hold besides its labels: what each means."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from batchjob.errors import SettingError
from batchjob.model import Row
from batchjob.settings.complete import check
from batchjob.settings.config import merge
from batchjob.settings.labelsfile import read_labels_file
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
