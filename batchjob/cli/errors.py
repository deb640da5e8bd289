"""batchjob errors: what failed, why, with examples, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Collection

import click

from batchjob.cli.options import database, db_flag, db_option, job_argument
from batchjob.cli.show import show_document, show_lines
from batchjob.corrections.overlay import labelled_rows
from batchjob.errors import SettingError
from batchjob.exchange.decide import ADVICE
from batchjob.model import Job
from batchjob.ports import StoreReader
from batchjob.records import Problem
from batchjob.settings.config import settings_of
from batchjob.stores import open_reader
from batchjob.views.problems import problems_lines, problems_of
from batchjob.views.status import status_of

EXAMPLES = 3
EXAMPLES_OF_ONE_KIND = 20


@click.command("errors")
@job_argument
@db_option
@click.option("--kind", metavar="KIND", help="Only rows that failed so")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Rows shown of each kind  [default {EXAMPLES}; with --kind {EXAMPLES_OF_ONE_KIND}]",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document")
def command(job: str | None, db: str | None, kind: str | None, limit: int | None, as_json: bool) -> int:
    """Show the failed and unconfirmed rows of JOB (the latest, if not named) by kind, and what to do.

    An unconfirmed row was sent and its answer never seen: it may have been paid.
    """
    limit = limit or (EXAMPLES_OF_ONE_KIND if kind else EXAMPLES)
    with open_reader(database(db)) as reader:
        snapshot = reader.snapshot(job)
        kinds = list(snapshot.tally.get("error", {}))
        if kind is not None:
            _check_kind(kind, kinds, [field.name for field in settings_of(snapshot.job).fields])
            kinds = [kind]
        labelled = labelled_rows(reader, snapshot.job)
        found = {name: _left(reader, snapshot.job, name, limit, labelled.get(name, set())) for name in kinds}
        by_hand = {name: len(numbers) for name, numbers in labelled.items()}
        status, config = status_of(snapshot), settings_of(snapshot.job)
        problems = problems_of(status, config, found, by_hand, asked=kind, flag=db_flag())
    if as_json:
        show_document(problems)
    else:
        show_lines(problems_lines(problems))
    return 0


def _left(reader: StoreReader, job: Job, kind: str, limit: int, labelled: Collection[int]) -> list[Problem]:
    """The first rows of a kind, without those that people labelled."""
    rows = reader.problems(job, kind, limit + len(labelled))
    return [row for row in rows if row.number not in labelled][:limit]


def _check_kind(kind: str, there: list[str], fields: list[str]) -> None:
    known = [*there, *ADVICE]
    plain, _, lacking = kind.partition(":")
    if kind not in known and not (plain in ADVICE and set(lacking.split(",")) <= set(fields)):
        near = difflib.get_close_matches(kind.replace("-", "_"), known, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]!r}?" if near else f"this job has: {', '.join(there) or 'none'}"
        raise SettingError(f"there is no error kind {kind!r}: {hint}")
