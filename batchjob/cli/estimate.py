"""What a job would take, said before it runs: for profile, start --dry-run, and a start with other settings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from batchjob.cli.key import require_key
from batchjob.cli.run import prices_of
from batchjob.cli.show import show_lines
from batchjob.config import JobConfig
from batchjob.errors import BatchjobError
from batchjob.forecast.work import Estimate, Outlook, Remembers, Work, outlook
from batchjob.model import Chunk, InputRow, InputSource, Job
from batchjob.money.prices import usd
from batchjob.printable import printable
from batchjob.stores.sqlite.lock import writer_of
from batchjob.stores.sqlite.reader import StoreReader, holds_jobs
from batchjob.views.report import advice


@contextlib.contextmanager
def remembering(path: Path, config: JobConfig, *, own: int | None = None) -> Iterator[Remembers | None]:
    """The label cache of a database to ask, as a run of the job `own` (None: a new one) would use it.

    None where there is no database, or nothing in it.
    """
    if not (config.cache or own is not None) or not holds_jobs(path):
        yield None
        return
    with StoreReader(path) as store:

        def remembers(keys: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
            return {
                key
                for key, (job, none_fitted) in store.remembered(keys).items()
                if (config.dedupe if job == own else config.cache) and (config.fallback is not None or not none_fitted)
            }

        yield remembers if store.remembers_labels() else None


def rows_within(chunks: Iterable[Chunk], limit: int | None) -> Iterator[list[InputRow]]:
    """The rows of the chunks, up to the row with the number `limit`."""
    for chunk in chunks:
        if limit is not None and chunk.first_number + len(chunk.rows) > limit:
            yield chunk.rows[: max(limit - chunk.first_number + 1, 0)]
            return
        yield chunk.rows


# ---------------------------------------------------------------- the plan of start


def show_plan(
    path: Path,
    config: JobConfig,
    source: InputSource,
    job: Job | str,
    chunks: Iterable[Chunk] | None,
    changed: Sequence[str],
) -> int:
    """Say what a start would do with a job, or with a new one of that name; nothing is sent and nothing written."""
    prices = prices_of(config)
    own = None if isinstance(job, str) else job
    with remembering(path, config, own=None if own is None else own.id) as remembers:
        work = Work(config, source, remembers)
        for rows in _left(path, config, own):
            work.add(rows)
        for rows in rows_within(chunks or (), config.limit):
            work.add(rows)
    found = outlook(work, config, prices)
    estimate = found.for_rows(config.rows_per_request)
    standing, spent = ("", 0.0) if own is None else _standing(path, own)
    begun = f"a new job, {job}, in {path}" if own is None else f"going on with job {own.name}: {standing}"
    lines = rows_lines(work.document(), left=own is not None) + estimate_lines(found, (estimate,), config)
    show_lines(
        [
            f"plan      {begun}",
            *changed,
            *(lines if work.rows or own is None else ["rows      none is left to do"]),
            *_hindrances(path, config, estimate, spent),
            "nothing was sent or written: give the command without --dry-run to do it",
        ]
    )
    return 0


def _left(path: Path, config: JobConfig, job: Job | None) -> Iterator[list[InputRow]]:
    """The rows of the work table that are unfinished."""
    if job is None:
        return
    with StoreReader(path) as store:
        for page in store.unfinished_rows(job):
            yield [row for number, row in page if config.limit is None or number <= config.limit]


def _standing(path: Path, job: Job) -> tuple[str, float]:
    """How far a job is, and what it has cost so far in USD, as far as known."""
    with StoreReader(path) as store:
        tally = store.snapshot(job.name).tally
    rows, cost = tally.get("row", {}), tally.get("cost", {})
    lost = "".join(f", {rows[state]:,} {state}" for state in ("failed", "unconfirmed") if rows.get(state))
    done = f"{rows.get('done', 0):,} of {job.rows:,}{'' if job.ingested else '+'} rows are done{lost}"
    return done, usd(cost.get("answered", 0) + cost.get("lost", 0))


def _hindrances(path: Path, config: JobConfig, estimate: Estimate, spent: float) -> Iterator[str]:
    """What would keep a start from running now, or to its end."""
    if (
        config.budget is not None
        and estimate.expected_usd is not None
        and spent + estimate.expected_usd > config.budget
    ):
        left = max(config.budget - spent, 0.0)
        yield f"but       {spoken_usd(left)} of the budget is left: it is likely reached before the end"
    try:
        require_key(config.base_url, config.api_key_env)
    except BatchjobError as error:
        yield f"but       {error}"
    writer = writer_of(path)
    if writer is not None:
        who = f"process {writer['pid']}" if "pid" in writer else "another process"
        yield f"but       {who} is working in this database: start is refused until it has ended"


def paid_again(path: Path, config: JobConfig, source: InputSource, first: Chunk, rows_before: int) -> str:
    """How many rows of an input that was labelled before are paid for, by its first chunk; all of it is not read."""
    with remembering(path, config) as remembers:
        work = Work(config, source, remembers)
        for rows in rows_within((first,), config.limit):
            work.add(rows)
    whole = first.complete or (config.limit is not None and work.rows >= config.limit)
    saved = work.rows - work.asked
    more = "" if whole else f" (it had {rows_before:,} when it was last read)"
    if not saved:
        return "every row is paid for again" if whole else f"every one of its first {work.rows:,} is paid for{more}"
    which = f"{work.rows:,} rows" if whole else f"its first {work.rows:,} rows{more}"
    return f"{work.asked:,} of {which} are paid for; without a request: {_others(work.document()['settled_by'])}"


def _others(settled: dict[str, int]) -> str:
    """The rows without a request, in words."""
    words = {"rule": "by rules", "cache": "from the label cache", "duplicate": "as duplicates"}
    words |= {"fallback": "blank, which take the fallback", "failed": "that cannot be sent"}
    return ", ".join(f"{settled[by]:,} {what}" for by, what in words.items() if settled[by]) or "none"


# ---------------------------------------------------------------- lines


def rows_lines(document: dict[str, Any], *, left: bool = False) -> list[str]:
    """How many rows there are, what is wrong with some, and how many need a request."""
    rows, settled = document["rows"], document["settled_by"]
    parts = [f"{rows['total']:,}{' left' if left else ''}: {rows['to_label']:,} with a text to label"]
    parts += [f"{rows[name]:,} {name}" for name in ("blank", "defective") if rows[name]]
    lines = ["rows      " + ", ".join(parts)]
    if rows["blank"] and settled["fallback"] == 0:
        lines.append(f"  {rows['blank']:,} blank_text: {advice('blank_text')}")
    lines += [f"  {count:,} {kind}: {advice(kind)}" for kind, count in document["defects"].items()]
    lines.append(f"to pay    {settled['request']:,} rows; without a request: {_others(settled)}")
    lines += [f"rule      {printable(name)} takes {_took(count)}" for name, count in document["rules"].items()]
    lines += [f"route     {printable(name)} takes {_took(count)}" for name, count in document["routes"].items()]
    return lines


def _took(count: int) -> str:
    return f"{count:,} rows" if count else "no row: look at its conditions, and at what stands before it"


def estimate_lines(found: Outlook, estimates: Sequence[Estimate], config: JobConfig) -> list[str]:
    """What the requests take, for each number of rows a request, and what that rests on."""
    lines = [line for estimate in estimates for line in _estimate_lines(estimate)]
    lines += [f"unknown   {reason}" for reason in found.unknown]
    lines += [f"price     of {printable(model)}: {source}" for model, source in found.prices.items()]
    quotas = [
        f"{limit:,.0f} {what} a minute" for limit, what in ((config.rpm, "requests"), (config.tpm, "tokens")) if limit
    ]
    pace = [*quotas, f"{config.concurrency} requests at once that take a second each"]
    return [*lines, f"rests on  {', '.join(pace)}; tokens reckoned from characters; nothing sent twice"]


def _estimate_lines(estimate: Estimate) -> Iterator[str]:
    if not estimate.requests:
        return
    most = estimate.rows_per_request
    yield f"requests  {estimate.requests:,} with {most:,} {'row' if most == 1 else 'rows at most'} in each"
    if estimate.input_tokens is not None:
        yield f"  tokens  about {_about(estimate.input_tokens)} in, {_about(estimate.output_tokens or 0)} out"
    if estimate.expected_usd is None or estimate.worst_usd is None:
        yield "  cost    unknown"
    else:
        yield f"  cost    about {spoken_usd(estimate.expected_usd)}, {spoken_usd(estimate.worst_usd)} at worst"
    yield f"  time    about {spoken_seconds(estimate.seconds)}"


def _about(count: int) -> str:
    """An estimate in three digits."""
    return f"{round(count, 3 - len(str(count))):,}" if count >= 1000 else str(count)


def spoken_usd(amount: float) -> str:
    """An amount as a person says it."""
    if 0 < amount < 0.0001:
        return "under 0.0001 USD"
    return f"{amount:,.2f} USD" if amount >= 1 else f"{amount:.4f} USD"


def spoken_seconds(seconds: float) -> str:
    """A duration as a person says it."""
    if seconds < 60:
        return f"{max(round(seconds), 1)} s"
    days, rest = divmod(-int(-seconds // 60), 24 * 60)  # whole minutes, begun ones counted
    hours, minutes = divmod(rest, 60)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
