"""The start to type next, made of the options that another command was given."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping
from typing import Any

import click

from batchjob.printable import without_passwords

UNDECODED = 0xDC00
"""Bytes of a file's name that are no UTF-8 are kept so far behind their value."""


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
        if name == "db":
            words += ["--db", without_passwords(value)]
        elif isinstance(value, bool):
            words.append(option.opts[0] if value else option.secondary_opts[0])
        elif isinstance(value, tuple) and option.multiple:
            words += [word for one in value for word in (option.opts[0], one)]
        else:
            words += [option.opts[0], _spelled(value)]
    for name, value in settings.items():
        words += [f"--{name.replace('_', '-')}", _spelled(value)]
    return " ".join(map(quoted, words))


def quoted(word: str) -> str:
    """A word for a POSIX shell; one with line breaks or the like as Bash and Zsh read it, on one line."""
    return shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_escaped, word))}'"


def _escaped(char: str) -> str:
    if char.isprintable():
        return f"\\{char}" if char in "\\'" else char
    code = ord(char)
    if UNDECODED <= code < UNDECODED + 0x100:
        return f"\\x{code - UNDECODED:02x}"
    return f"\\x{code:02x}" if code < 0x80 else f"\\U{code:08x}"


def _spelled(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
