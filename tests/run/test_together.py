"""What a run is held to by what its store says of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest

from batchjob.errors import GivenUp, StoreError
from batchjob.pace.gate import Gate
from batchjob.ports import Control
from batchjob.run.together import Together
from batchjob.settings.config import JobConfig
from batchjob.stores import open_store
from batchjob.stores.postgres import shared
from batchjob.stores.postgres.watch import Peer
from tests import postgres
from tests.stores.test_store import TASK, make_job

WITH_SERVER = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)


said: list[str] = []
"""What was logged."""
failures: list[BaseException] = []
"""What the run was told to fail with."""


def beside(store: Any, gate: Any = None, clock: Callable[[], float] = lambda: 0.0) -> Together:
    """What a run of the store does of others; of its other parts nothing is asked."""
    other: Any = None
    log: Any = SimpleNamespace(warning=lambda event, **_: said.append(event))
    parts = store, other, other, gate, other, other, other
    return Together(JobConfig(), *parts, clock=clock, log=log, rouse=lambda: None, failed=failures.append)


@pytest.mark.parametrize(("runs", "most"), [(1, 120), (3, 45)])
def test_each_run_takes_its_part_of_the_quota(runs: int, most: int) -> None:
    gate = Gate(JobConfig(rpm=100), heard=True, now=0.0)
    beside(None, gate).told(Control(runs=runs))
    now, sent = 0.0, 0
    while now < 60.0:
        wait = gate.admit(0.0, now)
        sent += not wait
        now += wait
    assert most * 0.6 < sent <= most


async def test_a_database_that_does_not_answer_is_said_once_and_so_is_that_it_does() -> None:
    now = [0.0]
    together = beside(None, Gate(JobConfig(), heard=True, now=0.0), lambda: now[0])
    said.clear()
    seconds = [*range(5), *range(100, 120), *range(200, 205)]  # between them this process is stopped
    for second in seconds:
        now[0] = float(second)
        together.beat()
        assert said == (["database_silent"] if second >= 107 else [])
    together.told(Control())
    together.beat()
    await together.close()
    assert said == ["database_silent", "database_answers"]


async def test_money_that_cannot_be_drawn_and_a_look_that_fails_end_the_run() -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise StoreError("the server refuses")

    together = beside(SimpleNamespace(draw=away))
    together._budget = SimpleNamespace(hold_back=lambda: 0)  # type: ignore[assignment]
    failures.clear()
    assert together.draws(5)
    await asyncio.sleep(0)
    assert [str(error) for error in failures] == ["the server refuses"]
    failures.clear()
    together.beat()  # there is no supply to ask
    await asyncio.sleep(0)
    assert [type(error) for error in failures] == [AttributeError]


@pytest.fixture
async def stores() -> AsyncIterator[tuple[Any, Any]]:
    """Two stores, each in a run of one job."""
    url = postgres.clean_database()
    one: Any = await open_store(url, job="job")
    await make_job(one)
    two: Any = await open_store(url, job="job")
    await two.join("job", b'{"model":"m"}')
    await two.begin_run(TASK, fresh=True, up_to=None, at=2.0)
    yield one, two
    await one.close()
    await two.close()


@WITH_SERVER
async def test_a_request_leaves_only_while_its_run_is_sure_to_be_alive(stores: tuple[Any, Any]) -> None:
    one, two = stores
    gate = Gate(JobConfig(), heard=True, now=0.0)
    together, exchange = beside(one, gate), SimpleNamespace(request_id=1)
    one._sure_until = 0.0  # it was silent for long: it asks first
    assert await together.allows(exchange)  # type: ignore[arg-type]
    assert one.may_send()
    one._silence()
    running = await two._read(lambda db: db.fetch(shared.RUNNING, two._job_id, two._run_id))
    await two._bury([Peer(*peer) for peer in running])
    one._sure_until = 0.0
    with pytest.raises(GivenUp):
        await together.allows(exchange)  # type: ignore[arg-type]


@WITH_SERVER
async def test_a_server_that_is_too_slow_for_the_lease_ends_the_run(stores: tuple[Any, Any]) -> None:
    one, _ = stores
    one._lease = 0.0  # no commit is quick enough
    one._sure_until = 0.0
    together, exchange = beside(one, Gate(JobConfig(), heard=True, now=0.0)), SimpleNamespace(request_id=1)
    with pytest.raises(StoreError, match=r"a commit than a request may wait with --lease 60: .* with a longer --lease"):
        await together.allows(exchange)  # type: ignore[arg-type]


@WITH_SERVER
async def test_a_pause_of_one_run_is_one_of_all(stores: tuple[Any, Any]) -> None:
    _, two = stores
    gates = [Gate(JobConfig(), heard=True, now=0.0) for _ in stores]
    first, second = (beside(store, gate) for store, gate in zip(stores, gates, strict=True))
    gates[0].pause(30.0, 0.0)
    first.paused()
    await first.close()
    second.told(await two.commit([]))
    assert 20.0 < gates[1].paused_until <= 30.0
