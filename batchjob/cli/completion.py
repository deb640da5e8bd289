"""Completion for bash, zsh and fish: what TAB offers. The shells' side of it is click's."""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    add_completion_class,
    shell_complete,
)

from batchjob.cli.options import database
from batchjob.errors import BatchjobError
from batchjob.exchange.decide import ADVICE
from batchjob.stores import open_reader

VARIABLE = "_BATCHJOB_COMPLETE"
"""What a shell asks with: `bash_source` for the lines it needs, `bash_complete` at each TAB."""

Offer = Callable[[click.Context, str], list[CompletionItem]]

_ODD = re.compile(r"[^\w@%+=:,./-]")
"""What stands for itself in no word of a shell."""


class _Bash(BashComplete):
    """Bash takes a word as it is offered: a name with spaces has to be one word, unless a quote is open already."""

    def format_completion(self, item: CompletionItem) -> str:
        typed = os.environ["COMP_WORDS"].split("\n")[int(os.environ["COMP_CWORD"])][:1]
        if item.type == "plain" and typed not in {"'", '"'}:
            item.value = _ODD.sub(r"\\\\\g<0>", item.value)  # twice, for `read` takes one
        return super().format_completion(item)


class _Fish(FishComplete):
    """Click's script splits at each comma: it cut names, and what is said of them."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')


def complete(group: click.Group) -> int:
    """Answer a shell; the exit code."""
    add_completion_class(_Bash)
    add_completion_class(_Fish)
    return shell_complete(group, {}, "batchjob", VARIABLE, os.environ[VARIABLE])


def offer_values(command: click.Command) -> click.Command:
    """The command, whose parameters offer what can stand there, by what its help calls it."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            offer_values(one)
    for param in command.params:
        offer = OFFERS.get(param.metavar or param.name or "")
        if offer is not None:
            setattr(param, "shell_complete", offer)  # noqa: B010 (click asks the instance)
    return command


def _files(context: click.Context, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(incomplete, type="file")]


def _jobs(context: click.Context, incomplete: str) -> list[CompletionItem]:
    try:
        with open_reader(database(context.params.get("db"))) as reader:
            names = [job.name for job in reader.jobs()]
    except BatchjobError:
        return []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _kinds(context: click.Context, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(kind, help=said) for kind, said in ADVICE.items() if kind.startswith(incomplete)]


OFFERS: dict[str, Offer] = {
    "INPUT...": _files,
    "FILE": _files,
    "PATH": _files,
    "file": _files,
    "job": _jobs,
    "A": _jobs,
    "B": _jobs,
    "KIND": _kinds,
}
"""What the help calls a parameter, or its name -> what is offered for it."""
