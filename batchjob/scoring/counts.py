"""Labels beside the gold ones, counted: accuracy, what each label is worth, and what is taken for what.

Memory grows with the labels and with the pairs that are confused, up to a limit, and not with the rows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from typing import NamedTuple

from batchjob.model import Value
from batchjob.scoring.interval import Share, wilson
from batchjob.scoring.pairs import kappa

MOST_PAIRS = 20_000
"""Pairs of gold and label that are told apart; rows of further ones are counted together."""
MOST_FOREIGN = 1_000
"""Gold values that are no label, told apart likewise: with a wrong column each row may have its own. So may values
that are no labels, as texts and numbers are.
"""
EXAMPLES = 3
"""Rows kept of each pair."""
EXAMPLE_CHARACTERS = 200
FAILED = "failed"
"""Stands for the source of an answer of a row that lacks others: it has none yet."""


class Judged(NamedTuple):
    """A row that has its end, beside what a person says of it."""

    key: str
    text: str
    gold: str
    label: str | None  # None: it failed
    source: str | None
    error: str | None  # the kind it failed with
    answer: str | None  # what the model said, where that is not the label


class LabelScore(Value, frozen=True):
    """What one label is worth. A share of nothing is None."""

    label: str
    support: int  # rows that are so by gold
    given: int  # rows that got it
    right: int  # rows that are both
    precision: float | None
    recall: float | None
    f1: float


class Example(Value, frozen=True):
    """A row that was taken for something else."""

    id: str
    text: str
    answer: str | None


class Confusion(Value, frozen=True):
    """Rows that are one label by gold and got another, or none because they failed with `error`."""

    gold: str
    label: str | None
    error: str | None
    rows: int
    examples: tuple[Example, ...]


class _Pair:
    def __init__(self) -> None:
        self.rows = 0
        self.examples: list[Example] = []


class ForeignGold:
    """Gold values that are no label, with their rows."""

    def __init__(self) -> None:
        self.rows = 0
        self.values: Counter[str] = Counter()

    def add(self, gold: str) -> None:
        """A row has this one."""
        self.rows += 1
        if gold in self.values or len(self.values) < MOST_FOREIGN:
            self.values[gold] += 1

    @property
    def all_told(self) -> bool:
        """Whether each is among the values."""
        return self.rows == self.values.total()


class Counts:
    """The rows that were judged.

    Args:
        labels: those that a row can get.
        known: whether a gold value is one that a row can get, where these are not all.
    """

    def __init__(self, labels: Collection[str], known: Callable[[str], bool] | None = None) -> None:
        self._known = known or frozenset(labels).__contains__
        self._most = max(MOST_FOREIGN, len(labels))
        self._all_told = True  # whether each value is counted by itself
        self.rows = self.right = self.failed = 0
        self.sources: dict[str, list[int]] = {}  # source, or FAILED -> [rows, right]
        self.foreign = ForeignGold()
        self.untold_pairs = 0  # rows of pairs beyond MOST_PAIRS
        self._support: Counter[str] = Counter()
        self._given: Counter[str] = Counter()
        self._hits: Counter[str] = Counter()
        self._pairs: dict[tuple[str, str | None, str | None], _Pair] = {}

    def add(self, row: Judged) -> None:
        """Count a row; gold and label are the same letter for letter, or not at all."""
        self.rows += 1
        gold, label = row.gold, row.label
        if self._known(gold):
            self._count(self._support, gold)
        else:
            self.foreign.add(gold)
        right = gold == label
        if label is None:
            self.failed += 1
        else:
            self._count(self._given, label)
            by_source = self.sources.setdefault(row.source or FAILED, [0, 0])
            by_source[0] += 1
            by_source[1] += right
        if right:
            self.right += 1
            self._count(self._hits, gold)
        else:
            self._confuse(row)

    def _count(self, counter: Counter[str], value: str) -> None:
        if value in counter or len(counter) < self._most:
            counter[value] += 1
        else:
            self._all_told = False

    def _confuse(self, row: Judged) -> None:
        key = (row.gold, row.label, row.error if row.label is None else None)
        pair = self._pairs.get(key)
        if pair is None:
            if len(self._pairs) >= MOST_PAIRS:
                self.untold_pairs += 1
                return
            pair = self._pairs[key] = _Pair()
        pair.rows += 1
        if len(pair.examples) < EXAMPLES:
            answer = None if row.answer is None else row.answer[:EXAMPLE_CHARACTERS]
            pair.examples.append(Example(row.key, row.text[:EXAMPLE_CHARACTERS], answer))

    @property
    def accuracy(self) -> Share | None:
        """The share of rows that are right."""
        return wilson(self.right, self.rows)

    @property
    def kappa(self) -> float | None:
        """Cohen's, of gold and labels; None where there are too many values to count each."""
        if not (self.rows and self._all_told and self.foreign.all_told):
            return None
        return kappa(self.right, self.rows, self._support + self.foreign.values, self._given)

    def labels(self) -> Iterator[LabelScore]:
        """Each label that a row is by gold or got, the best supported first; none where they are too many to count."""
        if not self._all_told:
            return
        names = [name for name, _ in self._support.most_common()]
        names += sorted(name for name in self._given if name not in self._support)
        for name in names:
            support, given, right = self._support[name], self._given[name], self._hits[name]
            precision = right / given if given else None
            recall = right / support if support else None
            yield LabelScore(name, support, given, right, precision, recall, 2 * right / (support + given))

    def confusions(self) -> list[Confusion]:
        """The pairs that differ, the most frequent first."""
        found = [Confusion(*key, pair.rows, tuple(pair.examples)) for key, pair in self._pairs.items()]
        return sorted(found, key=lambda one: -one.rows)


def macro_f1(labels: Collection[LabelScore]) -> float | None:
    """The mean of the labels' F1, each counting the same."""
    return sum(one.f1 for one in labels) / len(labels) if labels else None
