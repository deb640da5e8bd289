"""The help of every command, as the README shows it. `python tests/readme_help.py` (make readme) writes it anew."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click

from batchjob.cli import COMMANDS, group

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- help: begin", "<!-- help: end -->"
COLUMNS = 100


def helps() -> Iterator[tuple[str, str]]:
    """Each command's name, and its help in a terminal of COLUMNS."""
    top = click.Context(group, info_name="batchjob", terminal_width=COLUMNS, max_content_width=COLUMNS)
    yield "batchjob", group.get_help(top)
    for name in COMMANDS:
        command = group.get_command(top, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=top)
        yield f"batchjob {name}", command.get_help(inner)
        if isinstance(command, click.Group):
            for under in command.list_commands(inner):
                below = command.commands[under]
                yield f"batchjob {name} {under}", below.get_help(click.Context(below, info_name=under, parent=inner))


def section() -> str:
    """What stands between the marks."""
    return "".join(f"\n### {name}\n\n```text\n{text}\n```\n" for name, text in helps())


def with_help(readme: str) -> str:
    """The README with its section made anew."""
    return re.sub(rf"(?s)({BEGIN}[^\n]*\n).*?({END})", lambda found: found[1] + section() + "\n" + found[2], readme)


if __name__ == "__main__":
    README.write_text(with_help(README.read_text(encoding="utf-8")), encoding="utf-8")
