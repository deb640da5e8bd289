"""batchjob correct: what a person says the label of a row is."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click

from batchjob.cli.options import database, db_flag, db_option
from batchjob.cli.show import show_lines
from batchjob.corrections.saying import Said, numbered, say
from batchjob.corrections.standing import Corrections, by_hand
from batchjob.corrections.table import said_in_file
from batchjob.errors import SettingError
from batchjob.model import Job
from batchjob.numbers import counted
from batchjob.ports import StoreReader
from batchjob.records import Correction
from batchjob.stores import open_reader
from batchjob.views.by_hand import hand_words
from batchjob.views.next_steps import command as typed

BY_COMMAND, BY_FILE = "command", "file"
"""Why a row was corrected, in the log."""


@click.command("correct")
@click.argument("job")
@click.argument("row_id", metavar="[ID", required=False)
@click.argument("label", metavar="LABEL]", required=False)
@db_option
@click.option("--file", "path", metavar="FILE", help="A table with the columns id and label, such as an edited export")
@click.option("--field", metavar="NAME", help="Which answer it is, of a job with several for each row")
@click.option("--undo", is_flag=True, help="Take back what was said of ID last")
def command(
    job: str, row_id: str | None, label: str | None, db: str | None, path: str | None, field: str | None, undo: bool
) -> int:
    """Say that the row with this ID ('#N' for the N-th row) of JOB has this LABEL. It may be running.

    The label that the job gave is kept. Corrections lie beside the database, and who gave them and when. An export has
    them with the source human.
    """
    if (path is None) == (row_id is None) or (label is None) != (undo or path is not None):
        raise SettingError("say batchjob correct JOB ID LABEL, or JOB --file FILE, or JOB ID --undo")
    with open_reader(database(db)) as reader:
        found, corrections = reader.job(job), Corrections(reader.url)
        if path is not None:
            said, unchanged = said_in_file(reader, corrections, found, path, field)
        else:
            said, unchanged = [Said(numbered(reader, found, [row_id or ""])[row_id or ""], label, field)], 0
        made = say(reader, corrections, found, said, why=BY_FILE if path else BY_COMMAND, at=time.time())
        show_lines(_told(reader, found, corrections, made, unchanged if path else None))
    return 0


def _told(
    reader: StoreReader, job: Job, corrections: Corrections, made: Sequence[Correction], unchanged: int | None
) -> list[str]:
    lines = []
    if unchanged is not None:
        what = "row" if all(one.field is None for one in made) else "answer"
        lines.append(f"{counted(len(made), what)} corrected, {unchanged:,} as they were")
    elif made:
        lines.append(_one(reader.row(job, made[0].row).row.key, made[0]))
    if (hand := by_hand(corrections.of(job.uid))) is not None:
        lines.append(f"by hand   {hand_words(hand)}")
    return [*lines, f"next      {typed('export', job.name, '-o FILE', db_flag())}"]


def _one(key: str, said: Correction) -> str:
    where = f"row {said.row:,}" if key == str(said.row) else f"row {said.row:,} ({key})"
    where, own = (where, "label") if said.field is None else (f"{where}, {said.field}", "answer")
    gave = f"the job gave no {own}" if said.model is None else f"the job's own {own} is {said.model}"
    if said.label is None:
        return f"{where}: {said.before} is taken back; {gave}"
    return f"{where}: {said.label}; {gave}"
