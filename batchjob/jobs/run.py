"""A plan, carried out: input, store, endpoint and the loop of a run are put together here.

Nothing here parses a command, prints, hears a signal or tunes the process; the command line, a notebook or a page does,
and calls this.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from batchjob.errors import BatchjobError, GivenUp, JobBusy
from batchjob.exchange.second import ANSWERABLE
from batchjob.jobs.exports import export
from batchjob.jobs.plans import Plan, by_hand
from batchjob.logs import Logger
from batchjob.model import Ending, Job
from batchjob.money.budget import Budget
from batchjob.money.cost import KnownPrice, picousd
from batchjob.money.prices import prices_of
from batchjob.ports import Endpoint, Store
from batchjob.providers.dialect import Learned, dialect_of, differences, learned_of, place_of, tells_cost
from batchjob.providers.table import provider_of
from batchjob.run.online import Runner
from batchjob.settings.config import JobConfig, models_of
from batchjob.settings.endpoint import SANDBOX_URL
from batchjob.states import JobState, plain_kind
from batchjob.stores import open_reader, open_store
from batchjob.stores.moving import refuse_moved
from batchjob.task.identity import Task
from batchjob.views.live import Live
from batchjob.views.outage import outage_words

# ---------------------------------------------------------------- a run


class Ended(NamedTuple):
    """How a run ended."""

    ending: Ending
    seconds: float
    requests: int  # that were sent
    not_sent: int


Attend = Callable[[Runner], contextlib.AbstractAsyncContextManager[None]]
"""What goes on beside a run: progress is shown, signals are handled."""


@contextlib.asynccontextmanager
async def unattended(runner: Runner) -> AsyncIterator[None]:
    """Nothing goes on beside the run."""
    yield


def loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop's event loop where it is installed, else the standard one."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return factory


def ends_of(config: JobConfig) -> int:
    """Open files that a request in flight takes: where the sandbox answers, both ends of its connection are here."""
    return 2 if config.sandbox else 1


def figures(runner: Runner, began: float) -> Live:
    """How far a run is that began at this monotonic time. Asked in its event loop."""
    progress, now, outage = runner.progress, time.monotonic(), runner.outage
    rate = progress.rows_per_second
    return Live(
        settled=progress.settled,
        total=progress.total,
        reading=progress.reading,
        failed=progress.failed,
        last_kind=progress.last_kind,
        rows_per_second=rate,
        eta_seconds=progress.left / rate if rate and not progress.reading and not outage else None,
        seconds=now - began,
        cost_usd=runner.cost_usd,
        in_flight=runner.in_flight,
        oldest_seconds=progress.oldest_seconds(now),
        held_back=outage_words(outage) if outage else runner.pacing,
    )


async def run(
    plan: Plan,
    *,
    key: str | None,
    log: Logger,
    key_command: str | None = None,
    attend: Attend = unattended,
    most_in_flight: int | None = None,
) -> Ended:
    """Carry out a plan. The labels are in the database, and in `output` where the settings name one.

    Args:
        key_command: asked for another key when the endpoint refuses this one.
        most_in_flight: what this machine has room for; the settings may ask for more.

    Raises:
        BatchjobError: it could not begin, or the input or the database failed in the middle; what was answered is kept.
    """
    config, began = plan.config, time.monotonic()
    prices = prices_of(config, told=tells_cost(config))
    store = await open_store(plan.db, job=plan.name, lease=config.lease)
    try:
        log = log.bind(job=plan.name)
        await _choose_job(store, plan, log)
        config = _within(most_in_flight, config, log)
        if plan.retry_kinds:
            await _put_back(plan, plan.retry_kinds, store, log)
        async with _endpoint(config, key, key_command, log) as endpoint:
            if not plan.joins:
                await store.set_prices(await _all_prices(store, prices))
            runner, ending = await _work(plan, config, store, endpoint, prices, log, attend)
    finally:
        await store.close()
    if config.output:
        with open_reader(plan.db) as reader:
            export(reader, reader.job(plan.name), config.output, what="--output")
    return Ended(ending, time.monotonic() - began, runner.requests - runner.not_sent, runner.not_sent)


async def _work(
    plan: Plan,
    config: JobConfig,
    store: Store,
    endpoint: Endpoint,
    prices: Mapping[str, KnownPrice | None],
    log: Logger,
    attend: Attend,
) -> tuple[Runner, Ending]:
    """A run to its end; and where others took it for dead, for it was stopped or cut off, another one."""
    while True:
        runner = await _runner(plan, config, store, endpoint, prices, log)
        try:
            return runner, await _attended(runner, store, attend)
        except GivenUp as error:
            if not (await store.job()).ingested and not plan.joins:
                raise
            log.warning("worker_taken_for_dead", meaning=str(error), now="a new one begins here")
            plan = plan._replace(chunks=None)


async def _runner(
    plan: Plan,
    config: JobConfig,
    store: Store,
    endpoint: Endpoint,
    prices: Mapping[str, KnownPrice | None],
    log: Logger,
) -> Runner:
    """A run, begun in the database."""
    learned = learned_of(await store.learned(place_of(config)), config)
    _tell_dialects(config, learned, log)
    task, fresh = Task.of(config).record(), plan.retry_kinds is None
    begun = await store.begin_run(task, fresh=fresh, up_to=config.limit, at=time.time())
    drawn = await store.draw(None if config.budget is None else picousd(config.budget))
    return Runner(
        job=await store.job(),
        run=begun,
        config=config,
        store=store,
        endpoint=endpoint,
        budget=Budget(prices, spent=drawn.spent, allowance=drawn.allowance),
        chunks=plan.chunks,
        same=plan.same,
        key_prefix=f"bj-{secrets.token_hex(6)}",
        clock=time.monotonic,
        wall=time.time,
        chance=random.random,
        log=log,
        learned=learned,
    )


def _tell_dialects(config: JobConfig, learned: Mapping[str, Learned], log: Logger) -> None:
    """Say in what requests differ from OpenAI's own form, and who says so."""
    provider = provider_of(config.base_url, config.provider).name
    for model in models_of(config):
        if how := differences(dialect_of(config, model, learned.get(model))):
            log.info("asked_as", provider=provider or "unknown", model=model, how=how)


async def _all_prices(store: Store, prices: Mapping[str, KnownPrice | None]) -> bytes:
    """The prices of this run, and those of models that runs before asked."""
    before = msgspec.json.decode((await store.job()).prices, type=dict[str, KnownPrice])
    return msgspec.json.encode({**before, **{model: price for model, price in prices.items() if price}})


async def _attended(runner: Runner, store: Store, attend: Attend) -> Ending:
    """Run, and write down how it ended, also when it ended with an error."""
    try:
        async with attend(runner):
            ending = await runner.run()
    except GivenUp:
        raise
    except BatchjobError as error:
        with contextlib.suppress(BatchjobError):
            await store.end_run(Ending(JobState.STOPPED, str(error), error.exit_code, "error"), at=time.time())
        raise
    await store.end_run(ending, at=time.time())
    return ending


async def _choose_job(store: Store, plan: Plan, log: Logger) -> None:
    """Make the job, or go on with it; nobody else has worked on it since the plan was made.

    Raises:
        JobBusy: somebody has.
    """
    settings = msgspec.json.encode(plan.config)
    if isinstance(plan.job, Job) and plan.joins:
        await store.join(plan.name, plan.job.settings)
        await _recover(store, plan.config, log)
        return
    if isinstance(plan.job, Job):
        await store.choose(plan.job.name)
        refuse_moved(await store.job())
        await _recover(store, plan.config, log)  # before anything is changed: it sees that nobody else works on it
        if plan.chunks is not None and (await store.job()).rows != plan.job.rows:
            raise JobBusy(f"another process has worked on job {plan.name!r} meanwhile: give the same command again")
        await store.set_settings(settings)
        if plan.moved is not None:
            await store.set_source(plan.moved)
        return
    with open_reader(plan.db) as reader:
        if plan.name in reader.names():
            raise JobBusy(f"another process has begun job {plan.name!r} meanwhile: give the same command again")
    await store.create_job(
        uid=secrets.token_hex(8),
        name=plan.name,
        source=plan.source,
        settings=settings,
        task=Task.of(plan.config).record(),
        at=time.time(),
    )
    await _recover(store, plan.config, log)


async def _put_back(plan: Plan, kinds: Sequence[str], store: Store, log: Logger) -> None:
    """Put the rows back that a retry asks for: those of which the first model gave all it had are the second one's."""
    second = plan.config.second_model is not None and plan.same.first
    theirs = [kind for kind in kinds if second and plain_kind(kind) in ANSWERABLE]
    others = [kind for kind in kinds if kind not in theirs]
    labelled = by_hand(plan.db, await store.job())
    back = await store.retry(others, at=time.time(), but=labelled)
    if theirs:
        back += await store.retry(theirs, at=time.time(), but=labelled, second=True)
    log.info("rows_put_back", rows=back, **({"labelled_by_hand": len(labelled)} if labelled else {}))


def _within(most: int | None, config: JobConfig, log: Logger) -> JobConfig:
    """The settings with no more requests in flight than this machine has room for; those that are kept stay."""
    if most is None or config.concurrency <= most:
        return config
    log.warning(
        "concurrency_lowered",
        to=most,
        wanted=config.concurrency,
        meaning="each connection is an open file, and no more are allowed here: ulimit -n",
    )
    return msgspec.structs.replace(config, concurrency=most)


async def _recover(store: Store, config: JobConfig, log: Logger) -> None:
    hold = config.on_unconfirmed == "hold"
    lost = await store.recover(hold=hold, at=time.time())
    if lost:
        log.warning(
            "requests_left_in_flight",
            requests=lost,
            meaning="the process before died while they were out, so they may have been paid",
            now="held, as unconfirmed" if hold else "sent again, with the same idempotency keys if nothing changed",
        )


@contextlib.asynccontextmanager
async def _endpoint(
    config: JobConfig, key: str | None, key_command: str | None, log: Logger
) -> AsyncIterator[Endpoint]:
    from batchjob.endpoints.chat import ChatEndpoint
    from batchjob.endpoints.key import auth_of, headers_of, key_of_command

    async with contextlib.AsyncExitStack() as stack:
        base_url = config.base_url
        if base_url == SANDBOX_URL:
            from batchjob.sandbox.server import serve
            from batchjob.sandbox.settings import SandboxSettings

            sandbox = await serve(SandboxSettings(labels=config.labels))
            stack.push_async_callback(sandbox.close)
            base_url = sandbox.url
            log.info("sandbox_started", meaning="labels come from a toy classifier")
        headers, hidden = headers_of(config)
        endpoint = ChatEndpoint(
            base_url,
            key=key,
            timeout=config.timeout,
            connect_timeout=config.connect_timeout,
            auth=auth_of(config),
            headers=headers,
            secrets=hidden,
            renew=None if key_command is None else partial(key_of_command, key_command),
            unpaid=config.unpaid_status,
        )
        stack.push_async_callback(endpoint.close)
        if endpoint.slowed:
            log.warning(
                "transport_plain", meaning="a connection for each request, which is slower", why=endpoint.slowed
            )
            yield endpoint
            return
        yield endpoint
        if endpoint.slowed:
            meaning = "a connection for each request from then on; one of the labels before that may be another row's"
            log.warning("connections_not_kept", meaning=meaning, why=endpoint.slowed)
