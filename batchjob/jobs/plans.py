"""What a run is to do, found out before anything is made, sent or written: for a start, a resume or a retry."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, count, takewhile
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from batchjob.corrections.standing import Corrections
from batchjob.errors import JobError, SettingError
from batchjob.files import real_path
from batchjob.forecast.work import Work
from batchjob.inputs.memory import Held
from batchjob.jobs.drawing import with_examples
from batchjob.jobs.guard import check_run
from batchjob.jobs.intake import Input, open_as_set, rest_of, rest_of_input
from batchjob.model import Chunk, InputSource, Job
from batchjob.outputs import open_output
from batchjob.ports import Reader
from batchjob.providers.dialect import check_dialects, learned_of, place_of
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.settings.complete import check
from batchjob.settings.config import JobConfig, merge, settings_of
from batchjob.settings.endpoint import SANDBOX_URL
from batchjob.settings.failures import BLANK
from batchjob.shortcuts.case import SAME, Same
from batchjob.shortcuts.rules import check_rules
from batchjob.states import JobState, State
from batchjob.stores import holds_jobs, open_reader
from batchjob.stores.moving import refuse_moved
from batchjob.task.asked import prompt_of
from batchjob.task.identity import Task
from batchjob.task.routes import check_routes

ASKS_OTHERWISE = (
    "labels",
    "descriptions",
    "examples",
    "prompt",
    "fallback",
    "model",
    "second_model",
    "second_below",
    "fields",
)
"""With others of these a finished job's input is likely meant to be mended, and not to be paid for again."""


STOPPED_FOR_ALL = "stopped_for_all"
"""The reason, as a kind, of a job that a user stopped for all its workers."""


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
    retry_kinds: Sequence[str] | None = None  # put these back first, and run only rows that were taken up before
    left: int = 0  # of a retry: the rows that wait already
    before: Job | None = None  # of a new job: the last one of this input, with other settings; of a resume: this one
    moved: InputSource | None = None  # where the input lies now, or how large it is, if that is to be noted
    refusal: SettingError | None = None  # why it should not be carried out without the user's word
    same: Same = SAME  # how far it asks as the job's runs before
    joins: bool = False  # beside others that may be working on it

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
    check_dialects(config)
    if config.output:
        open_output(config.output, None)
    return config


def plan_start(
    input: Input,
    config: JobConfig,
    *,
    db: str,
    new: bool = False,
    append: bool = False,
    beside: Sequence[str] = (),
) -> Plan:
    """Go on with the job of this input and task, or make one.

    Args:
        input: its files, whose rows come in this order; or rows in memory.
        new: make a new job in any case.
        append: go on with the rows by which the input has grown.
        beside: files that the settings were read from, which the job must not write over.

    Raises:
        BatchjobError: settings, input or database cannot be used; the text says which and what to do.
    """
    complete(config)
    if new and append:
        raise SettingError("--append goes on with a job and --new makes one: give one of them")
    check_run(db, config, [] if isinstance(input, Held) else input, beside)
    reader = open_as_set(input, config)
    prompt_of(config, reader.source)  # before anything is made, for it may name what is no column
    config = msgspec.structs.replace(config, text_column=reader.source.text_column)  # named or found, it is the same
    known = jobs_of(db, reader.source.place)
    config = with_examples(config, input, [] if new else [settings_of(job) for job in known])
    task = Task.of(config)
    job = None if new else next((job for job in known if job.task_digest == task.digest), None)
    if config.name and (job is None or job.name != config.name):
        job = _named(db, config, reader, task, new=new)
    if job is not None:
        refuse_moved(job)
        rest = rest_of(reader, job, append=append)
        return Plan(db, job, config, rest.chunks, moved=rest.source)
    source = msgspec.structs.replace(reader.source, beside=tuple(map(real_path, beside)))
    return _plan_new(reader, source, config, db, known[0] if known and not new else None)


def _plan_new(reader: Reader, source: InputSource, config: JobConfig, db: str, before: Job | None) -> Plan:
    """Make a job; `before` is the latest of the same input, with another task."""
    # The first chunk is read before anything is made, so that a bad input leaves nothing.
    chunks = reader.chunks(position=0, digest="", number=1, chunk_rows=CHUNK_ROWS)
    first = next(chunks)
    made = NewJob(config.name or free_name(db, stem_of(source)), source)
    if before is not None:
        refuse_moved(before)
    plan = Plan(db, made, config, chain((first,), chunks), before=before)
    return plan if before is None else plan._replace(refusal=_refusal(plan, before, first))


def _refusal(plan: Plan, before: Job, first: Chunk) -> SettingError | None:
    """Why a new job should not be begun as if by itself: rows of a finished one would be paid for again."""
    changed = plan.changed
    if before.state is not JobState.FINISHED or not set(changed) <= set(ASKS_OTHERWISE):
        return None
    with open_reader(plan.db) as reader:
        rows = reader.snapshot(before.name).tally.get("row", {})
        learned = learned_of(reader.learned(place_of(plan.config)), plan.config)
        work = Work(plan.config, plan.source, reader.cached_labels, learned=learned)
        work.add(first.rows)
        failed_here = sum(
            1 for _ in takewhile(lambda row: row[0] <= len(first.rows), reader.export_rows(before, only="failed"))
        )
    done, failed = rows.get(State.DONE, 0), rows.get(State.FAILED, 0)
    asks_the_same = _asks(settings_of(before)) == _asks(plan.config)
    # These rows stand for all: where the same is asked, those that are done have their label from the cache.
    if not done or not work.asked or (asks_the_same and work.asked <= failed_here):
        return None
    if "fields" in changed:
        failed = 0  # what a retry does not take
    retry = f" To ask the {failed:,} that failed, and them alone: retry, with the same options."
    others = " and other ".join(changed).replace("_", " ") or "settings"
    return SettingError(
        f"job {before.name!r} has labelled {done:,} rows of this input, which would be paid for again with other "
        f"{others}. To do that, as a new job: add --new.{retry if failed else ''}",
        then=("retry", before.name, "OPTIONS") if failed else (),
    )


def plan_resume(name: str | None, changes: dict[str, Any], *, db: str, moved: Sequence[str] = ()) -> Plan:
    """Go on with the unfinished rows of a job; without a name, of the only one that is unfinished.

    Args:
        changes: settings that are to be others than in its last run.
        moved: where its input lies now, if not where it was.

    Raises:
        BatchjobError: there is no such job, or its input is gone or another one.
    """
    with open_reader(db) as reader:
        job = reader.job(name) if name else reader.latest(unfinished=True)
    refuse_moved(job)
    before, config = settings_of(job), settings_for(job, changes)
    check_run(db, config, moved or job.source.paths, job.source.beside)
    rest = rest_of_input(job, moved)
    same = _same(before, config)
    return Plan(db, job, config, rest.chunks, before=None if same.whole else job, moved=rest.source, same=same)


def plan_retry(name: str | None, changes: dict[str, Any], *, db: str, kinds: Sequence[str] = ()) -> Plan:
    """Put the failed rows of a job back and run only those; without a name, of the latest.

    Rows whose answer was never seen may have been paid: they are put back only where `kinds` names them.

    Raises:
        BatchjobError: there is no such job, or no row failed so.
    """
    with open_reader(db) as reader:
        snapshot = reader.snapshot(name)
    job, there = snapshot.job, snapshot.tally.get("error", {})
    refuse_moved(job)
    for kind in kinds:
        if kind not in there:
            known = ", ".join(there) or "none"
            raise JobError(f"no row of job {job.name!r} failed with kind {kind!r}; there are: {known}")
    held = there.get(State.UNCONFIRMED, 0)
    before = settings_of(job)
    # A limit of the last run holds on: no row behind it has been asked for.
    config = settings_for(job, {"limit": before.limit, **changes})
    left_alone = {State.UNCONFIRMED, *([BLANK] if config.blank == "skip" else [])}
    chosen = tuple(kinds) or tuple(kind for kind in there if kind not in left_alone)
    if not chosen and held:
        raise JobError(
            f"no row of job {job.name!r} failed, but {held:,} are unconfirmed: they may have been paid. "
            f"They are sent again where you say so",
            then=("retry", job.name, "--kind", "unconfirmed"),
        )
    check_run(db, config, job.source.paths, job.source.beside)
    same = _same(before, config)
    rows = snapshot.tally.get("row", {})
    pending = rows.get(State.PENDING, 0)
    if not same.whole and (pending or not job.ingested):
        raise JobError(
            f"job {job.name!r} has rows that were never tried. Give these options to resume, which asks "
            f"them so; then retry those that failed",
            then=("resume", job.name, "OPTIONS"),
        )
    left = pending + rows.get(State.IN_FLIGHT, 0)
    return Plan(db, job, config, None, retry_kinds=chosen, left=left, same=same)


def by_hand(db: str, job: Job) -> list[int]:
    """The rows without a label that a person gave one: nobody needs to pay for theirs. Asked for when they would be put
    back, because a person may go on meanwhile.
    """
    said = {number for number, standing in Corrections(db).of(job.uid).items() if standing.label is not None}
    if not said:
        return []
    with open_reader(db) as reader:
        unlabelled = (row for state in (State.FAILED, State.UNCONFIRMED) for row in reader.export_rows(job, only=state))
        return [row[0] for row in unlabelled if row[0] in said]


def plan_work(name: str | None, changes: dict[str, Any], *, db: str) -> Plan:
    """Help with a job, beside others that are working on it; without a name, with the only one that is unfinished.
    Its settings hold, but for `changes` of what concerns this machine alone.

    Raises:
        BatchjobError: there is no such job, or it was stopped.
    """
    with open_reader(db) as reader:
        job = reader.job(name) if name else reader.latest(unfinished=True)
    config = complete(merge(msgspec.to_builtins(settings_of(job)), {"output": None, **changes}))
    if config.base_url == SANDBOX_URL:
        raise SettingError(
            f"job {job.name!r} asks the built-in sandbox, which is each process's own. To try several workers, start "
            "one endpoint for all with: batchjob sandbox"
        )
    if job.state in (JobState.REFUSED, JobState.OVER_BUDGET):
        raise JobError(f"job {job.name!r} was stopped for all workers: {job.reason}", then=("resume", job.name))
    check_run(db, config, (), ())
    return Plan(db, job, config, None, joins=True)


class OverAlready(NamedTuple):
    """Why there is nothing to help with, and the command to go on with, its verb first, if there is one."""

    why: str
    then: Sequence[str] = ()


def over(plan: Plan) -> OverAlready | None:
    """Whether there is nothing to help with: the job is finished, or a user stopped it."""
    with open_reader(plan.db) as reader:
        snapshot = reader.snapshot(plan.name)
    rows = snapshot.tally.get("row", {})
    if snapshot.job.ingested and not rows.get(State.PENDING, 0) and not rows.get(State.IN_FLIGHT, 0):
        return OverAlready(f"job {plan.name!r} is finished: there is nothing to do")
    if snapshot.job.reason_kind == STOPPED_FOR_ALL:
        return OverAlready(f"job {plan.name!r} was stopped for all workers", ("resume", plan.name))
    return None


def _asks(config: JobConfig) -> tuple[Any, ...]:
    """What decides an answer: question and models."""
    return Task.of(config).question, config.model, config.routes


def _same(before: JobConfig, now: JobConfig) -> Same:
    """How far the same is asked with these settings as with those of the job's last run."""
    none = {"second_model": None, "second_below": JobConfig().second_below}
    alone = [_asks(msgspec.structs.replace(one, **none)) for one in (before, now)]
    return Same(_asks(before) == _asks(now), alone[0] == alone[1])


def settings_for(job: Job, changes: dict[str, Any]) -> JobConfig:
    """The settings of a job's next run: those of the last one, but for the changes. A limit holds for one run only."""
    before = msgspec.to_builtins(settings_of(job))
    before.pop("limit", None)
    if changes.get("base_url"):
        before["sandbox"] = changes["base_url"] == SANDBOX_URL
    config = complete(merge(before, changes))
    prompt_of(config, job.source)
    return config


# ---------------------------------------------------------------- which job


def jobs_of(db: str, place: str) -> list[Job]:
    """The jobs of an input (InputSource.place), the latest first."""
    if not holds_jobs(db):
        return []
    with open_reader(db) as reader:
        return reader.by_input(place)


def moved_from(plan: Plan) -> Job | None:
    """The job whose input a new job's may be, moved: files of these names and this size, which are not there now."""
    source = plan.source
    if isinstance(plan.job, Job) or plan.before or source.size is None or not holds_jobs(plan.db):
        return None
    names = [Path(path).name for path in source.paths]
    with open_reader(plan.db) as reader:
        alike = [job for job in reader.jobs() if job.source.size == source.size and not job.source.sample]
    gone = (job for job in reversed(alike) if not any(Path(path).exists() for path in job.source.paths))
    return next((job for job in gone if [Path(path).name for path in job.source.paths] == names), None)


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
    if found.source.place != reader.source.place:
        raise JobError(f"job {found.name!r} has another input, {found.source.named}: give this one another --name")
    if found.task_digest != task.digest:
        changed = ", ".join(task.changed_from(Task.of(settings_of(found))))
        raise JobError(f"job {found.name!r} has other settings ({changed}): give this one another --name")
    return found


def stem_of(source: InputSource) -> str:
    """What a job of this input is called, where nobody names it."""
    if source.held:
        return "data"
    stem = "stdin" if source.path == "-" else Path(source.path).name.split(".")[0]
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "job"


def free_name(db: str, stem: str) -> str:
    """The name, with a number where it is taken."""
    if not holds_jobs(db):
        return stem
    with open_reader(db) as store:
        taken = store.names()
    return next(name for name in chain((stem,), (f"{stem}-{n}" for n in count(2))) if name not in taken)
