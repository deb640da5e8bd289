"""Where a run's parcels come from, without a store: those that were put back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from batchjob.model import InputSource, Parcel, Row
from batchjob.run.supply import Supply
from batchjob.settings.config import JobConfig
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt

SOURCE = InputSource("/in.csv", "csv", "utf-8", ("id", "text"), "id", "text", None, None)


def test_a_parcel_that_was_put_back_goes_out_when_it_is_due_and_not_before() -> None:
    nobody: Any = None
    job: Any = SimpleNamespace(id=1, name="job", source=SOURCE)
    config, prompt = JobConfig(), Prompt(LabelSet([]), None)
    supply = Supply(job=job, config=config, prompt=prompt, store=nobody, commits=nobody, wall=nobody, skipped=nobody)
    later, sooner = Parcel((Row(1, "later"),)), Parcel((Row(2, "sooner"),))
    supply.put_back(later, 5.0)
    supply.put_back(sooner, 3.0)
    assert supply.next_parcel(2.0) is None
    assert supply.seconds_to_next(2.0) == 1.0
    assert supply.next_parcel(3.0) is sooner
    supply.take()
    assert supply.next_parcel(4.0) is None
    assert supply.next_parcel(5.0) is later
