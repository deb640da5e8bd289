"""The conclusion of an exchange: when its rows go out again, and what is remembered of its answer."""

from __future__ import annotations

import msgspec
import pytest

from batchjob.exchange.conclude import Conclusion, conclude, results_of
from batchjob.exchange.decide import decide
from batchjob.exchange.exchange import Exchange
from batchjob.exchange.rows import Terms
from batchjob.exchange.second import Seconded
from batchjob.model import Answered, Lost, NotSent, Parcel, Rejected, Remembered, Reply, Row, SettleSecond
from batchjob.settings.config import merge
from batchjob.task.first import First
from batchjob.task.labels import LabelSet

KEY = (7, -3)
TERMS = Terms(LabelSet(["yes", "no"]), "no", 3, 1, False)


def concluded(reply: Reply, *, tried: int = 0) -> Conclusion:
    """A request for one row, and this reply; chance is as unkind as it can be."""
    exchange = Exchange(9, "key", Parcel((Row(1, "a text", tried),), "m", keys=(KEY,)), b"body", 5, 0.0)
    return conclude(exchange, reply, decide(reply), TERMS, counts=True, at=1.0, chance=lambda: 1.0)


@pytest.mark.parametrize("reply", [Rejected(500, ""), Rejected(503, ""), Lost("timeout", ""), NotSent("refused", "")])
def test_after_an_error_a_row_waits_longer_each_time(reply: Reply) -> None:
    (first,), (second,) = concluded(reply).again, concluded(reply, tried=1).again
    assert 0 < first.seconds < second.seconds
    assert second.parcel.rows[0].attempts == 2


def test_after_a_429_everybody_waits_and_its_row_no_longer_than_they() -> None:
    (again,) = concluded(Rejected(429, "")).again
    assert again.seconds == 0.0


@pytest.mark.parametrize(("answer", "remembered"), [("yes", ("yes", False)), ("perhaps", ("perhaps", True))])
def test_an_answer_off_the_list_is_remembered_as_one(answer: str, remembered: tuple[str, bool]) -> None:
    assert concluded(Answered(answer)).settle.remember == (Remembered(KEY, *remembered),)


@pytest.mark.parametrize(("finish_reason", "label"), [("stop", "yes"), ("something_new", "no")])
def test_of_an_answer_that_may_not_be_whole_only_the_label_itself_counts(finish_reason: str, label: str) -> None:
    (nearly,) = concluded(Answered("YES", finish_reason)).settle.rows
    assert nearly.label == label
    (exact,) = concluded(Answered("yes", finish_reason)).settle.rows
    assert exact.label == "yes"


def test_what_verifies_a_label_of_the_second_model_is_none_of_the_answers_that_it_labels_with() -> None:
    config = merge({"model": "m", "base_url": "https://host/v1", "labels": ["yes", "no"]}, {"second_model": "n"})
    row = Row(1, "a text", first=msgspec.json.encode(First("off_list")).decode())
    for verifies in (None, "yes"):
        exchange = Exchange(9, "key", Parcel((row,), "n", verifies=verifies), b"body", 5, 0.0)
        reply = Answered("yes")
        found = Seconded(config, results_of).conclude(
            exchange, reply, decide(reply), TERMS, counts=True, at=1.0, chance=lambda: 1.0
        )
        assert isinstance(found.settle, SettleSecond) == (verifies is None)
