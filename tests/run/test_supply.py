"""Where a run's parcels come from, without a store: those that were put back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from batchjob.model import InputSource, LostRequest, Parcel, Row
from batchjob.run.supply import Supply
from batchjob.settings.config import JobConfig
from batchjob.shortcuts import Walk
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt

SOURCE = InputSource("/in.csv", "csv", "utf-8", ("id", "text"), "id", "text", None, None)


def made() -> Supply:
    nobody: Any = None
    job: Any = SimpleNamespace(id=1, name="job", source=SOURCE)
    config, prompt = JobConfig(), Prompt(LabelSet([]), None)
    walk = Walk(config, SOURCE, prompt, job)
    return Supply(job, config, prompt, walk, nobody, nobody, wall=nobody, skipped=nobody)


def test_a_parcel_that_cannot_be_afforded_goes_out_in_parts_that_can() -> None:
    supply = made()
    rows = tuple(Row(n, "x") for n in range(1, 8))
    supply.put_back(Parcel(rows, keys=tuple((n, n) for n in range(1, 8))), 0.0)
    sent = []
    while (parcel := supply.next_parcel(1.0)) is not None:
        part = parcel if len(parcel.rows) <= 3 else supply.shrink(parcel, lambda part: len(part.rows) <= 3)
        assert part is supply.next_parcel(1.0)
        assert part.keys == tuple((row.number, row.number) for row in part.rows)
        sent.append([row.number for row in part.rows])
        supply.take()
    assert sent == [[1, 2, 3], [4, 5, 6], [7]]


def test_of_a_parcel_of_which_nothing_can_be_afforded_one_row_is_left_to_tell_of() -> None:
    supply = made()
    supply.put_back(Parcel((Row(1, "x"), Row(2, "y"))), 0.0)
    parcel = supply.next_parcel(1.0)
    assert parcel is not None
    assert [row.number for row in supply.shrink(parcel, lambda part: False).rows] == [1]


def test_a_lost_parcel_goes_out_as_it_was_or_not_at_all() -> None:
    supply = made()
    whole = Parcel((Row(1, "x"), Row(2, "y")), lost=LostRequest(1, "key"))
    supply.put_back(whole, 0.0)
    assert supply.next_parcel(1.0) is whole
    assert supply.shrink(whole, lambda parcel: False) is whole
    assert supply.next_parcel(1.0) is whole


def test_a_parcel_that_was_put_back_goes_out_when_it_is_due_and_not_before() -> None:
    supply = made()
    later, sooner = Parcel((Row(1, "later"),)), Parcel((Row(2, "sooner"),))
    supply.put_back(later, 5.0)
    supply.put_back(sooner, 3.0)
    assert supply.next_parcel(2.0) is None
    assert supply.seconds_to_next(2.0) == 1.0
    assert supply.next_parcel(3.0) is sooner
    supply.take()
    assert supply.next_parcel(4.0) is None
    assert supply.next_parcel(5.0) is later
