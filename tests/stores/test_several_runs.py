"""Several runs on one job in PostgreSQL: what each has, no other has; what they are told; what becomes of the dead."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from batchjob.errors import GivenUp, JobBusy, JobError, SettingError, StoreError
from batchjob.model import AddRows, Chunk, Claim, EndAll, Ending, RowResult, Run, Settle
from batchjob.states import Event, JobState, Outcome, Source
from batchjob.stores import open_check, open_store, stop
from batchjob.stores.postgres import shared
from batchjob.stores.postgres import store as stored
from batchjob.stores.postgres.jobs import as_json
from batchjob.stores.postgres.watch import Peer
from batchjob.stores.writes import Sorted
from tests import postgres
from tests.stores.test_store import SOURCE, TASK, make_job

pytestmark = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)

TEXT, OTHER = (11, 12), (21, 22)
SETTINGS = b'{"model":"m"}'
ALIKE = Ending(JobState.REFUSED, "row after row failed alike", 3, "bad", puts_back=True)


@pytest.fixture
def url() -> str:
    return postgres.clean_database()


class Worker:
    """A store in a run of the job."""

    def __init__(self, url: str, store: Any, run: Run) -> None:
        self.url, self.store, self.run, self.sent = url, store, run, 0

    async def rows(self, limit: int = 2) -> list[int]:
        page = await self.store.next_page(limit)
        return [] if page is None else [row.number for row in (*page.rows, *[r for p in page.parcels for r in p.rows])]

    async def claim(self, *rows: int, **more: Any) -> tuple[int, Any]:
        request = self.run.first_request_id + self.sent
        self.sent += 1
        return request, await self.store.commit([Claim(request, f"key-{request}", rows, "m", 2.0, 77, **more)])

    async def answer(self, request: int, row: int, **more: Any) -> Any:
        return await self.store.commit([answered(request, row, **more)])


def answered(request: int, row: int, label: str = "yes", **more: Any) -> Settle:
    return Settle(request, Outcome.ANSWERED, (RowResult(row, Event.COMPLETE, 1, 1, label, Source.MODEL),), 3.0, **more)


def failed(request: int, row: int) -> Settle:
    return Settle(request, Outcome.REJECTED, (RowResult(row, Event.FAIL, 1, 0, error_kind="bad", error="?"),), 3.0)


@contextlib.asynccontextmanager
async def workers(url: str, count: int, *, rows: int = 6, lease: float = 60.0) -> AsyncIterator[list[Worker]]:
    """The one that made the job, and those that joined it."""
    async with contextlib.AsyncExitStack() as stack:
        found = []
        for number in range(count):
            store: Any = await open_store(url, job="job", lease=lease)
            stack.push_async_callback(store.close)
            if number == 0:
                run = await make_job(store, rows=rows)
            else:
                await store.join("job", SETTINGS)
                await store.recover(hold=False, at=2.0)
                run = await store.begin_run(TASK, fresh=True, up_to=None, at=2.0)
            found.append(Worker(url, store, run))
        yield found


def states(url: str) -> list[str]:
    with open_check(url) as check:
        assert check.differences() == []
        return [record[6] for record in check.export_rows(check.job("job"))]


async def test_no_two_runs_are_given_the_same_rows(url: str) -> None:
    async with workers(url, 2) as (one, two):
        given = [await one.rows(), await two.rows(), await one.rows()]
        assert given == [[1, 2], [3, 4], [5, 6]]
        page = await two.store.next_page(2)
        assert page is not None
        assert page.rows == ()  # none now, but those of the other may come back
        for row in (1, 2, 5, 6):
            request, _ = await one.claim(row)
            await one.answer(request, row)
        assert await one.rows() == []
        for row in (3, 4):
            request, _ = await two.claim(row)
            await two.answer(request, row)
        assert await two.store.next_page(2) is None
        assert await one.store.next_page(2) is None
        assert states(url) == ["done"] * 6


async def test_what_a_run_leaves_when_it_ends_others_take_up(url: str) -> None:
    async with workers(url, 2) as (one, two):
        assert await one.rows(4) == [1, 2, 3, 4]
        request, _ = await one.claim(1)
        release = RowResult(1, Event.RELEASE, 1, 0, error_kind="server_error", error="?")
        await one.store.commit([Settle(request, Outcome.REJECTED, (release,), 3.0)])
        await one.claim(2)  # and nobody hears what became of it
        assert await two.rows(9) == [5, 6]
        await one.store.end_run(Ending(JobState.STOPPED, "interrupted", 130), at=4.0)
        await two.store._bury_dead()
        assert sorted(await two.rows(9)) == [1, 2]
        assert await two.rows(9) == [3, 4]


async def test_a_take_whose_answer_was_lost_is_given_again(url: str) -> None:
    async with postgres.Proxy(url) as proxy, workers(url, 1) as (one,):
        request, _ = await one.claim(1)
        await one.store.commit([failed(request, 1)])
        await one.store.retry(["bad"], at=3.0)
        store: Any = await open_store(proxy.url, job="job", lease=60.0)
        await store.join("job", SETTINGS)
        run = await store.begin_run(TASK, fresh=True, up_to=None, at=2.0)
        two = Worker(proxy.url, store, run)
        for expected in ([1], [2, 3], [4, 5]):
            proxy.cuts = 1
            assert await two.rows(2) == expected
        assert proxy.cut >= 3
        await store.close()


async def test_a_text_is_asked_for_by_one_row_of_all_runs(url: str) -> None:
    async with workers(url, 2) as (one, two):
        first, told = await one.claim(1, texts=(TEXT,))
        assert told.refused == ()
        second, told = await two.claim(2, texts=(TEXT,))
        assert told.refused == (second,)
        assert states(url)[:2] == ["in_flight", "pending"]
        asking = (await two.store.asking([TEXT, OTHER]))[TEXT]
        assert (asking.number, asking.result, asking.free) == (1, None, False)
        await one.answer(first, 1)
        asking = (await two.store.asking([TEXT]))[TEXT]
        assert asking.result.label == "yes"
        _, told = await two.claim(3, texts=(OTHER,))
        assert told.refused == ()


async def test_a_text_whose_row_failed_or_was_left_may_be_asked_for_by_another(url: str) -> None:
    async with workers(url, 2) as (one, two):
        request, _ = await one.claim(1, texts=(TEXT,))
        left, _ = await one.claim(3, texts=(OTHER,))
        await one.store.commit([failed(request, 1)])
        _, told = await two.claim(2, texts=(TEXT,))
        assert told.refused == ()
        release = RowResult(3, Event.RELEASE, 1, 0, error_kind="server_error", error="?")
        await one.store.commit([Settle(left, Outcome.REJECTED, (release,), 3.0)])
        other, told = await two.claim(4, texts=(OTHER,))
        assert told.refused == (other,)  # it waits for another try, in who had it
        await one.store.end_run(Ending(JobState.STOPPED, "interrupted", 130), at=4.0)
        _, told = await two.claim(4, texts=(OTHER,))
        assert told.refused == ()
        assert states(url) == ["failed", "in_flight", "pending", "in_flight", "pending", "pending"]


async def test_of_a_request_with_several_texts_none_is_taken_where_one_is_asked_for_elsewhere(url: str) -> None:
    async with workers(url, 2) as (one, two):
        await one.claim(1, texts=(TEXT,))
        before, _ = await two.claim(2)
        release = RowResult(2, Event.RELEASE, 1, 0, error_kind="server_error", error="?")
        await two.store.commit([Settle(before, Outcome.REJECTED, (release,), 3.0)])  # from here on it has row 2 in hand
        refused, told = await two.claim(2, 3, texts=(OTHER, TEXT))
        assert told.refused == (refused,)
        _, told = await one.claim(4, texts=(OTHER,))
        assert told.refused == ()
        assert states(url)[:4] == ["in_flight", "pending", "pending", "in_flight"]


async def test_a_job_that_is_stopped_for_all_sends_nothing_more(url: str) -> None:
    async with workers(url, 3) as (one, two, three):
        kept, _ = await one.claim(1)
        await two.store.end_run(Ending(JobState.REFUSED, "the key is refused", 3, "no_key"), at=4.0)
        refused, told = await three.claim(2)
        assert (told.refused, told.stop.exit_code, told.stop.reason) == ((refused,), 3, "the key is refused")
        told = await one.answer(kept, 1)  # what is out is still heard
        assert told.stop.kind == "no_key"
        await one.store.end_run(told.stop, at=5.0)
        await three.store.end_run(told.stop, at=5.0)
        assert states(url) == ["done", *["pending"] * 5]
        late: Any = await open_store(url, job="job", lease=60.0)
        await late.join("job", SETTINGS)
        with pytest.raises(JobError, match="stopped for all workers: the key is refused"):
            await late.begin_run(TASK, fresh=True, up_to=None, at=6.0)
        await late.close()


async def fail(worker: Worker, row: int, *more: Any, at_first: int = 3, later: int | None = 4) -> Any:
    request, _ = await worker.claim(row)
    return await worker.store.commit([failed(request, row), EndAll(ALIKE, at_first, later), *more])


async def test_rows_that_fail_alike_are_counted_over_all_runs(url: str) -> None:
    async with workers(url, 3, rows=12) as (one, two, three):
        assert [(await fail(worker, row)).stop for row, worker in ((1, one), (2, two))] == [None, None]
        claim = Claim(three.run.first_request_id + 50, "key", (4,), "m", 2.0)
        told = await fail(three, 3, claim)
        assert (told.stop, told.refused) == (ALIKE, (claim.request_id,))  # nothing leaves with the group that ends it
        assert (await one.store.commit([])).stop == ALIKE
        assert states(url)[:4] == ["failed", "failed", "failed", "pending"]


async def test_a_label_of_any_run_breaks_a_row_of_failures(url: str) -> None:
    async with workers(url, 3, rows=12) as (one, two, three):
        for row, worker in ((1, one), (2, two)):
            await fail(worker, row)
        request, _ = await three.claim(3)
        await three.answer(request, 3)
        for row, worker in ((4, one), (5, one), (6, one)):
            assert (await fail(worker, row)).stop is None
        request, _ = await three.claim(7)
        await three.answer(request, 7)
        for row, worker in ((8, two), (9, one), (10, two)):
            assert (await fail(worker, row)).stop is None
        assert (await fail(three, 11, later=None)).stop is None  # what matters only while there is no label
        assert (await fail(two, 12)).stop == ALIKE


async def test_what_no_run_could_go_on_with_is_told_to_all_at_once(url: str) -> None:
    async with workers(url, 2) as (one, two):
        out, _ = await one.claim(1)
        ending = Ending(JobState.REFUSED, "the key is refused", 3, "bad_key")
        assert (await one.store.commit([EndAll(ending)])).stop == ending
        refused, told = await two.claim(2)
        assert (told.stop, told.refused) == (ending, (refused,))
        await one.answer(out, 1)


async def test_a_run_that_joins_a_retry_takes_what_was_put_back_alone(url: str) -> None:
    async with workers(url, 1) as (one,):
        request, _ = await one.claim(1)
        await one.store.commit([failed(request, 1)])
        await one.store.end_run(Ending(JobState.STOPPED, "interrupted", 130), at=4.0)
        await one.store.retry(["bad"], at=5.0)
        retrying = await one.store.begin_run(TASK, fresh=False, up_to=None, at=6.0)
        joined: Any = await open_store(url, job="job", lease=60.0)
        await joined.join("job", SETTINGS)
        run = await joined.begin_run(TASK, fresh=True, up_to=None, at=6.0)
        assert (retrying.fresh, run.fresh) == (False, False)
        two = Worker(url, joined, run)
        assert [await two.rows(), await two.rows()] == [[1], []]
        await joined.close()


async def test_nobody_joins_by_settings_that_are_no_more_those_of_the_job(url: str) -> None:
    async with workers(url, 1) as (one,):
        joined: Any = await open_store(url, job="job", lease=60.0)
        await joined.join("job", b'{"model":"other"}')
        with pytest.raises(JobBusy, match="has changed the settings of job 'job' meanwhile"):
            await joined.begin_run(TASK, fresh=True, up_to=None, at=2.0)
        await joined.close()
        assert (await one.store.commit([])).runs == 1


async def test_of_two_who_begin_one_job_at_once_one_is_refused_and_changes_nothing(url: str) -> None:
    async with workers(url, 1) as (one,):
        await one.store.end_run(Ending(JobState.STOPPED, "interrupted", 130), at=4.0)
        first, second = [await open_store(url, job="job", lease=60.0) for _ in range(2)]
        for store in (first, second):
            await store.choose("job")
            await store.recover(hold=False, at=5.0)  # nobody is at work
        await first.set_settings(b'{"model":"first"}')
        await first.begin_run(TASK, fresh=True, up_to=None, at=6.0)
        with pytest.raises(JobBusy, match="another process has begun to work on job 'job' meanwhile"):
            await second.set_settings(b'{"model":"second"}')
        with pytest.raises(JobBusy, match="another process has begun to work on job 'job' meanwhile"):
            await second.begin_run(TASK, fresh=True, up_to=None, at=6.0)
        assert (await first.job()).settings == b'{"model":"first"}'
        await first.close()
        await second.close()


async def test_two_jobs_of_one_name_are_not_made(url: str) -> None:
    async with workers(url, 1):
        other: Any = await open_store(url, job="job", lease=60.0)
        with pytest.raises(JobBusy, match="another process has begun job 'job' meanwhile"):
            await other.create_job(uid="b", name="job", source=SOURCE, settings=SETTINGS, task=TASK, at=1.0)
        await other.close()


async def test_who_was_given_up_begins_nothing_that_was_stopped_for_all_meanwhile(url: str) -> None:
    async with workers(url, 2, lease=1.0) as (one, two):
        one.store._silence()  # as SIGSTOP does
        two.store._silence()
        while not (peers := await dead(two)):
            await asyncio.sleep(0.2)
        await two.store._bury(peers)
        again = await one.store.begin_run(TASK, fresh=True, up_to=None, at=3.0)  # who made the job joins it now
        assert (again.fresh, (await two.store.commit([])).runs) == (True, 2)
        one.store._silence()
        while not (peers := await dead(two)):
            await asyncio.sleep(0.2)
        await two.store._bury(peers)
        await asyncio.to_thread(stop, url, "job", Ending(JobState.STOPPED, "stopped by batchjob stop", 130, "all"))
        with pytest.raises(JobError, match="was stopped for all workers: stopped by batchjob stop"):
            await one.store.begin_run(TASK, fresh=True, up_to=None, at=4.0)


async def test_workers_of_two_versions_do_not_work_on_one_job(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with workers(url, 1):
        joined: Any = await open_store(url, job="job", lease=60.0)
        await joined.join("job", SETTINGS)
        monkeypatch.setattr("batchjob.stores.postgres.store.__version__", "9.1.0")
        with pytest.raises(JobBusy, match=r"with batchjob 0\.1\.0, and this is 9\.1\.0: all workers need one version"):
            await joined.recover(hold=False, at=5.0)
        await joined.close()


async def test_a_claim_that_was_refused_and_whose_answer_was_lost_is_refused_again(url: str) -> None:
    async with postgres.Proxy(url) as proxy, workers(url, 1) as (one,):
        await one.claim(1, texts=(TEXT,))
        store: Any = await open_store(proxy.url, job="job", lease=60.0)
        await store.join("job", SETTINGS)
        two = Worker(proxy.url, store, await store.begin_run(TASK, fresh=True, up_to=None, at=2.0))
        proxy.cuts = 1
        refused, told = await two.claim(2, texts=(TEXT,))
        assert (proxy.cut, told.refused) == (1, (refused,))
        await store.close()


async def test_the_last_run_to_end_says_how_the_job_ended(url: str) -> None:
    async with workers(url, 2) as (one, two):
        await one.store.end_run(Ending(JobState.STOPPED, "interrupted", 130), at=4.0)
        assert (await two.store.job()).state == JobState.RUNNING
        await two.store.end_run(Ending(JobState.FINISHED, "", 0), at=5.0)
        assert (await one.store.job()).state == JobState.FINISHED


async def test_a_user_stops_a_job_for_all(url: str) -> None:
    async with workers(url, 2) as (one, two):
        ending = Ending(JobState.STOPPED, "stopped by batchjob stop", 130, "stopped_for_all")
        assert await asyncio.to_thread(stop, url, "job", ending) == 2
        for worker in (one, two):
            _, told = await worker.claim(1)
            assert told.stop == ending


async def test_the_allowances_of_all_runs_never_pass_the_budget(url: str) -> None:
    async with workers(url, 3) as (one, two, three):
        assert await one.store.draw(100) == (0, 0, False)
        assert await one.store.draw(100, need=10, want=1000) == (0, 16, False)  # of what is left a part for each
        assert await two.store.draw(100, need=60, want=60) == (0, 60, True)
        assert await three.store.draw(100, need=30, want=30) == (0, 0, True)  # 24 are left, and others have some
        request, _ = await two.claim(1, cost=60)
        await two.answer(request, 1, cost=20)
        assert await two.store.draw(100, held=20) == (20, 20, True)  # it hands the rest back
        assert await three.store.draw(100, need=30, want=30) == (20, 30, True)
        assert await one.store.draw(100, held=0) == (20, 0, True)
        assert await two.store.draw(100, held=20, need=60) == (20, 20, True)
        await three.store.end_run(Ending(JobState.STOPPED, "interrupted", 130), at=4.0)
        assert await two.store.draw(100, held=20, need=90) == (20, 100, False)  # all that there is


async def test_the_worst_case_of_what_a_dead_run_had_out_is_spent(url: str) -> None:
    async with workers(url, 2) as (one, two):
        await one.store.draw(100, need=70, want=70)
        await one.claim(1, cost=70)
        await one.store.end_run(Ending(JobState.STOPPED, "interrupted", 130), at=4.0)
        assert await two.store.draw(100, need=40) == (0, 0, True)
        assert await two.store._bury_dead() == 1
        assert await two.store.draw(100, need=40) == (70, 30, False)


async def test_the_dead_are_looked_for_after_an_error_too_and_what_they_lost_is_told_once(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "BEAT_SECONDS", 0.01)
    async with workers(url, 1) as (one,):
        found: list[int | None] = [None, 2, 3]
        told = []

        async def bury_dead() -> int:
            lost = found.pop(0) if found else 0
            if lost is None:
                raise StoreError("the server has gone")
            told.append((await one.store.commit([])).lost)
            return lost

        one.store._bury_dead = bury_dead
        while len(told) < 4:
            await asyncio.sleep(0.01)
        assert sum(told) == 5


async def test_a_run_that_was_given_up_has_its_late_answers_kept(url: str) -> None:
    async with workers(url, 2, lease=1.0) as (one, two):
        (first, _), (second, _) = await one.claim(1), await one.claim(2)
        one.store._silence()  # as SIGSTOP does
        two.store._silence()
        while not await two.store._bury(await dead(two)):
            await asyncio.sleep(0.2)
        assert not one.store.may_send()
        with pytest.raises(GivenUp, match="other workers gave this one up"):
            await one.answer(second, 2)
        assert await two.rows(1) == [1]  # it asks again
        assert await one.store.hear_late([answered(first, 1), answered(second, 2)]) == 1
        assert states(url)[:2] == ["pending", "done"]
        again, _ = await two.claim(1)
        assert await one.store.hear_late([answered(first, 1), answered(second, 2)]) == 0
        await two.answer(again, 1, label="no")
        assert states(url)[:2] == ["done", "done"]


async def test_a_run_that_goes_on_is_not_given_up_by_who_saw_it_before(url: str) -> None:
    async with workers(url, 2) as (one, two):
        request, _ = await one.claim(1)
        running = await two.store._read(lambda db: db.fetch(shared.RUNNING, two.store._job_id, two.run.id))
        seen = [Peer(*peer) for peer in running]
        await one.store.commit([])
        assert await two.store._bury(seen) == 0
        await one.answer(request, 1)
        assert states(url)[0] == "done"


async def dead(worker: Worker) -> list[Peer]:
    """What one look of a worker finds, on another machine than that of the others."""
    fetch = worker.store._read
    running = await fetch(lambda db: db.fetch(shared.RUNNING, worker.store._job_id, worker.run.id))
    return list(worker.store._watch.look([Peer(*one)._replace(place="") for one in running])[0])


async def test_the_first_request_of_a_job_is_one_runs_alone(url: str) -> None:
    async with workers(url, 3) as (one, two, three):
        assert (await two.store.commit([])).may_send is False
        await one.store.end_run(Ending(JobState.STOPPED, "interrupted", 130), at=4.0)
        assert [(await worker.store.commit([])).may_send for worker in (two, three)] == [True, False]
        request, _ = await two.claim(1)
        await two.answer(request, 1)
        assert (await three.store.commit([])).may_send is True


async def test_who_has_no_rows_leaves_the_first_request_to_others(url: str) -> None:
    async with workers(url, 3, rows=2) as (one, two, three):
        assert await two.rows(2) == [1, 2]
        assert await one.rows(2) == []
        assert [(await worker.store.commit([])).may_send for worker in (one, two, three)] == [False, True, False]


async def test_a_pause_is_one_for_all(url: str) -> None:
    async with workers(url, 2) as (one, two):
        await one.store.pause(30.0)
        told = await two.store.commit([])
        assert 20 < told.pause <= 30
        assert told.runs == 2


async def test_an_input_that_another_run_reads_is_waited_for(url: str) -> None:
    async with workers(url, 1, rows=2) as (one,):
        store: Any = await open_store(url, job="more", lease=60.0)
        await store.create_job(uid="m", name="more", source=SOURCE, settings=b'{"model":"m"}', task=TASK, at=1.0)
        await store.begin_run(TASK, fresh=True, up_to=None, at=1.5)
        await one.store.join("more", SETTINGS)
        await one.store.begin_run(TASK, fresh=True, up_to=None, at=1.5)
        assert (await one.store.next_page(2)).rows == ()
        await store.commit([AddRows(2, Chunk(1, [(2, "R-1", "text", None, None)], 10, "d", True))])
        assert [row.number for row in (await one.store.next_page(2)).rows] == [1]
        await store.close()


async def test_a_file_is_for_one_process(tmp_path: Any) -> None:
    store = await open_store(str(tmp_path / "job.db"), job="job")
    with pytest.raises(SettingError, match="several workers on job 'job' need a database"):
        await store.join("job", SETTINGS)
    await store.close()


async def test_rows_that_are_put_back_as_runs_end_leave_the_job_to_their_endings(url: str) -> None:
    async with workers(url, 2) as (one, two):
        for row, worker in ((1, one), (2, two)):
            request, _ = await worker.claim(row)
            await worker.store.commit([failed(request, row)])
        assert await one.store.retry(["bad"], at=3.0) == 2
        assert (await two.store.job()).state == JobState.RUNNING


async def waits(db: Any) -> None:
    """Until somebody waits for a lock."""
    while not await db.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
        await asyncio.sleep(0.02)


async def test_a_claim_sees_what_the_one_made_of_the_row_for_whom_it_waited(url: str) -> None:
    """Looked at before it waits, the row is pending; when its turn comes it has its label."""
    async with workers(url, 2) as (one, two):
        request, _ = await one.claim(1)
        ids = {"job_id": one.store._job_id, "task_id": one.store._task_id, "run_id": one.run.id}
        given = {name: records for name, records in Sorted([answered(request, 1)], **ids).given.items() if records}
        db, other = await asyncpg.connect(url), await asyncpg.connect(url)
        try:
            async with db.transaction():
                group = one.run.id, one.store._seq + 1, ids["job_id"], ids["task_id"], as_json(given)
                await db.fetchval("SELECT batchjob.commit_group($1, $2, $3, $4, $5)", *group)
                claiming = asyncio.create_task(two.claim(1))
                await asyncio.wait_for(waits(other), 20)
            with pytest.raises(StoreError, match="not in the state it expects"):
                await claiming
        finally:
            await db.close()
            await other.close()
        assert states(url)[0] == "done"


async def test_what_is_committed_and_what_is_given_out_is_flushed_whatever_the_server_is_told(url: str) -> None:
    name = url.split("/")[3].split("?")[0]
    db = await asyncpg.connect(url)
    await db.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    try:
        async with workers(url, 1) as (one,):
            job, run, task, seq = one.store._job_id, one.run.id, one.store._task_id, one.store._seq + 1
            steps = (
                f"batchjob.commit_group({run}, {seq}, {job}, {task}, '{{}}')",
                f"batchjob.take_range({run}, {job}, {(run << 40) + 1}, 9, 2)",
                f"batchjob.take_returned({run}, {job}, {(run << 40) + 1}, 9)",
                f"batchjob.draw({run}, {job}, 1, 0, 0, 0)",
            )
            for step in steps:
                async with db.transaction():
                    await db.execute("SET LOCAL synchronous_commit = off")
                    await db.execute(f"SELECT {step}")
                    assert await db.fetchval("SHOW synchronous_commit") == "on", step
            one.store._silence()
    finally:
        await db.execute(f"ALTER DATABASE {name} RESET synchronous_commit")
        await db.close()
