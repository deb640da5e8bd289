"""What a job would take, as a person or a program reads it: the document of `profile --json`, and lines of a plan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from batchjob.forecast.estimate import Estimate, Outlook
from batchjob.forecast.packing import ROWS_PER_REQUEST
from batchjob.forecast.texts import Texts
from batchjob.forecast.work import Work
from batchjob.model import InputSource, Value
from batchjob.numbers import about, counted, duration, share
from batchjob.printable import printable
from batchjob.records import Snapshot
from batchjob.settings.config import JobConfig
from batchjob.task.prompt import Prompt
from batchjob.views.lines import padded
from batchjob.views.next_steps import advice
from batchjob.views.request import prompt_lines

MOST_BAR = 40
MOST_NAMES = 8
USUAL_COLUMNS = 80


# ---------------------------------------------------------------- the document


class InputRows(Value, frozen=True):
    """Rows of an input, by what can be done with them."""

    total: int
    to_label: int
    blank: int
    defective: int


class SettledBy(Value, frozen=True, forbid_unknown_fields=True):
    """Rows, by what gives them their end: a source of labels that is not here is a mistake, and not left out."""

    request: int
    rule: int
    cache: int
    duplicate: int
    fallback: int
    failed: int


class WorkFound(Value, frozen=True):
    """How many rows there are, and what becomes of them; and how many fewer would be paid for with dedupe = "loose"."""

    rows: InputRows
    defects: dict[str, int]
    rules: dict[str, int]
    routes: dict[str, int]
    settled_by: SettledBy
    loose_saves: int | None


class Repeated(Value, frozen=True):
    """A text that stands in the input more than once; `exact` is False where the count is a lower bound."""

    text: str
    count: int
    exact: bool


class Duplicates(Value, frozen=True):
    """Texts that stood there before: the same (dedupe = "exact"), and the same loosely, with pairs that only are so."""

    exact: int
    loose: int
    alike: tuple[tuple[str, str], ...]
    most_frequent: tuple[Repeated, ...]


class Bucket(Value, frozen=True, rename={"from_": "from"}):
    """Rows with a text of so many characters; `to` is None in the last one."""

    from_: int
    to: int | None
    rows: int


class Characters(Value, frozen=True):
    """How long the texts are; None where there is no text."""

    min: int | None
    median: int | None
    p95: int | None
    mean: float | None
    max: int | None
    histogram: tuple[Bucket, ...]


class TextsFound(Value, frozen=True):
    """What the texts are like."""

    duplicates: Duplicates
    characters: Characters
    scripts: dict[str, int]
    languages: dict[str, int]


class Profile(Value, frozen=True):
    """What is in an input, what labelling it would take, and with which settings."""

    source: InputSource
    limit: int | None
    work: WorkFound
    prompt: Prompt
    texts: TextsFound
    outlook: Outlook
    unknown: tuple[str, ...]  # besides what is unknown to the outlook
    suggested: dict[str, Any]
    command: str
    warnings: tuple[str, ...] = ()  # what is odd in the input


def work_found(work: Work) -> WorkFound:
    """What became of the rows, typed."""
    return msgspec.convert(work.document(), WorkFound)


def texts_found(texts: Texts) -> TextsFound:
    """What the texts are like, typed."""
    return msgspec.convert(texts.document(), TextsFound)


def profile_document(profile: Profile) -> dict[str, object]:
    """The document of `profile --json`. Keys are stable; more may be added."""
    source = profile.source
    return {
        "input": {
            "path": source.path,
            "paths": source.paths,
            "format": source.format,
            "id_column": source.id_column,
            "text_column": source.text_column,
            "limit": profile.limit,
            "said": source.said,
            "warnings": profile.warnings,
        },
        "prompt": {"columns": profile.prompt.columns, "labels_appended": profile.prompt.appends_labels},
        **msgspec.structs.asdict(profile.work),
        **msgspec.structs.asdict(profile.texts),
        "estimates": [_estimate_document(estimate) for estimate in profile.outlook.estimates],
        "prices": profile.outlook.prices,
        "unknown": [*profile.outlook.unknown, *profile.unknown],
        "suggested": profile.suggested,
        "command": profile.command,
    }


def _estimate_document(estimate: Estimate) -> dict[str, object]:
    return {
        "rows_per_request": estimate.rows_per_request,
        "requests": estimate.requests,
        "input_tokens": estimate.input_tokens,
        "output_tokens": estimate.output_tokens,
        "cost": {"expected_usd": estimate.expected_usd, "worst_usd": estimate.worst_usd},
        "seconds": round(estimate.seconds, 1),
    }


# ---------------------------------------------------------------- lines of a profile


def profile_lines(profile: Profile, config: JobConfig, columns: int | None) -> list[str]:
    """What a person reads of a profile."""
    outlook = profile.outlook
    shown = [outlook.for_rows(most) for most in sorted({*ROWS_PER_REQUEST, config.rows_per_request})]
    return [
        _input_line(profile.source, profile.limit),
        *(f"  {printable(said)}" for said in profile.source.said),
        *(f"warning   {printable(warning)}" for warning in profile.warnings),
        *prompt_lines(profile.prompt),
        *rows_lines(profile.work, config),
        *_duplicate_lines(profile.texts.duplicates, profile.work.loose_saves),
        *_length_lines(profile.texts.characters, columns or USUAL_COLUMNS),
        *_shares_line("scripts", profile.texts.scripts),
        *_shares_line("language", profile.texts.languages),
        *estimate_lines(outlook, shown, config),
        *(f"unknown   {reason}" for reason in profile.unknown),
        f"next      {profile.command}",
    ]


def _input_line(source: InputSource, limit: int | None) -> str:
    where = "stdin" if source.path == "-" else ", ".join(Path(path).name for path in source.paths)
    named = f"id column {source.id_column}" if source.id_column else "rows known by their number"
    first = f"; only the first {counted(limit, 'row')}" if limit else ""
    return f"input     {where} ({source.format}): text column {source.text_column}, {named}{first}"


def _duplicate_lines(duplicates: Duplicates, saves: int | None) -> Iterator[str]:
    repeated = counted(duplicates.exact, "text") if duplicates.exact else "no text"
    yield f"repeated  {repeated} stood there before"
    for found in duplicates.most_frequent:
        yield f"  {'' if found.exact else 'at least '}{found.count:,} x {printable(found.text)!r}"
    more = duplicates.loose - duplicates.exact
    if more:
        fewer = "" if saves is None else f", {counted(saves, 'row')} fewer to pay for"
        yield f"loose     {counted(more, 'text')} more but for case or closing . ! ?: --dedupe loose joins them{fewer}"
        yield from (f"  {printable(one)!r} and {printable(other)!r}" for one, other in duplicates.alike)


def _length_lines(characters: Characters, columns: int) -> Iterator[str]:
    if characters.max is None:
        return
    yield (
        f"length    {characters.min:,} to {characters.max:,} characters, half up to {characters.median:,}, "
        f"95 % up to {characters.p95:,}"
    )
    names = [_span(bucket) for bucket in characters.histogram]
    counts = [f"{bucket.rows:,}" for bucket in characters.histogram]
    left, right = max(map(len, names)), max(map(len, counts))
    room = max(min(columns - left - right - 5, MOST_BAR), 1)
    most = max(bucket.rows for bucket in characters.histogram)
    for bucket, name, count in zip(characters.histogram, names, counts, strict=True):
        bar = "#" * -(-bucket.rows * room // most)
        yield f"  {name:>{left}} {count:>{right}} {bar}".rstrip()


def _span(bucket: Bucket) -> str:
    if bucket.to is None:
        return f"{bucket.from_:,}+"
    return f"{bucket.from_:,}-{bucket.to:,}" if bucket.to > bucket.from_ else f"{bucket.to:,}"


def _shares_line(name: str, counts: dict[str, int]) -> Iterator[str]:
    total = sum(counts.values())
    if not total:
        return
    parts = [f"{what} {share(count, total)}" for what, count in list(counts.items())[:MOST_NAMES]]
    more = f", and {len(counts) - MOST_NAMES} more" if len(counts) > MOST_NAMES else ""
    told = " (unknown: Latin letters tell no language)" if name == "language" and "unknown" in counts else ""
    yield f"{padded(name, 9)} {', '.join(parts)}{more}{told}"


# ---------------------------------------------------------------- lines of a plan


def standing(snapshot: Snapshot) -> str:
    """How far a job is, before it goes on."""
    rows = snapshot.tally.get("row", {})
    lost = "".join(f", {rows[state]:,} {state}" for state in ("failed", "unconfirmed") if rows.get(state))
    more = "" if snapshot.job.ingested else "+"
    return f"{rows.get('done', 0):,} of {snapshot.job.rows:,}{more} rows are done{lost}"


def paid_again_words(found: WorkFound, *, whole: bool, rows_before: int) -> str:
    """How many rows of an input that was labelled before are paid for; `whole`: all its rows were looked at."""
    rows, asked = found.rows.total, found.settled_by.request
    more = "" if whole else f" (it had {rows_before:,} when it was last read)"
    if rows == asked:
        return "every row is paid for" if whole else f"every one of its first {rows:,} is paid for{more}"
    which = counted(rows, "row") if whole else f"its first {counted(rows, 'row')}{more}"
    return f"{asked:,} of {which} are paid for; without a request: {_without_request(found.settled_by)}"


def rows_lines(found: WorkFound, config: JobConfig, *, left: bool = False) -> list[str]:
    """How many rows there are, what is wrong with some, and how many need a request."""
    rows, settled = found.rows, found.settled_by
    parts = [f"{rows.total:,}{' left' if left else ''}: {rows.to_label:,} with a text to label"]
    parts += [f"{count:,} {name}" for name, count in (("blank", rows.blank), ("defective", rows.defective)) if count]
    lines = ["rows      " + ", ".join(parts)]
    if rows.blank and not settled.fallback:
        lines.append(f"  {rows.blank:,} blank_text: {advice('blank_text', fields=bool(config.fields))}")
    lines += [f"  {count:,} {kind}: {advice(kind)}" for kind, count in found.defects.items()]
    lines.append(f"to pay    {counted(settled.request, 'row')}; without a request: {_without_request(settled)}")
    lines += [f"rule      {printable(name)} takes {_took(count)}" for name, count in found.rules.items()]
    lines += [f"route     {printable(name)} takes {_took(count)}" for name, count in found.routes.items()]
    return lines


def _without_request(settled: SettledBy) -> str:
    words = (
        (settled.rule, "by rules"),
        (settled.cache, "from the label cache"),
        (settled.duplicate, "as duplicates"),
        (settled.fallback, "blank, which take the fallback"),
        (settled.failed, "that cannot be sent"),
    )
    return ", ".join(f"{count:,} {what}" for count, what in words if count) or "none"


def _took(count: int) -> str:
    return counted(count, "row") if count else "no row: look at its conditions, and at what stands before it"


def estimate_lines(outlook: Outlook, estimates: Sequence[Estimate], config: JobConfig) -> list[str]:
    """What the requests take, for each number of rows a request, and what that rests on."""
    lines = [line for estimate in estimates for line in _estimate_lines(estimate)]
    lines += [f"unknown   {reason}" for reason in outlook.unknown]
    lines += [f"price     of {printable(model)}: {source}" for model, source in outlook.prices.items()]
    lines += [f"asked     {printable(model)}: {how}" for model, how in outlook.asked.items()]
    quotas = [
        f"{limit:,.0f} {what} a minute" for limit, what in ((config.rpm, "requests"), (config.tpm, "tokens")) if limit
    ]
    pace = [*quotas, f"{config.concurrency} requests at once that take a second each"]
    if config.second_model is not None:
        lines.append(f"second    rows that are left to {printable(config.second_model)} are not reckoned in")
    return [*lines, f"rests on  {', '.join(pace)}; tokens reckoned from characters; nothing sent twice"]


def _estimate_lines(estimate: Estimate) -> Iterator[str]:
    if not estimate.requests:
        return
    most = estimate.rows_per_request
    yield f"requests  {estimate.requests:,} with {counted(most, 'row')}{'' if most == 1 else ' at most'} in each"
    if estimate.input_tokens is not None:
        yield f"  tokens  about {_about(estimate.input_tokens)} in, {_about(estimate.output_tokens or 0)} out"
    if estimate.expected_usd is None or estimate.worst_usd is None:
        yield "  cost    unknown"
    else:
        yield f"  cost    {about(estimate.expected_usd)}, at worst {about(estimate.worst_usd)}"
    if estimate.examples_tokens:
        worth = "" if estimate.examples_usd is None else f", {about(estimate.examples_usd)}"
        yield f"  of that about {_about(estimate.examples_tokens)} tokens in{worth} for the examples"
    yield f"  time    about {duration(max(estimate.seconds, 1))}"


def _about(count: int) -> str:
    """An estimate in three digits."""
    return f"{round(count, 3 - len(str(count))):,}" if count >= 1000 else str(count)
