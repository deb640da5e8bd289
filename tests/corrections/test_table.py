"""The log of corrections in PostgreSQL: the contract of ports.CorrectionLog."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from batchjob.corrections.standing import Corrections, log_of
from batchjob.errors import StoreError
from batchjob.records import Correction
from tests import postgres

pytestmark = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)


def said(row: int, label: str | None = "yes", *, job: str = "job", field: str | None = None) -> Correction:
    return Correction(1.5, "ana", job, row, label, "no\0", None, "t", field)


@pytest.fixture
def url() -> str:
    url = postgres.clean_database()
    from batchjob.stores import open_store
    from batchjob.stores.postgres.reader import wait_for

    async def made() -> None:
        await (await open_store(url, job="job")).close()

    wait_for(made())
    return url


def test_what_is_added_is_told_once_in_its_order_and_a_job_is_forgotten(url: str) -> None:
    log, reading = log_of(url), Corrections(url)
    assert log.news() == ([], True)
    log.add([said(2), said(1, field="a"), said(2, "other\0")])
    assert log.news() == ([said(2), said(1, field="a"), said(2, "other\0")], False)
    assert log.news() == ([], False)
    log.add([said(2, None), said(9, job="another")])
    assert {row: one.said for row, one in reading.of("job").items()} == {
        2: {None: said(2)},
        1: {"a": said(1, field="a")},
    }
    assert [one.label for one in reading.said("job", 2)] == ["yes"]
    assert (log.forget("job"), log.forget("job")) == (4, 0)
    assert [one.row for one in log_of(url).news().added] == [9]


def test_of_many_who_add_at_once_a_reader_misses_none(url: str) -> None:
    log = log_of(url)
    with ThreadPoolExecutor(4) as many:
        adding = [many.submit(log_of(url).add, [said(10 * n + m) for m in range(3)]) for n in range(12)]
        met = []
        while len(met) < 36 and not all(one.done() for one in adding):
            met += log.news().added
        for one in adding:
            one.result()
    met += log.news().added
    assert sorted(one.row for one in met) == sorted(10 * n + m for n in range(12) for m in range(3))


def test_a_server_that_is_away_is_told_and_nothing_is_kept(url: str) -> None:
    with pytest.raises(StoreError, match="cannot be reached"):
        log_of("postgresql://nobody@127.0.0.1:1/x").add([said(1)])
