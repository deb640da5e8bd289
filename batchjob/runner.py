"""Claim, send, decide, commit: the loop every row goes through, with its stop, its pauses and its probe.

The order is the guarantee: a claim is on disk before its request leaves, and a worker's next claim is committed no
earlier than its last result. So at any instant the claims on disk are no more than the requests that may be in flight.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator
from math import inf

import msgspec

from batchjob.asking import Asking, parcels_again
from batchjob.budget import Budget
from batchjob.config import JobConfig
from batchjob.errors import DiskFull
from batchjob.group_commit import GroupCommit
from batchjob.health import AlikeFailures, Health
from batchjob.ingest import ingest
from batchjob.logs import Logger
from batchjob.model import (
    Answered,
    Beat,
    Chunk,
    Claim,
    Ending,
    Heard,
    Job,
    Lost,
    LostAs,
    NotSent,
    Parcel,
    Rejected,
    Remembered,
    Row,
    RowResult,
    Run,
    Settle,
)
from batchjob.pacing import Pacer
from batchjob.ports import Endpoint, Store
from batchjob.retry import ADVICE, ANSWERED, PAID_KINDS, Decision, Next, Signal, backoff_seconds, decide
from batchjob.states import TRANSITIONS, Event, JobState, Outcome, Source, State
from batchjob.supply import Supply
from batchjob.verdict import lost_as

BEAT_SECONDS = 1.0
RATE_SECONDS = 15
"""Rows per second are those of so many last seconds."""
OF_THE_ROW = frozenset({"content_filter", "too_long", "filtered_answer", "refused_by_model"})
"""Failures that say nothing of the job: however many rows fail so, the others go on."""

Clock = Callable[[], float]


class Runner:
    """One run of a job.

    clock gives monotonic seconds, wall UTC epoch seconds, chance a number in [0, 1). `chunks` is what is left of the
    input, None where all of it is in the work table; `only_returned` leaves out rows that were never tried.
    """

    def __init__(
        self,
        *,
        job: Job,
        run: Run,
        config: JobConfig,
        store: Store,
        endpoint: Endpoint,
        budget: Budget,
        chunks: Iterator[Chunk] | None,
        only_returned: bool,
        key_prefix: str,
        clock: Clock,
        wall: Clock,
        chance: Clock,
        log: Logger,
    ) -> None:
        self._budget = budget
        self._asking = Asking(config, endpoint, budget)
        self._job, self._config, self._store, self._endpoint = job, config, store, endpoint
        self._chunks = chunks
        self._clock, self._wall, self._chance, self._log = clock, wall, chance, log
        self._key_prefix = key_prefix
        self._request_id = run.last_request_id
        self._commits = GroupCommit(store, failed=self._store_failed)
        self._supply = Supply(
            job=job,
            config=config,
            store=store,
            commits=self._commits,
            terms=self._asking.terms,
            only_returned=only_returned,
            wall=wall,
            settled=self._count,
        )
        self._pacer = Pacer(rpm=config.rpm, tpm=config.tpm, concurrency=config.concurrency, now=clock())
        self._health = Health(now=clock())
        self._alike = AlikeFailures()
        self._gate = asyncio.Lock()
        self._wake: asyncio.Future[None] | None = None
        self._refill: asyncio.Task[None] | None = None
        self._ending: Ending | None = None
        self._error: BaseException | None = None
        self._no_schema: asyncio.Task[None] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._misfit = ""  # the kind of failure all rows had, where that stopped the job
        self._rate_marks: deque[tuple[float, int]] = deque(maxlen=RATE_SECONDS)
        self.in_flight = 0
        self.counts: Counter[str] = Counter()
        self.rows_per_second: float | None = None

    # ------------------------------------------------------------ a run from start to end

    async def run(self) -> Ending:
        """Work until every row has its end, or something stops the job.

        Raises:
            InputError: the input cannot be read on.
            StoreError: the database cannot be written.
        """
        self.counts.update(await self._store.counts())
        committing = asyncio.create_task(self._commits.run())
        beating = asyncio.create_task(self._beat())
        self._supply.more_input = self._chunks is not None
        reading = asyncio.create_task(self._read_input())
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._config.concurrency)]
        try:
            await asyncio.gather(*self._workers, return_exceptions=True)
            await reading
        finally:
            for task in (beating, self._refill):
                if task is not None:
                    task.cancel()
            self._commits.close()
            others = [self._no_schema] if self._no_schema else []
            await asyncio.gather(committing, beating, *others, return_exceptions=True)
        if self._error is not None:
            raise self._error
        return await self._how_it_ended()

    async def _how_it_ended(self) -> Ending:
        if self._misfit and self._misfit not in PAID_KINDS:
            # Nothing was paid, and not the rows but the job was at fault: they are to be tried anew.
            await self._store.retry([self._misfit], at=self._wall())
        if self._ending is not None:
            return self._ending
        counts = await self._store.counts()
        failed = counts[State.FAILED] + counts[State.UNCONFIRMED]
        code = 4 if failed else 0
        if counts[State.PENDING] or self._chunks is not None:
            limit = self._config.limit
            reason = f"the first {limit} rows are done (--limit)" if limit else "rows are left"
            return Ending(JobState.STOPPED, reason, code)
        return Ending(JobState.FINISHED, "", code)

    def stop(self, ending: Ending) -> None:
        """Send nothing more; what is in flight is still awaited and committed. The first reason is the one told."""
        if not self.stopping:
            self._ending = ending
        self._rouse()

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._rouse()

    def _store_failed(self, error: BaseException) -> None:
        self._fail(error)
        if not isinstance(error, DiskFull):  # with a full disk the answers that are still to come can be kept
            for worker in self._workers:
                worker.cancel()

    @property
    def stopping(self) -> bool:
        """Nothing more is sent; what is in flight is awaited."""
        return self._ending is not None or self._error is not None

    # ------------------------------------------------------------ rows come in

    async def _read_input(self) -> None:
        if self._chunks is not None:
            try:
                await ingest(
                    self._chunks,
                    self._commits,
                    job_id=self._job.id,
                    limit=self._config.limit,
                    stored=self._chunk_stored,
                    stopping=lambda: self.stopping,
                )
            except Exception as error:
                self._fail(error)
        self._supply.more_input = False
        self._rouse()

    def _chunk_stored(self, chunk: Chunk) -> None:
        self.counts[State.PENDING] += len(chunk.rows)
        if chunk.complete:
            self._chunks = None
            self._log.info("input_ingested", rows=sum(self.counts.values()))
        self._supply.arrived()
        self._rouse()

    def _begin_refill(self) -> None:
        self._supply.refilling = True
        self._refill = asyncio.create_task(self._supply.refill())
        self._refill.add_done_callback(self._refilled)

    def _refilled(self, task: asyncio.Task[None]) -> None:
        self._supply.refilling = False
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        self._rouse()

    # ------------------------------------------------------------ the gate

    def _rouse(self) -> None:
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    async def _next(self) -> Parcel | None:
        """The parcel to send now, when it may be sent; None when there is nothing more to send."""
        if not self._gate.locked():
            found = self._try()
            if not isinstance(found, float):
                return found
        async with self._gate:
            while isinstance(found := self._try(), float):
                await self._sleep(found)
        return found

    async def _sleep(self, seconds: float) -> None:
        """Until something changes, or so many seconds."""
        loop = asyncio.get_running_loop()
        self._wake = loop.create_future()
        timer = loop.call_later(seconds, self._rouse) if seconds < inf else None
        await self._wake
        if timer is not None:
            timer.cancel()

    def _try(self) -> Parcel | float | None:
        """A parcel that goes out now; or the seconds after which to ask again, unless something changes before."""
        if self.stopping:
            return None
        now = self._clock()
        if self._health.probing:
            if self.in_flight:
                return inf
            if now < self._health.probe_at:
                return self._health.probe_at - now
        elif self.in_flight >= self._pacer.concurrency:
            return inf
        supply = self._supply
        if supply.wants_refill:
            self._begin_refill()
        parcel = supply.peek(now)
        if parcel is None:
            return None if supply.exhausted and not self.in_flight else supply.seconds_to_next(now)
        if self._budget.limited and not self._affords(parcel):
            if not self.in_flight:
                self.stop(Ending(JobState.OVER_BUDGET, f"the budget of {self._config.budget:g} USD is reached", 5))
            return inf if self.in_flight else None
        wait = self._pacer.admit(self._asking.tokens(parcel) if self._pacer.counts_tokens else 0.0, now)
        if wait > 0.0:
            return wait
        supply.take()
        self.in_flight += 1
        return parcel

    def _affords(self, parcel: Parcel) -> bool:
        """Whether the budget has room for the worst this request can cost."""
        return self._budget.affords(self._asking.worst_case(parcel) or 0)

    # ------------------------------------------------------------ one request

    async def _work(self) -> None:
        while (parcel := await self._next()) is not None:
            try:
                await self._carry(parcel)
            except Exception as error:
                self._fail(error)
            finally:
                self.in_flight -= 1
                self._rouse()

    async def _carry(self, parcel: Parcel) -> None:
        self._request_id += 1
        request_id = self._request_id
        key = parcel.lost.client_key if parcel.lost else f"{self._key_prefix}-{request_id}"
        cost = self._asking.worst_case(parcel)
        if cost is not None:
            self._budget.reserve(cost)
        body = self._asking.body(parcel)
        numbers = tuple([row.number for row in parcel.rows])
        claim = Claim(
            request_id,
            key,
            numbers,
            parcel.model,
            self._wall(),
            parcel.lost is not None,
            cost,
            parcel.verifies is not None,
        )
        await self._commits.submit(claim)
        sent_at = self._clock()
        heard = await self._endpoint.send(body, key)
        self._conclude(parcel, LostAs(request_id, key), heard, sent_at, cost)

    def _conclude(self, parcel: Parcel, request: LostAs, heard: Heard, sent_at: float, reserved: int | None) -> None:
        decision = decide(heard)
        now = self._clock()
        whole = self._asking.gives_up_schema(parcel, decision)
        if whole:
            decision = msgspec.structs.replace(decision, next=Next.AGAIN)
            self._remember_no_schema()
        counts = self._take_signal(decision, heard, parcel, sent_at, now)
        if self._pacer.counts_tokens:
            self._settle_tokens(parcel, heard, now)
        cost = self._cost(parcel, decision, heard, reserved)
        if decision is not ANSWERED:
            self._tell(parcel, decision, heard, request.request_id)
        if parcel.verifies is not None:
            self._conclude_verification(parcel, request, decision, heard, cost)
            return
        lost = lost_as(parcel, decision, request)
        results = self._asking.results(parcel, decision, heard, lost, counts=counts and not whole)
        remember = self._to_remember(results)
        self._commits.submit(_settle(request.request_id, decision, heard, results, self._wall(), cost, remember))
        for row, result in zip(parcel.rows, results, strict=True):
            if result.event is not Event.RELEASE:
                self._row_over(row, result, parcel)
        if not self.stopping:
            self._put_back(parcel, results, decision, lost, now, whole=whole)

    def _row_over(self, row: Row, result: RowResult, parcel: Parcel) -> None:
        self._count(result)
        self._supply.concluded(result, parcel.model)
        self._health.forget(row)
        self._watch(result, row)
        sample = self._config.verify_sample
        if sample and len(parcel.rows) > 1 and result.event is Event.COMPLETE and self._chance() < sample:
            again = Parcel((row,), parcel.model, verifies=result.label)
            self._supply.put_back(again, self._clock())

    def _to_remember(self, results: tuple[RowResult, ...]) -> tuple[Remembered, ...]:
        """The labels that go into the cache."""
        found = []
        for result in results:
            if result.label is not None and (key := self._supply.key_of(result.number)) is not None:
                found.append(Remembered(key, result.label, result.source is Source.FALLBACK))
        return tuple(found)

    def _cost(self, parcel: Parcel, decision: Decision, heard: Heard, reserved: int | None) -> int | None:
        """What the request cost, and the rest of what was reserved is free again. A lost one may have cost it all."""
        if reserved is None or decision.outcome is Outcome.LOST:
            return reserved
        cost: int | None = 0
        if isinstance(heard, Answered):
            cost = self._budget.cost(parcel.model, heard.usage)
            if heard.usage and heard.usage.input_tokens:
                self._asking.learn_usage(parcel, heard.usage)
        self._budget.settle(reserved, cost)
        return cost

    def _conclude_verification(
        self, parcel: Parcel, request: LostAs, decision: Decision, heard: Heard, cost: int | None
    ) -> None:
        """A labelled row was asked once more, alone: only whether the labels agree is kept."""
        agreed = None
        if decision.next is Next.READ and isinstance(heard, Answered):
            agreed = self._asking.terms.labels.match(heard.content or "") == parcel.verifies
        self._commits.submit(_settle(request.request_id, decision, heard, (), self._wall(), cost, (), agreed))

    def _remember_no_schema(self) -> None:
        self._config = msgspec.structs.replace(self._config, response_format=False)
        self._log.warning("response_format_refused", now="many rows are asked for without it")
        self._no_schema = asyncio.create_task(self._store.set_settings(msgspec.json.encode(self._config)))

    def _take_signal(self, decision: Decision, heard: Heard, parcel: Parcel, sent_at: float, now: float) -> bool:
        """Tell pacing and health what was heard; whether it costs the rows an attempt."""
        pacer = self._pacer
        wait = heard.retry_after_seconds if isinstance(heard, Rejected | Lost) else None
        if isinstance(heard, Answered | Rejected) and heard.limits is not None:
            pacer.learn(heard.limits, now)
        if decision.next is Next.STOP:
            self._refuse(decision)
            return False
        if decision.signal is Signal.GOOD:
            self._health.good(now, parcel.rows)
            pacer.went_well(now, self.in_flight)
            return True
        if decision.signal is Signal.RATE_LIMITED:
            pacer.rate_limited(wait, sent_at, now)
            self._health.told_to_wait(wait or 0.0, now, most=self._config.max_outage)
            counts = False
        else:
            if wait:
                pacer.pause(wait, now)
            if decision.overload:
                pacer.overloaded(now, self.in_flight)
            counts = self._bad(decision, parcel, now)
        down = self._health.down_seconds(now)
        if down > self._config.max_outage:
            self.stop(Ending(JobState.STOPPED, f"no answer for {down:.0f} s (--max-outage): {decision.message}", 1))
        return counts

    def _settle_tokens(self, parcel: Parcel, heard: Heard, now: float) -> None:
        """A request was charged its estimate; put that right, where the usage is known or nothing was done."""
        if isinstance(heard, Answered) and heard.usage:
            self._pacer.settle(self._asking.tokens(parcel), heard.usage.input_tokens + heard.usage.output_tokens, now)
        elif isinstance(heard, NotSent | Rejected):
            self._pacer.settle(self._asking.tokens(parcel), 0.0, now)

    def _bad(self, decision: Decision, parcel: Parcel, now: float) -> bool:
        before = self._health.outage_since
        counts = self._health.bad(decision.signal, parcel.rows[0], now)
        if before is None and self._health.outage_since is not None:
            self._log.warning("outage_noticed", kind=decision.kind, error=decision.message)
        return counts

    def _refuse(self, decision: Decision) -> None:
        advice = ADVICE.get(decision.kind, "")
        self.stop(Ending(JobState.REFUSED, f"{decision.message}. What to do: {advice}", 3))

    def _watch(self, result: RowResult, row: Row) -> None:
        """Stop the job where all rows fail alike: it is not the rows then."""
        if result.event is Event.COMPLETE:
            self._alike.labelled()
        elif result.event is Event.FAIL and result.error_kind not in OF_THE_ROW:
            kind = result.error_kind or ""
            if self._alike.failed(kind, row) and not self.stopping:
                self._misfit = kind
                reason = f"row after row failed alike ({kind}: {result.error}). What to do: {ADVICE.get(kind, '')}"
                self.stop(Ending(JobState.REFUSED, reason, 3))

    def _put_back(
        self,
        parcel: Parcel,
        results: tuple[RowResult, ...],
        decision: Decision,
        lost: LostAs | None,
        now: float,
        *,
        whole: bool,
    ) -> None:
        """Queue what was released for another try."""
        if decision is ANSWERED and len(results) == 1 and results[0].event is Event.COMPLETE:
            return
        for again in parcels_again(parcel, results, decision, lost, whole=whole):
            due = now
            if decision.next in (Next.AGAIN, Next.RESEND) and decision.signal in (Signal.UNAVAILABLE, Signal.ERRED):
                due += backoff_seconds(max(again.rows[0].attempts, 1), self._chance())
            self._supply.put_back(again, due)

    # ------------------------------------------------------------ what others see

    def _count(self, result: RowResult) -> None:
        state = TRANSITIONS[result.event][1]
        if state is not State.PENDING:
            self.counts[State.PENDING] -= 1
            self.counts[state] += 1

    def _tell(self, parcel: Parcel, decision: Decision, heard: Heard, request_id: int) -> None:
        tell = self._log.debug if decision.next is Next.AGAIN else self._log.info
        tell(
            f"request_{decision.outcome}",
            kind=decision.kind,
            error=decision.message,
            row=parcel.rows[0].number,
            attempt=parcel.rows[0].attempts + 1,
            request=request_id,
            request_id=getattr(heard, "request_id", None),
        )

    async def _beat(self) -> None:
        """Once a second: what `status` shows of a run."""
        while True:
            now = self._clock()
            self._rate_marks.append((now, self.settled))
            since, then = self._rate_marks[0]
            self.rows_per_second = (self.settled - then) / (now - since) if now - since > 0.5 else None
            if not self.stopping:
                self._commits.submit(Beat(self.rows_per_second, self.pacing, self._wall()))
            await asyncio.sleep(BEAT_SECONDS)

    @property
    def settled(self) -> int:
        """Rows that have their end, for now."""
        return self.counts[State.DONE] + self.counts[State.FAILED] + self.counts[State.UNCONFIRMED]

    @property
    def pacing(self) -> str:
        """What holds the job back, in a few words; "" if nothing does."""
        now = self._clock()
        if self._health.outage_since is not None:
            wait = max(self._health.probe_at - now, 0)
            return f"outage since {now - self._health.outage_since:.0f} s: next probe in {wait:.0f} s"
        return self._pacer.describe(now, self.in_flight)


def _settle(
    request_id: int,
    decision: Decision,
    heard: Heard,
    results: tuple[RowResult, ...],
    at: float,
    cost: int | None,
    remember: tuple[Remembered, ...],
    agreed: bool | None = None,
) -> Settle:
    answered = isinstance(heard, Answered)
    return Settle(
        request_id,
        decision.outcome,
        results,
        at,
        status=200 if answered else getattr(heard, "status", None),
        provider_id=getattr(heard, "request_id", None),
        usage=heard.usage if isinstance(heard, Answered) else None,
        cost=cost,
        error_kind=decision.kind or None,
        error=decision.message or None,
        remember=remember,
        agreed=agreed,
    )
