"""docs/reference/settings.md, made of the declared settings. `python tests/reference.py` (make reference) writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from batchjob.settings.declared import GROUPS, Because, Setting, columns, spelled
from batchjob.settings.jobfile import FILES, settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "settings.md"
HEAD = """\
# Settings

<!-- made by `make reference` from batchjob/settings/config.py; do not edit -->

A setting is given by its flag or as a key of `job.toml`, some also by a variable of the environment. A flag wins over
the file, and the file over the environment. `batchjob init` writes a `job.toml` with every key in it.

- **default**: what holds where nothing else is given. What must be given may come from any of the three; with
  `--sandbox` nobody need give `base_url` and `model`.
- **decides the label**: whether the label of a text depends on the setting, and if not, why not.
- **another value** says what a later command with another value does. *Another job*: `start` makes a new job, in which
  texts that were asked the same before come from the cache. Otherwise the commands named here go on with the same job.
  `resume` and `retry` use the settings of the last run where nothing else is given.
"""
NONE = "-"


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    for name, heading in GROUPS.items():
        lines += [f"## {heading.title}", "", f"{heading.about[0].upper()}{heading.about[1:]}.", ""]
        lines += _rows("flag", "key", "default", "values", "what it does", "decides the label", "another value")
        group = [setting for setting in settings() if setting.about.group == name]
        lines += [_row(*_cells(setting)) for setting in group]
        for setting in group:
            if setting.table:
                lines += ["", *_table(setting, setting.table)]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _rows(*heads: str) -> list[str]:
    return [_row(*heads), _row(*("---" for _ in heads)).replace(" ", "")]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(setting: Setting) -> Iterator[str]:
    yield _flag(setting)
    yield f"`{_key(setting)}`" if setting.about.in_file else NONE
    yield _default(setting)
    yield _values(setting)
    yield setting.about.sentence
    yield _effect(setting)
    yield _another_value(setting)


def _key(setting: Setting) -> str:
    return setting.heading(setting.about.shown) if setting.table or setting.pairs else setting.name


def _flag(setting: Setting) -> str:
    if setting.table:
        return NONE
    return f"`{setting.option}`, `--no-{setting.option[2:]}`" if setting.switch else f"`{setting.option}`"


def _default(setting: Setting) -> str:
    variables = f", or by {', '.join(f'`{name}`' for name in setting.about.env)}" if setting.about.env else ""
    if setting.about.unset:
        return setting.about.unset
    if setting in FILES.values() or (setting.kind is bool and not setting.switch):
        return NONE
    if setting.has_default:
        return f"`{spelled(setting.default)}`{variables}"
    return f"must be given{variables}"


def _values(setting: Setting) -> str:
    if setting.table:
        return NONE
    if setting.pairs:
        return f"{setting.shown}, repeatable"
    if setting.kind is bool:
        return "on or off" if setting.switch else NONE
    if setting.choices:
        return " or ".join(f"`{choice}`" for choice in setting.choices)
    return ", ".join(filter(None, (setting.shown, setting.range))) or NONE


def _effect(setting: Setting) -> str:
    if isinstance(setting.effect, Because):
        return f"no: {setting.effect.reason}"
    return f"yes, but not {setting.effect.but}" if setting.effect.but else "yes"


def _another_value(setting: Setting) -> str:
    if isinstance(setting.effect, Because) and setting.effect.then:
        return setting.effect.then
    if not setting.decides:
        going_on = [command for command in setting.commands if command not in ("profile", "try")]
        return ", ".join(f"`{command}`" for command in going_on) or "`start`"
    same = "; `resume` and `retry` take the same endpoint at another address" if "resume" in setting.commands else ""
    return f"another job{same}"


def _table(setting: Setting, table: type[msgspec.Struct]) -> Iterator[str]:
    needed = {field.name for field in msgspec.structs.fields(table) if field.required}
    yield f"In a `{_key(setting)}` table:"
    yield ""
    yield from _rows("key", "needed", "what it is")
    for name, column in columns(table).items():
        yield _row(f"`{name}`", "yes" if name in needed else "no", column.sentence)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
