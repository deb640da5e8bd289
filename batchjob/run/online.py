"""Claim, send, decide, commit: the loop every row goes through, with its stop, its pauses and its probe.

The order is the guarantee: a claim is on disk before its request leaves, and a worker's next claim is committed no
earlier than its last result. So at any instant the claims on disk are no more than the requests that may be in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from math import inf

import msgspec

from batchjob.config import JobConfig
from batchjob.errors import DiskFull
from batchjob.exchange.decide import ADVICE, ANSWERED, PAID_KINDS, Decision, Next, Signal, backoff_seconds, decide
from batchjob.exchange.question import Asking, parcels_again
from batchjob.exchange.rows import lost_as
from batchjob.logs import Logger
from batchjob.model import (
    Answered,
    Beat,
    Chunk,
    Claim,
    Ending,
    Heard,
    Job,
    LostAs,
    Parcel,
    Remembered,
    Row,
    RowResult,
    Run,
    Settle,
)
from batchjob.money.budget import Budget
from batchjob.pace.gate import Traffic
from batchjob.pace.health import AlikeFailures
from batchjob.ports import Endpoint, Store
from batchjob.run.group_commit import GroupCommit
from batchjob.run.ingest import ingest
from batchjob.run.progress import Progress
from batchjob.run.supply import Supply
from batchjob.states import Event, JobState, Outcome, State

BEAT_SECONDS = 1.0
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
        self.progress = Progress()
        self._budget = budget
        self._asking = Asking(config, endpoint, budget)
        self._job, self._config, self._store, self._endpoint = job, config, store, endpoint
        self._chunks = chunks
        self._clock, self._wall, self._chance, self._log = clock, wall, chance, log
        self._key_prefix = key_prefix
        self._run = run
        self._request_id = run.last_request_id
        self._commits = GroupCommit(store, most_claims=-(-config.concurrency // 2), failed=self._store_failed)
        self._supply = Supply(
            job=job,
            config=config,
            store=store,
            commits=self._commits,
            terms=self._asking.terms,
            only_returned=only_returned,
            wall=wall,
            settled=self.progress.settle,
        )
        self._traffic = Traffic(config, now=clock())
        self._alike = AlikeFailures()
        self._gate = asyncio.Lock()
        self._wake: asyncio.Future[None] | None = None
        self._refill: asyncio.Task[None] | None = None
        self._ending: Ending | None = None
        self._error: BaseException | None = None
        self._no_schema: asyncio.Task[None] | None = None
        self._workers: list[asyncio.Task[None]] = []
        self._misfit = ""  # the kind of failure all rows had, where that stopped the job

    # ------------------------------------------------------------ a run from start to end

    async def run(self) -> Ending:
        """Work until every row has its end, or something stops the job.

        Raises:
            InputError: the input cannot be read on.
            StoreError: the database cannot be written.
        """
        self.progress.counts.update(await self._store.counts())
        committing = asyncio.create_task(self._commits.run())
        beating = asyncio.create_task(self._beat())
        self._supply.more_input = self._chunks is not None
        reading = asyncio.create_task(self._read_input())
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._config.concurrency)]
        try:
            await asyncio.gather(*self._workers, return_exceptions=True)
            if self.stopping:
                reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
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
        if counts[State.PENDING] or counts[State.IN_FLIGHT] or self._chunks is not None:
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
        self.progress.counts[State.PENDING] += len(chunk.rows)
        if chunk.complete:
            self._chunks = None
            self._log.info("input_ingested", rows=self.progress.total)
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
        now, supply, traffic = self._clock(), self._supply, self._traffic
        wait = traffic.seconds_to_room(now)
        if wait > 0.0:
            return wait
        if supply.wants_refill:
            self._begin_refill()
        parcel = supply.peek(now)
        if parcel is None:
            return None if supply.exhausted and not traffic.in_flight else supply.seconds_to_next(now)
        if self._budget.limited and not self._affords(parcel):
            if not traffic.in_flight:
                self.stop(Ending(JobState.OVER_BUDGET, f"the budget of {self._config.budget:g} USD is reached", 5))
            return inf if traffic.in_flight else None
        wait = traffic.admit(self._asking.tokens(parcel) if traffic.counts_tokens else 0.0, now)
        if wait > 0.0:
            return wait
        supply.take()
        traffic.in_flight += 1
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
                self._traffic.in_flight -= 1
                self._rouse()

    async def _carry(self, parcel: Parcel) -> None:
        sent_at = self._clock()  # as pacing counts: from when it was let go
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
        heard = await self._endpoint.send(body, key)
        self._conclude(parcel, LostAs(request_id, key), heard, sent_at, cost)

    def _conclude(self, parcel: Parcel, request: LostAs, heard: Heard, sent_at: float, reserved: int | None) -> None:
        decision = decide(heard)
        now = self._clock()
        whole = self._asking.gives_up_schema(parcel, decision)
        if whole:
            decision = msgspec.structs.replace(decision, next=Next.AGAIN)
            self._remember_no_schema()
        lesson = self._traffic.learn(decision, heard, parcel, sent_at=sent_at, now=now)
        if lesson.outage:
            self._log.warning("outage_noticed", kind=decision.kind, error=decision.message)
        if lesson.ending is not None:
            self.stop(lesson.ending)
        if self._traffic.counts_tokens:
            self._traffic.settle_tokens(self._asking.tokens(parcel), heard, now)
        cost = self._cost(parcel, decision, heard, reserved)
        if decision is not ANSWERED:
            self._tell(parcel, decision, heard, request.request_id)
        if parcel.verifies is not None:
            self._conclude_verification(parcel, request, decision, heard, cost)
            return
        lost = lost_as(parcel, decision, request)
        results = self._asking.results(parcel, decision, heard, lost, counts=lesson.counts and not whole)
        remember = self._supply.to_remember(results)
        self._commits.submit(_settle(request.request_id, decision, heard, results, self._wall(), cost, remember))
        for row, result in zip(parcel.rows, results, strict=True):
            if result.event is not Event.RELEASE:
                self._row_over(row, result, parcel)
        if not self.stopping:
            self._put_back(parcel, results, decision, lost, now, whole=whole)

    def _row_over(self, row: Row, result: RowResult, parcel: Parcel) -> None:
        self.progress.settle(result)
        self._supply.concluded(result)
        self._traffic.row_over(row.number)
        self._watch(result, row)
        sample = self._config.verify_sample
        if sample and len(parcel.rows) > 1 and result.event is Event.COMPLETE and self._chance() < sample:
            again = Parcel((row,), parcel.model, verifies=result.label)
            self._supply.put_back(again, self._clock())

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
            self.progress.mark(self._clock())
            if not self.stopping:
                self._commits.submit(Beat(self.progress.rows_per_second, self.pacing, self._wall()))
            await asyncio.sleep(BEAT_SECONDS)

    @property
    def requests(self) -> int:
        """Requests of this run so far."""
        return self._request_id - self._run.last_request_id

    @property
    def in_flight(self) -> int:
        """Requests that are out."""
        return self._traffic.in_flight

    @property
    def cost_usd(self) -> float | None:
        """What the job cost so far, with the worst case of what is in flight; None where no price is known."""
        return self._budget.held_usd if self._budget.priced else None

    @property
    def pacing(self) -> str:
        """What holds the job back, in a few words; "" if nothing does."""
        return self._traffic.describe(self._clock())


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
