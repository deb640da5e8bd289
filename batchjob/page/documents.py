"""What the page is told, as typed documents: a job, a piece of its rows, one row with its story.

States, advice and commands are those of the terminal: views/status.py and views/next_steps.py.
"""

from __future__ import annotations

import time

import msgspec

from batchjob.corrections.overlay import Overlay
from batchjob.corrections.saying import own_text
from batchjob.corrections.standing import Corrections, by_hand
from batchjob.model import InputSource, Job, Row, Value
from batchjob.money.cost import usd
from batchjob.numbers import size
from batchjob.page.finding import found_rows, kind_of
from batchjob.ports import StoreReader
from batchjob.printable import without_passwords
from batchjob.records import Correction, ExportRow, RequestRecord, RowFilter, Snapshot
from batchjob.settings.config import JobConfig, settings_of
from batchjob.settings.declared import Setting, spelled
from batchjob.settings.endpoint import SANDBOX_URL
from batchjob.settings.jobfile import settings as all_settings
from batchjob.task.columns import as_text, columns_of
from batchjob.task.fields.looked_at import looked_at
from batchjob.views.export import share
from batchjob.views.jobs_table import JobEntry, jobs_of
from batchjob.views.next_steps import next_command
from batchjob.views.outage import outage_words
from batchjob.views.problems import ProblemKind, problems_of
from batchjob.views.status import Status, status_of

PAGE_ROWS = 50
REQUESTS_LOOKED_AT = 40_000
SHOWN_CHARACTERS = 300
"""Of a text in a list."""
MOST_CHARACTERS = 200_000
"""Of one text, answer or column on its own."""
JOBS_SHOWN = 50


# ---------------------------------------------------------------- jobs


class JobLine(Value, frozen=True):
    """A job in the list, with what is to be typed next about it."""

    entry: JobEntry
    next: str
    cost_usd: float | None
    budget_usd: float | None
    model: str
    took_seconds: float | None


class JobsPage(Value, frozen=True):
    """The jobs of a database, the latest first; `more` is how many older ones are left out."""

    database: str
    jobs: tuple[JobLine, ...]
    more: int
    now: float


def jobs_page(reader: StoreReader, flag: str, skip: int = 0) -> JobsPage:
    """The list of the jobs, behind the first `skip` of them; `flag` is the part of a command that names the db."""
    entries = jobs_of(reader.overview())[::-1]
    shown = entries[skip : skip + JOBS_SHOWN]
    lines = tuple([_job_line(reader.snapshot(entry.job), entry, flag) for entry in shown])
    more = max(len(entries) - skip - JOBS_SHOWN, 0)
    return JobsPage(database=without_passwords(reader.url), jobs=lines, more=more, now=time.time())


def _job_line(snapshot: Snapshot, entry: JobEntry, flag: str) -> JobLine:
    status, config = status_of(snapshot), settings_of(snapshot.job)
    return JobLine(
        entry=entry,
        next=next_command(status, config, flag),
        cost_usd=status.cost.usd,
        budget_usd=config.budget,
        model=_model(status),
        took_seconds=None if status.started_at is None else max(status.updated_at - status.started_at, 0.0),
    )


def _model(status: Status) -> str:
    return "the built-in sandbox" if status.endpoint == SANDBOX_URL else status.model


# ---------------------------------------------------------------- one job


class Answer(Value, frozen=True):
    """What a job gives besides a label: one of several answers, and what it may be."""

    name: str
    kind: str
    labels: tuple[str, ...]


class JobPage(Value, frozen=True):
    """A job as it stands."""

    status: Status
    model: str
    next: str
    problems: tuple[ProblemKind, ...]
    waits_for: str
    budget_usd: float | None
    labels: tuple[str, ...]
    fields: tuple[Answer, ...]
    settings: dict[str, str]
    now: float


def job_page(reader: StoreReader, corrections: Corrections, name: str, flag: str) -> JobPage:
    """How a job stands, with what helps where rows failed."""
    snapshot = reader.snapshot(name)
    config = settings_of(snapshot.job)
    status = status_of(snapshot, by_hand(corrections.of(snapshot.job.uid)))
    found = {kind: [problem] for kind, problem in snapshot.examples.items()}
    return JobPage(
        status=status,
        model=_model(status),
        next=next_command(status, config, flag),
        problems=problems_of(status, config, found, {}, asked=None, flag=flag).kinds,
        waits_for=outage_words(status.outage) if status.outage else status.pacing,
        budget_usd=config.budget,
        labels=tuple(config.labels),
        fields=tuple([Answer(one.name, one.kind, looked_at(config, one.name)[0]) for one in config.fields]),
        settings=_settings(snapshot.job.source, config),
        now=time.time(),
    )


def _settings(source: InputSource, config: JobConfig) -> dict[str, str]:
    """What the job goes by and did not go without saying: settings that are not their defaults."""
    read = {
        "input": (source.named if source.held else ", ".join(source.paths))
        + (f", {size(source.size)}" if source.size else "")
    }
    chosen = {setting.name: value for setting in all_settings() if (value := _chosen(setting, config))}
    return {**read, **chosen}


def _chosen(setting: Setting, config: JobConfig) -> str:
    value = getattr(config, setting.name, None)
    if value is None or value == setting.default or value in ("", (), {}):
        return ""
    if isinstance(value, (list, tuple)) and all(isinstance(one, (str, int, float)) for one in value):
        shown = ", ".join(map(str, value))
    else:
        shown = spelled(value) if isinstance(value, (str, int, float)) else msgspec.json.encode(value).decode()
    return without_passwords(shown)[:SHOWN_CHARACTERS]


# ---------------------------------------------------------------- rows


class RowLine(Value, frozen=True):
    """A row in a list."""

    number: int
    key: str
    text: str
    label: str | None  # that counts: a person's, where there is one
    source: str | None
    state: str
    kind: str | None
    confidence: float | None


class RowsPage(Value, frozen=True):
    """A piece of the rows that are looked for, and how far was looked; `ended` is whether there is nothing behind."""

    rows: tuple[RowLine, ...]
    looked_to: int
    ended: bool
    total: int


def rows_page(
    reader: StoreReader,
    corrections: Corrections,
    name: str,
    wanted: RowFilter,
    beyond: int | None,
    *,
    backwards: bool,
) -> RowsPage:
    """The next rows behind a number, or before one; None: from the beginning, or the end."""
    job = reader.job(name)
    start = (job.rows + 1 if backwards else 0) if beyond is None else beyond
    overlay = overlay_on(job, corrections)
    found = found_rows(reader, job, wanted, overlay, start, limit=PAGE_ROWS, backwards=backwards)
    rows = tuple([_row_line(ExportRow(*record), overlay) for record in found.rows])
    return RowsPage(rows=rows, looked_to=found.looked_to, ended=found.ended, total=job.rows)


def overlay_on(job: Job, corrections: Corrections) -> Overlay:
    """What people said of a job's rows by now."""
    return Overlay(corrections.of(job.uid), settings_of(job).fields)


def _row_line(row: ExportRow, overlay: Overlay) -> RowLine:
    said = ExportRow(*overlay(row))
    return RowLine(
        number=row.number,
        key=row.key[:SHOWN_CHARACTERS],
        text=row.text[:SHOWN_CHARACTERS],
        label=said.label,
        source=said.source,
        state=row.state,
        kind=kind_of(row),
        confidence=row.confidence,
    )


# ---------------------------------------------------------------- one row


class RequestLine(Value, frozen=True):
    """A request that carried a row. Ids pass 2^53, where JavaScript's numbers end, so they are text."""

    id: str
    provider_id: str | None
    purpose: str
    model: str
    rows: int
    sent_at: float
    ended_at: float | None
    outcome: str | None
    status: int | None
    input_tokens: int | None
    cached_input_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    cost_usd: float | None
    cost_source: str | None
    error_kind: str | None
    error: str | None


class RequestsPage(Value, frozen=True):
    """Requests that carried a row; `looked_to` is the request to go on behind, None where there are no more."""

    requests: tuple[RequestLine, ...]
    looked_to: str | None


class RowStory(Value, frozen=True):
    """A row with all that is known of it."""

    number: int
    line: int
    key: str
    text: str
    columns: dict[str, str]
    label: str | None
    values: dict[str, str]  # those of its fields, as an export writes them
    source: str | None
    origin: str | None
    matched: str | None
    state: str
    kind: str | None
    error: str | None
    answer: str | None
    attempts: int
    confidence: float | None
    cost_usd: float | None  # its share of its last request
    story: RequestsPage
    said: tuple[Correction, ...]  # by people, the last one last


def row_story(reader: StoreReader, corrections: Corrections, name: str, number: int) -> RowStory:
    """A row by its number, with the first of the requests that carried it."""
    job = reader.job(name)
    row, line, matched = reader.row(job, number)
    fields = settings_of(job).fields
    return RowStory(
        number=row.number,
        line=line,
        key=row.key,
        text=row.text[:MOST_CHARACTERS],
        columns=columns_shown(job, row),
        label=row.label,
        values={field.name: value for field in fields if (value := own_text(row, field.name)) is not None},
        source=row.source,
        origin=row.origin,
        matched=matched,
        state=row.state,
        kind=kind_of(row),
        error=row.error,
        answer=row.answer and row.answer[:MOST_CHARACTERS],
        attempts=row.attempts,
        confidence=row.confidence,
        cost_usd=_share(row),
        story=row_requests(reader, job, number, 0),
        said=tuple(corrections.said(job.uid, number)),
    )


def columns_shown(job: Job, row: ExportRow) -> dict[str, str]:
    """A row's other columns as the input has them, without its id and text."""
    source = job.source
    values = columns_of(source, Row(row.number, row.text, rest=row.rest, key=row.key))
    shown = {name: as_text(value)[:MOST_CHARACTERS] for name, value in values.items()}
    return {name: value for name, value in shown.items() if name not in (source.id_column, source.text_column)}


def _share(row: ExportRow) -> float | None:
    if row.request_rows is None or row.origin is not None:
        return None
    paid = share(row.cost_picousd, msgspec.json.decode(row.request_rows, type=list[int]), row.number)
    return None if paid is None else usd(paid)


def row_requests(reader: StoreReader, job: Job, number: int, beyond: int) -> RequestsPage:
    """The requests behind one that carried a row, as far as they are found in the time of one answer."""
    found = reader.row_requests(job, number, beyond=beyond, most=REQUESTS_LOOKED_AT)
    lines = tuple([_request_line(RequestRecord(*record)) for record in found.requests])
    return RequestsPage(requests=lines, looked_to=None if found.looked_to is None else str(found.looked_to))


def _request_line(request: RequestRecord) -> RequestLine:
    own = ("request", "client_key", "request_id", "rows", "odd_usage")
    same = {name: value for name, value in request._asdict().items() if name not in own}
    rows = len(msgspec.json.decode(request.rows, type=list[int]))
    return RequestLine(id=str(request.request), provider_id=request.request_id, rows=rows, **same)
