"""batchjob profile: what is in an input, what labelling it would take, and with which settings."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from batchjob.cli.estimate import estimate_lines, remembering, rows_lines, rows_within
from batchjob.cli.options import database, db_option, run_options, task_options
from batchjob.cli.run import prices_of
from batchjob.cli.show import columns, show_document, show_lines
from batchjob.cli.start import gather_settings
from batchjob.config import JobConfig, check
from batchjob.forecast.work import ROWS_PER_REQUEST, Outlook, Texts, Work, outlook, suggested
from batchjob.inputs import open_input
from batchjob.model import InputRow, InputSource
from batchjob.printable import printable
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.task.routes import check_rules

MOST_BAR = 40
MOST_NAMES = 8
PLACEHOLDERS = {"labels": "--labels A,B,C", "model": "--model NAME", "base_url": "--base-url URL"}


@click.command("profile")
@click.argument("input", metavar="INPUT")
@db_option
@click.option("--config", metavar="FILE", help="Settings; a flag wins over it  [default job.toml, if there is one]")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with stable keys")
@task_options
@click.option("--sandbox/--no-sandbox", default=None, help="As for start: the built-in endpoint")
@run_options
def command(input: str, db: str | None, config: str | None, as_json: bool, **flags: Any) -> int:
    """Say what is in INPUT and what labelling it would take, before anything is paid for.

    Takes the options of start. Nothing is sent and nothing written; labels, model and endpoint may be left out.
    """
    settings, _, written = gather_settings(config, flags)
    usable(settings)
    path = database(db, configured=written)
    reader = open_input(
        input,
        format=settings.format,
        encoding=settings.encoding,
        id_column=settings.id_column,
        text_column=settings.text_column,
    )
    prices = prices_of(settings) if settings.model and settings.base_url else {}
    chunks = reader.chunks(position=0, digest="", number=1, chunk_rows=CHUNK_ROWS)
    complete = bool(settings.labels and settings.model and settings.base_url)
    texts = Texts()
    with remembering(path, settings) as remembers:
        work = Work(settings, reader.source, remembers if complete else None, texts)
        for rows in _watched(rows_within(chunks, settings.limit), quiet=settings.quiet):
            work.add(rows)
    found = outlook(work, settings, prices)
    given = {name for name, value in flags.items() if value is not None}
    document = {
        "input": _input_document(reader.source, settings),
        **work.document(),
        **texts.document(),
        **_outlook_document(found, cache_known=complete or not settings.cache),
        "suggested": suggested(found, settings, rows=work.asked, given=given),
    }
    document["command"] = _command_line(click.get_current_context(), input, settings, document["suggested"])
    if as_json:
        show_document(document)
    else:
        show_lines(_lines(document, found, settings))
    return 0


def usable(settings: JobConfig) -> None:
    """See that what is given of the settings is right; labels, model and endpoint need not be.

    Raises:
        SettingError: it is not.
    """
    check(
        msgspec.structs.replace(
            settings,
            labels=settings.labels or ("label",),
            model=settings.model or "model",
            base_url=settings.base_url or "http://localhost",
        )
    )
    if settings.labels:
        check_rules(settings)


def _watched(pages: Iterable[list[InputRow]], *, quiet: bool) -> Iterator[list[InputRow]]:
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


# ---------------------------------------------------------------- a document


def _input_document(source: InputSource, settings: JobConfig) -> dict[str, Any]:
    return {
        "path": source.path,
        "format": source.format,
        "id_column": source.id_column,
        "text_column": source.text_column,
        "limit": settings.limit,
    }


def _outlook_document(found: Outlook, *, cache_known: bool) -> dict[str, Any]:
    unknown = list(found.unknown)
    if not cache_known:
        unknown.append("rows in the label cache, for that depends on labels, model and endpoint: give all three")
    return {
        "estimates": [
            {
                "rows_per_request": estimate.rows_per_request,
                "requests": estimate.requests,
                "input_tokens": estimate.input_tokens,
                "output_tokens": estimate.output_tokens,
                "cost": {"expected_usd": estimate.expected_usd, "worst_usd": estimate.worst_usd},
                "seconds": round(estimate.seconds, 1),
            }
            for estimate in found.estimates
        ],
        "prices": found.prices,
        "unknown": unknown,
    }


def _command_line(context: click.Context, input: str, settings: JobConfig, chosen: dict[str, Any]) -> str:
    """The start that is suggested, ready to paste; what only the user knows stands there in capitals."""
    words = ["batchjob", "start", f"./{input}" if input.startswith("-") and input != "-" else input]
    for option in context.command.params:
        value = context.params.get(option.name or "")
        if not isinstance(option, click.Option) or value is None or option.name == "as_json":
            continue
        if isinstance(value, bool):
            words.append(option.opts[0] if value else option.secondary_opts[0])
        else:
            words += [option.opts[0], _spelled(value)]
    for name, value in chosen.items():
        words += [f"--{name.replace('_', '-')}", _spelled(value)]
    missing = [word for name, word in PLACEHOLDERS.items() if not getattr(settings, name)]
    return " ".join([shlex.join(words), *missing])


def _spelled(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


# ---------------------------------------------------------------- lines


def _lines(document: dict[str, Any], found: Outlook, settings: JobConfig) -> list[str]:
    of = document["input"]
    named = f"id column {of['id_column']}" if of["id_column"] else "rows known by their number"
    where = "stdin" if of["path"] == "-" else str(Path(of["path"]).name)
    first = f"; only the first {of['limit']:,} rows" if of["limit"] else ""
    shown = [found.for_rows(most) for most in sorted({*ROWS_PER_REQUEST, settings.rows_per_request})]
    return [
        f"input     {where} ({of['format']}): text column {of['text_column']}, {named}{first}",
        *rows_lines(document),
        *_duplicate_lines(document["duplicates"]),
        *_length_lines(document["characters"]),
        *_shares_line("scripts", document["scripts"]),
        *_shares_line("language", document["languages"]),
        *estimate_lines(found, shown, settings),
        *(f"unknown   {reason}" for reason in document["unknown"] if reason not in found.unknown),
        f"next      {document['command']}",
    ]


def _duplicate_lines(duplicates: dict[str, Any]) -> Iterator[str]:
    exact, normalised = duplicates["exact"], duplicates["normalised"]
    if not normalised:
        yield "repeated  no text stands there twice"
        return
    yield (
        f"repeated  {normalised:,} texts stood there before: {exact:,} letter for letter, "
        f"{normalised - exact:,} but for case, spaces or closing punctuation"
    )
    for found in duplicates["most_frequent"]:
        yield f"  {'' if found['exact'] else 'at least '}{found['count']:,} x {printable(found['text'])!r}"


def _length_lines(characters: dict[str, Any]) -> Iterator[str]:
    if characters["max"] is None:
        return
    yield (
        f"length    {characters['min']:,} to {characters['max']:,} characters, half up to {characters['median']:,}, "
        f"95 % up to {characters['p95']:,}"
    )
    names = [_span(bucket) for bucket in characters["histogram"]]
    counts = [f"{bucket['rows']:,}" for bucket in characters["histogram"]]
    left, right = max(map(len, names)), max(map(len, counts))
    room = max(min((columns() or 80) - left - right - 5, MOST_BAR), 1)
    most = max(bucket["rows"] for bucket in characters["histogram"])
    for bucket, name, count in zip(characters["histogram"], names, counts, strict=True):
        bar = "#" * -(-bucket["rows"] * room // most)
        yield f"  {name:>{left}} {count:>{right}} {bar}".rstrip()


def _span(bucket: dict[str, Any]) -> str:
    if bucket["to"] is None:
        return f"{bucket['from']:,}+"
    return f"{bucket['from']:,}-{bucket['to']:,}" if bucket["to"] > bucket["from"] else f"{bucket['to']:,}"


def _shares_line(name: str, counts: dict[str, int]) -> Iterator[str]:
    total = sum(counts.values())
    if not total:
        return
    parts = [f"{what} {100 * count / total:.1f} %" for what, count in list(counts.items())[:MOST_NAMES]]
    more = f", and {len(counts) - MOST_NAMES} more" if len(counts) > MOST_NAMES else ""
    told = " (unknown: Latin letters tell no language)" if name == "language" and "unknown" in counts else ""
    yield f"{name:<9} {', '.join(parts)}{more}{told}"
