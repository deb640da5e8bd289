"""Sentences about several workers on a job, its stop, its move, and PostgreSQL, each met once."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from batchjob.cli import _run
from batchjob.errors import BatchjobError, JobError, SettingError, StoreError
from batchjob.jobs.moves import move
from batchjob.launch import ray
from batchjob.stores import open_store
from batchjob.stores.postgres import arriving
from batchjob.stores.sqlite.leaving import Leaving
from tests import postgres
from tests.stores.test_several_runs import workers
from tests.stores.test_store import TASK, make_job

if TYPE_CHECKING:
    from batchjob.records import Correction

of_postgres = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)
Say = Callable[..., Any]


@pytest.fixture
def url() -> str:
    return postgres.clean_database()


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Say:
    """What a command says on both streams, asked beside an event loop."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith(("BATCHJOB_", "OPENAI_", "TOKENHUB_"))]:
        monkeypatch.delenv(name)

    async def say(*arguments: str) -> str:
        await asyncio.to_thread(_run, list(arguments))
        told = capsys.readouterr()
        return told.out + told.err

    return say


# ---------------------------------------------------------------- stop, work


@of_postgres
async def test_stop_says_how_many_it_told_and_work_that_the_job_is_stopped(url: str, said: Say) -> None:
    settings = '{"base_url": "http://127.0.0.1:9/v1", "model": "m", "labels": ["a", "b"]}'
    at = ("job", "--db", url)
    async with workers(url, 1) as (one,):
        postgres.execute(url, f"UPDATE batchjob.job SET settings = '{settings}'")
        assert "job 'job': its process was told to stop; what is in flight is awaited" in await said("stop", *at)
        told = await said("work", *at)
        assert "job 'job' was stopped for all workers" in told
        assert "next      batchjob resume job --db 'postgresql://" in told
        late: Any = await open_store(url, job="job")
        await late.join("job", settings.encode())
        with pytest.raises(JobError, match="job 'job' was stopped for all workers: stopped by batchjob stop"):
            await late.begin_run(TASK, fresh=True, up_to=None, at=2.0)
        await late.close()
        postgres.execute(url, "UPDATE batchjob.run SET started = 'another process'")  # as after a kill
        assert "job 'job' is stopped: none of those who worked on it gives a sign of life" in await said("stop", *at)
        await one.store.close()
    postgres.execute(url, "UPDATE batchjob.job SET state = 'over_budget', reason = 'all of it is spent'")
    told = await said("work", *at)
    assert "job 'job' was stopped for all workers: all of it is spent" in told
    assert "next      batchjob resume job --db " in told


@of_postgres
async def test_status_says_who_hears_no_answer_and_stop_tells_all(url: str, said: Say) -> None:
    outage = '{"since": 1.0, "next_try": 2.0, "until": 3.0, "error": "refused"}'
    async with workers(url, 2) as (one, _):
        postgres.execute(url, f"UPDATE batchjob.run SET outage = '{outage}' WHERE id = {one.run.id}")
        told = await said("status", "job", "--db", url)
        assert "workers   2" in told
        assert ", nothing is answered" in told
        assert "job 'job': its 2 workers were told to stop; what is in" in await said("stop", "job", "--db", url)


# ---------------------------------------------------------------- Ray


class Died(Exception):
    """As Ray tells of a task that is gone."""


class Cluster:
    """As much of Ray as starts workers: each ends at once, as `ends` says (None: it dies)."""

    exceptions = SimpleNamespace(RayError=Died)

    def __init__(self, *ends: int | type[BaseException] | None) -> None:
        self.ends, self.cancelled = list(ends), 0

    def init(self, **_: object) -> None:
        if self.ends == [ConnectionError]:
            raise ConnectionError("nobody is there")

    def shutdown(self) -> None:
        """Nothing is left of it."""

    def remote(self, **_: object) -> Callable[[object], Any]:
        return lambda work: SimpleNamespace(remote=lambda *given: object())

    def wait(self, tasks: list[object], num_returns: int) -> tuple[list[object], list[object]]:
        if self.ends[0] is KeyboardInterrupt:
            self.ends[0] = 130
            raise KeyboardInterrupt
        return tasks[:1], tasks[1:]

    def get(self, task: object) -> int:
        end = self.ends.pop(0) if len(self.ends) > 1 else self.ends[0]
        if not isinstance(end, int):
            raise Died
        return end

    def cancel(self, task: object) -> None:
        self.cancelled += 1


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    """The exit code of two workers on a cluster, and what was said."""

    def launch(*ends: Any) -> tuple[int, list[str]]:
        said: list[str] = []
        monkeypatch.setitem(sys.modules, "ray", Cluster(*ends) if ends else None)
        return ray.launch(2, ["work"], {}, said.append), said

    return launch


def test_what_becomes_of_workers_on_a_cluster_is_said(launched: Callable[..., tuple[int, list[str]]]) -> None:
    assert launched(None, 0, 4) == (
        4,
        [
            "worker 1 died: a new one takes its place",
            "worker 2 has ended with exit code 0",
            "worker 1 has ended with exit code 4",
        ],
    )
    assert launched(KeyboardInterrupt, 130) == (130, ["stopping: the workers wait for their requests in flight"])
    with pytest.raises(BatchjobError, match="41 workers died, one after the other: Ray's logs say why"):
        launched(None)
    with pytest.raises(BatchjobError, match="Ray cannot be reached: nobody is there"):
        launched(ConnectionError)
    with pytest.raises(SettingError, match=r"--on ray:N needs Ray: pip install 'batchjob\[ray\]'"):
        launched()


# ---------------------------------------------------------------- a move


async def make(tmp_path: Path) -> Path:
    path = tmp_path / "job.db"
    store = await open_store(str(path), job="job")
    await make_job(store)
    await store.close()
    return path


def nothing_said(uid: str) -> list[Correction]:
    return []


@of_postgres
async def test_a_copy_of_a_job_that_has_moved_stays_where_it_is(tmp_path: Path, url: str, said: Say) -> None:
    path = await make(tmp_path)
    copy = shutil.copy(path, tmp_path / "copy.db")
    assert await move(str(path), "job", url)
    again = await said("move", "job", "--db", str(path), "--to", url)
    assert "job job is in postgresql://" in again
    assert " already: nothing was to be done" in again
    with pytest.raises(JobError, match="was made of this very job: it goes on there"):
        await move(str(copy), "job", url)


@of_postgres
async def test_a_job_whose_rows_are_not_those_it_read_is_not_moved(tmp_path: Path, url: str) -> None:
    leaving = Leaving(await make(tmp_path), "job")
    leaving._db.execute("UPDATE job SET rows = rows + 1")
    with pytest.raises(StoreError, match="job 'job' says that 7 rows were read and has 6: run doctor"):
        await arriving.arrive(url, leaving, nothing_said)
    leaving.close()


@of_postgres
async def test_a_move_that_another_is_in_the_way_of_waits_for_the_server(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaving = Leaving(await make(tmp_path), "job")
    monkeypatch.setattr(arriving, "_SETTINGS", arriving._SETTINGS.replace("60s", "50ms"))
    other = await asyncpg.connect(url)
    await other.execute("SELECT pg_advisory_lock(hashtextextended($1, 0))".replace("$1", f"'{leaving.uid}'"))
    with pytest.raises(
        StoreError, match="a move of this job that was broken off is not over yet at the server: try ag"
    ):
        await arriving.arrive(url, leaving, nothing_said)
    await other.close()
    leaving.close()


@of_postgres
async def test_where_nobody_knows_whether_a_move_is_over_the_job_goes_on_nowhere(tmp_path: Path, url: str) -> None:
    async with postgres.Proxy(url) as proxy:

        class Cut(Leaving):
            def mark(self, place: str) -> None:
                super().mark(place)
                proxy.cuts = 1
                proxy._server.close()

        leaving = Cut(await make(tmp_path), "job")
        with pytest.raises(
            StoreError, match=r"Whether job 'job' is there cannot be known now, so it does not go on her"
        ):
            await arriving.arrive(proxy.url, leaving, nothing_said)
        leaving.close()


# ---------------------------------------------------------------- servers


@of_postgres
async def test_a_server_that_is_none_of_ours_is_told_apart(
    said: Say, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await (await open_store(url, job="job")).close()
    postgres.execute(url, "ALTER TABLE batchjob.job RENAME TO gone")
    try:
        assert 'PostgreSQL says: relation "batchjob.job" does not exist' in await said("jobs", "--db", url)
    finally:
        postgres.execute(url, "ALTER TABLE batchjob.gone RENAME TO job")
    other = postgres.new_database()
    name = other.split("/")[3].split("?")[0]
    postgres.execute(
        other,
        "CREATE SCHEMA other;"
        "CREATE FUNCTION other.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT '120004' $$;"
        f"ALTER DATABASE {name} SET search_path = other, pg_catalog",
    )
    assert " is PostgreSQL 12: batchjob needs 14 or newer" in await said("jobs", "--db", other)
    postgres.execute(
        other, "CREATE FUNCTION other.version() RETURNS text LANGUAGE sql AS $$ SELECT 'CockroachDB CCL v24, x' $$"
    )
    assert " is no PostgreSQL (CockroachDB CCL v24), and batchjob is sure of nothing" in await said(
        "jobs", "--db", other
    )
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    needs = "a database postgresql:// needs asyncpg: pip install 'batchjob[postgres]'"
    assert needs in await said("jobs", "--db", "postgresql://nowhere/x")
