"""Jobs as functions: plan a start, a resume or a retry, run the plan, export what came of it.

The parts are put together here: input, store, endpoint and the loop of a run. Nothing here parses a command, prints,
handles a signal or tunes the process: that is for whoever calls it, such as the command line or a notebook.
"""

from __future__ import annotations

import contextlib
import random
import re
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from batchjob.errors import BatchjobError, InputChanged, JobBusy, JobError
from batchjob.inputs import open_input
from batchjob.logs import Logger
from batchjob.model import Chunk, Ending, InputSource, Job
from batchjob.money.budget import Budget
from batchjob.money.cost import picousd
from batchjob.money.prices import prices_of
from batchjob.outputs import open_output
from batchjob.ports import Endpoint, Reader, Store, StoreReader
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.run.online import Runner
from batchjob.settings.config import SANDBOX_URL, JobConfig, check, merge
from batchjob.shortcuts.rules import check_rules
from batchjob.states import JobState, State
from batchjob.stores import holds_jobs, open_reader, open_store
from batchjob.task.identity import Task
from batchjob.task.prompt import prompt_of
from batchjob.task.routes import check_routes
from batchjob.views.export import RowTable

# ---------------------------------------------------------------- plans


class NewJob(NamedTuple):
    """A job that is to be made."""

    name: str
    source: InputSource


class Plan(NamedTuple):
    """What a run is to do. Nothing of it is done yet: nothing was made, sent or written."""

    db: str  # URL of the store
    job: NewJob | Job
    config: JobConfig
    chunks: Iterator[Chunk] | None  # what is left of its input; None: all of it is in the work table
    retry_kinds: Sequence[str] | None = None  # put these back first, and run only rows that were put back
    before: Job | None = None  # of a new job: the last one of this input, with other settings

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """The settings in which a new job differs from the last one of its input: name -> (before, now)."""
        if self.before is None:
            return {}
        old, new = settings_of(self.before), self.config
        names = Task.of(new).changed_from(Task.of(old))
        return {name: (getattr(old, name), getattr(new, name)) for name in names}

    @property
    def name(self) -> str:
        """The job's name."""
        return self.job.name

    @property
    def source(self) -> InputSource:
        """Where its rows come from."""
        return self.job.source


def complete(config: JobConfig) -> JobConfig:
    """Settings that are enough to label with, rules and routes included.

    Raises:
        SettingError: they are not; the text names the setting.
    """
    check(config)
    check_rules(config)
    check_routes(config)
    if config.output:
        open_output(config.output, None)
    return config


def plan_start(path: str, config: JobConfig, *, db: str, new: bool = False) -> Plan:
    """Go on with the job of this input and task, or make one; `new` makes one in any case.

    Raises:
        BatchjobError: settings, input or database cannot be used; the text says which and what to do.
    """
    complete(config)
    reader = open_input(
        path,
        format=config.format,
        encoding=config.encoding,
        id_column=config.id_column,
        text_column=config.text_column,
    )
    prompt_of(config, reader.source)  # before anything is made, for it may name what is no column
    config = msgspec.structs.replace(config, text_column=reader.source.text_column)  # named or found, it is the same
    task = Task.of(config)
    known = _jobs_of(db, reader.source.path)
    job = None if new else next((job for job in known if job.task_digest == task.digest), None)
    if config.name and (job is None or job.name != config.name):
        job = _named(db, config, reader, task, new=new)
    if job is not None:
        return Plan(db, job, config, rest_of(reader, job))
    # The first chunk is read before anything is made, so that a bad input leaves nothing.
    chunks = reader.chunks(position=0, digest="", number=1, chunk_rows=CHUNK_ROWS)
    first = next(chunks)
    made = NewJob(_free_name(db, config, reader.source.path), reader.source)
    return Plan(db, made, config, chain((first,), chunks), before=known[0] if known and not new else None)


def plan_resume(name: str | None, changes: dict[str, Any], *, db: str) -> Plan:
    """Go on with the unfinished rows of a job; without a name, of the only one that is unfinished.

    Args:
        changes: settings that are to be others than in its last run.

    Raises:
        BatchjobError: there is no such job, or its input is gone or another one.
    """
    with open_reader(db) as reader:
        job = reader.job(name) if name else reader.latest(unfinished=True)
    return Plan(db, job, settings_for(job, changes), _rest_of_input(job))


def plan_retry(name: str | None, changes: dict[str, Any], *, db: str, kinds: Sequence[str] = ()) -> Plan:
    """Put the failed rows of a job back and run only those; without a name, of the latest.

    Rows whose answer was never seen may have been paid: they are put back only where `kinds` names them.

    Raises:
        BatchjobError: there is no such job, or no row failed so.
    """
    with open_reader(db) as reader:
        snapshot = reader.snapshot(name)
    job, there = snapshot.job, snapshot.tally.get("error", {})
    for kind in kinds:
        if kind not in there:
            known = ", ".join(there) or "none"
            raise JobError(f"no row of job {job.name!r} failed with kind {kind!r}; there are: {known}")
    held = there.get(State.UNCONFIRMED, 0)
    chosen = tuple(kinds) or tuple(kind for kind in there if kind != State.UNCONFIRMED)
    if not chosen and held:
        raise JobError(
            f"no row of job {job.name!r} failed, but {held:,} are unconfirmed: they may have been paid. "
            f"To send them again: batchjob retry {job.name} --kind unconfirmed"
        )
    return Plan(db, job, settings_for(job, changes), None, retry_kinds=chosen)


def settings_of(job: Job) -> JobConfig:
    """The settings of a job's last run."""
    return msgspec.json.decode(job.settings, type=JobConfig)


def settings_for(job: Job, changes: dict[str, Any]) -> JobConfig:
    """The settings of a job's next run: those of the last one, but for the changes. A limit holds for one run only."""
    before = msgspec.to_builtins(settings_of(job))
    before.pop("limit", None)
    if changes.get("base_url"):
        before["sandbox"] = changes["base_url"] == SANDBOX_URL
    config = complete(merge(before, changes))
    prompt_of(config, job.source)
    return config


# ---------------------------------------------------------------- which job, and what is left of its input


def _jobs_of(db: str, input_path: str) -> list[Job]:
    if not holds_jobs(db):
        return []
    with open_reader(db) as reader:
        return reader.by_input(input_path)


def _named(db: str, config: JobConfig, reader: Reader, task: Task, *, new: bool) -> Job | None:
    """The job of the given name, where there is one and this is it.

    Raises:
        JobError: the name is taken by another job.
    """
    if not holds_jobs(db):
        return None
    with open_reader(db) as store:
        found = next((job for job in store.jobs() if job.name == config.name), None)
    if found is None:
        return None
    if new:
        raise JobError(f"there is a job named {found.name!r} already: give the new one another --name")
    if found.source.path != reader.source.path:
        raise JobError(f"job {found.name!r} has another input, {found.source.path}: give this one another --name")
    if found.task_digest != task.digest:
        changed = ", ".join(task.changed_from(Task.of(settings_of(found))))
        raise JobError(f"job {found.name!r} has other settings ({changed}): give this one another --name")
    return found


def _free_name(db: str, config: JobConfig, input_path: str) -> str:
    """The name asked for, or one made of the input's, with a number where that is taken."""
    if config.name:
        return config.name
    stem = "stdin" if input_path == "-" else Path(input_path).name.split(".")[0]
    stem = re.sub(r"[^\w-]+", "-", stem).strip("-") or "job"
    if not holds_jobs(db):
        return stem
    with open_reader(db) as store:
        taken = store.names()
    return next(name for name in chain((stem,), (f"{stem}-{n}" for n in count(2))) if name not in taken)


def rest_of(reader: Reader, job: Job) -> Iterator[Chunk] | None:
    """What is left to ingest of a job's input, None where nothing is.

    Raises:
        InputChanged: the input is not the one the job began with.
        JobError: the job names its rows by another column.
    """
    if reader.source.id_column != job.source.id_column:
        raise JobError(
            f"job {job.name!r} knows its rows by {job.source.id_column or 'their number'}, not by "
            f"{reader.source.id_column or 'their number'}: to label them anew add --new"
        )
    same = (reader.source.size, reader.source.mtime_ns) == (job.source.size, job.source.mtime_ns)
    if job.ingested and same and reader.source.size is not None:
        return None
    chunks = reader.chunks(position=job.position, digest=job.digest, number=job.rows + 1, chunk_rows=CHUNK_ROWS)
    first = next(chunks)
    if not job.ingested:
        return chain((first,), chunks)
    if first.rows:
        raise InputChanged(
            f"{job.source.path} has grown since job {job.name!r} read it (first {job.position:,} bytes are the same). "
            f"To label it as a new job: add --new"
        )
    return None


def _rest_of_input(job: Job) -> Iterator[Chunk] | None:
    source = job.source
    if job.ingested:
        return None
    if source.path == "-":
        raise JobError(
            f"job {job.name!r} was reading stdin and has {job.rows:,} rows of it: pipe the same input again, "
            f"with the same options, into: batchjob start - --name {job.name}"
        )
    if not Path(source.path).exists():
        raise JobError(
            f"the input of job {job.name!r}, {source.path}, is gone and was not read to its end: put it back"
        )
    reader = open_input(
        source.path,
        format=source.format,
        encoding=source.encoding,
        id_column=source.id_column,
        text_column=source.text_column,
    )
    return rest_of(reader, job)


# ---------------------------------------------------------------- a run


class Ended(NamedTuple):
    """How a run ended."""

    ending: Ending
    seconds: float
    requests: int


Attend = Callable[[Runner], contextlib.AbstractAsyncContextManager[None]]
"""What goes on beside a run: progress is shown, signals are handled."""


@contextlib.asynccontextmanager
async def unattended(runner: Runner) -> AsyncIterator[None]:
    """Nothing goes on beside the run."""
    yield


async def run(plan: Plan, *, key: str | None, log: Logger, attend: Attend = unattended) -> Ended:
    """Carry out a plan. The labels are in the database, and in `output` where the settings name one.

    Raises:
        BatchjobError: it could not begin, or the input or the database failed in the middle; what was answered is kept.
    """
    config, began = plan.config, time.monotonic()
    prices = prices_of(config)
    store = await open_store(plan.db, job=plan.name)
    try:
        await _choose_job(store, plan)
        log = log.bind(job=plan.name)
        await _recover(store, config, log)
        if plan.retry_kinds is not None:
            log.info("rows_put_back", rows=await store.retry(plan.retry_kinds, at=time.time()))
        async with _endpoint(config, key, log) as endpoint:
            await store.set_prices(msgspec.json.encode({model: price for model, price in prices.items() if price}))
            spent, allowance = await store.draw(None if config.budget is None else picousd(config.budget))
            fresh = plan.retry_kinds is None
            task = Task.of(config).record()
            begun = await store.begin_run(task, fresh=fresh, up_to=config.limit, at=time.time())
            runner = Runner(
                job=await store.job(),
                run=begun,
                config=config,
                store=store,
                endpoint=endpoint,
                budget=Budget(prices, spent=spent, allowance=allowance),
                chunks=plan.chunks,
                key_prefix=f"bj-{secrets.token_hex(6)}",
                clock=time.monotonic,
                wall=time.time,
                chance=random.random,
                log=log,
            )
            ending = await _attended(runner, store, attend)
    finally:
        await store.close()
    if config.output:
        with open_reader(plan.db) as reader:
            export(reader, reader.job(plan.name), config.output)
    return Ended(ending, time.monotonic() - began, runner.requests)


async def _attended(runner: Runner, store: Store, attend: Attend) -> Ending:
    """Run, and write down how it ended, also when it ended with an error."""
    try:
        async with attend(runner):
            ending = await runner.run()
    except BatchjobError as error:
        with contextlib.suppress(BatchjobError):
            await store.end_run(JobState.STOPPED, str(error), at=time.time())
        raise
    await store.end_run(ending.state, ending.reason, at=time.time())
    return ending


async def _choose_job(store: Store, plan: Plan) -> None:
    """Make the job, or go on with it; nobody else has worked on it since the plan was made.

    Raises:
        JobBusy: somebody has.
    """
    settings = msgspec.json.encode(plan.config)
    if isinstance(plan.job, Job):
        await store.choose(plan.job.name)
        if plan.chunks is not None and (await store.job()).rows != plan.job.rows:
            raise JobBusy(f"another process has worked on job {plan.name!r} meanwhile: give the same command again")
        await store.set_settings(settings)
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


async def _recover(store: Store, config: JobConfig, log: Logger) -> None:
    hold = config.on_unconfirmed == "hold"
    lost = await store.recover(hold=hold, at=time.time())
    if lost:
        log.warning(
            "requests_left_in_flight",
            requests=lost,
            meaning="the process before died while they were out, so they may have been paid",
            now="held: see batchjob errors"
            if hold
            else "sent again, with the same idempotency keys if nothing changed",
        )


@contextlib.asynccontextmanager
async def _endpoint(config: JobConfig, key: str | None, log: Logger) -> AsyncIterator[Endpoint]:
    from batchjob.endpoints.chat import ChatEndpoint

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
        if endpoint.slowed:
            log.warning(
                "transport_plain", meaning="a connection for each request, which is slower", why=endpoint.slowed
            )
        yield endpoint


# ---------------------------------------------------------------- what came of it


def export(
    reader: StoreReader,
    job: Job,
    output: str,
    *,
    format: str | None = None,
    details: bool = False,
    safe: Callable[[str], str] | None = None,
) -> tuple[int, int]:
    """Write a job's rows with their labels, in input order; how many have a label, and how many there are.

    Args:
        output: a path, or "-" for stdout.
        format: a key of outputs.FORMATS; None: by the path's suffix.
        details: also attempts, request ID, raw answer and tokens of each row.
        safe: is applied to every cell. What an endpoint said is made harmless in any case.
    """
    table = RowTable(job, details=details, safe=safe)
    total = open_output(output, format).write(table.header, table.rows(reader.export_rows(job)))
    return table.labelled, total
