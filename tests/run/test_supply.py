"""Where a run's parcels come from: those that were put back, and what they are known by once the endpoint taught."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from batchjob.model import InputSource, LostRequest, Page, Parcel, Row
from batchjob.providers.dialect import Learned
from batchjob.run.supply import Supply
from batchjob.settings.config import JobConfig
from batchjob.shortcuts import Walk
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt

SOURCE = InputSource("/in.csv", "csv", "utf-8", ("id", "text"), "id", "text", None, None)


PLAIN = JobConfig()
ASKED = JobConfig(model="m", base_url="http://endpoint", on_unconfirmed="resend")
TAUGHT = Learned(temperature=False)


def made(store: Any = None, config: JobConfig = PLAIN) -> Supply:
    nobody: Any = None
    job: Any = SimpleNamespace(id=1, name="job", source=SOURCE)
    prompt = Prompt(LabelSet([]), None)
    walk = Walk(config, SOURCE, prompt, job)
    return Supply(job, config, prompt, walk, store, nobody, wall=nobody, skipped=nobody)


def known_by(row: Row, **learned: Learned) -> tuple[int, int] | None:
    return Walk(ASKED, SOURCE, Prompt(LabelSet([]), None), None, learned=learned).asking(row, "m").key


class Teaching:
    """A store; while it looks something up, the endpoint teaches how its model is asked."""

    def __init__(self, rows: tuple[Row, ...]) -> None:
        self.rows = rows
        self.supply = made(self, ASKED)
        self.asked_for: list[Any] = []

    async def next_page(self, limit: int) -> Page | None:
        return Page(rows=self.rows)

    async def cached_labels(self, keys: list[Any]) -> dict[Any, Any]:
        return self._look_up(keys)

    async def asking(self, texts: list[Any]) -> dict[Any, Any]:
        return self._look_up(texts)

    def _look_up(self, keys: list[Any]) -> dict[Any, Any]:
        self.asked_for.append(keys)
        if len(self.asked_for) == 1:
            self.supply.ask_as({"m": TAUGHT}, Parcel((Row(9, "nine"),), "m"))
        return {}


def test_rows_that_are_looked_up_while_the_endpoint_teaches_are_known_by_what_they_ask_then() -> None:
    row = Row(1, "one")
    store = Teaching((row,))
    asyncio.run(store.supply.refill())
    parcel = store.supply.next_parcel(0.0)
    assert store.asked_for == [[known_by(row)], [known_by(row, m=TAUGHT)]]
    assert parcel is not None
    assert parcel.keys == (known_by(row, m=TAUGHT),)


def test_rows_whose_text_another_run_asks_for_are_known_by_what_they_ask_once_the_endpoint_taught() -> None:
    row, store = Row(1, "one"), Teaching(())
    before, after = known_by(row), known_by(row, m=TAUGHT)
    assert before is not None
    store.supply.refused(Parcel((row,), "m", keys=(before,)))
    asyncio.run(store.supply.refill())
    assert store.supply.next_parcel(0.0) is None
    assert store.supply.wants_refill
    asyncio.run(store.supply.refill())
    parcel = store.supply.next_parcel(0.0)
    assert store.asked_for == [[before], [after]]
    assert parcel is not None
    assert parcel.keys == (after,)


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
