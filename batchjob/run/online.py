"""Claim, send, conclude, commit: the loop every row goes through, with its stop, its pauses and its probe.

The order is the guarantee: a claim is on disk before its request leaves, and a worker's next claim is committed no
earlier than its last result. So at any instant the claims on disk are no more than the requests that may be in flight.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import inf

import msgspec

from batchjob.errors import DiskFull, GivenUp
from batchjob.exchange.conclude import Over
from batchjob.exchange.decide import ANSWERED, Decision, Next
from batchjob.exchange.exchange import Exchange, client_key, digest_of
from batchjob.exchange.question import Questions
from batchjob.exchange.rows import Terms
from batchjob.exchange.second import concluding
from batchjob.exchange.spending import Spending
from batchjob.logs import Logger
from batchjob.model import Answered, Beat, Chunk, Ending, Job, Outage, Parcel, Reply, Run
from batchjob.money.budget import Budget
from batchjob.money.cost import usd
from batchjob.pace.gate import Gate, Lesson
from batchjob.pace.health import AlikeFailures
from batchjob.ports import Control, Endpoint, Store
from batchjob.providers.dialect import Learned
from batchjob.run.adapting import Adapting
from batchjob.run.ending import ending_of, over_budget
from batchjob.run.group_commit import GroupCommit
from batchjob.run.ingest import ingest
from batchjob.run.progress import Progress
from batchjob.run.supply import Supply
from batchjob.run.telling import Telling
from batchjob.run.together import Together
from batchjob.run.turnstile import Turnstile
from batchjob.run.understanding import Understanding
from batchjob.settings.config import JobConfig, models_of
from batchjob.shortcuts import walk_of
from batchjob.shortcuts.case import Same
from batchjob.states import Outcome
from batchjob.task.asked import prompt_of

BEAT_SECONDS = 1.0
Clock = Callable[[], float]


class Runner:
    """One run of a job.

    clock gives monotonic seconds, wall UTC epoch seconds, chance a number in [0, 1). `chunks` is what is left of the
    input, None where all is read; `same`: how far it asks as the runs before; `learned`: what the endpoint taught.
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
        same: Same,
        key_prefix: str,
        clock: Clock,
        wall: Clock,
        chance: Clock,
        log: Logger,
        learned: Mapping[str, Learned] | None = None,
    ) -> None:
        self.progress, self.requests, self.not_sent = Progress(config), 0, 0  # of this run, those not sent included
        self._job, self._run, self._config, self._chunks, self._key_prefix = job, run, config, chunks, key_prefix
        self._store, self._endpoint, self._budget = store, endpoint, budget
        self._clock, self._wall, self._chance, self._log = clock, wall, chance, log
        self._telling, self._terms, self._concluded = Telling(log), Terms.of(config), concluding(config)
        prompt = prompt_of(config, job.source)
        self._questions = Questions(config, prompt, endpoint, budget, learned)
        self._spending, self._understanding = Spending(budget, self._questions), Understanding(config, self._questions)
        self._commits = GroupCommit(
            store, most_claims=-(-config.concurrency // 2), failed=self._store_failed, told=self._told
        )
        walk = walk_of(config)(config, job.source, prompt, job, same=same, learned=learned)
        self._supply = Supply(
            job, config, prompt, walk, store, self._commits, wall=wall, skipped=self.progress.count, shared=run.shared
        )
        self._adapting = Adapting(config, self._questions, self._supply, store, wall=wall, log=log)
        self._several_models, self._asks_for_all = len(models_of(config)) > 1, run.shared and config.dedupe != "off"
        self._gate = Gate(config, heard=run.heard, fresh=run.fresh and not run.labelled, shared=run.shared, now=clock())
        self._alike = AlikeFailures(labelled=run.labelled, shared=run.shared)
        self._turnstile: Turnstile[Parcel | None] = Turnstile(self._try)
        asked = self._commits, self._supply, self._gate, budget, self._spending, self.progress
        beside = partial(Together, clock=clock, log=log, rouse=self._turnstile.rouse, failed=self._fail)
        self._together = beside(config, store, *asked) if run.shared else None
        self._workers: list[asyncio.Task[None]] = []
        self._ending: Ending | None = None
        self._error: BaseException | None = None

    # ------------------------------------------------------------ a run from start to end

    async def run(self) -> Ending:
        """Work until every row has its end, or something stops the job.

        Raises:
            InputError: the input cannot be read on.
            StoreError: the database cannot be written.
        """
        store = self._store
        self.progress.begin(await store.counts(), await store.failures(), await store.wanted())
        committing = asyncio.create_task(self._commits.run())
        beating = asyncio.create_task(self._beat())
        beating.add_done_callback(self._task_over)
        self._supply.more_input = self.progress.reading = self._chunks is not None
        reading = asyncio.create_task(self._read_input())
        self._workers = [asyncio.create_task(self._work()) for _ in range(self._config.concurrency)]
        try:
            await asyncio.gather(*self._workers, return_exceptions=True)
            if self.stopping:
                reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        finally:
            beating.cancel()
            if self._supply.refilling:
                self._refill.cancel()
            self._commits.close()
            await asyncio.gather(committing, beating, *self._adapting.aside, return_exceptions=True)
            if self._together is not None:
                await self._together.close()
        if self._error is not None and not (isinstance(self._error, GivenUp) and self._ending):
            raise self._error
        if self._ending is not None and self._ending.puts_back:
            await store.retry([self._ending.kind], at=self._wall())
        return self._ending or await ending_of(self._store, self._config, unread=self._chunks is not None)

    def stop(self, ending: Ending) -> None:
        """Send nothing more; what is in flight is still awaited and committed. The first reason is the one told."""
        if not self.stopping:
            self._ending = ending
            if self._together is not None:
                self._together.ends(ending)
        self._turnstile.rouse()

    def _met(self, ending: Ending, often: tuple[int, int | None]) -> None:
        if self._together is None:
            self.stop(ending)
        elif not self.stopping:
            self._together.met(ending, often)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self._turnstile.rouse()

    def _task_over(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fail(error)
        self._turnstile.rouse()

    def _store_failed(self, error: BaseException) -> None:
        self._fail(error)
        if not isinstance(error, DiskFull | GivenUp):  # with these the answers that are still to come can be kept
            for worker in self._workers:
                worker.cancel()

    def _told(self, control: Control) -> None:
        """What the store answered to a commit."""
        if self._together is not None:
            self._together.told(control)
        if control.stop is not None:
            self.stop(control.stop)

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
        self._supply.more_input = self.progress.reading = False
        self._turnstile.rouse()

    def _chunk_stored(self, chunk: Chunk) -> None:
        self.progress.arrived(chunk)
        if chunk.complete:
            self._chunks = None
            self._log.info("input_ingested", rows=sum(self.progress.counts.values()))
        self._supply.arrived()
        self._turnstile.rouse()

    def _begin_refill(self) -> None:
        self._supply.refilling = True
        self._refill = asyncio.create_task(self._supply.refill())
        self._refill.add_done_callback(self._refilled)

    def _refilled(self, task: asyncio.Task[None]) -> None:
        self._supply.refilling = False
        self._task_over(task)

    # ------------------------------------------------------------ may one go out?

    def _try(self) -> Parcel | float | None:
        """A parcel that goes out now; or the seconds after which to ask again, unless something changes before."""
        if self.stopping:
            return None
        now, supply, gate = self._clock(), self._supply, self._gate
        wait = gate.seconds_to_room(now)
        if wait > 0.0:
            return wait
        if supply.wants_refill:
            self._begin_refill()
        parcel = supply.next_parcel(now)
        if parcel is None:
            return None if supply.exhausted and not gate.in_flight else supply.seconds_to_next(now)
        if self._several_models and self._adapting.waits(parcel.model):
            return inf
        if self._budget.limited and not self._spending.affords(parcel):
            need = self._questions.worst_case(parcel) or 0
            if (self._together is not None and self._together.draws(need)) or gate.in_flight:
                return inf  # what they do not cost is free again
            parcel = supply.shrink(parcel, self._spending.affords)
            if not self._spending.affords(parcel):
                worst = self._questions.worst_case(parcel) or 0
                self.stop(over_budget(self._config, self._budget.spent_usd, usd(worst)))
                return None
        wait = gate.admit(self._questions.tokens(parcel) if gate.counts_tokens else 0.0, now)
        if wait > 0.0:
            return wait
        supply.take()
        self._adapting.asks(parcel.model)
        gate.in_flight += 1
        return parcel

    # ------------------------------------------------------------ one request

    async def _work(self) -> None:
        while (parcel := await self._turnstile.next()) is not None:
            try:
                exchange = self._open(parcel)
                await self._commits.submit(exchange.claim(self._wall(), asks_for_all=self._asks_for_all))
                if self._together is not None and not await self._together.allows(exchange):
                    self.not_sent += 1
                    continue
                self.progress.sent(exchange.request_id, exchange.sent_at)
                reply = await self._endpoint.send(exchange.body, exchange.client_key)
                self._conclude(exchange, reply)
            except Exception as error:
                self._fail(error)
            finally:
                self._gate.in_flight -= 1
                if self._adapting.out:
                    self._adapting.heard(parcel.model)
                self._turnstile.rouse()

    def _open(self, parcel: Parcel) -> Exchange:
        """The request of a parcel, with the money it may cost put aside."""
        request_id = self._run.first_request_id + self.requests
        self.requests += 1
        body = self._questions.body(parcel)
        digest = digest_of(body)
        return Exchange(
            request_id,
            client_key(self._key_prefix, self.requests, parcel.lost, digest),
            parcel,
            body,
            digest,
            self._clock(),
            self._budget.price(parcel.model),
            self._spending.begin(request_id, parcel),
            self._questions.tokens(parcel) if self._gate.counts_tokens else 0.0,
        )

    def _conclude(self, exchange: Exchange, reply: Reply) -> None:
        now = self._clock()
        self.progress.back(exchange.request_id)
        decision = self._understanding.decide(exchange.parcel, reply)
        if decision is ANSWERED:
            self._adapting.understood(exchange.parcel.model, reply)
        else:
            exchange, decision = self._reconsider(exchange, reply, decision)
        lesson = self._learn(exchange, reply, decision, now)
        if decision is not ANSWERED:
            if decision.outcome is Outcome.LOST:
                exchange = self._spending.as_known_now(exchange)
            elif decision.outcome is Outcome.NOT_SENT:
                self.not_sent += 1
            if self._together is not None:
                self._together.paused()
        conclusion = self._concluded(
            exchange, reply, decision, self._terms, counts=lesson.counts, at=self._wall(), chance=self._chance
        )
        self._commits.submit(conclusion.settle)
        if (ending := self._spending.end(exchange, conclusion.settle)) is not None:
            self.stop(ending)
        if self._budget.limited:
            self._telling.passed_budget(self._budget)
        first = self._gate.first_label
        if first.waiting and (ending := first.watch(decision, reply, conclusion.settle.rows)) is not None:
            self._met(ending, first.enough)
        for over in conclusion.over:
            self._row_over(over)
        if conclusion.stop is not None:
            self.stop(conclusion.stop)
        if conclusion.again and not self.stopping:
            for parcel, seconds in conclusion.again:
                self._supply.put_back(parcel, now + max(seconds, lesson.wait))

    def _reconsider(self, exchange: Exchange, reply: Reply, decision: Decision) -> tuple[Exchange, Decision]:
        """The decision, or a better one; and the exchange, whose rows get new keys where they are asked otherwise."""
        parcel, decision = self._adapting.meet(exchange.parcel, reply, decision)
        decision = self._gate.judge(decision, reply, parcel, sent_at=exchange.sent_at)
        if decision.next is not Next.REPHRASE and self._questions.gives_up_schema(parcel, decision):
            decision = msgspec.structs.replace(decision, next=Next.REPHRASE)
            self._adapting.remember_no_schema()
        return (exchange if parcel is exchange.parcel else msgspec.structs.replace(exchange, parcel=parcel)), decision

    def _learn(self, exchange: Exchange, reply: Reply, decision: Decision, now: float) -> Lesson:
        """What a reply teaches about the endpoint."""
        lesson = self._gate.learn(decision, reply, exchange.parcel, sent_at=exchange.sent_at, now=now)
        if lesson.outage:
            self._log.warning("outage_noticed", kind=decision.kind, error=decision.message)
        elif lesson.over:
            self._log.warning("outage_over", seconds=round(lesson.over))
        if lesson.stop is not None:
            self.stop(lesson.stop)
        if self._gate.counts_tokens:
            self._gate.correct_tokens(exchange.tokens, reply, now)
        if isinstance(reply, Answered):
            if decision.outcome is Outcome.ANSWERED:
                self._spending.learn(exchange, reply)
            if reply.odd_usage is not None:
                self._telling.odd_usage(reply)
        if decision is not ANSWERED:
            self._telling.failure(exchange, decision, reply)
        return lesson

    def _row_over(self, over: Over) -> None:
        row, result, key = over.row, over.result, over.key
        self.progress.count(result)
        self._gate.row_over(row.number)
        if key is not None:
            self._supply.concluded(key, result)
        if (ending := self._alike.watch(result, row)) is not None:
            self._met(ending, self._alike.enough)

    # ------------------------------------------------------------ what others see

    async def _beat(self) -> None:
        """Once a second: what `status` shows of a run."""
        while True:
            if still := self._gate.look(self._clock()):
                slept = "it was stopped, or the machine slept"
                self._log.warning("run_stood_still", seconds=round(still), meaning=slept)
            self.progress.mark(self._clock())
            if not self.stopping:
                rate, unwanted = self.progress.rows_per_second, self.progress.unwanted
                self._commits.submit(Beat(rate, self.pacing, self._wall(), self.outage, unwanted))
                if self._together is not None:
                    self._together.beat()
            await asyncio.sleep(BEAT_SECONDS)

    @property
    def in_flight(self) -> int:
        """Requests that are out."""
        return self._gate.in_flight

    @property
    def cost_usd(self) -> float | None:
        """What the job cost so far, without what is in flight; None where no price is known."""
        return self._budget.spent_usd if self._budget.known else None

    @property
    def outage(self) -> Outage | None:
        """Since when and until when nothing is answered; None while something is."""
        return self._gate.outage(self._clock(), self._wall())

    @property
    def pacing(self) -> str:
        """What holds the job back, in a few words; "" if nothing does."""
        return self._gate.describe(self._clock())
