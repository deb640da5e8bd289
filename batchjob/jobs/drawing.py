"""Examples drawn from the input of a job, before it begins."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import msgspec

from batchjob.errors import SettingError
from batchjob.inputs.reader import column_meant
from batchjob.jobs.intake import Input, open_as_set
from batchjob.model import InputSource
from batchjob.run.ingest import CHUNK_ROWS
from batchjob.settings.config import JobConfig
from batchjob.settings.tables import Example
from batchjob.task.columns import column_reader
from batchjob.task.examples import Draw
from batchjob.task.fields.looked_at import written

ROWS_READ = 50_000
"""Rows from the beginning of the input that examples are drawn from."""
DRAWN_BY = ("draw_examples", "gold", "examples_seed", "labels", "text_column")


def with_examples(config: JobConfig, input: Input, before: Sequence[JobConfig] = ()) -> JobConfig:
    """The settings with the examples that they ask to draw; as they are where they ask for none.

    Args:
        before: settings of the jobs that this input has: one that drew alike has what is drawn, also where the input
            has grown meanwhile.

    Raises:
        SettingError: they cannot be drawn; the text says why.
        InputError: the input cannot be read.
    """
    if config.draw_examples is None:
        if config.gold is not None:
            raise SettingError("--gold COLUMN says where examples are drawn from: give --examples N too")
        return config
    if config.examples:
        raise SettingError("[[examples]] stand in job.toml, and --examples draws others: give one of them")
    if config.gold is None:
        raise SettingError(
            f"--examples {config.draw_examples} draws from rows that have a label by hand: name its column with --gold"
        )
    if "-" in input:
        raise SettingError("--examples reads the input twice, which stdin cannot be: give a file, or [[examples]]")
    alike = next((one for one in before if all(getattr(one, n) == getattr(config, n) for n in DRAWN_BY)), None)
    return msgspec.structs.replace(config, examples=_drawn(config, input) if alike is None else alike.examples)


def _drawn(config: JobConfig, input: Input) -> tuple[Example, ...]:
    reader = open_as_set(input, config)
    column = input_column(config.gold or "", reader.source)
    value, read = column_reader(reader.source, column), written(config, None)
    draw = Draw(config.labels, config.draw_examples or 0, config.examples_seed, column)
    left = ROWS_READ
    for chunk in reader.chunks(position=0, digest="", number=1, chunk_rows=CHUNK_ROWS):
        for line, key, text, rest, defect in chunk.rows[:left]:
            if defect is None:
                said = value(key, rest).strip()
                draw.add(text, read(said) or said, line)
        left -= len(chunk.rows)
        if left <= 0:
            break
    return draw.chosen()


def input_column(named: str, source: InputSource, later: Sequence[str] = (), *, option: str = "--gold") -> str:
    """The column of the input that is meant by an option; `later` are those that the first row has not.

    Raises:
        SettingError: there is none such, or it is the text.
    """
    columns = [*source.columns, *later]
    found = column_meant(named, columns)
    if found is not None and found != source.text_column:
        return found
    others = [name for name in columns if name != source.text_column]
    near = difflib.get_close_matches(named, others, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"besides the text there are: {', '.join(others) or 'none'}"
    why = "is the text itself" if found else "is no column of the input"
    raise SettingError(f"{option} {named!r} {why}: {hint}")
