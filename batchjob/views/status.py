"""How a job stands, as typed values: the document of `status --json`, and what every other view of a job shows."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from batchjob.model import InputSource, Outage, Usage, Value
from batchjob.money.cost import KnownPrice, usd
from batchjob.printable import printable
from batchjob.providers.dialect import dialect_of, differences, learned_of
from batchjob.records import Problem, Snapshot, Worker
from batchjob.settings.config import JobConfig, models_of, settings_of
from batchjob.settings.failures import Failures
from batchjob.states import ASKED, UNASKED, JobState, Matched, Outcome, Source, State, fields_of
from batchjob.views.by_hand import ByHand

BUSY = (JobState.INGESTING, JobState.RUNNING)
"""States of a job that a process is working on."""


class Rows(Value, frozen=True):
    """Rows by state."""

    total: int
    pending: int
    in_flight: int
    done: int
    failed: int
    unconfirmed: int

    @property
    def unfinished(self) -> int:
        """Rows that a run would still take."""
        return self.pending + self.in_flight


class Matches(Value, frozen=True):
    """How the labels of the model were read from its answers."""

    exact: int  # letter for letter
    near: int  # all others; the answers are kept


class Requests(Value, frozen=True):
    """Requests that are over, by outcome. `sent` counts those that left this machine."""

    sent: int
    not_sent: int
    rejected: int
    answered: int
    lost: int
    resent: int  # lost ones that went out again
    resent_as_new: int  # of these, those under a new key, because their body had changed


class Cost(Value, frozen=True):
    """What was paid, as far as it is known: an unknown price is None, never 0."""

    usd: float | None
    known: bool
    reported_requests: int  # of the answers, those whose cost the endpoint itself told
    unknown_requests: int
    odd_usages: int  # answers whose usage cannot be true
    lost_usd_at_most: float
    prices: dict[str, str]  # model -> what says its price


class Saved(Value, frozen=True):
    """Rows labelled without a request, and what their requests would have cost."""

    rows: int
    usd: float | None


class Verified(Value, frozen=True):
    """Labelled rows that were asked once more, and those that got the same label."""

    asked: int
    agreed: int


class Rate(Value, frozen=True):
    """How fast the run is, and when it should be through; None where that is not known."""

    rows_per_second: float | None
    eta_seconds: int | None
    rows_left: int | None  # that the run still wants: behind its --limit it wants none


class FieldStatus(Value, frozen=True):
    """One of several answers about each text, over the rows that are done, and the failed rows that lack it."""

    kind: str
    done: int
    failed: int
    values: dict[str, int]  # of a field whose values are of a set: the number of rows with each


class SecondStatus(Value, frozen=True):
    """The second model's part: the labels it gave, and what its answers cost, where that is known."""

    model: str
    labelled: int
    answered: int
    usd: float | None
    unknown: int  # answers of unknown cost


class ErrorCount(Value, frozen=True):
    """Failed and unconfirmed rows of one kind."""

    kind: str
    count: int
    example: str | None


class Status(Value, frozen=True):
    """How a job stands. Its fields are the keys of `status --json`, in order: stable, but more may be added.

    Times are UTC epoch seconds.
    """

    job: str
    name: str
    state: JobState
    reason: str
    reason_kind: str  # the error kind that ended its last run, if one did
    rows: Rows
    skipped: int  # of the failed rows: blank ones, which --blank skip lets pass
    ingested: bool  # the whole input is in the work table
    labels: dict[str, int]
    fields: dict[str, FieldStatus]  # of a job with several answers a text: then `labels` is empty
    sources: dict[str, int]
    matched: Matches
    requests: Requests
    paid_twice_at_most: int
    usage: Usage
    cost: Cost
    saved: dict[str, Saved]
    rules: dict[str, int]
    second: SecondStatus | None  # of a job with a second model
    verified: Verified
    rate: Rate
    pacing: str
    outage: Outage | None  # nothing is answered
    errors: tuple[ErrorCount, ...]
    warnings: tuple[str, ...]
    learned: dict[str, str]  # model -> in what its requests differ, where its endpoint has taught that
    model: str
    endpoint: str  # its base_url
    input: str
    created_at: float
    started_at: float | None  # of the latest run
    updated_at: float
    pid: int | None
    by_hand: ByHand | None = None  # what people said of its rows
    moved_to: str | None = None  # the database it goes on in
    workers: tuple[Worker, ...] = ()  # those at work, where several may be

    @property
    def busy(self) -> bool:
        """Whether a process is working on the job."""
        return self.state in BUSY

    @property
    def unfinished(self) -> bool:
        """Whether a run would find something to do."""
        return bool(self.rows.unfinished) or not self.ingested


def named_input(source: InputSource) -> str:
    """The input in a few words."""
    return printable(source.named) + (f" and {len(source.more)} more" if source.more else "")


def job_state(snapshot: Snapshot) -> JobState:
    """The job's state; one that says it is running without a process is interrupted."""
    state = snapshot.job.state
    if state not in BUSY:
        return state
    if not snapshot.alive:
        return JobState.INTERRUPTED
    # A run writes its state when it begins; whether the input is read to its end stands in the job.
    return JobState.RUNNING if snapshot.job.ingested else JobState.INGESTING


def rows_of(snapshot: Snapshot) -> Rows:
    """The job's rows by state."""
    counts = snapshot.tally.get("row", {})
    return Rows(total=sum(counts.values()), **{str(state): counts.get(state, 0) for state in State})


def status_of(snapshot: Snapshot, by_hand: ByHand | None = None) -> Status:
    """How the job stands in a snapshot, and what people said of its rows."""
    job, tally, rows = snapshot.job, snapshot.tally, rows_of(snapshot)
    settings = settings_of(snapshot.job)
    requests, verified = tally.get("request", {}), tally.get("verify", {})
    return Status(
        job=job.name,
        name=job.name,
        state=job_state(snapshot),
        reason=printable(job.reason),
        reason_kind=job.reason_kind,
        rows=rows,
        skipped=_skipped(snapshot, settings),
        ingested=job.ingested,
        labels=tally.get("label", {}),
        fields=_fields(settings, tally, rows.done),
        sources={str(source): tally.get("source", {}).get(source, 0) for source in Source},
        matched=Matches(**{str(how): tally.get("matched", {}).get(how, 0) for how in Matched}),
        requests=_requests(requests),
        paid_twice_at_most=requests.get("resent", 0),
        usage=Usage(**{name: tally.get("usage", {}).get(name, 0) for name in Usage.__struct_fields__}),
        cost=_cost(snapshot),
        saved=_saved(tally),
        rules=_rules(snapshot, settings),
        second=_second(settings, tally),
        verified=Verified(asked=verified.get("asked", 0), agreed=verified.get("agreed", 0)),
        rate=_rate(snapshot, rows),
        pacing=snapshot.pacing,
        outage=snapshot.outage,
        errors=_errors(snapshot),
        warnings=tuple(map(printable, snapshot.warnings)),
        learned=_learned(snapshot, settings),
        model=", ".join(models_of(settings)),
        endpoint=settings.base_url,
        input=named_input(job.source),
        created_at=job.created_at,
        started_at=snapshot.started_at,
        updated_at=snapshot.updated_at,
        pid=snapshot.writer_pid,
        by_hand=by_hand,
        moved_to=job.moved_to,
        workers=snapshot.workers,
    )


def _fields(config: JobConfig, tally: Mapping[str, Mapping[str, int]], done: int) -> dict[str, FieldStatus]:
    counted, errors = tally.get("field", {}), tally.get("error", {})
    values: dict[str, dict[str, int]] = {field.name: {} for field in config.fields}
    for name, rows in counted.items():
        field, _, value = name.partition(": ")
        values.setdefault(field, {})[value] = rows
    return {
        field.name: FieldStatus(
            field.kind,
            done,
            sum(rows for kind, rows in errors.items() if field.name in fields_of(kind)),
            values[field.name],
        )
        for field in config.fields
    }


def _second(config: JobConfig, tally: Mapping[str, Mapping[str, int]]) -> SecondStatus | None:
    if config.second_model is None:
        return None
    asked, given = tally.get("second", {}), tally.get("source", {}).get(Source.SECOND, 0)
    answered, unknown = asked.get("answered", 0), asked.get("unknown", 0)
    cost = usd(asked.get("cost", 0)) if answered > unknown else None
    return SecondStatus(config.second_model, given, answered, cost, unknown)


def _learned(snapshot: Snapshot, config: JobConfig) -> dict[str, str]:
    """How the models that taught something are asked."""
    if not snapshot.learned:
        return {}
    learned = learned_of(snapshot.learned, config)
    models = models_of(config)
    return {
        model: printable(differences(dialect_of(config, model, learned[model]))) for model in models if model in learned
    }


def _requests(counts: Mapping[str, int]) -> Requests:
    outcomes = {str(outcome): counts.get(outcome, 0) for outcome in Outcome}
    others = {name: counts.get(name, 0) for name in ("sent", "resent", "resent_as_new")}
    return Requests(**others, **outcomes)


def _cost(snapshot: Snapshot) -> Cost:
    cost, requests = snapshot.tally.get("cost", {}), snapshot.tally.get("request", {})
    answered = requests.get(Outcome.ANSWERED, 0)
    unknown = cost.get("unknown", 0)
    prices = msgspec.json.decode(snapshot.job.prices, type=dict[str, KnownPrice])
    return Cost(
        usd=usd(cost.get("answered", 0)) if answered > unknown or (prices and not answered) else None,
        known=not unknown,
        reported_requests=cost.get("reported", 0),
        unknown_requests=unknown,
        odd_usages=snapshot.tally.get("usage", {}).get("odd", 0),
        lost_usd_at_most=usd(cost.get("lost", 0)),
        prices={model: price.source for model, price in prices.items()},
    )


def asked_rows(sources: Mapping[str, int]) -> int:
    """How many of the rows with these sources a model was asked for."""
    return sum(sources.get(source, 0) for source in ASKED)


def _saved(tally: Mapping[str, Mapping[str, int]]) -> dict[str, Saved]:
    """What each source saved, by the mean cost of the rows that the model labelled."""
    sources = tally.get("source", {})
    asked = asked_rows(sources)
    paid = tally.get("cost", {}).get("answered", 0)
    each = usd(paid) / asked if asked and paid else None
    return {
        str(source): Saved(rows, None if each is None else each * rows)
        for source in UNASKED
        if (rows := sources.get(source, 0))
    }


def _rules(snapshot: Snapshot, config: JobConfig) -> dict[str, int]:
    """How many rows each rule took, also those that took none."""
    took = snapshot.tally.get("rule", {})
    return {rule.name: took.get(rule.name, 0) for rule in config.rules}


def _skipped(snapshot: Snapshot, config: JobConfig) -> int:
    tally = snapshot.tally
    return Failures.of(config, tally.get("row", {}), tally.get("error", {})).skipped


def _rate(snapshot: Snapshot, rows: Rows) -> Rate:
    rate = snapshot.rows_per_second
    left = max(rows.unfinished - snapshot.rows_unwanted, 0)
    # While the input is being read nobody knows how many rows are left; in an outage, when they are done.
    known = rate and snapshot.job.ingested and not snapshot.outage
    return Rate(
        rows_per_second=None if rate is None else round(rate, 2),
        eta_seconds=round(left / rate) if rate and known else None,
        rows_left=left if snapshot.alive else None,
    )


def _errors(snapshot: Snapshot) -> tuple[ErrorCount, ...]:
    counts = snapshot.tally.get("error", {})
    examples = {kind: example_line(problem) for kind, problem in snapshot.examples.items()}
    return tuple([ErrorCount(kind, count, examples.get(kind)) for kind, count in counts.items()])


def example_line(problem: Problem) -> str:
    """A failed row in one line."""
    said = f", answer {problem.answer[:60]!r}" if problem.answer else ""
    provider = f", request {problem.request_id}" if problem.request_id else ""
    return printable(f"row {problem.key} (line {problem.line}): {problem.error or ''}{said}{provider}")
