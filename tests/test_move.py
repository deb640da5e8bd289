"""batchjob move: a job with all that was paid for goes to PostgreSQL, also where it is killed on the way."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BatchJob
from storm.harness import Plan, World, finish

from batchjob import failpoints
from batchjob.errors import BatchjobError, JobBusy, JobError, StoreError
from batchjob.jobs.moves import Moved, move
from batchjob.model import Claim
from batchjob.records import Correction
from batchjob.stores import open_check, open_reader, open_store
from batchjob.stores.postgres.arriving import arrive, place_of
from batchjob.stores.sqlite.leaving import Leaving
from tests import postgres
from tests.postgres import Proxy
from tests.stores.test_store import SOURCE, TASK, make_job

pytestmark = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)

ROWS = 60


def jobs_there(url: str) -> set[str]:
    with open_reader(url) as reader:
        return reader.names()


# ---------------------------------------------------------------- killed on the way


MORE = [
    *((f"move.after_page=kill@{hit}", mode) for hit in (1, 2, 3, 5) for mode in ("resend", "hold")),
    *(("move.before_mark=kill", mode) for mode in ("resend", "hold")),
    *((f"move.after_{place}=kill", "hold") for place in ("mark", "commit")),
]


@pytest.mark.parametrize(
    ("place", "mode"),
    [
        ("move.after_page=kill@4", "hold"),
        ("move.after_mark=kill", "resend"),
        ("move.after_commit=kill", "resend"),
        *(pytest.param(*case, marks=pytest.mark.storm) for case in MORE),
    ],
)
def test_killed_on_the_way_it_goes_on_in_one_place_alone(tmp_path: Path, place: str, mode: str) -> None:
    url = postgres.new_database()
    environment = {failpoints.VARIABLE: "request.after_last_byte=kill@30"}
    with World(
        tmp_path, Plan(1, mode, ROWS, ".csv", 8, (0.005, 0.01), ()), environment=environment, warm=True
    ) as world:
        assert world.run(world.arguments("start"))[0] == -signal.SIGKILL
        move = ["move", "tickets", "--to", url, "--db", str(world.database)]
        environment[failpoints.VARIABLE] = place
        assert world.run(move)[0] == -signal.SIGKILL
        environment.clear()
        marked, there = place.startswith(("move.after_mark", "move.after_commit")), "after_commit" in place
        before = len(world.endpoint.bills())
        code, said = world.run(world.arguments("start", "--limit", "40"))
        assert (code == 1, f"was moved to {place_of(url)}" in said) == (marked, marked), said
        assert (len(world.endpoint.bills()) > before) is not marked
        assert jobs_there(url) == ({"tickets"} if there else set())
        code, said = world.run(move)
        assert (code, "is in postgresql" in said) == (0, there), said
        world._url = url
        finish(world)
        assert world.oracle.objections == []


# ---------------------------------------------------------------- the same there as here


KEPT_APART = ("updated_at", "moved_to", "state", "reason", "input")


def shown(batchjob: BatchJob, db: str) -> tuple[Any, ...]:
    """All that commands say of the job, but for where it is."""
    status = json.loads(batchjob("status", "in", "--db", db, "--json").out)
    export = ("export", "in", "--format", "jsonl", "-o", "-", "--db", db)
    requests = [json.loads(line) for line in batchjob(*export, "--requests").out.splitlines()]
    return (
        {name: value for name, value in status.items() if name not in KEPT_APART},
        [{name: value for name, value in one.items() if name != "request_id"} for one in requests],
        batchjob(*export, "--details", "--all").out,
        [line for line in batchjob("errors", "in", "--db", db).out.splitlines() if "batchjob " not in line],
    )


def test_a_job_of_many_kinds_of_rows_is_there_as_it_was_here(batchjob: BatchJob, sandbox: Callable[..., str]) -> None:
    secret = "pa55word-of-nobody"
    url = postgres.new_database().replace("postgres:@", f"postgres:{secret}@")
    lines = [{"id": n, "text": f"text {n % 150}", "more": {"deep": [f"\0 \ue000 {n}"]}} for n in range(199)]
    lines.append({"id": 199, "text": "\0 \ue000", "more": {}})
    (batchjob.folder / "in.jsonl").write_text("\n".join(map(json.dumps, [*lines, {"id": 200, "text": ""}])) + "\n")
    asked = ("--base-url", sandbox("--fault", "off_list=0.2", "--seed", "4"), "--model", "m", "--price", "1,2")
    (batchjob.folder / "other.csv").write_text("id,text\n1,elsewhere\n")
    for name, limit in (("in.jsonl", "120"), ("other.csv", "9")):
        start = ("start", name, *asked, "--labels", "good,bad", "--rpm", "0", "--quiet", "--limit", limit)
        assert batchjob(*start).code in (0, 4)
    assert [batchjob("correct", "in", row, "bad").code for row in ("5", "6")] == [0, 0]
    before = shown(batchjob, "batchjob.db")
    assert before[0]["errors"]
    assert before[0]["by_hand"]["rows"] == 2
    ended = batchjob("move", "in", "--to", url)
    assert ended.code == 0, ended.err
    assert "201 rows, " in ended.out
    assert shown(batchjob, url) == before
    resumed = [batchjob(verb, "in", "--rpm", "0", "--db", url) for verb in ("resume", "retry")]
    again = json.loads(batchjob("status", "in", "--db", url, "--json").out)
    assert (resumed[0].code, again["rows"]["pending"]) == (4, 0)
    assert again["sources"]["duplicate"] + again["sources"]["cache"] >= 30  # texts of rows that were done before
    left = batchjob("status", "in", "--json")
    assert (json.loads(left.out)["state"], json.loads(left.out)["moved_to"]) == ("moved", place_of(url))
    refused = [
        batchjob("correct", "in", "7", "good"),
        batchjob("resume", "in"),
        batchjob("retry", "in"),
        batchjob("start", "in.jsonl", *asked, "--labels", "a"),
    ]
    assert [(ended.code, f"was moved to {place_of(url)}" in ended.err) for ended in refused] == [(1, True)] * 4
    assert f"next      batchjob resume in --db '{place_of(url)}'" in refused[0].err
    assert secret not in "".join(one.out + one.err for one in [ended, left, *resumed, *refused])
    assert secret.encode() not in (batchjob.folder / "batchjob.db").read_bytes()
    with open_check(url) as there, open_check(str(batchjob.folder / "batchjob.db")) as here:
        assert there.differences() == here.differences() == []
        assert {share.job for share in there.cache_by_job()} == {"in", None}
        assert sum(share.labels for share in there.cache_by_job()) > sum(share.labels for share in here.cache_by_job())


# ---------------------------------------------------------------- refused


async def make(tmp_path: Path) -> Path:
    path = tmp_path / "job.db"
    store = await open_store(str(path), job="job")
    await make_job(store)
    await store.close()
    return path


async def test_what_cannot_be_moved_stays_as_it_is(tmp_path: Path) -> None:
    path, url, other = str(await make(tmp_path)), postgres.new_database(), postgres.new_database()
    running = await open_store(path, job="job")
    with pytest.raises(JobBusy, match="is working on job 'job'"):
        await move(path, "job", url)
    await running.close()
    taken = await open_store(url, job="job")
    await taken.create_job(uid="b", name="job", source=SOURCE, settings=b'{"model":"m"}', task=TASK, at=1.0)
    for here, there, why in (
        (path, url, "another job named 'job' there"),
        (path, str(tmp_path / "other.db"), "postgresql://USER@HOST/DATABASE"),
        (url, other, "and not back"),
        (path, "postgresql://me:pa55word@127.0.0.1:9/x", "postgresql://me@127.0.0.1:9/x cannot be reached"),
    ):
        with pytest.raises(BatchjobError, match=why):
            await move(here, "job", there)
    await taken.remove()
    await taken.close()
    assert await move(path, "job", url) == Moved(0, True)
    assert await move(path, "job", url.replace("//postgres:", "//postgres:pa55word")) == Moved(0, False)
    with pytest.raises(JobError, match=f"goes on in {re.escape(place_of(url))}"):
        await move(path, "job", other)
    assert jobs_there(url) == {"job"}


async def test_a_request_of_a_dead_process_is_settled_first_and_its_row_goes_out_under_its_key(tmp_path: Path) -> None:
    path, url = tmp_path / "job.db", postgres.new_database()
    store = await open_store(str(path), job="job")
    run = await make_job(store)
    await store.commit([Claim(run.first_request_id + 6, "its key", (2, 3), "m", 2.0, 77)])
    await store.close()
    there: Any = await open_store(url, job="job")
    await make_job(there, "another")  # which has the number of the run that moves
    assert await move(str(path), "job", url) == Moved(1, True)
    await there.choose("job")
    begun = await there.begin_run(TASK, fresh=True, up_to=None, at=6.0)
    page = await there.next_page(9)
    (parcel,) = page.parcels
    assert ([row.number for row in parcel.rows], parcel.lost.client_key, parcel.lost.body_digest) == (
        [2, 3],
        "its key",
        77,
    )
    assert parcel.lost.request_id < begun.first_request_id
    await there.close()
    with open_check(url) as check:
        assert check.differences() == []


# ---------------------------------------------------------------- lines that are cut


def nothing_said(uid: str) -> list[Correction]:
    return []


async def test_a_commit_whose_answer_is_lost_has_brought_it_there(tmp_path: Path) -> None:
    leaving, url = Leaving(await make(tmp_path), "job"), postgres.new_database()
    async with Proxy(url) as proxy:
        await (await open_store(url, job="tables")).close()
        proxy.cuts = 1
        with pytest.raises(StoreError):  # the one in which the tables are looked at
            await arrive(proxy.url, leaving, nothing_said)
        assert leaving.marked is None

        class Cutting(Leaving):
            def mark(self, place: str) -> None:
                super().mark(place)
                proxy.cuts = 1

        cutting = Cutting(tmp_path / "job.db", "job")
        assert await arrive(proxy.url, cutting, nothing_said)
        assert proxy.cut == 2
        assert cutting.marked == place_of(proxy.url)
        cutting.close()
    leaving.close()
    assert jobs_there(url) == {"job"}


async def test_where_the_server_gave_up_before_the_commit_it_goes_on_here(tmp_path: Path) -> None:
    url = postgres.new_database()
    of_this = "datname = current_database() AND pid <> pg_backend_pid()"
    end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {of_this}"

    class Cut(Leaving):
        def mark(self, place: str) -> None:
            super().mark(place)
            postgres.execute(url, end)

    leaving = Cut(await make(tmp_path), "job")
    with pytest.raises(StoreError):
        await arrive(url, leaving, nothing_said)
    leaving.close()
    assert jobs_there(url) == set()
    with open_reader(str(tmp_path / "job.db")) as reader:
        assert reader.job("job").moved_to is None


async def test_who_writes_to_the_file_meanwhile_keeps_the_job_there(tmp_path: Path) -> None:
    path, url = await make(tmp_path), postgres.new_database()

    class Changed(Leaving):
        def mark(self, place: str) -> None:
            other = Leaving(path, "job")
            other._mark("elsewhere")  # any write at all
            other.unmark()
            other.close()
            super().mark(place)

    leaving = Changed(path, "job")
    with pytest.raises(StoreError):
        await arrive(url, leaving, nothing_said)
    leaving.close()
    assert jobs_there(url) == set()
    with open_reader(str(path)) as reader:
        assert reader.job("job").moved_to is None
