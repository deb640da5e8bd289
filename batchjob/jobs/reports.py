"""A job as one file to hand over: its rows are looked at once for what the counters do not hold."""

from __future__ import annotations

import platform
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from batchjob import __version__
from batchjob.corrections.overlay import Overlay
from batchjob.corrections.standing import Corrections, by_hand
from batchjob.errors import SettingError
from batchjob.jobs.drawing import input_column
from batchjob.jobs.guard import check_export
from batchjob.jobs.scores import gold_in_input, score
from batchjob.model import Job, Row
from batchjob.outputs.target import check_target, opened
from batchjob.ports import StoreReader
from batchjob.records import ExportRow, Snapshot
from batchjob.settings.config import JobConfig, settings_of
from batchjob.states import State
from batchjob.task.asked import prompt_of
from batchjob.task.columns import column_reader
from batchjob.task.fields.answers import counted_in
from batchjob.task.fields.looked_at import ValueOf, looked_at
from batchjob.views.report.content import Crosstab, Seen, report_of
from batchjob.views.report.html import html
from batchjob.views.report.markdown import markdown
from batchjob.views.report.parts import Report
from batchjob.views.status import status_of

FORMS: dict[str, Callable[[Report], bytes]] = {".html": html, ".htm": html, ".md": markdown}
"""The suffix of a file -> what writes a report in that form."""
MOST_VALUES = 1_000
"""Values of a column that are told apart while rows are counted; the most frequent are shown."""
SHOWN_VALUES, SHOWN_LABELS = 20, 10
EXAMPLES = 3
EXAMPLE_LABELS = 30
EXAMPLE_CHARACTERS = 200
COUNTED = (State.FAILED, State.UNCONFIRMED)
"""States of rows whose errors are counted."""
OTHERS = "(all others)"
BLANK = "(blank)"


def write_report(
    reader: StoreReader,
    job: Job,
    output: str,
    *,
    by: str | None = None,
    gold: str | None = None,
    field: str | None = None,
    texts: bool = True,
) -> None:
    """Write a job's report; the suffix of the path says in which form, and stdout gets HTML.

    Args:
        by: a column of the input, for a table of labels by its values.
        gold: a column with the right labels.
        field: which answer these two are about, of a job with several for each row; examples are of it, too.
        texts: whether texts of the input may stand in it.

    Raises:
        SettingError: there is no such column or form, or the file is one that is needed.
        BatchjobError: it cannot be written.
    """
    check_export(reader, job, "-o", output)
    written = _form(output)
    snapshot, standing = reader.snapshot(job.name), Corrections(reader.url).of(job.uid)
    config = settings_of(snapshot.job)
    overlay = Overlay(standing, config.fields)
    corrected = _corrected(reader, snapshot, overlay, list(standing))
    look = _look(config, corrected, field, wanted=bool(by or gold))
    report = report_of(
        snapshot,
        corrected,
        by_hand(standing),
        _seen(reader, job, overlay, look, by, texts=texts),
        None if gold is None else score(reader, job, gold_in_input(reader, job, gold), field),
        messages=_messages(config, job, texts=texts),
        versions={"batchjob": __version__, "Python": platform.python_version()},
        now=time.time(),
        texts=texts,
    )
    with opened(output) as file:
        file.write(written(report))


def _form(output: str) -> Callable[[Report], bytes]:
    """What writes a report in the form that a path is named for.

    Raises:
        SettingError: there is none.
        BatchjobError: no file can be written there.
    """
    form = Path(output).suffix.lower()
    if output == "-":
        return html
    if form not in FORMS:
        raise SettingError(f"-o {output}: a report is HTML or Markdown: name a file that ends in .html or .md")
    check_target(Path(output))
    return FORMS[form]


def _corrected(reader: StoreReader, snapshot: Snapshot, overlay: Overlay, numbers: Sequence[int]) -> Snapshot:
    """The job with its counters as they are with the labels that people gave to the rows of these numbers."""
    tally = {kind: Counter(counts) for kind, counts in snapshot.tally.items()}
    fields = settings_of(snapshot.job).fields
    labels, sources, states, errors = (
        tally.setdefault(kind, Counter()) for kind in ("field" if fields else "label", "source", "row", "error")
    )
    for number in numbers:
        own = reader.row(snapshot.job, number).row
        row = ExportRow(*overlay(own))
        if own.label is not None:
            labels.subtract(counted_in(fields, own.label) if fields else [own.label])
            sources[own.source or ""] -= 1
        elif row.state == State.DONE:
            states.subtract([own.state])
            states[row.state] += 1
            errors[own.error_kind or ""] -= own.state in COUNTED  # another has that of a try behind which more may come
        if row.state == State.DONE and row.label is not None:
            labels.update(counted_in(fields, row.label) if fields else [row.label])
            sources[row.source or ""] += 1
    return msgspec.structs.replace(
        snapshot, tally={kind: dict((+counts).most_common()) for kind, counts in tally.items()}
    )


def _messages(config: JobConfig, job: Job, *, texts: bool) -> Sequence[tuple[str, str]]:
    """What a row is asked, with places where its text and columns come in; examples are texts, too."""
    prompt = prompt_of(config if texts else msgspec.structs.replace(config, examples=()), job.source)
    others = tuple(f"{{{name}}}" for name in prompt.columns)
    return prompt.messages([Row(1, "{text}", others=others)])


class _Look(NamedTuple):
    """Which label of a row is looked at."""

    labels: Sequence[str]  # that there are, the most frequent first
    of: ValueOf


def _look(config: JobConfig, snapshot: Snapshot, field: str | None, *, wanted: bool) -> _Look | None:
    """What is looked at; None where a job has several answers for each row, and none of them is meant.

    Raises:
        SettingError: one is wanted, and there is none of this name.
    """
    if config.fields and field is None and not wanted:
        return None
    _, value = looked_at(config, field)
    labels = snapshot.tally.get("label", {}) if field is None else status_of(snapshot).fields[field].values
    return _Look(list(labels), value)


def _seen(reader: StoreReader, job: Job, overlay: Overlay, look: _Look | None, by: str | None, *, texts: bool) -> Seen:
    """A look at the labelled rows, where anything of them is wanted. The same job gives the same examples."""
    if look is None or (by is None and not texts):
        return Seen()
    table = None if by is None else _Table(_column_of(reader, job, by), look.labels)
    draws = {label: _Draw(label) for label in look.labels[:EXAMPLE_LABELS] if texts}
    for _, key, text, rest, given, _, _, _, _, _, answer, *_ in map(overlay, reader.export_rows(job)):
        label = look.of(given, answer)
        if label is None:
            continue
        if table is not None:
            table.add(key, rest, label)
        if (drawn := draws.get(label)) is not None:
            drawn.add(text)
    examples = tuple([(label, tuple(drawn.texts)) for label, drawn in draws.items() if drawn.texts])
    return Seen(None if table is None else table.crosstab(), examples)


def _column_of(reader: StoreReader, job: Job, by: str) -> tuple[str, Callable[[str, str | None], str]]:
    later = [notice.what for notice in reader.noticed(job) if notice.kind == "column"]
    column = input_column(by, job.source, later, option="--by")
    return column, column_reader(job.source, column)


class _Draw:
    """A few texts, each as likely as another."""

    def __init__(self, label: str) -> None:
        self._chance, self._seen = random.Random(label), 0
        self.texts: list[str] = []

    def add(self, text: str) -> None:
        self._seen += 1
        if len(self.texts) < EXAMPLES:
            self.texts.append(text[:EXAMPLE_CHARACTERS])
        elif (at := int(self._chance.random() * self._seen)) < EXAMPLES:
            self.texts[at] = text[:EXAMPLE_CHARACTERS]


class _Table:
    """Rows by the value of a column and by label. Memory grows with neither rows nor values."""

    def __init__(self, column: tuple[str, Callable[[str, str | None], str]], labels: Sequence[str]) -> None:
        self._name, self._value = column
        self._labels = labels[:SHOWN_LABELS] if len(labels) > SHOWN_LABELS + 1 else labels
        self._counts: dict[str, Counter[str]] = {}
        self._labels_known = frozenset(self._labels)

    def add(self, key: str, rest: str | None, label: str) -> None:
        value = self._value(key, rest)[:EXAMPLE_CHARACTERS] or BLANK
        counts = self._counts.get(value)
        if counts is None:
            if len(self._counts) >= MOST_VALUES:
                value = OTHERS
            counts = self._counts.setdefault(value, Counter())
        counts[label if label in self._labels_known else OTHERS] += 1

    def crosstab(self) -> Crosstab:
        """The most frequent values, the others together."""
        ranked = sorted(self._counts.items(), key=lambda one: (one[0] == OTHERS, -one[1].total()))
        shown, left = ranked[:SHOWN_VALUES], ranked[SHOWN_VALUES:]
        if left:
            shown.append((OTHERS, sum((counts for _, counts in left), Counter())))
        labels = [*self._labels, *([OTHERS] if any(counts[OTHERS] for _, counts in shown) else [])]
        lines = [(value, tuple([counts[label] for label in labels]), counts.total()) for value, counts in shown]
        return Crosstab(self._name, tuple(labels), tuple(lines))
