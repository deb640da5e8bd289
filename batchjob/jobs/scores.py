"""How good a job's labels are: its rows beside the gold that their input, or another file, has for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from batchjob.corrections.overlay import Overlay, overlay_of
from batchjob.errors import InputError
from batchjob.inputs.said import said_of_ids
from batchjob.jobs.drawing import input_column
from batchjob.model import InputSource, Job
from batchjob.ports import StoreReader
from batchjob.scoring.counts import Counts, Judged
from batchjob.settings.config import settings_of
from batchjob.states import State
from batchjob.task.columns import column_reader
from batchjob.task.examples import is_example
from batchjob.task.fields.kinds import KINDS
from batchjob.task.fields.looked_at import ValueOf, looked_at, written
from batchjob.views.score import EXAMPLE, WITHOUT_GOLD, ScoreReport, score_report

GOLD_COLUMNS = ("gold", "label")
"""The columns of a file of gold that are taken where none is named."""

SCORED_STATES = (State.DONE, State.FAILED)
"""Failed rows are scored, as wrong: who leaves them out praises a model for what it refused."""

GoldOf = Callable[[str, str | None], str]
"""(key, other columns as JSON) -> the gold of a row, trimmed; "" where it has none."""


class Gold(NamedTuple):
    """What a person says of rows."""

    said: str  # where it stands
    of: GoldOf
    unmet: Callable[[], int] = lambda: 0  # ids with gold for which `of` was never asked
    again: Callable[[], int] = lambda: 0  # rows for which it was asked with an id that a row before has


def gold_in_input(reader: StoreReader, job: Job, named: str) -> Gold:
    """The gold in a column of the job's input.

    Raises:
        SettingError: it has no such column, or that is the text.
    """
    later = [notice.what for notice in reader.noticed(job) if notice.kind == "column"]
    return gold_column(job.source, later, named)


def gold_column(source: InputSource, later: Sequence[str], named: str) -> Gold:
    """The gold in a column of an input, `later` being those that its first row has not; as `gold_in_input`."""
    column = input_column(named, source, later)
    value = column_reader(source, column)
    return Gold(f"column {column}", lambda key, rest: value(key, rest).strip())


def gold_in_file(job: Job, path: str, named: str | None) -> Gold:
    """The gold in a file with the job's ids. It is held in memory.

    Args:
        named: its column; None: the first of GOLD_COLUMNS that is there.

    Raises:
        InputError: it cannot be read, or says two things of one id.
    """
    columns = [named] if named else GOLD_COLUMNS
    column, said = said_of_ids(path, id_column=job.source.id_column, columns=columns)
    gold: dict[str, str] = {}
    for line, key, value in said:
        if value and gold.setdefault(key, value) != value:
            raise InputError(f"{path}, line {line:,}: id {key} has gold {gold[key]!r} above and {value!r} here")
    met: Counter[str] = Counter()

    def gold_of(key: str, rest: str | None) -> str:
        if key in gold:
            met[key] += 1
        return gold.get(key, "")

    said_by = f"column {column} of {path}"
    return Gold(said_by, gold_of, lambda: len(gold) - len(met), lambda: met.total() - len(met))


def score(reader: StoreReader, job: Job, gold: Gold, field: str | None = None) -> ScoreReport:
    """Count a job's rows beside their gold. Memory grows with the labels, not with the rows.

    Args:
        field: whose values are looked at, where a row has several answers.

    Raises:
        SettingError: the job has fields and none is named, or it has none of this name.
    """
    config = settings_of(job)
    (labels, value), read = looked_at(config, field), written(config, field)
    kind = next((one.kind for one in config.fields if one.name == field), "one")
    if not KINDS[kind].one_label:
        labels = ()  # its values are others, or more than one of them
    counts = Counts(labels, (lambda said: read(said) is not None) if config.fields else None)
    left_out = Counter[str]()

    def meant(key: str, rest: str | None) -> str:
        said = gold.of(key, rest)
        return read(said) or said

    for row in judged_rows(reader, job, meant, value, overlay_of(reader, job, field)):
        if isinstance(row, Judged):
            counts.add(row)
        else:
            left_out[row] += 1
    found: dict[str, Any] = {"field": field, "left_out": left_out, "strangers": gold.unmet(), "shared": gold.again()}
    return score_report(job.name, gold.said, counts, labels, **found)


def judged_rows(
    reader: StoreReader, job: Job, gold_of: GoldOf, value: ValueOf, overlay: Overlay
) -> Iterator[Judged | str]:
    """The rows of a job in input order: those that have gold and their end; of one without an end its state, and
    WITHOUT_GOLD of one without gold, and EXAMPLE of one whose text the model was told with its label.
    """
    shown = is_example(settings_of(job))
    for record in map(overlay, reader.export_rows(job)):
        _, key, text, rest, label, source, state, kind, _, _, answer, *_ = record
        gold = gold_of(key, rest)
        if not gold:
            yield WITHOUT_GOLD
        elif shown(text):
            yield EXAMPLE
        elif state in SCORED_STATES:
            yield Judged(key, text, gold, value(label, answer), source, kind, answer)
        else:
            yield state
