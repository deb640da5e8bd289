"""The start to type next, made of the options that another command was given."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from typing import Any

import click


def start_line(context: click.Context, settings: Mapping[str, Any], own: Collection[str] = ()) -> str:
    """A start of the same inputs with the same options, ready to paste.

    Args:
        settings: others, by name, which win.
        own: options of the command itself, besides --json.
    """
    inputs = context.params["inputs"]
    words = ["batchjob", "start", *(f"./{one}" if one.startswith("-") and one != "-" else one for one in inputs)]
    for option in context.command.params:
        name = option.name or ""
        value = context.params.get(name)
        if not isinstance(option, click.Option) or value is None or name in ("as_json", *own, *settings):
            continue
        if isinstance(value, bool):
            words.append(option.opts[0] if value else option.secondary_opts[0])
        elif isinstance(value, tuple) and option.multiple:
            words += [word for one in value for word in (option.opts[0], one)]
        else:
            words += [option.opts[0], _spelled(value)]
    for name, value in settings.items():
        words += [f"--{name.replace('_', '-')}", _spelled(value)]
    return shlex.join(words)


def _spelled(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
