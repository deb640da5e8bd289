"""What a job would take, said before it runs: for profile, start --dry-run, and a start with other settings."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import click

from batchjob.cli.options import db_flag
from batchjob.cli.show import show_lines
from batchjob.endpoints.bodies import ChatBodies
from batchjob.endpoints.key import require_key
from batchjob.errors import BatchjobError, SettingError
from batchjob.forecast.estimate import Estimate, outlook
from batchjob.forecast.work import LookUp, Work
from batchjob.jobs.intake import rows_within
from batchjob.jobs.plans import Plan
from batchjob.model import Chunk, InputRow, Job
from batchjob.money.cost import usd
from batchjob.money.prices import prices_of
from batchjob.numbers import about, dollars
from batchjob.providers.dialect import Learned, learned_of, place_of, tells_cost
from batchjob.settings.config import JobConfig
from batchjob.stores import holds_jobs, open_reader, writer_of
from batchjob.views.forecast import estimate_lines, paid_again_words, rows_lines, standing, work_found
from batchjob.views.next_steps import after_error
from batchjob.views.request import beginning_lines, prompt_lines


@contextlib.contextmanager
def remembering(db: str, config: JobConfig) -> Iterator[LookUp | None]:
    """The label cache of a database to ask; None where there is no database, or nothing in it to be used."""
    if not (config.cache or config.dedupe != "off") or not holds_jobs(db):
        yield None
        return
    with open_reader(db) as store:
        yield store.cached_labels if store.remembers_labels() else None


def learned_in(db: str, config: JobConfig) -> dict[str, Learned]:
    """What the endpoint of a job has taught a database, by model."""
    if not holds_jobs(db):
        return {}
    with open_reader(db) as store:
        return learned_of(store.learned(place_of(config)), config)


def watched(pages: Iterable[list[InputRow]], *, quiet: bool) -> Iterator[list[InputRow]]:
    """The pages, with a line on how far it is for who sits at the terminal."""
    shown = sys.stderr.isatty() and not quiet
    rows, due = 0, time.monotonic() + 1
    for page in pages:
        yield page
        rows += len(page)
        if shown and time.monotonic() > due:
            due = time.monotonic() + 0.5
            click.echo(f"\r{rows:,} rows read", nl=False, err=True)
    if shown:
        click.echo("\r\x1b[K", nl=False, err=True)


# ---------------------------------------------------------------- the plan of start


def show_plan(plan: Plan, changed: Sequence[str]) -> int:
    """Say what carrying a plan out would do; nothing is sent and nothing written."""
    config = plan.config
    own = plan.job if isinstance(plan.job, Job) else None
    prices = prices_of(config, told=tells_cost(config))
    with remembering(plan.db, config) as look_up:
        work = Work(config, plan.source, look_up, job=own, learned=learned_in(plan.db, config))
        for rows in _left(plan.db, config, own):
            work.add(rows)
        for rows in rows_within(plan.chunks or (), config.limit):
            work.add(rows)
    found = outlook(work, config, prices)
    estimate = found.for_rows(config.rows_per_request)
    first = work.first_request(ChatBodies())
    begun, spent = (f"a new job, {plan.name}, in {plan.db}", 0.0) if own is None else _begun(plan.db, own)
    lines = rows_lines(work_found(work), config, left=own is not None) + estimate_lines(found, (estimate,), config)
    show_lines(
        [
            f"plan      {begun}",
            *changed,
            *(lines if work.rows or own is None else ["rows      none is left to do"]),
            *(_refused(plan.refusal) if plan.refusal else ()),
            *prompt_lines(work.prompt),
            *(beginning_lines(first[0]) if first else ()),
            *_hindrances(plan.db, config, estimate, spent),
            "nothing was sent or written: give the command without --dry-run to do it",
        ]
    )
    return 0


def _refused(refusal: SettingError) -> Iterator[str]:
    yield f"but       {refusal}"
    if refusal.then:
        yield f"          {after_error(refusal.then, db_flag())}"


def _left(db: str, config: JobConfig, job: Job | None) -> Iterator[list[InputRow]]:
    """The rows of the work table that are unfinished."""
    if job is None:
        return
    with open_reader(db) as store:
        for page in store.unfinished_rows(job):
            yield [row for number, row in page if config.limit is None or number <= config.limit]


def _begun(db: str, job: Job) -> tuple[str, float]:
    """How far a job is, and what it has cost so far in USD, as far as known."""
    with open_reader(db) as store:
        snapshot = store.snapshot(job.name)
    cost = snapshot.tally.get("cost", {})
    spent = usd(cost.get("answered", 0) + cost.get("lost", 0))
    return f"going on with job {job.name}: {standing(snapshot)}", spent


def _hindrances(db: str, config: JobConfig, estimate: Estimate, spent: float) -> Iterator[str]:
    """What would keep a start from running now, or to its end."""
    if config.budget is not None:
        yield from _short_of_money(max(config.budget - spent, 0.0), estimate)
    try:
        require_key(config)
    except BatchjobError as error:
        yield f"but       {error}"
    writer = writer_of(db)
    if writer is not None:
        who = f"process {writer['pid']}" if "pid" in writer else "another process"
        yield f"but       {who} is working in this database: start is refused until it has ended"


def _short_of_money(left: float, estimate: Estimate) -> Iterator[str]:
    if estimate.expected_usd is not None and estimate.expected_usd > left:
        yield f"but       {dollars(left)} of the budget are left, and {about(estimate.expected_usd)} are likely needed"
    if estimate.worst_usd and (each := estimate.worst_usd / estimate.requests) > left:
        yield f"but       {dollars(left)} of the budget are left, and a request could cost {dollars(each)}: none leaves"


def first_chunk(plan: Plan) -> tuple[Chunk, Plan]:
    """The first chunk of a plan's input, and the plan with it still to come."""
    assert plan.chunks is not None
    first = next(plan.chunks)
    return first, plan._replace(chunks=chain((first,), plan.chunks))


def paid_again(plan: Plan, first: Chunk, rows_before: int) -> str:
    """How many rows of an input that was labelled before are paid for, by its first chunk; all of it is not read."""
    config = plan.config
    with remembering(plan.db, config) as look_up:
        work = Work(config, plan.source, look_up, learned=learned_in(plan.db, config))
        for rows in rows_within((first,), config.limit):
            work.add(rows)
    whole = first.complete or (config.limit is not None and work.rows >= config.limit)
    return paid_again_words(work_found(work), whole=whole, rows_before=rows_before)
