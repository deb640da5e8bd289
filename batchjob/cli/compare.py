"""batchjob compare: two jobs beside each other."""

from __future__ import annotations

import click

from batchjob.cli.options import database, db_option
from batchjob.cli.show import show_document, show_lines
from batchjob.jobs.comparisons import compare
from batchjob.jobs.scores import gold_in_input
from batchjob.stores import open_reader
from batchjob.views.compare import comparison_lines


@click.command("compare")
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@db_option
@click.option("--gold", metavar="COLUMN", help="Column of A's input with the right labels: who is right more often?")
@click.option("--field", metavar="NAME", help="Which answer, of jobs with several for each row")
@click.option("--disagreements", metavar="FILE", help="Write the rows on which they differ; format by suffix")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, with stable keys")
def command(
    a: str, b: str, db: str | None, gold: str | None, field: str | None, disagreements: str | None, as_json: bool
) -> int:
    """Compare the labels of jobs A and B, what they cost and how they were asked.

    Rows are paired by their place where both jobs have the same input, and else by their text. A label that a person
    gave counts as the row's.
    """
    with open_reader(database(db)) as reader:
        first, second = reader.job(a), reader.job(b)
        right = None if gold is None else gold_in_input(reader, first, gold)
        found = compare(reader, first, second, gold=right, field=field, disagreements=disagreements)
    if as_json:
        show_document(found)
    else:
        show_lines(comparison_lines(found))
    return 0
