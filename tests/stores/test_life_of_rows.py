"""The life of rows in the store is that of a simple model, whatever is done to them in whatever order."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from batchjob.errors import StoreError
from batchjob.model import (
    AddRows,
    Chunk,
    Claim,
    Ending,
    InputSource,
    Job,
    RowResult,
    Settle,
    Skip,
    TaskRecord,
    Write,
)
from batchjob.ports import Store
from batchjob.records import ExportRow
from batchjob.states import TRANSITIONS, Event, JobState, Outcome, Source, State
from batchjob.stores import open_check, open_store
from tests import postgres

SOURCE = InputSource("in.csv", "csv", "utf-8", ("id", "text"), "id", "text", None, None)
TASK = TaskRecord("t", "q", b"{}")
SETTLES = (Event.COMPLETE, Event.RELEASE, Event.FAIL, Event.LOSE)
STATE, LABEL = ExportRow._fields.index("state"), ExportRow._fields.index("label")
PUT_BACK = ("bad", "worse", "unconfirmed")


class RowModel:
    """What a row should be."""

    def __init__(self) -> None:
        self.state = State.PENDING
        self.claim: int | None = None
        self.label: str | None = None
        self.kind: str | None = None  # error kind, where it counts


class LifeOfRows(RuleBasedStateMachine):
    """The store on a file, and beside it a dict that should say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory(prefix="batchjob-states-")
        self.url = self.new_url()
        self.rows: dict[int, RowModel] = {}
        self.out: dict[int, tuple[int, ...]] = {}  # request -> its rows
        self.lost: set[int] = set()
        self.done: dict[int, tuple[Any, ...]] = {}  # as it was when it was done
        self.request = 0  # the latest
        self.store: Store
        self.call(self._open(first=True))

    def new_url(self) -> str:
        return str(Path(self.folder.name) / "job.db")

    def teardown(self) -> None:
        self.call(self.store.close())
        self.loop.close()
        self.folder.cleanup()

    def call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run(work)

    async def _open(self, *, first: bool = False, hold: bool = False) -> int:
        self.store = await open_store(self.url, job="job")
        if first:
            await self.store.create_job(uid="u", name="job", source=SOURCE, settings=b"{}", task=TASK, at=1.0)
        else:
            await self.store.choose("job")
        lost = await self.store.recover(hold=hold, at=2.0)
        run = await self.store.begin_run(TASK, fresh=True, up_to=None, at=3.0)
        assert run.first_request_id > self.request
        self.request = run.first_request_id
        return lost

    def read(self) -> tuple[dict[int, Any], dict[int, Any], Any]:
        """All that can be read: each row's export record, each request's record, the snapshot of the job."""
        with open_check(self.url) as reader:
            job: Job = reader.job("job")
            rows = {record[0]: record for record in reader.export_rows(job)}
            requests = {record[0]: record for record in reader.requests(job)}
            # How long a worker was silent is another number at each look.
            return rows, requests, msgspec.structs.replace(reader.snapshot("job"), workers=())

    def commit(self, *writes: Write) -> None:
        self.call(self.store.commit(writes))

    def of(self, *states: State) -> list[int]:
        return [number for number, row in self.rows.items() if row.state in states]

    # ------------------------------------------------------------ what is done

    @precondition(lambda self: len(self.rows) < 40)
    @rule(count=st.integers(1, 8))
    def read_input(self, count: int) -> None:
        first = len(self.rows) + 1
        rows = [(n, str(n), f"text {n}", None, None) for n in range(first, first + count)]
        self.commit(AddRows(1, Chunk(first, list(rows), (first + count) * 10, f"digest {first}", False)))
        self.rows |= {number: RowModel() for number in range(first, first + count)}

    @precondition(lambda self: self.of(State.PENDING))
    @rule(data=st.data(), count=st.integers(1, 3))
    def claim(self, data: st.DataObject, count: int) -> None:
        rows = data.draw(st.lists(st.sampled_from(self.of(State.PENDING)), min_size=1, max_size=count, unique=True))
        self._claimed(tuple(rows))
        self.commit(Claim(self.request, f"k{self.request}", tuple(rows), "m", 4.0))

    def _claimed(self, rows: tuple[int, ...]) -> None:
        self.request += 1
        self.out[self.request] = rows
        for number in rows:
            row = self.rows[number]
            row.state, row.claim, row.kind = State.IN_FLIGHT, self.request, None

    @precondition(lambda self: self.out)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        self.commit(self._settled(data))

    @precondition(lambda self: self.out and self.of(State.PENDING))
    @rule(data=st.data())
    def settle_and_claim_in_one_group(self, data: st.DataObject) -> None:
        settle = self._settled(data)
        number = data.draw(st.sampled_from(self.of(State.PENDING)))  # it may be one that was just given back
        self._claimed((number,))
        self.commit(settle, Claim(self.request, f"k{self.request}", (number,), "m", 4.0))

    def _settled(self, data: st.DataObject) -> Settle:
        request = data.draw(st.sampled_from(sorted(self.out)))
        outcome = data.draw(st.sampled_from((Outcome.ANSWERED, Outcome.REJECTED, Outcome.LOST, Outcome.NOT_SENT)))
        events = {Outcome.ANSWERED: (Event.COMPLETE, Event.RELEASE, Event.FAIL), Outcome.LOST: SETTLES[1:]}
        results = []
        for number in self.out.pop(request):
            event = data.draw(st.sampled_from(events.get(outcome, (Event.RELEASE, Event.FAIL))))
            results.append(result(number, event))
            self._moved(number, event)
        if outcome is Outcome.LOST:
            self.lost.add(request)
        return Settle(request, outcome, tuple(results), 5.0, error_kind=None if outcome is Outcome.ANSWERED else "bad")

    def _moved(self, number: int, event: Event) -> None:
        row = self.rows[number]
        assert row.state in TRANSITIONS[event][0]
        row.state = TRANSITIONS[event][1]
        row.kind = result(number, event).error_kind if row.state in (State.FAILED, State.UNCONFIRMED) else None
        row.label = result(number, event).label
        if event is Event.HOLD:
            row.claim = 0

    @precondition(lambda self: self.of(State.PENDING))
    @rule(data=st.data(), event=st.sampled_from((Event.ASSIGN, Event.REJECT, Event.HOLD)))
    def settle_without_a_request(self, data: st.DataObject, event: Event) -> None:
        number = data.draw(st.sampled_from(self.of(State.PENDING)))
        self._moved(number, event)
        self.commit(Skip((result(number, event),), 5.0))

    @rule(kinds=st.lists(st.sampled_from(PUT_BACK), unique=True))
    def retry(self, kinds: list[str]) -> None:
        back = [number for number in self.of(State.FAILED, State.UNCONFIRMED) if self.rows[number].kind in kinds]
        assert self.call(self.store.retry(kinds, at=6.0)) == len(back)
        for number in back:
            self.rows[number].state = State.PENDING
            self.rows[number].claim = self.rows[number].claim or 0
            self.rows[number].kind = None

    @rule(hold=st.booleans())
    def crash(self, hold: bool) -> None:
        """What was out is lost; so are, for `hold`, rows that an earlier run wanted to send again."""
        self.call(self.store.close())
        assert self.call(self._open(hold=hold)) == len(self.out)
        self.lost |= set(self.out)
        self.out = {}
        self._recovered(hold)

    def _recovered(self, hold: bool) -> None:
        for number in self.of(State.IN_FLIGHT, *([State.PENDING] if hold else [])):
            row = self.rows[number]
            if row.state is State.IN_FLIGHT or row.claim in self.lost:
                row.state = State.UNCONFIRMED if hold else State.PENDING
                row.kind = "unconfirmed" if hold else None

    @precondition(lambda self: not self.out)
    @rule(hold=st.booleans())
    def end_and_begin_again(self, hold: bool) -> None:
        self.call(self.store.end_run(Ending(JobState.STOPPED, "", 1), at=7.0))
        self.crash(hold)

    # ------------------------------------------------------------ what must not be possible

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), event=st.sampled_from([event for event in Event if event is not Event.RETRY]))
    def a_wrong_transition(self, data: st.DataObject, event: Event) -> None:
        """In a group with one that is right: neither may happen."""
        wrong = self.of(*(state for state in State if state not in TRANSITIONS[event][0]))
        if wrong:
            self._refused(self._attempt(data.draw(st.sampled_from(wrong)), event), data)

    @precondition(lambda self: self.of(State.IN_FLIGHT))
    @rule(data=st.data(), event=st.sampled_from(SETTLES))
    def settle_under_a_claim_that_is_not_its_own(self, data: st.DataObject, event: Event) -> None:
        number = data.draw(st.sampled_from(self.of(State.IN_FLIGHT)))
        others = [request for request in self.out if request != self.rows[number].claim]  # they could be settled
        request = data.draw(st.sampled_from(others or [self.request + 1]))
        self._refused([Settle(request, Outcome.ANSWERED, (result(number, event),), 8.0)], data)

    @precondition(lambda self: self.rows)
    @rule(data=st.data(), by=st.integers(-3, 3).filter(bool))
    def a_chunk_that_does_not_follow(self, data: st.DataObject, by: int) -> None:
        first = len(self.rows) + 1 + by
        if first > 0:
            rows = [(first, str(first), "text", None, None)]
            self._refused([AddRows(1, Chunk(first, list(rows), 1, "", False))], data)

    def _attempt(self, number: int, event: Event) -> list[Write]:
        if event is Event.CLAIM:
            return [Claim(self.request + 1, "k", (number,), "m", 8.0)]
        if event in SETTLES:
            request = self.rows[number].claim or 1
            return [Settle(request, Outcome.ANSWERED, (result(number, event),), 8.0)]
        return [Skip((result(number, event),), 8.0)]

    def _refused(self, writes: list[Write], data: st.DataObject) -> None:
        right = [n for n in self.of(State.PENDING) if not any(n in numbers(write) for write in writes)]
        if right and data.draw(st.booleans()):
            writes = [Skip((result(right[0], Event.ASSIGN),), 8.0), *writes]
        before = self.read()
        with pytest.raises(StoreError):
            self.commit(*writes)
        assert self.read() == before

    # ------------------------------------------------------------ what holds all the time

    @invariant()
    def what_is_read_is_true(self) -> None:
        """All is read once, for it takes half of the time: rows, ledger and counters are as in the model."""
        rows, requests, _ = self.read()
        found = {number: (record[STATE], record[LABEL]) for number, record in rows.items()}
        assert found == {n: (row.state, row.label) for n, row in sorted(self.rows.items())}
        done = {number: record for number, record in rows.items() if record[STATE] == State.DONE}
        assert self.done.items() <= done.items(), "rows that are done never change"
        self.done = done
        out = {id_: json.loads(record[3]) for id_, record in requests.items() if record[8] is None}
        assert out == {request: list(rows) for request, rows in self.out.items()}
        with open_check(self.url) as check:
            assert list(check.differences()) == []
        counted = Counter(str(row.state) for row in self.rows.values())
        assert {name: n for name, n in self.call(self.store.counts()).items() if n} == counted

    @precondition(lambda self: not self.out)
    @rule()
    def what_is_to_be_worked_on_is_given_out_once(self) -> None:
        """A run that follows gets each pending row once; those of a lost request together, with their key."""
        self.end_and_begin_again(False)
        numbers, parcels = [], []
        while page := self.call(self.store.next_page(3)):
            numbers += [row.number for row in page.rows]
            parcels += page.parcels
        together = {parcel.lost.request_id: {row.number for row in parcel.rows} for parcel in parcels}
        lost = {n: row.claim for n, row in self.rows.items() if row.state is State.PENDING and row.claim in self.lost}
        assert together == {request: {n for n, by in lost.items() if by == request} for request in set(lost.values())}
        assert sorted(numbers) == [n for n in self.of(State.PENDING) if n not in lost]


def result(number: int, event: Event) -> RowResult:
    """One result for each event."""
    makes: dict[Event, Callable[[], RowResult]] = {
        Event.COMPLETE: lambda: RowResult(number, event, 1, 1, "yes", Source.MODEL),
        Event.ASSIGN: lambda: RowResult(number, event, label="no", source=Source.RULE, origin="r"),
        Event.LOSE: lambda: RowResult(number, event, 1, 0, error_kind="unconfirmed", error="?"),
        Event.FAIL: lambda: RowResult(number, event, 1, 0, error_kind="bad", error="?"),
        Event.RELEASE: lambda: RowResult(number, event, 1, 0, error_kind="bad", error="?"),
        Event.REJECT: lambda: RowResult(number, event, error_kind="worse", error="?"),
        Event.HOLD: lambda: RowResult(number, event, error_kind="unconfirmed", error="?"),
    }
    return makes[event]()


def numbers(write: Write) -> set[int]:
    """The rows a write is about."""
    if isinstance(write, Claim):
        return set(write.rows)
    return {row.number for row in write.rows} if isinstance(write, Settle | Skip) else set()


class LifeInPostgres(LifeOfRows):
    """The same in PostgreSQL."""

    def new_url(self) -> str:
        return postgres.clean_database()


def many(examples: int, steps: int = 40) -> settings:
    """As often as there is time for."""
    return settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        phases=[Phase.generate] if os.environ.get("NO_SHRINK") else list(Phase),
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


TestLifeOfRows = pytest.mark.timeout(600)(LifeOfRows.TestCase)  # thousands of commits, each flushed to the disk
TestLifeOfRows.settings = many(30)
TestLifeInPostgres = pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)(LifeInPostgres.TestCase)
TestLifeInPostgres.settings = many(2, 15)
