"""Where the parts are put together: store, endpoint, reader and runner become a run of a job."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import random
import secrets
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec

from batchjob.cli.export import export_job
from batchjob.cli.key import require_key
from batchjob.cli.progress import show_progress
from batchjob.cli.show import columns, db_flag
from batchjob.config import SANDBOX_URL, JobConfig, task_digest
from batchjob.endpoints.chat import ChatEndpoint
from batchjob.errors import BatchjobError, JobBusy, SettingError
from batchjob.logs import Logger, make_logger
from batchjob.model import Chunk, Ending, InputSource
from batchjob.money.budget import Budget
from batchjob.money.prices import KnownPrice, price_for
from batchjob.ports import Endpoint
from batchjob.run.online import Runner
from batchjob.states import JobState
from batchjob.stores.sqlite.reader import StoreReader
from batchjob.stores.sqlite.store import SqliteStore, open_store
from batchjob.views.report import folded, next_command, status_document, summary_lines

FREE = KnownPrice(0, 0, 0, "the sandbox is free")
GC_THRESHOLD = 50_000
"""Objects between two collections. At Python's 700 the collector took 7 % of a run, to find next to nothing."""
SWITCH_SECONDS = 0.0002
"""How long the event loop's thread keeps Python's lock when the store's wants it. At Python's 5 ms a flush that was
over was told of, and the next begun, only when the loop had gone through all that was ready."""


class NewJob(NamedTuple):
    """A job that is to be made."""

    name: str
    source: InputSource


class Plan(NamedTuple):
    """What a run is to do: with a new job or the one of that name, and with what is left of its input."""

    database: Path
    job: NewJob | str
    config: JobConfig
    chunks: Iterator[Chunk] | None
    rows: int = 0  # in the work table when this was planned: chunks go on behind them
    retry_kinds: Sequence[str] | None = None  # put these back first, and run only rows that were put back


def run(plan: Plan) -> int:
    """Carry out a plan; the exit code. The summary goes to stderr."""
    key = require_key(plan.config.base_url, plan.config.api_key_env)
    prices_of(plan.config)
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)
    sys.setswitchinterval(SWITCH_SECONDS)
    log = make_logger(format=plan.config.log_format, file=plan.config.log_file, quiet=plan.config.quiet)
    with asyncio.Runner(loop_factory=_loop_factory()) as loop:
        return loop.run(_run(plan, key, log))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    """uvloop's event loop where it is installed, else the standard one."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: type[asyncio.AbstractEventLoop] = uvloop.Loop
    return factory


def prices_of(config: JobConfig) -> dict[str, KnownPrice | None]:
    """The price of each model the job may ask.

    Raises:
        SettingError: there is a budget, and no price for one of them.
    """
    if config.base_url == SANDBOX_URL and not config.prices:
        return {config.model: FREE, **{route.model: FREE for route in config.routes}}
    models = (config.model, *(route.model for route in config.routes))
    prices = {model: price_for(config.base_url, model, config.prices) for model in models}
    unknown = [model for model, price in prices.items() if price is None]
    if config.budget is not None and unknown:
        raise SettingError(
            f"no price is known for model {unknown[0]!r} at {config.base_url}, so a budget cannot be kept. Give it in "
            f'job.toml: [prices."{unknown[0]}"] with input and output in USD per million tokens'
        )
    return prices


async def _run(plan: Plan, key: str | None, log: Logger) -> int:
    config, began = plan.config, time.monotonic()
    store = await open_store(plan.database, job=plan.job if isinstance(plan.job, str) else plan.job.name)
    try:
        await _set_up(store, plan)
        job = await store.job()
        log = log.bind(job=job.name)
        await _recover(store, config, log)
        if plan.retry_kinds is not None:
            put_back = await store.retry(plan.retry_kinds, at=time.time())
            log.info("rows_put_back", rows=put_back)
        async with _endpoint(config, key, log) as endpoint:
            prices = prices_of(config)
            await store.set_prices(msgspec.json.encode({model: price for model, price in prices.items() if price}))
            budget = Budget(prices, limit_usd=config.budget, spent=await store.spent_picousd())
            begun = await store.begin_run(at=time.time())
            runner = Runner(
                job=job,
                run=begun,
                config=config,
                store=store,
                endpoint=endpoint,
                budget=budget,
                chunks=plan.chunks,
                only_returned=plan.retry_kinds is not None,
                key_prefix=f"bj-{secrets.token_hex(6)}",
                clock=time.monotonic,
                wall=time.time,
                chance=random.random,
                log=log,
            )
            ending = await _watched(runner, store, log, config)
    finally:
        await store.close()
    return _finish(plan, job.name, ending, time.monotonic() - began, runner.requests, log)


async def _set_up(store: SqliteStore, plan: Plan) -> None:
    settings = msgspec.json.encode(plan.config)
    if isinstance(plan.job, str):
        await store.choose(plan.job)
        if plan.chunks is not None and (await store.job()).rows != plan.rows:
            raise JobBusy(f"another process has worked on job {plan.job!r} meanwhile: give the same command again")
        await store.set_settings(settings)
        return
    with StoreReader(plan.database) as reader:
        if plan.job.name in reader.names():
            raise JobBusy(f"another process has begun job {plan.job.name!r} meanwhile: give the same command again")
    await store.create_job(
        uid=secrets.token_hex(8),
        name=plan.job.name,
        source=plan.job.source,
        settings=settings,
        task_digest=task_digest(plan.config),
        at=time.time(),
    )


async def _recover(store: SqliteStore, config: JobConfig, log: Logger) -> None:
    hold = config.on_unconfirmed == "hold"
    lost = await store.recover(hold=hold, at=time.time())
    if lost:
        log.warning(
            "requests_left_in_flight",
            requests=lost,
            meaning="the process before died while they were out, so they may have been paid",
            now="held: see batchjob errors" if hold else "sent again with the same idempotency keys",
        )


@contextlib.asynccontextmanager
async def _endpoint(config: JobConfig, key: str | None, log: Logger) -> AsyncIterator[Endpoint]:
    async with contextlib.AsyncExitStack() as stack:
        base_url = config.base_url
        if base_url == SANDBOX_URL:
            from batchjob.sandbox.server import serve
            from batchjob.sandbox.settings import SandboxSettings

            sandbox = await serve(SandboxSettings(labels=config.labels))
            stack.push_async_callback(sandbox.close)
            base_url = sandbox.url
            log.warning("sandbox_started", meaning=f"labels come from a toy classifier ({sandbox.classifier})")
        endpoint = ChatEndpoint(base_url, key=key, timeout=config.timeout, connect_timeout=config.connect_timeout)
        stack.push_async_callback(endpoint.close)
        yield endpoint


async def _watched(runner: Runner, store: SqliteStore, log: Logger, config: JobConfig) -> Ending:
    """Run with progress shown and signals heard, and write down how it ended, also when it ended with an error."""
    loop = asyncio.get_running_loop()
    showing = asyncio.create_task(show_progress(runner, log, quiet=config.quiet))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, _on_signal, runner)
    try:
        ending = await runner.run()
    except BatchjobError as error:
        with contextlib.suppress(BatchjobError):
            await store.end_run(JobState.STOPPED, str(error), at=time.time())
        raise
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)
    await store.end_run(ending.state, ending.reason, at=time.time())
    return ending


def _on_signal(runner: Runner) -> None:
    """The first signal stops in peace, the second at once: what is in flight then is known and counted on resume."""
    if runner.stopping:
        os.write(2, b"\nbatchjob: left at once; resume settles what was in flight\n")
        os._exit(130)
    with contextlib.suppress(OSError):
        os.write(2, b"\nbatchjob: stopping: waiting for the requests in flight (once more to leave at once)\n")
    runner.stop(Ending(JobState.STOPPED, "interrupted", 130))


def _finish(plan: Plan, job: str, ending: Ending, seconds: float, requests: int, log: Logger) -> int:
    with StoreReader(plan.database) as reader:
        document = status_document(reader.snapshot(job))
        if plan.config.output:
            export_job(reader, reader.job(job), plan.config.output, None, details=False)
    if plan.config.log_format == "json":
        log.info("run_ended", exit_code=ending.exit_code, seconds=round(seconds, 3), requests=requests, status=document)
    elif not plan.config.quiet or ending.exit_code not in (0, 130):
        what_next = _what_next(document, plan)
        say(*summary_lines(document, seconds=seconds, next_command=what_next, requests=requests))
    return ending.exit_code


def _what_next(document: dict[str, Any], plan: Plan) -> str:
    if document["state"] == JobState.FINISHED and plan.config.output and not document["errors"]:
        return f"the labels are in {plan.config.output}"
    return next_command(document, db_flag(plan.database))


def say(*lines: str) -> None:
    """Lines for a person, to stderr; nobody reading them is no error."""
    with contextlib.suppress(OSError):
        for line in folded(lines, columns(sys.stderr)):
            click.echo(line, err=True)
        sys.stderr.flush()
