"""A run beside others of its job: what the store says of them, and what is asked of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from batchjob.errors import StoreError
from batchjob.exchange.exchange import Exchange
from batchjob.exchange.spending import Spending
from batchjob.logs import Logger
from batchjob.model import EndAll, Ending, NotSent
from batchjob.money.budget import Budget
from batchjob.money.cost import picousd
from batchjob.pace.gate import STILL_SECONDS, Gate
from batchjob.ports import ENDS_ALL, SURE, Control, Store
from batchjob.run.group_commit import GroupCommit
from batchjob.run.progress import Progress
from batchjob.run.supply import Supply
from batchjob.settings.config import JobConfig

AGAIN_SECONDS = 1.0
"""Until others are asked again for what they may leave."""
SILENT_SECONDS = 10.0
"""Without an answer of the store, to a sign of life a second: then it is said."""
AHEAD = 2
"""Money is drawn for so many times the requests that may be in flight, if there is so much."""
TRIES = 5
"""Commits in a row that may be too slow for a request to leave behind them."""
REFUSED = NotSent("asked_elsewhere", "")


class Together:
    """What a run of a shared store does that one alone has no need of. `rouse` is called when more may go out, and
    `failed` with what the run cannot go on after.
    """

    def __init__(
        self,
        config: JobConfig,
        store: Store,
        commits: GroupCommit,
        supply: Supply,
        gate: Gate,
        budget: Budget,
        spending: Spending,
        progress: Progress,
        *,
        clock: Callable[[], float],
        log: Logger,
        rouse: Callable[[], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._config, self._store, self._commits, self._supply = config, store, commits, supply
        self._gate, self._budget, self._spending, self._progress = gate, budget, spending, progress
        self._clock, self._log, self._rouse, self._failed = clock, log, rouse, failed
        self._refused: set[int] = set()
        self._stop: Ending | None = None  # as all were told
        self._runs = 1
        self._told_until = 0.0  # when the pause is over that others began
        self._drawing: asyncio.Task[None] | None = None
        self._drawn_dry = False
        self._beating: asyncio.Task[None] | None = None
        self._asking: asyncio.Task[None] | None = None
        self._looked_at = self._told_at = clock()
        self._silent = False
        self._aside: set[asyncio.Task[None]] = set()

    def told(self, control: Control) -> None:
        """What the store answered to a commit."""
        now = self._clock()
        if control.runs != self._runs:
            self._runs = control.runs
            self._gate.share(control.runs)
        self._gate.wait_for_first(not control.may_send)
        if control.pause > 0.0:
            self._told_until = now + control.pause
            self._gate.pause(control.pause, now)
        if control.lost:
            self._log.warning("requests_of_dead_workers", requests=control.lost, meaning="counted as lost")
        self._refused.update(control.refused)
        self._stop = control.stop
        if self._silent:
            self._silent = False
            self._log.warning("database_answers", seconds=round(now - self._told_at))
        self._told_at = now
        self._rouse()

    def _look_whether_told(self, now: float) -> None:
        """Say it, once, where the store does not answer a sign of life: a person would see nothing but a still job."""
        gap, self._looked_at = now - self._looked_at, now
        if gap > STILL_SECONDS:  # this process stood still: nobody could be heard
            self._told_at += gap
        silent = now - self._told_at
        if silent > SILENT_SECONDS and not self._silent:
            self._silent = True
            said = "nothing new is sent until it answers; it is waited for, ten minutes at most"
            self._log.warning("database_silent", seconds=round(silent), meaning=said)

    # ------------------------------------------------------------ what ends all

    def ends(self, ending: Ending) -> None:
        """This run sends nothing more: nor do the others, if they could not go on either."""
        if ending.state in ENDS_ALL and ending is not self._stop:
            self._commits.submit(EndAll(ending))

    def met(self, ending: Ending, often: tuple[int, int | None]) -> None:
        """What ends the job if all its runs together have met it so often. The store counts, and says so to all."""
        self._commits.submit(EndAll(ending, *often))

    # ------------------------------------------------------------ may it leave?

    async def allows(self, exchange: Exchange) -> bool:
        """Whether a request may leave whose claim was committed. If not, its rows wait for who asks for their texts."""
        if exchange.request_id in self._refused:
            self._refused.discard(exchange.request_id)
            self._spending.take_back(exchange)
            self._gate.correct_tokens(exchange.tokens, REFUSED, self._clock())
            self._supply.refused(exchange.parcel)
            return False
        while not self._store.may_send():
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._be_sure())
            await asyncio.shield(self._asking)
        return True

    async def _be_sure(self) -> None:
        """Ask the store, for all whose requests wait, until they may leave."""
        for _ in range(TRIES):
            self.told(await self._store.commit(()))
            if self._store.may_send():
                return
        raise StoreError(
            f"the database takes longer for a commit than a request may wait with --lease {self._config.lease:g}: "
            f"{SURE:g} of it, {TRIES} times in a row. Resume with a longer --lease"
        )

    def paused(self) -> None:
        """A request was not answered well: if all are to wait for it here, so they do elsewhere."""
        until = self._gate.paused_until
        if until > self._told_until + 0.1 and (seconds := until - self._clock()) > 0.0:
            self._told_until = until
            task = asyncio.create_task(self._store.pause(seconds))
            self._aside.add(task)
            task.add_done_callback(self._told_others)

    def _told_others(self, task: asyncio.Task[None]) -> None:
        self._aside.discard(task)
        if not task.cancelled():
            task.exception()  # the next commit says so

    # ------------------------------------------------------------ money

    def draws(self, need: int) -> bool:
        """Whether more of the budget is being asked for; if not, there is not so much left."""
        if self._drawing is None and not self._drawn_dry:
            self._drawing = asyncio.create_task(self._draw(need))
        self._drawn_dry = False
        return self._drawing is not None

    async def _draw(self, need: int) -> None:
        try:
            more = await self._ask_for(need)
            if self._budget.affords(need):
                return
            if more:
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                self._drawn_dry = True
        except Exception as error:  # nobody awaits it, and without money nothing leaves
            self._failed(error)
        finally:
            self._drawing = None
            self._rouse()

    async def _ask_for(self, need: int) -> bool:
        """Draw; whether others may leave more."""
        limit = picousd(self._config.budget or 0)
        want = AHEAD * need * self._config.concurrency
        held = self._budget.hold_back()  # what it does not hold is anybody's while the store is asked
        drawn = await self._store.draw(limit, held=held, need=need, want=want)
        self._budget.allow(drawn.allowance or 0, spent=drawn.spent)
        return drawn.more

    # ------------------------------------------------------------ each second

    def beat(self) -> None:
        """Others may have left rows or money, or settled rows; and this run may have some to leave. Where the store is
        away nobody waits for it here: that is no standing still.
        """
        self._look_whether_told(self._clock())
        if self._beating is None or self._beating.done():
            self._beating = asyncio.create_task(self._look_around())

    async def _look_around(self) -> None:
        try:
            await self._ask_others()
        except StoreError:
            pass  # the next commit says so
        except Exception as error:
            self._failed(error)

    async def _ask_others(self) -> None:
        self._supply.look_again()
        if self._budget.limited and not self._gate.in_flight and self._drawing is None:
            await self._ask_for(0)
        if self._runs > 1:
            self._progress.refresh(await self._store.counts(), await self._store.failures())
        self._rouse()

    async def close(self) -> None:
        """Wait for what is still on its way to the store."""
        going_on = [task for task in (self._drawing, self._beating, self._asking) if task is not None]
        for task in going_on:
            task.cancel()
        await asyncio.gather(*going_on, *self._aside, return_exceptions=True)
