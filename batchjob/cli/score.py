"""batchjob score: how good a job's labels are, by what a person says of some rows."""

from __future__ import annotations

import click

from batchjob.cli.options import database, db_option, job_argument
from batchjob.cli.show import columns, show_document, show_lines
from batchjob.errors import SettingError
from batchjob.jobs.scores import gold_in_file, gold_in_input, score
from batchjob.stores import open_reader
from batchjob.views.score import score_lines


@click.command("score")
@job_argument
@db_option
@click.option("--gold", metavar="COLUMN", help="Column with the right labels, of the input or of --gold-file")
@click.option("--gold-file", metavar="FILE", help="File with ids and the right labels  [column gold, else label]")
@click.option("--field", metavar="NAME", help="Which answer, of a job with several for each row")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with stable keys")
def command(
    job: str | None, db: str | None, gold: str | None, gold_file: str | None, field: str | None, as_json: bool
) -> int:
    """Say how good the labels of JOB (the latest, if not named) are, beside those that a person gave.

    Rows without gold are left out, and so are those that are still to be labelled. A failed row counts as wrong.
    A label that a person gave counts as the row's, with source human.
    """
    if gold is None and gold_file is None:
        raise SettingError("say where the right labels are: --gold COLUMN of the input, or --gold-file FILE with ids")
    with open_reader(database(db)) as reader:
        found = reader.job(job) if job else reader.latest()
        known = gold_in_file(found, gold_file, gold) if gold_file else gold_in_input(reader, found, gold or "")
        report = score(reader, found, known, field)
    if as_json:
        show_document(report)
    else:
        show_lines(score_lines(report, columns()))
    return 0
