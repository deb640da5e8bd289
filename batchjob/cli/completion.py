"""Completion for bash, zsh and fish: what TAB offers. The shells' side of it is click's."""

from __future__ import annotations

import os
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem, shell_complete

from batchjob.cli.options import database
from batchjob.errors import BatchjobError
from batchjob.exchange.decide import ADVICE
from batchjob.stores import open_reader

VARIABLE = "_BATCHJOB_COMPLETE"
"""What a shell asks with: `bash_source` for the lines it needs, `bash_complete` at each TAB."""

Offer = Callable[[click.Context, str], list[CompletionItem]]


def complete(group: click.Group) -> int:
    """Answer a shell; the exit code."""
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
