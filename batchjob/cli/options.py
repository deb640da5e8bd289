"""Flags, made from the declared settings. One that is not given is None, so that job.toml and defaults count."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import click

from batchjob.errors import SettingError
from batchjob.printable import without_passwords
from batchjob.settings.declared import BEFORE, GROUPS, Group, Setting, spelled
from batchjob.settings.jobfile import BESIDE, DB, DEFAULT_CONFIG, parse_job_toml, settings
from batchjob.settings.pairs import READERS
from batchjob.stores import absolute

F = TypeVar("F", bound=Callable[..., Any])
OTHER = "Other"
DB_FLAG = "batchjob.db_flag"
LEFT_COLUMNS = 30  # as in click


class GroupedOption(click.Option):
    """An option that is shown with the settings of a group."""

    def __init__(self, *arguments: Any, group: Group, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.heading = GROUPS[group].title


class GroupedCommand(click.Command):
    """A command whose help shows its options in groups, all descriptions in one column."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {heading.title: [] for heading in GROUPS.values()}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)):
                groups.setdefault(getattr(option, "heading", OTHER), []).append(record)
        lengths = [len(left) for records in groups.values() for left, _ in records]
        width = max(length for length in lengths if length <= LEFT_COLUMNS)
        for title, records in groups.items():
            if records:
                with formatter.section(title):
                    formatter.write_dl([(left.ljust(width), right) for left, right in records], LEFT_COLUMNS)


def setting_option(setting: Setting, said: str, *, several: bool = False) -> Callable[[F], F]:
    """The flag of a setting, with its help; `several`: it may be given more than once."""
    more: dict[str, Any] = {"help": said, "cls": GroupedOption, "group": setting.about.group}
    names = (setting.option, setting.name)
    if setting.pairs or several:
        return click.option(*names, multiple=True, metavar=setting.shown, callback=_or_none, **more)
    if setting.switch:
        return click.option(f"{setting.option}/--no-{setting.option[2:]}", setting.name, default=None, **more)
    if setting.kind is bool:
        return click.option(*names, is_flag=True, **more)
    if setting.choices:
        return click.option(*names, type=click.Choice(setting.choices), **more)
    kind = setting.kind if setting.kind in (int, float) else str
    return click.option(*names, type=kind, metavar=setting.shown, **more)


def _or_none(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...] | None:
    return given or None


def setting_options(command: str, *, several: Sequence[str] = (), **said: str) -> Callable[[F], F]:
    """The flags of all settings that a command takes.

    Args:
        several: settings of which it takes more than one value.
        said: setting -> its help, where this command has other words for it.
    """
    return _together([setting for setting in settings() if command in setting.commands], command, said, several)


def named_options(*names: str, **said: str) -> Callable[[F], F]:
    """The flags of these settings alone; `said` as above."""
    return _together([setting for setting in settings() if setting.name in names], "", said)


def _together(
    chosen: list[Setting], command: str, said: dict[str, str], several: Sequence[str] = ()
) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for setting in reversed(chosen):
            text = said.get(setting.name) or help_of(setting, fresh=command in BEFORE or setting in BESIDE)
            function = setting_option(setting, text, several=setting.name in several)(function)
        return function

    return decorate


def help_of(setting: Setting, *, fresh: bool = True) -> str:
    """What a setting is for, and which values it takes.

    Args:
        fresh: what is not given is the default; else it is as in the job's last run.
    """
    tail = "; ".join(_values(setting, fresh=fresh))
    return setting.about.sentence.rstrip(".") + (f"  [{tail}]" if tail else "")


def _values(setting: Setting, *, fresh: bool) -> Iterator[str]:
    about = setting.about
    if fresh and about.env:
        yield f"env {', '.join(about.env)}"
    if fresh and about.unset:
        yield f"default: {about.unset}"
    elif fresh and setting.has_default and (setting.switch or setting.kind is not bool):
        yield f"default {spelled(setting.default)}"
    if setting.pairs:
        yield "repeatable"
    if setting.hint:
        yield setting.hint


db_option = setting_option(DB, help_of(DB))
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="The summary as one JSON document on stdout",
    cls=GroupedOption,
    group="output",
)
job_argument = click.argument("job", required=False)


def database(given: str | None, *, configured: str | None = None) -> str:
    """Where the database is: the flag, else job.toml, else BATCHJOB_DB, else batchjob.db here. How it was named is kept
    for `db_flag`.
    """
    of_environment = next(filter(None, map(os.environ.get, DB.about.env)), None)
    found = _in_job_toml() or of_environment or str(DB.default)
    named = given or configured or found
    place = absolute(named)
    if (context := click.get_current_context(silent=True)) is not None:
        context.meta[DB_FLAG] = "" if absolute(found) == place else f"--db {shlex.quote(without_passwords(named))}"
    return place


def db_flag() -> str:
    """What a command that is to be typed next must say of the database, as the user named it: nothing where it is
    found without.
    """
    flag: str = click.get_current_context().meta[DB_FLAG]
    return flag


def _in_job_toml() -> str | None:
    """The `db` of the job.toml here, which `start` goes by; what else is in it does not matter to other commands."""
    try:
        named = parse_job_toml(DEFAULT_CONFIG).get("db")
    except (OSError, ValueError):
        return None
    return named if isinstance(named, str) else None


def _labels(text: str) -> list[str]:
    return [label.strip() for label in text.split(",") if label.strip()]


def _amounts(text: str) -> list[float]:
    try:
        sent, answered = map(float, text.split(","))
    except ValueError:
        raise SettingError(
            f"--price {text!r}: give two amounts in USD per million tokens, sent and answered, such as 0.15,0.60"
        ) from None
    return [sent, answered]


def _statuses(text: str) -> list[int]:
    """--unpaid-status: HTTP statuses.

    Raises:
        SettingError: it is something else.
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise SettingError(
            f"--unpaid-status {text!r}: give HTTP statuses from 500 on, such as 503 or 502,503"
        ) from None


TYPED: dict[str, Callable[[Any], Any]] = {
    "labels": _labels,
    "price": _amounts,
    "unpaid_status": _statuses,
    **READERS,
}
"""Setting -> what makes its value of what is typed, where that is no text or number."""


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, as settings."""
    settings = {name: value for name, value in flags.items() if value is not None}
    return {name: TYPED[name](value) if name in TYPED else value for name, value in settings.items()}
