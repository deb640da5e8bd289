"""What PostgreSQL's store does where servers, lines and other processes fail: each failure is a real one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from batchjob.errors import JobBusy, StoreError
from batchjob.model import AddRows, Chunk, Claim, RowResult, Settle
from batchjob.states import Event, Outcome, Source
from batchjob.stores import open_check, open_reader, open_store
from batchjob.stores.postgres.line import connect
from batchjob.stores.postgres.schema import version_of
from batchjob.stores.postgres.scripts import migrations
from tests import postgres
from tests.stores.test_store import SOURCE, TASK, make_job

pytestmark = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)


@pytest.fixture
def url() -> str:
    return postgres.clean_database()


@contextlib.asynccontextmanager
async def opened(url: str, **changed: Any) -> AsyncIterator[Any]:
    store: Any = await open_store(url, job="job")
    for name, value in changed.items():
        setattr(store, name, value)
    try:
        yield store
    finally:
        await store.close()


def states(url: str) -> list[str]:
    with open_check(url) as check:
        assert check.differences() == []
        return [record[6] for record in check.export_rows(check.job("job"))]


def answer(request: int, row: int) -> Settle:
    return Settle(request, Outcome.ANSWERED, (RowResult(row, Event.COMPLETE, 1, 1, "yes", Source.MODEL),), 3.0)


async def test_who_is_silent_is_given_up_after_the_lease_and_then_commits_nothing(url: str) -> None:
    async with opened(url) as paused:
        request = (await make_job(paused, rows=2)).first_request_id
        await paused.commit([Claim(request, "key", (1,), "m", 2.0)])
        paused._silence()  # as SIGSTOP does
        async with opened(url, _lease=1.5) as other:
            await other.choose("job")
            assert await other.recover(hold=True, at=5.0) == 1
            for writes in ([answer(request, 1)], [Claim(request + 1, "new", (2,), "m", 6.0)]):
                with pytest.raises(StoreError, match="other workers gave this one up"):
                    await paused.commit(writes)
            assert states(url) == ["unconfirmed", "pending"]


async def test_who_gives_signs_of_life_is_not_given_up(url: str) -> None:
    async with opened(url) as working:
        request = (await make_job(working)).first_request_id
        await working.commit([Claim(request, "key", (1,), "m", 2.0)])
        async with opened(url) as other:
            await other.choose("job")
            with pytest.raises(JobBusy, match="is working on job 'job'"):
                await other.recover(hold=False, at=5.0)
            with pytest.raises(JobBusy):
                await other.remove()
        await working.commit([answer(request, 1)])
        assert states(url)[0] == "done"


async def test_a_row_that_is_out_cannot_go_out_again(url: str) -> None:
    async with opened(url) as store:
        request = (await make_job(store)).first_request_id
        await store.commit([Claim(request, "key", (1,), "m", 2.0)])
        with pytest.raises(StoreError, match="not in the state it expects"):
            await store.commit([Claim(request + 1, "key", (1,), "m", 2.0)])


async def test_another_job_of_the_database_may_be_worked_on_at_once(url: str) -> None:
    async with opened(url) as first, opened(url) as second:
        one, two = await make_job(first), await make_job_as_second(second)
        await asyncio.gather(
            first.commit([Claim(one.first_request_id, "a", (1,), "m", 2.0)]),
            second.commit([Claim(two.first_request_id, "b", (1,), "m", 2.0)]),
        )
        assert await second.recover(hold=False, at=3.0) == 0
        assert states(url)[0] == "in_flight"


async def make_job_as_second(store: Any) -> Any:
    await store.create_job(uid="b", name="b", source=SOURCE, settings=b'{"model":"m"}', task=TASK, at=1.0)
    run = await store.begin_run(TASK, fresh=True, up_to=None, at=1.5)
    await store.commit([AddRows(2, Chunk(1, [(2, "R-1", "text", None, None)], 10, "d", True))])
    return run


# ---------------------------------------------------------------- databases that are no place for jobs


def database(settings: str = "", **options: str) -> str:
    """A new one, made with these options and settings."""
    whole = postgres.new_database()
    name = whole.split("/")[3].split("?")[0]
    wanted = "".join(f" {option} {value}" for option, value in options.items())
    if wanted:
        postgres.execute(str(postgres.server().get_uri()), f"CREATE DATABASE {name}_own{wanted}")
        whole, name = whole.replace(f"/{name}?", f"/{name}_own?"), f"{name}_own"
    if settings:
        postgres.execute(whole, settings.replace("THIS", name))
    return whole


async def refused(url: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        await open_store(url, job="job")


async def test_a_database_that_is_only_read_is_refused_at_once() -> None:
    read_only = database("ALTER DATABASE THIS SET default_transaction_read_only = on")
    await refused(read_only, r"is only read \(default_transaction_read_only is on")


async def test_an_encoding_that_cannot_hold_every_text_is_refused() -> None:
    latin = database(ENCODING="'LATIN1'", TEMPLATE="template0", LC_COLLATE="'C'", LC_CTYPE="'C'")
    await refused(latin, "has the encoding LATIN1, which cannot hold every text. Make another database: createdb --enc")


async def test_a_user_without_rights_is_told_which() -> None:
    url = database("DROP ROLE IF EXISTS nobody_here; CREATE ROLE nobody_here LOGIN")
    theirs = url.replace("postgres:@", "nobody_here:@")
    await refused(theirs, "permission denied for database .*, so no tables can be made: GRANT CREATE ON DATABASE")
    async with opened(url) as store:
        await make_job(store)
        await refused(theirs, "permission denied for schema batchjob. The tables are another user's: GRANT that role")
        postgres.execute(url, "GRANT USAGE ON SCHEMA batchjob TO nobody_here")
        postgres.execute(url, "GRANT SELECT ON ALL TABLES IN SCHEMA batchjob TO nobody_here")
        with open_reader(theirs) as reader:
            assert reader.names() == {"job"}
    postgres.execute(url, "DROP OWNED BY nobody_here; DROP ROLE nobody_here")


async def test_another_schema_in_the_search_path_is_no_matter() -> None:
    other = "CREATE SCHEMA other; CREATE TABLE other.row (x int); CREATE TABLE other.job (x int)"
    url = database(f"{other}; ALTER DATABASE THIS SET search_path = other")
    async with opened(url) as store:
        request = (await make_job(store)).first_request_id
        await store.commit([Claim(request, "key", (1,), "m", 2.0)])
        await store.commit([answer(request, 1)])
        assert states(url)[0] == "done"


async def test_who_began_to_read_before_the_tables_were_made_sees_no_jobs() -> None:
    url = postgres.new_database()
    reader = await connect(url)
    try:
        async with reader.transaction(isolation="repeatable_read", readonly=True):
            await reader.fetchval("SELECT 1")  # what it sees is of this instant
            async with opened(url):
                assert await version_of(reader, url) == 0
        assert await version_of(reader, url) == len(migrations())
    finally:
        await reader.close()


# ---------------------------------------------------------------- lines that are cut


async def test_a_commit_whose_answer_is_lost_is_known_when_it_is_sent_again(url: str) -> None:
    async with postgres.Proxy(url) as proxy, opened(proxy.url) as store:
        run = await make_job(store)
        for row in (1, 2, 3):
            request = run.first_request_id + row
            for writes in ([Claim(request, f"key {row}", (row,), "m", 2.0, cost=5)], [answer(request, row)]):
                proxy.cuts = 1
                await store.commit(writes)
        assert proxy.cut >= 6
        assert states(url)[:4] == ["done", "done", "done", "pending"]
        with open_reader(url) as reader:
            assert reader.snapshot("job").tally["request"] == {"answered": 3, "sent": 3}


async def test_a_server_that_is_restarted_is_waited_for(url: str) -> None:
    async with opened(url) as store:
        request = (await make_job(store)).first_request_id
        await store.commit([Claim(request, "key", (1,), "m", 2.0)])
        await asyncio.to_thread(postgres.restart)
        await store.commit([answer(request, 1)])
        assert len((await store.next_page(9)).rows) == 5
        assert states(url)[0] == "done"


async def test_a_take_does_not_look_at_the_rows_that_are_done(url: str) -> None:
    import asyncpg

    done, rows, size = 20_000, 22_000, 64
    async with opened(url) as store:
        run = (await make_job(store, rows=1)).id
        db = await asyncpg.connect(url)
        base = (await store.job()).id << 40
        await db.execute(f"""
            DELETE FROM batchjob.input;
            INSERT INTO batchjob.input (id, line, key, text)
            SELECT {base} + n, n, n, 'a text' FROM generate_series(1, {rows}) n;
            INSERT INTO batchjob.row (id, state, request_id, task_id, attempts, paid, label, source)
            SELECT {base} + n, 'done', 1, 1, 1, 1, 'a', 'model' FROM generate_series(1, {done}) n;
            UPDATE batchjob.job SET rows = {rows}, frontier = {done};
            ANALYZE batchjob.input; ANALYZE batchjob.row;
        """)
        looked_at = "SELECT sum(pg_stat_get_xact_tuples_returned(format('batchjob.%s_pkey', name)::regclass)) FROM"
        async with db.transaction():
            for take in range(1, 9):  # from the sixth on with a plan that is kept
                taken = await db.fetchrow(TAKE, run, base >> 40, (run << 40) + take, rows, size)
                assert tuple(taken) == (done + 1 + (take - 1) * size, done + take * size)
            looked = await db.fetchval(f"{looked_at} unnest('{{input,row}}'::text[]) AS name")
        await db.close()
        assert looked < 8 * 10 * size


TAKE = "SELECT * FROM batchjob.take_range($1, $2, $3, $4, $5)"
