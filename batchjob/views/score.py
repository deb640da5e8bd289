"""How good a job's labels are, as a person or a program reads it."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence

from batchjob.model import Value
from batchjob.numbers import counted
from batchjob.numbers import share as percent
from batchjob.printable import printable
from batchjob.scoring.counts import Confusion, Counts, ForeignGold, LabelScore, macro_f1
from batchjob.scoring.interval import Share
from batchjob.settings.fields import folded
from batchjob.states import State
from batchjob.views.lines import cut, padded, width

WITHOUT_GOLD = "without_gold"
EXAMPLE = "example"
"""Beside the states of rows that are left out."""
MOST_LABELS = 30
MOST_CONFUSIONS = 10
MOST_FOREIGN_SHOWN = 5
SHOWN_CHARACTERS = 80
LABEL_COLUMNS = 40


class Foreign(Value, frozen=True):
    """A gold value that is none of the job's labels; `nearest` is the label that it may be meant for."""

    gold: str
    rows: int
    nearest: str | None


class ScoredRows(Value, frozen=True):
    """Rows by whether they are scored. Failed ones are, as wrong."""

    scored: int
    right: int
    failed: int
    pending: int  # and in flight
    unconfirmed: int
    without_gold: int
    examples: int  # and rows with the same text: the model was told their label


class SourceScore(Value, frozen=True):
    """The rows that have their label from one source."""

    rows: int
    right: int


class ScoreReport(Value, frozen=True):
    """How good the labels of a job are. Its fields are the keys of `score --json`, in order."""

    job: str
    field: str | None  # that was judged, of a job with several answers for each row
    gold: str
    foreign_gold: tuple[Foreign, ...]
    foreign_rows: int
    ids_without_row: int
    rows_of_shared_ids: int  # whose id a row before has: what the gold file says of it counts for both
    rows: ScoredRows
    accuracy: Share | None
    macro_f1: float | None
    sources: dict[str, SourceScore]
    labels: tuple[LabelScore, ...]
    confusions: tuple[Confusion, ...]
    rows_of_further_confusions: int


def score_report(
    job: str,
    gold: str,
    counts: Counts,
    labels: Collection[str],
    *,
    field: str | None,
    left_out: Mapping[str, int],
    strangers: int,
    shared: int,
) -> ScoreReport:
    """The report of rows that were counted.

    Args:
        labels: those of the job.
        left_out: rows with gold that have no end yet, by state, and those WITHOUT_GOLD.
        strangers: ids with gold that no row has.
        shared: rows with gold by an id that a row before has.
    """
    known, scores = set(labels), tuple(counts.labels())
    return ScoreReport(
        job=job,
        field=field,
        gold=gold,
        foreign_gold=foreign_of(counts.foreign, labels),
        foreign_rows=counts.foreign.rows,
        ids_without_row=strangers,
        rows_of_shared_ids=shared,
        rows=ScoredRows(
            scored=counts.rows,
            right=counts.right,
            failed=counts.failed,
            pending=left_out.get(State.PENDING, 0) + left_out.get(State.IN_FLIGHT, 0),
            unconfirmed=left_out.get(State.UNCONFIRMED, 0),
            without_gold=left_out.get(WITHOUT_GOLD, 0),
            examples=left_out.get(EXAMPLE, 0),
        ),
        accuracy=counts.accuracy,
        macro_f1=macro_f1([one for one in scores if one.label in known]),
        sources={name: SourceScore(*both) for name, both in sorted(counts.sources.items())},
        labels=scores,
        confusions=tuple(counts.confusions()),
        rows_of_further_confusions=counts.untold_pairs,
    )


def foreign_of(found: ForeignGold, labels: Collection[str]) -> tuple[Foreign, ...]:
    """Gold values that are no label, the most frequent first."""
    return tuple([Foreign(one, rows, _nearest(one, labels)) for one, rows in found.values.most_common()])


def _nearest(gold: str, labels: Collection[str]) -> str | None:
    """The label that a gold value may be meant for: the same but for its case and separators, or nearly so."""
    forms = {folded(label): label for label in labels}
    near = difflib.get_close_matches(folded(gold), forms, n=1, cutoff=0.75)
    return forms[near[0]] if near else None


# ---------------------------------------------------------------- for a person


def score_lines(report: ScoreReport, columns: int | None) -> list[str]:
    """What a person reads of it."""
    return [
        f"job {report.job}: {_headline(report)}",
        *foreign_lines(report.foreign_gold, report.foreign_rows, _none_of(report)),
        f"gold      {report.gold}, {_compared(report)}",
        *_row_lines(report.rows, report.ids_without_row, report.rows_of_shared_ids),
        *_source_lines(report),
        *(["", *_table(report.labels, columns)] if report.labels else []),
        *(["", *_confusion_lines(report)] if report.confusions else []),
    ]


def share_words(found: Share) -> str:
    """A share with its interval and what it was counted in: `93.0 % (89.6 to 95.4), n=300`."""
    return f"{percent(found.hits, found.n)} ({100 * found.low:.1f} to {100 * found.high:.1f}), n={found.n:,}"


def _none_of(report: ScoreReport) -> str:
    return "none of the job's labels" if report.field is None else f"no value of field {report.field}"


def _compared(report: ScoreReport) -> str:
    how = "letter for letter" if report.field is None else f"as values of field {report.field}"
    return f"compared {how}"


def _headline(report: ScoreReport) -> str:
    if report.accuracy is None:
        return "no finished row has gold"
    return f"accuracy {share_words(report.accuracy)}"


def foreign_lines(values: Sequence[Foreign], rows: int, what: str) -> Iterator[str]:
    """Gold that is none of what it could be."""
    if not values:
        return
    it = "it counts" if rows == 1 else "they count"
    yield f"gold of {counted(rows, 'row')} is {what}, so {it} as wrong:"
    for one in values[:MOST_FOREIGN_SHOWN]:
        meant = f"; is it {printable(one.nearest)}?" if one.nearest else ""
        yield f"  {one.rows:,} {printable(one.gold)[:SHOWN_CHARACTERS]}{meant}"
    if len(values) > MOST_FOREIGN_SHOWN:
        yield f"  and {counted(len(values) - MOST_FOREIGN_SHOWN, 'more value')}: --json has them"


def _row_lines(rows: ScoredRows, strangers: int, shared: int) -> Iterator[str]:
    it = "counts" if rows.failed == 1 else "count"
    failed = f", of them {rows.failed:,} failed, which {it} as wrong" if rows.failed else ""
    yield f"rows      {rows.right:,} right of {rows.scored:,} scored{failed}"
    left = {
        "pending or in flight": rows.pending,
        "unconfirmed": rows.unconfirmed,
        "without gold": rows.without_gold,
        "that the model was told as examples": rows.examples,
    }
    told = ", ".join(f"{count:,} {what}" for what, count in left.items() if count)
    if told:
        yield f"left out  {told}"
    if strangers:
        yield f"no row    {counted(strangers, 'id')} of the gold file: no row of the job has them"
    if shared:
        yield f"same id   {counted(shared, 'row')} with the id of a row before: the gold file's word counts for both"


def _source_lines(report: ScoreReport) -> Iterator[str]:
    if len(report.sources) > 1:
        parts = (f"{name} {percent(one.right, one.rows)} of {one.rows:,}" for name, one in report.sources.items())
        yield "by source " + ", ".join(parts)
    if report.macro_f1 is not None and len(report.labels) > 1:
        yield f"macro F1  {report.macro_f1:.3f}, each label counting the same"


HEADER = ("LABEL", "GOLD", "GIVEN", "PRECISION", "RECALL", "F1")


def _table(labels: Sequence[LabelScore], columns: int | None) -> Iterator[str]:
    """The labels, the worst first; in a terminal too narrow for a table, two lines a label."""
    ordered = sorted(labels, key=lambda one: (one.f1, -one.support))
    rows = [_cells(one) for one in ordered[:MOST_LABELS]]
    widths = [max(map(width, column)) for column in zip(HEADER, *rows, strict=True)]
    if columns is not None and sum(widths) + 2 * (len(widths) - 1) > columns:
        for name, gold, given, precision, recall, f1 in rows:
            yield f"{name}: F1 {f1}"
            yield f"  gold {gold}, given {given}, precision {precision}, recall {recall}"
    else:
        for name, *numbers in (HEADER, *rows):
            yield "  ".join([padded(name, widths[0]), *map(str.rjust, numbers, widths[1:])])
    if len(labels) > MOST_LABELS:
        yield f"and {counted(len(labels) - MOST_LABELS, 'better label')}: --json has them"


def _cells(one: LabelScore) -> tuple[str, ...]:
    return (
        cut(printable(one.label), LABEL_COLUMNS),
        f"{one.support:,}",
        f"{one.given:,}",
        _two(one.precision),
        _two(one.recall),
        _two(one.f1),
    )


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _confusion_lines(report: ScoreReport) -> Iterator[str]:
    yield "confused: gold -> label"
    for one in report.confusions[:MOST_CONFUSIONS]:
        label = f"no label ({one.error})" if one.label is None else one.label
        yield f"  {one.rows:,} {one.gold} -> {label}"
        for row in one.examples[:1]:
            answer = "" if row.answer is None else f", answer {row.answer[:SHOWN_CHARACTERS]!r}"
            yield f"    row {row.id}: {row.text[:SHOWN_CHARACTERS]!r}{answer}"
    left = sum(one.rows for one in report.confusions[MOST_CONFUSIONS:]) + report.rows_of_further_confusions
    if left:
        yield f"  and {counted(left, 'more row')}: --json has the pairs"
