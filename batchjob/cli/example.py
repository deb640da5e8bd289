"""batchjob example: where the example lies, for those who installed the command without a checkout."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from batchjob.cli.show import show_lines
from batchjob.errors import BatchjobError

_PACKAGED = Path(__file__).resolve().parents[1] / "examples"
_CHECKOUT = Path(__file__).resolve().parents[2] / "examples"


@click.command("example")
def command() -> int:
    """Say where the example lies, and what to type to label it without a key."""
    folder = next((folder for folder in (_PACKAGED, _CHECKOUT) if (folder / "tickets.csv").is_file()), None)
    if folder is None:
        raise BatchjobError("the example is not in this installation: it was packed without batchjob/examples")
    tickets, labels = (shlex.quote(str(folder / name)) for name in ("tickets.csv", "labels.txt"))
    show_lines(
        [
            "300 questions of a bank's customers, each with its right label in the column gold:",
            f"  {tickets}",
            "Label them, without a key:",
            f"  batchjob start {tickets} --labels-file {labels} --sandbox --rpm 0 --output labels.csv",
            "Count how many labels are right:",
            "  batchjob score --gold gold",
        ]
    )
    return 0
