"""docs/reference/commands.md, the help of every command. `python tests/commands_page.py` (make reference) writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from batchjob.cli import COMMANDS, group

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference" / "commands.md"
HEAD = """\
# Commands

<!-- made by `make reference`; do not edit -->

What `batchjob COMMAND --help` prints. [settings.md](settings.md) has more on each setting, and
[exit-codes.md](exit-codes.md) what a command ends with.
"""
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


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"\n## {name}\n\n```text\n{text}\n```\n" for name, text in helps())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
