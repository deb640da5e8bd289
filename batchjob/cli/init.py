"""batchjob init: a job.toml with every setting, its default and what it does."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec

from batchjob.cli.options import database
from batchjob.cli.show import show_lines
from batchjob.errors import BatchjobError
from batchjob.files import Target
from batchjob.jobs.guard import check_written
from batchjob.outputs.target import check_target, opened
from batchjob.settings.declared import GROUPS, Setting, columns
from batchjob.settings.jobfile import FILES, settings

COLUMNS = 110


@click.command("init")
@click.argument("file", default="job.toml")
@click.option("--force", is_flag=True, help="Replace FILE if it is there")
def command(file: str, force: bool) -> int:
    """Write FILE (job.toml, if not named) with every setting, its default and what it does.

    Every setting is commented out: take the # away from those you set. - is stdout.
    """
    path = Path(file)
    if file != "-":
        if not force and path.is_file():
            raise BatchjobError(f"{file} is there already: add --force to replace it, or name another file")
        check_target(path)
        check_written(Target("FILE", file, replaced=True), database(None))
    with opened(file) as target:
        target.write(job_toml().encode())
    if file != "-":
        option = "" if file == "job.toml" else f" --config {shlex.quote(file)}"
        show_lines(
            [
                f"{file} is written: set base_url, model and labels in it",
                f"next      batchjob start INPUT{option}",
            ]
        )
    return 0


def job_toml() -> str:
    """The text of a job.toml in which every key is commented out."""
    lines = [
        "# Settings of batchjob. A flag wins over this file, and this file over the environment.",
        "# Take the # away from what you set. A value is the default or, where there is none, an example.",
        "# Every job needs labels, and an endpoint and its model or the sandbox; all else may stay as it is.",
    ]
    known = [setting for setting in settings() if setting.about.in_file]
    plain = [one for one in known if one.table is None and not one.pairs and one not in FILES.values()]
    for name, heading in GROUPS.items():
        lines += ["", f"# ---- {heading.title}: {heading.about}"]
        for setting in plain:
            if setting.about.group == name:
                lines += ["", *_key(setting)]
    lines += ["", "# ---- Tables: they stand last; leave them out where you need none"]
    for setting in known:
        if setting.table:
            lines += ["", *_table(setting, setting.table)]
        elif setting.pairs:
            pairs = [f"#{name} = {_toml(value)}" for name, value in setting.about.example.items()]
            lines += ["", f"# {setting.about.sentence}", f"#{setting.heading('')}", *pairs]
    return "\n".join(lines) + "\n"


def _key(setting: Setting) -> Iterator[str]:
    line = "#"
    for part in _told(setting):
        if len(line) + 1 + len(part) > COLUMNS:
            yield line
            line = "#"
        line += f" {part}"
    yield line
    yield f"#{setting.name} = {_toml(setting.default if setting.has_default else setting.about.example)}"


def _told(setting: Setting) -> Iterator[str]:
    """Sentences: what it is for, which values it takes, what it means to leave it out, and what to give instead."""
    about = setting.about
    yield about.sentence
    if allowed := setting.hint or " or ".join(map(_toml, setting.choices)):
        yield f"Allowed: {allowed}."
    if about.unset:
        yield f"Not set: {about.unset}."
    if about.env:
        yield f"Or the variable {' or '.join(about.env)}."
    if file := FILES.get(setting.name):
        yield f"Or {file.name} = {_toml(file.about.example)}: {_continued(file.about.sentence)}"


def _continued(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _table(setting: Setting, table: type[msgspec.Struct]) -> Iterator[str]:
    yield f"# {setting.about.sentence}"
    yield f"#{setting.heading(setting.about.example)}"
    for name, column in columns(table).items():
        if column.example is None:
            yield f"# Also {name}: {_continued(column.sentence)}"
        else:
            yield f"# {column.sentence}"
            yield f"#{name} = {_toml(column.example)}"


def _toml(value: Any) -> str:
    """A value in TOML, which has JSON's strings, numbers, truth values and arrays."""
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{name} = {_toml(one)}' for name, one in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)
