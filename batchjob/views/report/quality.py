"""How well a job has labelled, as a part of its report."""

from __future__ import annotations

from batchjob.numbers import counted
from batchjob.scoring.interval import wilson
from batchjob.views.report.parts import Block, Cell, Section, Table, interval, number, percent, text
from batchjob.views.score import ScoreReport

MOST_SQUARE = 12
"""Labels up to which what is confused is shown as a square."""
MOST_SCORED = 30
MOST_CONFUSIONS = 20


def how_well(score: ScoreReport, *, texts: bool) -> Section:
    """The rows with gold: what each label is worth, and what is taken for what."""
    rows = score.rows
    said = [f"{rows.right:,} of {counted(rows.scored, 'row')} with {score.gold} have that label, letter for letter."]
    if rows.failed:
        said.append(f"{rows.failed:,} of them failed, which counts as wrong.")
    if rows.pending or rows.unconfirmed:
        said.append(f"{rows.pending + rows.unconfirmed:,} more with gold have no label yet and are left out.")
    if score.foreign_rows:
        said.append(f"The gold of {counted(score.foreign_rows, 'row')} is none of the labels, which counts as wrong.")
    said.append("Ranges are 95 % intervals (Wilson): with few rows they are wide.")
    worst = sorted(score.labels, key=lambda one: (one.f1, -one.support))[:MOST_SCORED]
    lines = []
    for one in worst:
        recall = wilson(one.right, one.support)
        drawn = Cell("", share=recall.share, between=(recall.low, recall.high)) if recall else text("")
        told = number(percent(one.right, one.support)), number(interval(recall) if recall else "–", faint=True)
        lines.append((text(one.label), drawn, *told, number(percent(one.right, one.given)), number(f"{one.support:,}")))
    head = (text("label"), text(""), number("found"), number("range"), number("precision"), number("gold rows"))
    caption = "Of the rows that are so by gold, how many were found; of those that got the label, how many are right"
    caption += "" if len(worst) == len(score.labels) else f". The worst {MOST_SCORED} of {len(score.labels):,}"
    blocks: list[Block] = [Table(caption, head, tuple(lines), "well")]
    if len(score.labels) <= MOST_SQUARE:
        blocks.append(_square(score))
    if score.confusions:
        blocks.append(_confusions(score, texts=texts))
    return Section("right", "How well", " ".join(said), tuple(blocks))


def _square(score: ScoreReport) -> Table:
    names = [one.label for one in score.labels]
    counts = {(one.gold, one.label): one.rows for one in score.confusions}
    counts |= {(one.label, one.label): one.right for one in score.labels}
    rows = [(text(gold), *(_confused(counts.get((gold, name), 0), gold == name) for name in names)) for gold in names]
    return Table(
        "Lines: gold. Columns: the label.", (text("gold"), *(Cell(name) for name in names)), tuple(rows), "heat cm"
    )


def _confused(rows: int, right: bool) -> Cell:
    return Cell(f"{rows:,}" if rows else "·", right=right) if rows else Cell("·", faint=True)


def _confusions(score: ScoreReport, *, texts: bool) -> Table:
    rows = []
    for one in score.confusions[:MOST_CONFUSIONS]:
        label = f"no label ({one.error})" if one.label is None else one.label
        example = [text(one.examples[0].text if one.examples else "")] if texts else []
        rows.append((text(one.gold), text(label), number(f"{one.rows:,}"), *example))
    head = (text("should be"), text("was"), number("rows"), *([text("for example")] if texts else []))
    return Table("What was taken for what", head, tuple(rows), "cf")
