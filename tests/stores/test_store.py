"""The contract of ports.Store and ports.StoreReader, sentence by sentence, for every store: one URL each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from batchjob.errors import JobBusy, JobError, StoreError
from batchjob.model import (
    AddRows,
    Beat,
    Chunk,
    Claim,
    Ending,
    InputRow,
    InputSource,
    Notice,
    Outage,
    Parcel,
    Remembered,
    Row,
    RowResult,
    Run,
    Settle,
    Skip,
    TaskRecord,
    Usage,
)
from batchjob.ports import Store, StoreReader
from batchjob.records import Found, RowFilter
from batchjob.states import CostSource, Event, JobState, Matched, Outcome, Purpose, Source, State
from batchjob.stores import open_check, open_reader, open_store
from tests import postgres

SOURCE = InputSource("/in.csv", "csv", "utf-8", ("id", "text", "more"), "id", "text", None, None)
TASK = TaskRecord("task", "question", b'{"model":"m"}')
OUTAGE = Outage(1.0, 2.5, 21601.0, 'nobody "there"')
KINDS = ["sqlite", pytest.param("postgres", marks=pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT))]
SETTLES = (Event.COMPLETE, Event.RELEASE, Event.FAIL, Event.LOSE)


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place for a work table that is not made yet; a line for each kind of store."""
    return str(tmp_path / "job.db") if request.param == "sqlite" else postgres.clean_database()


class Bench:
    """A store with a job of six rows, and the run that works on it."""

    def __init__(self, url: str, store: Store, run: Run) -> None:
        self.url, self.store, self.run = url, store, run
        self.sent = 0

    async def claim(self, *rows: int, **more: Any) -> int:
        request = self.run.first_request_id + self.sent
        self.sent += 1
        await self.store.commit([Claim(request, f"key-{request}", rows, "m", 2.0, 77, **more)])
        return request

    async def again(self, *, hold: bool = False, task: TaskRecord = TASK, **wanted: Any) -> int:
        """The process dies, and another takes its place; the number of requests that were lost with it."""
        await self.store.close()
        self.store = await open_store(self.url, job="job")
        await self.store.choose("job")
        lost = await self.store.recover(hold=hold, at=5.0)
        self.run = await self.store.begin_run(task, **{"fresh": True, "up_to": None, **wanted}, at=6.0)
        self.sent = 0
        return lost

    async def pages(self, limit: int = 2) -> tuple[list[Parcel], list[Row]]:
        parcels: list[Parcel] = []
        rows: list[Row] = []
        while page := await self.store.next_page(limit):
            parcels += page.parcels
            rows += page.rows
        return parcels, rows

    def read(self) -> StoreReader:
        return open_reader(self.url)

    def rows(self) -> dict[int, str]:
        with self.read() as reader:
            return {record[0]: record[6] for record in reader.export_rows(reader.job("job"))}


def chunk(first: int, count: int, *, complete: bool = True) -> AddRows:
    rows = [(n + 1, f"R-{n}", f"text {n}", '["x"]', None) for n in range(first, first + count)]
    return AddRows(1, Chunk(first, list(rows), first * 10, f"digest {first}", complete))


async def make_job(store: Store, name: str = "job", *, task: TaskRecord = TASK, rows: int = 6) -> Run:
    await store.create_job(uid=name, name=name, source=SOURCE, settings=b'{"model":"m"}', task=task, at=1.0)
    run = await store.begin_run(task, fresh=True, up_to=None, at=1.5)
    await store.commit([chunk(1, rows)])
    return run


@pytest.fixture
async def bench(url: str) -> AsyncIterator[Bench]:
    store = await open_store(url, job="job")
    bench = Bench(url, store, await make_job(store))
    yield bench
    await bench.store.close()


def labelled(number: int, label: str = "yes") -> RowResult:
    return RowResult(number, Event.COMPLETE, 1, 1, label, Source.MODEL)


def result(number: int, event: Event) -> RowResult:
    return labelled(number) if event is Event.COMPLETE else RowResult(number, event, 1, 0, error_kind="bad", error="?")


# ---------------------------------------------------------------- endpoints


async def test_what_an_endpoint_teaches_is_there_for_every_job_and_the_last_counts(bench: Bench) -> None:
    assert await bench.store.learned("https://host/v1") == {}
    await bench.store.learn("https://host/v1", "m", b'{"room":1}', at=2.0)
    await bench.store.learn("https://host/v1", "n", b"{}", at=2.0)
    await bench.store.learn("https://host/v1", "m", b'{"room":2}', at=3.0)
    await bench.again()
    assert await bench.store.learned("https://host/v1") == {"m": b'{"room":2}', "n": b"{}"}
    assert await bench.store.learned("https://other/v1") == {}
    with bench.read() as reader:
        assert reader.learned("https://host/v1") == {"m": b'{"room":2}', "n": b"{}"}


# ---------------------------------------------------------------- jobs


async def test_a_job_is_what_it_was_made_with_and_says_what_it_does(bench: Bench) -> None:
    job = await bench.store.job()
    assert (job.name, job.source, job.task_digest, job.rows, job.ingested) == ("job", SOURCE, "task", 6, True)
    assert job.state is JobState.INGESTING  # as it was when the run began
    await bench.store.set_settings(b'{"model":"n"}')
    prices = b'{"m":{"input":3,"cached_input":1,"output":7,"source":"a test"}}'
    await bench.store.set_prices(prices)
    await bench.store.end_run(Ending(JobState.STOPPED, "why", 1, "timeout"), at=9.0)
    job = await bench.store.job()
    assert (job.settings, job.prices) == (b'{"model":"n"}', prices)
    assert (job.state, job.reason, job.reason_kind) == (JobState.STOPPED, "why", "timeout")
    with bench.read() as reader:
        assert reader.jobs() == [job] == reader.by_input("/in.csv") == [reader.latest()]
        assert reader.names() == {"job"}
        with pytest.raises(JobError, match="Did you mean"):
            reader.job("jop")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
async def test_only_one_process_writes(bench: Bench) -> None:
    with pytest.raises(JobBusy):
        await open_store(bench.url, job="other")


async def test_rows_that_do_not_follow_are_refused(bench: Bench) -> None:
    with pytest.raises(StoreError):
        await bench.store.commit([chunk(8, 1)])
    assert (await bench.store.job()).rows == 6


# ---------------------------------------------------------------- a run


async def test_no_two_runs_give_out_the_same_request_ids(bench: Bench) -> None:
    first = bench.run.first_request_id
    await bench.again()
    assert bench.run.first_request_id - first >= 1 << 20


async def test_a_commit_answers_and_does_results_before_claims(bench: Bench) -> None:
    request = await bench.claim(1)
    released = RowResult(1, Event.RELEASE, 1, 0, error_kind="bad", error="?")
    claim = Claim(request + 1, "again", (1,), "m", 3.0)
    control = await bench.store.commit([claim, Settle(request, Outcome.REJECTED, (released,), 3.0)])
    assert control.stop is None
    assert bench.rows()[1] == State.IN_FLIGHT


async def test_a_run_knows_whether_a_run_before_it_was_ever_answered(bench: Bench) -> None:
    assert not bench.run.heard
    for outcome, heard in ((Outcome.NOT_SENT, False), (Outcome.LOST, False), (Outcome.REJECTED, True)):
        request = await bench.claim(1)
        back = RowResult(1, Event.RELEASE, 0, 0, error_kind="k", error="?")
        await bench.store.commit([Settle(request, outcome, (back,), 3.0)])
        await bench.again()
        assert bench.run.heard == heard, outcome


async def test_the_counters_are_true_and_a_reader_sees_them(bench: Bench) -> None:
    request = await bench.claim(1, 2, cost=50)
    usage, both = Usage(10, 3, 2, 1), (labelled(1), result(2, Event.FAIL))
    await bench.store.commit(
        [
            Settle(request, Outcome.ANSWERED, both, 3.0, 200, "id-1", usage, 40, CostSource.REPORTED),
            Skip((RowResult(3, Event.ASSIGN, label="no", source=Source.RULE, origin="r"),), 3.0),
            Beat(4.5, "paced by rpm", 3.0, OUTAGE),
        ]
    )
    assert {state: n for state, n in (await bench.store.counts()).items() if n} == {
        "pending": 3,
        "done": 2,
        "failed": 1,
    }
    assert await bench.store.failures() == {"bad": 1}
    with open_check(bench.url) as check:
        assert check.differences() == []
        assert check.damages() == []
        assert check.snapshot("job").outage == OUTAGE
        tally = check.snapshot("job").tally
        assert tally["label"] == {"yes": 1, "no": 1}
        assert tuple(tally["usage"].values()) == msgspec.structs.astuple(usage)
        assert tally["cost"] == {"answered": 40, "reported": 1}
        (problem,) = check.problems(check.job("job"), "bad", 5)
        assert (problem.number, problem.request_id) == (2, "id-1")
    assert await bench.store.draw(100, held=0, need=60, want=60) == (40, 60, False)
    assert await bench.store.draw(None) == (40, None, False)


async def test_what_is_in_flight_is_in_the_ledger_and_so_is_what_is_over(bench: Bench) -> None:
    first, second = await bench.claim(1), await bench.claim(2, 3)
    await bench.store.commit([Settle(first, Outcome.ANSWERED, (labelled(1),), 3.0, 200, "id-1")])
    with bench.read() as reader:
        found = [(record[0], record[3], record[8]) for record in reader.requests(reader.job("job"))]
    assert found == [(first, "[1]", "answered"), (second, "[2,3]", None)]


@pytest.mark.parametrize("event", SETTLES)
async def test_a_request_cannot_settle_the_row_of_another(bench: Bench, event: Event) -> None:
    request, _ = await bench.claim(1), await bench.claim(2)
    with pytest.raises(StoreError):
        await bench.store.commit([Settle(request, Outcome.ANSWERED, (result(2, event),), 5.0)])
    assert list(bench.rows().values())[:2] == [State.IN_FLIGHT, State.IN_FLIGHT]


# ---------------------------------------------------------------- pages


async def test_pages_keep_their_cursor_and_begin_with_what_was_out(bench: Bench) -> None:
    lost, rejected = await bench.claim(4, 5), await bench.claim(2)
    released = RowResult(2, Event.RELEASE, 1, 0, error_kind="bad", error="?")
    await bench.store.commit([Settle(rejected, Outcome.REJECTED, (released,), 3.0)])
    assert await bench.again() == 1
    page = await bench.store.next_page(2)
    assert page is not None
    (parcel,) = page.parcels
    assert [row.number for row in parcel.rows] == [4, 5]
    assert parcel.lost is not None
    assert (parcel.lost.request_id, parcel.lost.client_key, parcel.lost.body_digest) == (lost, f"key-{lost}", 77)
    _, rows = await bench.pages()
    assert [(row.number, row.attempts) for row in rows] == [(2, 1), (1, 0), (3, 0), (6, 0)]
    await bench.store.commit([chunk(7, 1)])
    assert [row.number for row in (await bench.pages())[1]] == [7]


async def test_a_run_may_want_only_what_was_put_back_or_only_the_first_rows(bench: Bench) -> None:
    request = await bench.claim(5)
    await bench.store.commit([Settle(request, Outcome.REJECTED, (result(5, Event.FAIL),), 3.0)])
    assert await bench.store.retry(["other"], at=4.0) == 0
    assert await bench.store.retry(["bad"], at=4.0, but=(5,)) == 0
    assert await bench.store.retry(["bad"], at=4.0, but=(1, 6)) == 1
    with open_check(bench.url) as check:
        assert check.differences() == []
    await bench.again(fresh=False)
    _, rows = await bench.pages()
    assert [(row.number, row.attempts, row.put_back, row.first) for row in rows] == [(5, 0, True, None)]
    await bench.again(up_to=2)
    assert [row.number for row in (await bench.pages())[1]] == [5, 1, 2]


async def test_a_row_that_failed_may_be_put_back_for_the_second_model(bench: Bench) -> None:
    waiting = RowResult(2, Event.RELEASE, 1, 1, error_kind="unsure", error="?", first='{"kind":"unsure"}')
    for number, found in ((1, result(1, Event.FAIL)), (2, waiting), (2, result(2, Event.FAIL))):
        request = await bench.claim(number)
        await bench.store.commit([Settle(request, Outcome.REJECTED, (found,), 3.0)])
    assert await bench.store.retry(["bad"], at=4.0, second=True) == 2
    await bench.again(fresh=False)
    _, rows = await bench.pages()
    assert {row.number: msgspec.json.decode(row.first or "") for row in rows} == {
        1: {"kind": "bad"},
        2: {"kind": "unsure"},
    }


async def test_a_kept_answer_is_told_with_whether_another_question_or_model_is_asked_now(bench: Bench) -> None:
    for number, answer in ((1, "c"), (2, None)):
        request = await bench.claim(number)
        released = RowResult(number, Event.RELEASE, 1, 1, answer=answer, error_kind="off_list", error="?")
        await bench.store.commit([Settle(request, Outcome.ANSWERED, (released,), 3.0)])
    asked = []
    for task in (
        TASK,
        TaskRecord("fallback", "question", b'{"fallback":"b","model":"m"}'),
        TaskRecord("other question", "other", b'{"model":"m"}'),
        TaskRecord("other model", "question", b'{"model":"n"}'),
        TaskRecord("other routes", "question", b'{"model":"m","routes":[{"model":"n"}]}'),
        TASK,
    ):
        await bench.again(task=task)
        asked.append({row.number: row.asked_otherwise for row in (await bench.pages())[1] if row.number < 3})
    assert [one[1] for one in asked] == [False, False, True, True, True, False]
    assert {one[2] for one in asked} == {False}  # it has none


# ---------------------------------------------------------------- after a crash


@pytest.mark.parametrize("hold", [False, True])
async def test_what_a_dead_run_had_out_is_lost_at_its_worst_case(bench: Bench, hold: bool) -> None:
    request = await bench.claim(1, 2, cost=50)
    await bench.claim(3, purpose=Purpose.VERIFY)
    assert await bench.again(hold=hold) == 2
    state = State.UNCONFIRMED if hold else State.PENDING
    assert [bench.rows()[n] for n in (1, 2, 3)] == [state, state, State.PENDING]
    assert await bench.store.draw(None) == (50, None, False)
    assert await bench.store.recover(hold=hold, at=7.0) == 0
    with open_check(bench.url) as check:
        assert check.differences() == []
        outcomes = {record[0]: record[8] for record in check.requests(check.job("job"))}
    assert outcomes[request] == Outcome.LOST
    assert [row.row.number for row in await bench.store.unheard_rows(after=0, limit=9)] == ([1, 2] if hold else [])


async def test_rows_of_the_job_itself_are_unheard_of_whatever_is_asked_now(bench: Bench) -> None:
    await bench.claim(1)
    assert await bench.again(hold=True, task=TaskRecord("moved", "the same at another address", b"{}")) == 1
    assert [row.row.number for row in await bench.store.unheard_rows(after=0, limit=9)] == [1]


async def test_a_request_that_outlives_its_run_is_left_alone(bench: Bench) -> None:
    request = await bench.claim(1, outlives_run=True)
    assert await bench.again(hold=True) == 0
    assert bench.rows()[1] == State.IN_FLIGHT
    await bench.store.commit([Settle(request, Outcome.ANSWERED, (labelled(1),), 90_000.0, 200)])
    assert bench.rows()[1] == State.DONE


async def test_a_row_that_was_put_back_says_so_until_it_is_settled(bench: Bench) -> None:
    request = await bench.claim(1)
    await bench.again(hold=True)
    assert await bench.store.retry(["unconfirmed"], at=7.0) == 1
    refused = await bench.claim(1)
    released = RowResult(1, Event.RELEASE, 0, 0, error_kind="rate_limited", error="?", known_by=request)
    await bench.store.commit([Settle(refused, Outcome.REJECTED, (released,), 8.0)])
    await bench.again()
    parcels, _ = await bench.pages()
    assert [row.put_back for parcel in parcels for row in parcel.rows] == [True]


async def test_what_was_sent_again_is_counted_and_apart_where_its_key_is_new(bench: Bench) -> None:
    lost = await bench.claim(1)
    await bench.again()
    (parcel,) = (await bench.pages())[0]
    assert parcel.lost is not None
    again = await bench.claim(1, repeats=parcel.lost)
    with open_check(bench.url) as check:
        assert check.differences() == []
        tally = check.snapshot("job").tally["request"]
    assert (tally["resent"], tally["resent_as_new"], parcel.lost.request_id) == (1, 1, lost)
    released = RowResult(1, Event.RELEASE, 0, 0, error_kind="rate_limited", error="?", known_by=lost)
    await bench.store.commit([Settle(again, Outcome.REJECTED, (released,), 8.0, 429, untaken=True)])
    with open_check(bench.url) as check:
        assert check.differences() == []
        tally = check.snapshot("job").tally["request"]
    assert (tally.get("resent", 0), tally.get("resent_as_new", 0)) == (0, 0)  # it was not paid
    again = await bench.claim(1, repeats=parcel.lost)
    released = RowResult(1, Event.RELEASE, 0, 0, error_kind="server_error", error="?")
    await bench.store.commit([Settle(again, Outcome.REJECTED, (released,), 8.0, 500)])
    with open_check(bench.url) as check:
        assert check.differences() == []
        assert check.snapshot("job").tally["request"]["resent"] == 1  # what goes next is no repeat, and may be paid


# ---------------------------------------------------------------- over jobs


async def test_rows_of_another_job_are_not_put_back(bench: Bench) -> None:
    for name in ("job", "other"):
        request = await bench.claim(1)
        await bench.store.commit([Settle(request, Outcome.REJECTED, (result(1, Event.FAIL),), 3.0)])
        if name == "job":
            bench.run, bench.sent = await make_job(bench.store, "other"), 0
    assert await bench.store.retry(["bad"], at=4.0) == 1
    assert bench.rows()[1] == State.FAILED


async def test_texts_unheard_of_in_another_job_are_told_to_one_that_asks_the_same(bench: Bench) -> None:
    await bench.claim(1)
    await bench.again()
    await bench.claim(2)  # out, in a run that is dead when the other job runs
    await make_job(bench.store, "other", task=TaskRecord("other task", "question", b"{}"))
    unheard = await bench.store.unheard_rows(after=0, limit=9)
    assert [(row.row.number, row.row.text, row.model, row.job) for row in unheard] == [
        (1, "text 1", "m", "job"),
        (2, "text 2", "m", "job"),
    ]
    assert await bench.store.unheard_rows(after=unheard[0].id, limit=9) == unheard[1:]
    await make_job(bench.store, "third", task=TaskRecord("third task", "another question", b"{}"))
    assert await bench.store.unheard_rows(after=0, limit=9) == []


NUL_IN_IT = "billing\0 or not: \\u0000"


async def test_what_stands_behind_a_nul_is_kept_of_every_text(bench: Bench) -> None:
    """SQLite's JSON ends a string there, and the rest of an answer could be read as a label."""
    request = await bench.claim(1, 2)
    failed = RowResult(1, Event.FAIL, 1, 1, answer=NUL_IN_IT, error_kind="off_list", error=NUL_IN_IT)
    released = RowResult(2, Event.RELEASE, 1, 1, answer=NUL_IN_IT, error_kind="off_list", error=NUL_IN_IT)
    known = (Remembered((3, 4), NUL_IN_IT, True),)
    settled = Settle(request, Outcome.ANSWERED, (failed, released), 3.0, provider_id=NUL_IN_IT, remember=known)
    await bench.store.commit([settled])
    await bench.again()
    said = [row.answer for row in (await bench.pages())[1] if row.number == 2]
    with bench.read() as reader:
        (problem,) = reader.problems(reader.job("job"), "off_list", 5)
        said += [problem.answer, problem.error, problem.request_id, reader.cached_labels([(3, 4)])[3, 4].label]
    replaced = NUL_IN_IT.replace("\0", "\N{REPLACEMENT CHARACTER}")
    assert [(one or "").replace("\0", "\N{REPLACEMENT CHARACTER}") for one in said] == [replaced] * 5


async def test_texts_and_ids_with_a_nul_are_found_and_shown_whole(url: str) -> None:
    store = await open_store(url, job="job")
    await store.create_job(uid="u", name="job", source=SOURCE, settings=b"{}", task=TASK, at=1.0)
    await store.begin_run(TASK, fresh=True, up_to=None, at=1.0)
    texts = {"a\0b": "text\0 1", "a": "\N{PILE OF POO}" * 300, "b": ""}
    rows: list[InputRow] = [(n, key, text, None, None) for n, (key, text) in enumerate(texts.items(), 1)]
    await store.commit([AddRows(1, Chunk(1, rows, 9, "d", complete=True))])
    failed = tuple([RowResult(n, Event.REJECT, error_kind="bad_json", error="x") for n in (1, 2, 3)])
    await store.commit([Skip(failed, at=2.0)])
    await store.close()
    with open_reader(url) as reader:
        job = reader.job("job")
        assert [one.text for one in reader.problems(job, "bad_json", 5)] == [one[:200] for one in texts.values()]
        assert reader.numbers(job, ["a\0b", "c"]) == {"a\0b": [1]}


async def test_labels_are_remembered_over_jobs_and_processes_the_latest_wins(bench: Bench) -> None:
    first, second = (-5, 9), (7, -2)
    request = await bench.claim(1)
    known = (Remembered(first, "yes", False), Remembered(second, "no", True))
    await bench.store.commit([Settle(request, Outcome.ANSWERED, (labelled(1),), 3.0, remember=known)])
    for _ in range(2):
        found = await bench.store.cached_labels([first, second, (1, 1)])
        assert found == {
            first: Remembered(first, "yes", False, 1, "job"),
            second: Remembered(second, "no", True, 1, "job"),
        }
        with bench.read() as reader:
            assert reader.cached_labels([first, (-5, 8)]) == {first: found[first]}
            assert reader.remembers_labels()
            (share,) = reader.cache_by_job()
            assert (share.job, share.labels, share.fallbacks) == ("job", 2, 1)
        await bench.again()
    request = await bench.claim(2)
    again = (Remembered(first, "else", False),)
    await bench.store.commit([Settle(request, Outcome.ANSWERED, (labelled(2),), 4.0, remember=again)])
    assert (await bench.store.cached_labels([first]))[first].label == "else"
    assert await bench.store.forget_labels(before=None) == 0  # rows of its job may still have these texts
    request = await bench.claim(3, 4, 5, 6)
    await bench.store.commit([Settle(request, Outcome.ANSWERED, tuple(map(labelled, range(3, 7))), 4.0)])
    assert await bench.store.forget_labels(before=None, but=[first, second]) == 1  # an answer off the list is no label
    assert (await bench.store.cached_labels([first, second])).keys() == {first}
    assert await bench.store.forget_labels(before=3.5) == 0
    assert await bench.store.forget_labels(before=None) == 1
    assert await bench.store.cached_labels([first, second]) == {}
    await bench.again()
    assert await bench.store.cached_labels([first, second]) == {}


async def test_a_label_is_remembered_wherever_its_key_falls(bench: Bench) -> None:
    edges = range(-(2**63), 2**63, 2**61)
    keys = [(id_, 1) for edge in edges for id_ in (edge - 1, edge) if id_ >= edges[0]] + [(2**63 - 1, 1)]
    request = await bench.claim(1)
    known = tuple(Remembered(key, "yes", False) for key in keys)
    await bench.store.commit([Settle(request, Outcome.ANSWERED, (labelled(1),), 3.0, remember=known)])
    await bench.again()
    assert (await bench.store.cached_labels(keys)).keys() == set(keys)


async def test_what_was_noticed_is_kept_once_and_in_order(bench: Bench) -> None:
    noticed = (Notice("column", "z"), Notice("warning", "odd"), Notice("column", "a"))
    await bench.store.commit([AddRows(1, Chunk(7, [], 70, "digest 7", False, noticed))])
    again = (Notice("column", "a"), Notice("column", "y"))
    await bench.store.commit([AddRows(1, Chunk(7, [], 70, "digest 7", True, again))])
    with bench.read() as reader:
        found = reader.noticed(reader.job("job"))
        assert found == [*noticed, Notice("column", "y")]
        assert reader.snapshot("job").warnings == ("odd",)


async def test_a_reader_gives_some_rows_or_those_that_were_asked_for(bench: Bench) -> None:
    claimed = await bench.claim(1)
    failed = await bench.claim(4)
    await bench.claim(5)
    await bench.store.commit([Settle(claimed, Outcome.ANSWERED, (labelled(1),), 3.0)])
    await bench.store.commit([Settle(failed, Outcome.ANSWERED, (result(4, Event.FAIL),), 3.0)])
    with bench.read() as reader:
        job = reader.job("job")

        def numbers(only: str | None = None, asked: int | None = None) -> list[int]:
            return [record[0] for record in reader.export_rows(job, only=only, asked=asked)]

        assert numbers() == [1, 2, 3, 4, 5, 6]
        assert numbers("done") == [1]
        assert numbers("failed") == numbers("bad") == [4]
        assert numbers("pending") == [2, 3, 5, 6]
        assert numbers("near") == numbers("unconfirmed") == []
        assert numbers(asked=2) == [1, 2, 4, 5]


# ---------------------------------------------------------------- looked for, a piece at a time


async def test_rows_are_given_by_number_and_numbers_by_id(bench: Bench) -> None:
    with bench.read() as reader:
        job = reader.job("job")
        assert [record[0] for record in reader.rows(job, [5, 2, 99, 0, -1])] == [2, 5]
        assert reader.rows(job, []) == []
        assert reader.numbers(job, ["R-6", "R-1", "R-9"]) == {"R-1": [1], "R-6": [6]}
    await bench.store.create_job(uid="b", name="b", source=SOURCE, settings=b"{}", task=TASK, at=1.0)
    rows = [(2, "R-1", "a", None, None), (3, "R-1", "b", None, None)]
    await bench.store.commit([AddRows(2, Chunk(1, list(rows), 10, "d", True))])
    with bench.read() as reader:
        assert reader.numbers(reader.job("b"), ["R-1"]) == {"R-1": [1, 2]}


async def test_rows_that_got_another_label_when_asked_once_more_are_found(bench: Bench) -> None:
    for number, agreed in ((3, False), (1, True), (2, False)):
        request = await bench.claim(number)
        sure = RowResult(number, Event.COMPLETE, 1, 1, "yes", Source.MODEL, confidence=number / 10)
        await bench.store.commit([Settle(request, Outcome.ANSWERED, (sure,), 3.0)])
        again = await bench.claim(number, purpose=Purpose.VERIFY)
        kind = None if agreed else "disagreed"
        await bench.store.commit([Settle(again, Outcome.ANSWERED, (), 3.0, agreed=agreed, error_kind=kind)])
    first = RowResult(4, Event.ASSIGN, label="yes", source=Source.FALLBACK, confidence=0.2)
    await bench.store.commit([Skip((first, RowResult(5, Event.ASSIGN, label="yes", source=Source.RULE)), 3.0)])
    with bench.read() as reader:
        job = reader.job("job")
        assert reader.disagreements(job, beyond=0, most=9) == ([3, 2], None)
        numbers, looked_to = reader.disagreements(job, beyond=0, most=2)
        assert (numbers, looked_to is None) == ([3], False)
        assert reader.disagreements(job, beyond=looked_to or 0, most=9) == ([2], None)
        unsure = reader.find_rows(job, RowFilter(below=0.3), beyond=0, limit=9, most=9)
        assert [record[0] for record in unsure.rows] == [1, 2, 4]


def numbers(found: Found) -> tuple[list[int], int, bool]:
    return [record[0] for record in found.rows], found.looked_to, found.ended


async def test_rows_are_found_by_every_condition_a_bounded_piece_at_a_time(bench: Bench) -> None:
    request = await bench.claim(1, 2, 3)
    near = RowResult(2, Event.COMPLETE, 1, 1, "no", Source.MODEL, "No!", matched=Matched.NEAR)
    failed = RowResult(3, Event.FAIL, 1, 1, error_kind="off_list", error="?")
    await bench.store.commit([Settle(request, Outcome.ANSWERED, (labelled(1), near, failed), 3.0)])
    with bench.read() as reader:
        job = reader.job("job")

        def find(beyond: int = 0, limit: int = 9, most: int = 9, *, back: bool = False, **wanted: Any) -> Any:
            found = reader.find_rows(job, RowFilter(**wanted), beyond=beyond, limit=limit, most=most, backwards=back)
            assert found.rows == [record for record in reader.export_rows(job) if record[0] in numbers(found)[0]]
            return numbers(found)

        assert find() == ([1, 2, 3, 4, 5, 6], 6, True)
        assert find(limit=2) == ([1, 2], 2, False)
        assert find(2, 2) == ([3, 4], 4, False)
        assert find(7, 2, back=True) == ([5, 6], 5, False)
        assert find(3, back=True) == ([1, 2], 1, True)
        assert find(1, back=True) == ([], 1, True)
        assert find(6) == ([], 6, True)
        assert find(state="done") == ([1, 2], 6, True)
        assert find(state="pending", most=3) == ([], 3, False), "it looks no further than it may"
        assert find(3, state="pending", most=2) == ([4, 5], 5, False)
        assert find(label="no", source="model") == ([2], 6, True)
        assert find(matched="near") == ([2], 6, True)
        assert find(kind="off_list", most=1) == ([3], 6, True), "failed rows are found wherever they are"
        assert find(kind="off_list", state="done") == ([], 6, True)


async def test_a_text_is_found_in_capitals_too_and_an_id_as_a_whole(bench: Bench) -> None:
    await bench.store.create_job(uid="b", name="b", source=SOURCE, settings=b"{}", task=TASK, at=1.0)
    texts = ("Über %1", "ueber", "an ÜBER_", "x" * 10_000, "R-1")
    rows = [(n + 1, f"R-{n}", text, None, None) for n, text in enumerate(texts, 1)]
    await bench.store.commit([AddRows(2, Chunk(1, rows, 10, "d", True))])
    with bench.read() as reader:
        job = reader.job("b")

        def find(text: str, most: int = 99, **more: Any) -> Any:
            return numbers(reader.find_rows(job, RowFilter(text=text), beyond=0, limit=9, most=most, **more))

        assert find("über") == ([1, 3], 5, True)
        assert find("%") == ([1], 5, True)
        assert find("_") == ([3], 5, True)
        assert find("R-1") == ([1, 5], 5, True)
        assert find("R-") == ([5], 5, True)
        assert find("x", most=5) == ([4], 4, False), "a long text counts for several"


async def test_a_row_has_its_story_by_number_and_each_request_that_carried_it(bench: Bench) -> None:
    first = await bench.claim(1, 2)
    again = [RowResult(n, Event.RELEASE, 1) for n in (1, 2)]
    await bench.store.commit([Settle(first, Outcome.REJECTED, tuple(again), 3.0, 429)])
    second = await bench.claim(2)
    await bench.store.commit([Settle(second, Outcome.ANSWERED, (labelled(2),), 4.0)])
    third = await bench.claim(2, purpose=Purpose.VERIFY)
    with bench.read() as reader:
        job = reader.job("job")
        detail = reader.row(job, 2)
        assert (detail.row.number, detail.row.text, detail.row.label, detail.line) == (2, "text 2", "yes", 3)
        with pytest.raises(JobError, match="no row 7: its rows are 1 to 6"):
            reader.row(job, 7)

        def carried(number: int, beyond: int = 0, most: int = 9) -> Any:
            found = reader.row_requests(job, number, beyond=beyond, most=most)
            assert found.requests == [one for one in reader.requests(job) if one in found.requests]
            return [one[0] for one in found.requests], found.looked_to

        assert carried(2) == ([first, second, third], None)
        assert carried(1) == ([first], None)
        assert carried(3) == ([], None)
        assert carried(2, most=1) == ([first], first)
        assert carried(2, first, 1) == ([second], second)
        sent = [(first, 2.0, 2), (second, 2.0, 1)]  # the third is not over, and only to compare
        assert reader.sent(job, points=9) == [sent]
        assert reader.sent(job, points=1) == [sent], "the first and the last are always among them"
    await bench.again()
    other = await bench.claim(2, purpose=Purpose.VERIFY)
    with bench.read() as reader:
        job = reader.job("job")
        assert carried(2) == ([first, second, third, other], None)
        assert carried(2, third) == ([other], None)


async def test_the_input_may_lie_elsewhere_and_one_that_is_not_read_is_known(bench: Bench) -> None:
    moved = msgspec.structs.replace(SOURCE, path="/new/in.csv", more=("/new/b.csv",))
    await bench.store.set_source(moved)
    with bench.read() as reader:
        assert [job.source for job in reader.by_input("/new/in.csv\n/new/b.csv")] == [moved]
        assert reader.by_input(SOURCE.path) == []
        assert reader.unread() == []
    await bench.store.commit([AddRows(1, Chunk(7, [], 70, "digest 7", False))])
    with bench.read() as reader:
        assert [job.name for job in reader.unread()] == ["job"]


async def test_a_removed_job_leaves_the_others_and_its_labels_in_the_cache(bench: Bench) -> None:
    request = await bench.claim(1)
    remembered = (Remembered((1, 2), "yes", False),)
    await bench.store.commit([Settle(request, Outcome.ANSWERED, (labelled(1),), 3.0, remember=remembered)])
    other_run = await make_job(bench.store, "other", task=TaskRecord("task 2", "question 2", b"{}"), rows=0)
    assert other_run.first_request_id != bench.run.first_request_id
    await bench.store.choose("job")
    assert await bench.store.remove()
    with bench.read() as reader:
        assert reader.names() == {"other"}
        other = reader.job("other")
        assert list(reader.export_rows(other)) == []
        assert reader.cached_labels([(1, 2)])[(1, 2)].label == "yes"
        assert [share.job for share in reader.cache_by_job()] == [None]
    with open_check(bench.url) as check:
        assert check.differences() == []


async def test_what_a_run_wants_is_counted_and_a_reader_knows_what_it_does_not(bench: Bench) -> None:
    assert await bench.store.wanted() == 6
    request = await bench.claim(5)
    await bench.store.commit([Settle(request, Outcome.ANSWERED, (result(5, Event.FAIL),), 3.0)])
    await bench.again(up_to=2)
    assert await bench.store.wanted() == 2
    await bench.store.retry(["bad"], at=4.0)
    await bench.again(fresh=False)
    assert await bench.store.wanted() == 1
    await bench.store.commit([Beat(4.5, "", 3.0, rows_unwanted=5)])
    with open_check(bench.url) as check:
        assert check.snapshot("job").rows_unwanted == 5
