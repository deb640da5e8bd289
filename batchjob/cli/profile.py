"""batchjob profile: what is in an input, what labelling it would take, and with which settings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import click
import msgspec

from batchjob.cli.estimate import learned_in, remembering, watched
from batchjob.cli.options import GroupedCommand, GroupedOption, database, setting_options
from batchjob.cli.show import columns, show_document, show_lines
from batchjob.cli.start import gather_settings, with_gold_typed
from batchjob.cli.typed import start_line
from batchjob.forecast.estimate import outlook
from batchjob.forecast.suggest import suggested
from batchjob.forecast.texts import Texts
from batchjob.forecast.work import Work
from batchjob.jobs.drawing import with_examples
from batchjob.jobs.intake import open_as_set, rows_within
from batchjob.model import Chunk
from batchjob.money.prices import prices_of
from batchjob.ports import Reader
from batchjob.providers.dialect import check_dialects, tells_cost
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.settings.complete import check
from batchjob.settings.config import JobConfig
from batchjob.shortcuts.rules import check_rules
from batchjob.task.routes import check_routes
from batchjob.views.forecast import Profile, profile_document, profile_lines, texts_found, work_found

CACHE_UNKNOWN = "rows in the label cache, for that depends on labels, model and endpoint: give all three"
PLACEHOLDERS = {"labels": "--labels A,B,C", "model": "--model NAME", "base_url": "--base-url URL"}


@click.command("profile", cls=GroupedCommand)
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@setting_options("profile")
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document, with stable keys", cls=GroupedOption, group="output"
)
def command(inputs: tuple[str, ...], db: str | None, config: str | None, as_json: bool, **flags: Any) -> int:
    """Say what is in INPUT and what labelling it would take, before anything is paid for.

    Takes the options of start. Nothing is sent and nothing written; labels, model and endpoint may be left out.
    """
    gathered = gather_settings(config, flags)
    settings = with_gold_typed(gathered.settings, flags)
    usable(settings)
    if settings.labels:
        settings = with_examples(settings, inputs)
    path = database(db, configured=gathered.db)
    reader = open_as_set(inputs, settings)
    profile = _profile(reader, settings, path, {name for name, value in flags.items() if value is not None})
    if as_json:
        show_document(profile_document(profile))
    else:
        show_lines(profile_lines(profile, settings, columns()))
    return 0


def _profile(reader: Reader, settings: JobConfig, path: str, given: Collection[str]) -> Profile:
    """Read the whole input. `given` names the settings that are not to be suggested again."""
    priced = settings.model and settings.base_url
    prices = prices_of(settings, told=tells_cost(settings)) if priced else {}
    chunks = reader.chunks(position=0, digest="", number=1, chunk_rows=CHUNK_ROWS)
    asks = settings.labels or settings.fields
    complete = bool(asks and settings.model and settings.base_url)
    texts = Texts()
    noticed: list[str] = []
    with remembering(path, settings) as look_up:
        learned = learned_in(path, settings) if complete else {}
        work = Work(settings, reader.source, look_up if complete else None, texts, learned=learned)
        for rows in watched(rows_within(_noticing(chunks, noticed), settings.limit), quiet=settings.quiet):
            work.add(rows)
    found = outlook(work, settings, prices)
    chosen = suggested(found, settings, rows=work.asked, given=given)
    return Profile(
        source=reader.source,
        limit=settings.limit,
        work=work_found(work),
        prompt=work.prompt,
        texts=texts_found(texts),
        outlook=found,
        warnings=tuple(noticed),
        unknown=() if complete or not settings.cache else (CACHE_UNKNOWN,),
        suggested=chosen,
        command=_command_line(click.get_current_context(), settings, chosen),
    )


def _noticing(chunks: Iterable[Chunk], warnings: list[str]) -> Iterator[Chunk]:
    """The chunks; what is odd in their rows is added to the warnings."""
    for chunk in chunks:
        warnings += [notice.what for notice in chunk.noticed if notice.kind == "warning"]
        yield chunk


def usable(settings: JobConfig) -> None:
    """See that what is given of the settings is right; labels, model and endpoint need not be.

    Raises:
        SettingError: it is not.
    """
    check(
        msgspec.structs.replace(
            settings,
            labels=settings.labels or (() if settings.fields else ("label",)),
            examples=settings.examples if settings.labels else (),
            model=settings.model or "model",
            base_url=settings.base_url or "http://localhost",
        )
    )
    if settings.labels:
        check_rules(settings)
    check_routes(settings)
    check_dialects(settings)


def _command_line(context: click.Context, settings: JobConfig, chosen: dict[str, Any]) -> str:
    """The start that is suggested, ready to paste; what only the user knows stands there in capitals."""
    known = {"labels"} if settings.fields else set[str]()
    missing = [word for name, word in PLACEHOLDERS.items() if name not in known and not getattr(settings, name)]
    return " ".join([start_line(context, chosen), *missing])
