"""What a try found: rows beside the labels that each way of asking gave them, and what the whole input would take."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from batchjob.forecast.estimate import ANSWER_SECONDS, Estimate, run_seconds
from batchjob.model import Value
from batchjob.numbers import about, counted, duration
from batchjob.printable import printable
from batchjob.scoring.interval import Share, wilson
from batchjob.settings.config import JobConfig
from batchjob.states import plain_kind
from batchjob.task.fields.values import value_text
from batchjob.views.compare import Side
from batchjob.views.lines import cut, padded, width
from batchjob.views.score import share_words

TEXT_COLUMNS = 48
ANSWER_COLUMNS = 60
LEAST_TEXT_COLUMNS = 16
"""With less room for the text, each row is shown on lines of its own."""


class Answer(Value, frozen=True):
    """What one way of asking gave a row."""

    label: str | None
    source: str | None
    state: str
    error: str | None  # the kind it failed with
    answer: str | None  # what the model said, where that is not the label
    confidence: float | None
    values: dict[str, Any] = msgspec.field(default_factory=dict)  # by field, of a row with several answers
    others: dict[str, str] = msgspec.field(default_factory=dict)  # what was answered for a field where that is no value


class TrialRow(Value, frozen=True):
    """A row of the sample with its answers, in the order of the variants."""

    id: str
    line: int
    text: str
    gold: str | None
    answers: tuple[Answer, ...]
    agree: bool  # all gave it the same label, and that is gold where it has any


class Whole(Value, frozen=True):
    """What labelling the rest of the input would take; None: not known."""

    rows: int  # of the whole input
    to_ask: int  # that would go out in a request
    usd: float | None
    input_tokens: int | None
    output_tokens: int | None
    seconds: float
    measured: bool  # by the rows of the sample; else reckoned from the texts


class Variant(Value, frozen=True):
    """One way of asking, and what came of it."""

    name: str
    job: str
    exit_code: int
    side: Side
    accuracy: Share | None
    whole: Whole
    start: str  # the command that labels the whole input so


class Trial(Value, frozen=True):
    """What a try found. Its fields are the keys of `try --json`, in order."""

    input: str
    sample: str
    requests: tuple[list[str], ...]  # the first request of each prompt, in lines
    gold: str | None
    fields: tuple[str, ...]  # of rows with several answers
    field: str | None  # that is looked at; null: all
    variants: tuple[Variant, ...]
    rows: tuple[TrialRow, ...]

    @property
    def letters(self) -> str:
        """What the columns of the variants are called."""
        return "ABCDEFGHIJ"[: len(self.variants)]

    @property
    def agreement(self) -> Share | None:
        """The share of rows to which all variants gave one label."""
        same = [len({one.label for one in row.answers}) == 1 and row.answers[0].label is not None for row in self.rows]
        return wilson(sum(same), len(same)) if len(self.variants) > 1 else None


def trial_row(
    key: str, line: int, text: str, gold: str | None, answers: tuple[Answer, ...], meant: str | None
) -> TrialRow:
    """A row with its answers; `meant` is gold as a label of the job is spelled."""
    said = {one.label for one in answers}
    return TrialRow(key, line, text, gold, answers, len(said | ({meant} if meant else set())) == 1 and None not in said)


def whole_of(side: Side, estimate: Estimate, config: JobConfig, *, rows: int, asked: int, left: int) -> Whole:
    """What the rows that are left would take, by what those that were tried took; else as it was reckoned.

    Args:
        estimate: of `asked` rows, before any was tried.
    """
    part = left / asked if asked else 0.0
    requests = round(estimate.requests * part)
    if not side.asked or side.input_tokens_per_1000 is None:
        tokens = (estimate.input_tokens or 0, estimate.output_tokens or 0)
        seconds = run_seconds(requests, part * sum(tokens), config)
        usd = None if estimate.expected_usd is None else part * estimate.expected_usd
        return Whole(rows, left, usd, round(part * tokens[0]), round(part * tokens[1]), seconds, False)
    sent = round(left / 1000 * side.input_tokens_per_1000)
    answered = round(left / 1000 * (side.output_tokens_per_1000 or 0))
    usd = None if side.usd_per_1000 is None else left / 1000 * side.usd_per_1000
    seconds = run_seconds(requests, sent + answered, config, side.seconds_median or ANSWER_SECONDS)
    return Whole(rows, left, usd, sent, answered, seconds, True)


def trial_lines(trial: Trial, columns: int | None) -> list[str]:
    """What a person reads of it, below the request."""
    agreement, named = trial.agreement, list(zip(trial.letters, trial.variants, strict=True))
    return [
        f"sample    {trial.sample} of {printable(trial.input)}",
        *(f"{letter}         {printable(one.name)}, job {one.job}" for letter, one in named),
        "",
        *(_rows(trial, columns) if trial.field or not trial.fields else _by_field(trial)),
        "",
        *([f"agree     {share_words(agreement)}"] if agreement else []),
        *(line for letter, one in named for line in _variant(letter, one)),
    ]


def _rows(trial: Trial, columns: int | None) -> Iterator[str]:
    """A table of the rows, or some lines for each where that has no room; `!` marks those on which not all agree."""
    gold = ["GOLD"] if trial.gold is not None else []
    table: list[tuple[str, ...]] = [("", "ID", *trial.letters, *gold), *map(_cells, trial.rows)]
    widths = [max(map(width, column)) for column in zip(*table, strict=True)]
    room = TEXT_COLUMNS if columns is None else columns - sum(widths) - 2 * len(widths)
    if room < LEAST_TEXT_COLUMNS:
        for row, cells in zip(trial.rows, table[1:], strict=True):
            yield f"{cells[0] or '='} {cells[1]}: {printable(row.text)[:200]}"
            yield from (f"  {name} {cell}" for name, cell in zip(table[0][2:], cells[2:], strict=True))
        return
    texts = ["TEXT", *(cut(printable(row.text[:200]), min(room, TEXT_COLUMNS)) for row in trial.rows)]
    text_width = max(map(width, texts))
    for text, line in zip(texts, table, strict=True):
        mark, key, *rest = line
        shown = [padded(mark, widths[0]), padded(key, widths[1]), padded(text, text_width)]
        yield "  ".join([*shown, *map(padded, rest, widths[2:])]).rstrip()


def _by_field(trial: Trial) -> Iterator[str]:
    """Each row with a line for each field, the variants beside each other; `!` marks those on which not all agree."""
    yield f"a line a field: {' | '.join(trial.letters)}"
    for row in trial.rows:
        yield f"{'=' if row.agree else '!'} {printable(row.id)}: {printable(row.text)[:200]}"
        for name in trial.fields:
            values = [one.values.get(name) for one in row.answers]
            agree = None not in values and all(value == values[0] for value in values)
            yield f"  {' ' if agree else '!'} {name}: {' | '.join(_value(one, name) for one in row.answers)}"


def _value(one: Answer, name: str) -> str:
    """A value, or what there is instead."""
    if name in one.values:
        return printable(value_text(one.values[name]))
    answer = f": {one.others[name]!r}" if name in one.others else ""
    return printable(f"({plain_kind(one.error) if one.error else one.state}){answer}")


def _cells(row: TrialRow) -> tuple[str, ...]:
    gold = () if row.gold is None else (cut(printable(row.gold), ANSWER_COLUMNS),)
    answers = (cut(_said(one), ANSWER_COLUMNS) for one in row.answers)
    return "" if row.agree else "!", cut(printable(row.id), ANSWER_COLUMNS), *answers, *gold


def _said(one: Answer) -> str:
    """A label, or what there is instead: an answer off the list stands there as it came."""
    answer = "" if one.answer is None else f": {one.answer!r}"
    if one.label is None:
        return printable(f"({one.error or one.state}){answer}")
    return printable(f"{one.label} (fallback){answer}" if one.source == "fallback" else one.label)


def _variant(letter: str, one: Variant) -> Iterator[str]:
    found = [] if one.accuracy is None else [f"accuracy {share_words(one.accuracy)}"]
    side = one.side
    if side.input_tokens_per_1000 is not None:
        tokens = f"{side.input_tokens_per_1000 / 1000:,.0f} + {(side.output_tokens_per_1000 or 0) / 1000:,.0f}"
        found.append(f"{tokens} tokens a row")
    if side.seconds_median is not None:
        found.append(f"{side.seconds_median:.2f} s a request")
    nothing = "nothing was asked: all labels were there" if one.exit_code in (0, 4) else "nothing was answered"
    yield f"{letter}         {'; '.join(found) or nothing}"
    yield f"  whole     {_whole_words(one.whole)}"
    yield f"  start     {one.start}"


def _whole_words(whole: Whole) -> str:
    cost = "cost unknown: give --price IN,OUT" if whole.usd is None else about(whole.usd)
    basis = "by these rows" if whole.measured else "reckoned from the texts"
    asked = "nothing is left to ask" if not whole.to_ask else f"{whole.to_ask:,} to ask, {cost}"
    return f"{counted(whole.rows, 'row')}, {asked}, about {duration(whole.seconds)} ({basis})"
