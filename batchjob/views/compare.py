"""Two jobs beside each other, as a person or a program reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from batchjob.model import Value
from batchjob.numbers import counted, dollars
from batchjob.printable import printable
from batchjob.scoring.counts import Confusion, Counts, ForeignGold
from batchjob.scoring.interval import Share, wilson
from batchjob.scoring.pairs import Duel
from batchjob.settings.config import JobConfig
from batchjob.settings.declared import declared, spelled
from batchjob.task.identity import without_defaults
from batchjob.views.score import Foreign, foreign_lines, foreign_of, share_words
from batchjob.views.status import Status

SURE = 0.05
"""Below this p a difference is said to be one."""
MOST_PAIRS = 10
SHOWN_CHARACTERS = 60
NOT_ASKED = ("run", "output")
"""Groups of settings that say nothing of how rows are asked."""


class Side(Value, frozen=True):
    """One of the two jobs. What is per 1,000 rows is so per row that went out in a request; None: not known."""

    job: str
    model: str
    asked: int  # rows that went out in a request
    usd_per_1000: float | None
    input_tokens_per_1000: float | None
    output_tokens_per_1000: float | None
    seconds_median: float | None  # of a request, from its claim to its answer
    seconds_p95: float | None


class Changed(Value, frozen=True):
    """A setting in which they differ."""

    setting: str
    a: str
    b: str


class Comparison(Value, frozen=True):
    """Two jobs beside each other. Its fields are the keys of `compare --json`, in order."""

    a: Side
    b: Side
    paired_by: str  # row, where both have one input; else text
    unpaired: int  # rows of either that the other has not
    unended: int  # pairs that at least one has not labelled yet
    unlabelled: int  # pairs of which at least one failed
    examples: int  # pairs whose text a model was told with its label
    agreement: Share | None  # of pairs with two labels
    kappa: float | None
    gold: str | None
    foreign_gold: tuple[Foreign, ...]  # of neither job's labels
    foreign_rows: int
    accuracy_a: Share | None
    accuracy_b: Share | None
    right: Duel | None
    differs: tuple[Changed, ...]
    disagreements: tuple[Confusion, ...]  # `gold` is a's label, and `label` b's


def side_of(status: Status, asked: int, *, median: float | None, p95: float | None) -> Side:
    """A job by its status; durations in milliseconds."""

    def per_1000(amount: float | None) -> float | None:
        return None if amount is None or not asked else 1000 * amount / asked

    told = status.requests.answered > 0
    return Side(
        job=status.job,
        model=status.model,
        asked=asked,
        usd_per_1000=per_1000(status.cost.usd if status.cost.known else None),
        input_tokens_per_1000=per_1000(status.usage.input_tokens if told else None),
        output_tokens_per_1000=per_1000(status.usage.output_tokens if told else None),
        seconds_median=None if median is None else median / 1000,
        seconds_p95=None if p95 is None else p95 / 1000,
    )


def comparison(
    a: tuple[Side, JobConfig],
    b: tuple[Side, JobConfig],
    *,
    by: str,
    agreement: Counts,
    foreign: ForeignGold,
    labels: Collection[str],
    duel: Duel | None,
    gold: str | None,
    unpaired: int,
    unended: int,
    unlabelled: int,
    examples: int,
) -> Comparison:
    """The document of two sides and their pairs."""
    judged = 0 if duel is None else duel.both + duel.only_a + duel.only_b + duel.neither
    return Comparison(
        a=a[0],
        b=b[0],
        paired_by=by,
        unpaired=unpaired,
        unended=unended,
        unlabelled=unlabelled,
        examples=examples,
        agreement=agreement.accuracy,
        kappa=agreement.kappa,
        gold=gold,
        foreign_gold=foreign_of(foreign, labels),
        foreign_rows=foreign.rows,
        accuracy_a=wilson(duel.both + duel.only_a, judged) if duel else None,
        accuracy_b=wilson(duel.both + duel.only_b, judged) if duel else None,
        right=duel,
        differs=tuple(_changes(a[1], b[1])),
        disagreements=tuple(agreement.confusions()),
    )


def _changes(a: JobConfig, b: JobConfig) -> Iterator[Changed]:
    for setting in declared(JobConfig):
        before, after = getattr(a, setting.name), getattr(b, setting.name)
        if before != after and setting.about.group not in NOT_ASKED:
            yield Changed(setting.name, _spelled(before, after), _spelled(after, before))


def _spelled(value: object, other: object) -> str:
    """A setting's value; of tables those that the other has not."""
    if value is None or value == ():
        return "not set"
    if not isinstance(value, tuple):
        return spelled(value)
    tables = [one for one in value if isinstance(one, msgspec.Struct)]
    told = [
        msgspec.json.encode(without_defaults(one)).decode()
        for one in tables
        if not (isinstance(other, tuple) and one in other)
    ]
    return ", ".join(told if tables else map(str, value)) or "these in another order"


# ---------------------------------------------------------------- for a person


def comparison_lines(found: Comparison) -> list[str]:
    """What a person reads of it."""
    return [
        f"A         {found.a.job}: {_side_words(found.a)}",
        f"B         {found.b.job}: {_side_words(found.b)}",
        *_agreement_lines(found),
        *foreign_lines(found.foreign_gold, found.foreign_rows, "none of the two jobs' labels"),
        *_gold_lines(found),
        *_left_out_lines(found),
        *_difference_lines(found),
        *_pair_lines(found),
    ]


def _side_words(side: Side) -> str:
    if not side.asked:
        return f"{printable(side.model)}, no row went out in a request"
    cost = "an unknown cost" if side.usd_per_1000 is None else dollars(side.usd_per_1000)
    tokens = f"{side.input_tokens_per_1000 or 0:,.0f} + {side.output_tokens_per_1000 or 0:,.0f} tokens"
    words = f"{printable(side.model)}, {cost} and {tokens} per 1,000 rows asked"
    if side.seconds_median is None:
        return words
    return f"{words}; a request took {side.seconds_median:.2f} s, 95 % of them at most {side.seconds_p95:.2f} s"


def _agreement_lines(found: Comparison) -> Iterator[str]:
    if found.agreement is None:
        yield "agree     no row has a label from both"
        return
    beyond = "kappa is not defined" if found.kappa is None else f"Cohen's kappa {found.kappa:.3f}"
    yield f"agree     {share_words(found.agreement)}; {beyond}"


def _gold_lines(found: Comparison) -> Iterator[str]:
    right = found.right
    if found.gold is None:
        return
    if right is None or found.accuracy_a is None or found.accuracy_b is None:
        yield f"gold      no row that both have labelled has any in {found.gold}"
        return
    yield f"right     A {share_words(found.accuracy_a)}; B {share_words(found.accuracy_b)}"
    yield f"          only A {right.only_a:,}, only B {right.only_b:,}, both {right.both:,}, neither {right.neither:,}"
    better = "A" if right.only_a > right.only_b else "B"
    verdict = f"{better} is right more often" if right.p < SURE else "the difference may well be chance"
    if right.only_a == right.only_b:
        verdict = "both are right equally often"
    yield f"          {verdict} (McNemar's exact test, {_p(right.p)})"


def _p(value: float) -> str:
    return "p < 0.0001" if value < 0.0001 else f"p = {value:.4f}"


def _left_out_lines(found: Comparison) -> Iterator[str]:
    why = "row, for both have one input" if found.paired_by == "row" else "text, for they have two inputs"
    yield f"paired    by {why}"
    left = {
        "not labelled yet by both": found.unended,
        "failed in one or both, with no label to compare": found.unlabelled,
        "shown to a model as examples": found.examples,
        "in one of the two alone": found.unpaired,
    }
    told = "; ".join(f"{counted(rows, 'row')} {what}" for what, rows in left.items() if rows)
    if told:
        yield f"left out  {told}"


def _difference_lines(found: Comparison) -> Iterator[str]:
    if not found.differs:
        yield "settings  none differ that say how rows are asked"
    for one in found.differs:
        yield f"differs   {one.setting}: {_cut(one.a)} -> {_cut(one.b)}"


def _cut(text: str) -> str:
    shown = printable(text)
    return shown if len(shown) <= SHOWN_CHARACTERS else shown[: SHOWN_CHARACTERS - 3] + "..."


def _pair_lines(found: Comparison) -> Iterator[str]:
    if not found.disagreements:
        return
    yield "disagree: A -> B"
    for one in found.disagreements[:MOST_PAIRS]:
        yield f"  {one.rows:,} {one.gold} -> {one.label}"
        for row in one.examples[:1]:
            yield f"    row {row.id}: {_cut(row.text)!r}"
    left = sum(one.rows for one in found.disagreements[MOST_PAIRS:])
    more = f"{counted(left, 'more row')}; " if left else ""
    yield f"  {more}all of them in a file: --disagreements FILE"
