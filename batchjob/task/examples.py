"""Examples of texts with their labels: as the model is told them, drawn from rows that a person has labelled, and
known again where labels are judged.

Pure and the same each time: a text's place in the draw is a digest of it with the seed, so the order of rows is none.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from batchjob.errors import SettingError
from batchjob.numbers import counted
from batchjob.settings.config import JobConfig
from batchjob.settings.tables import Example
from batchjob.task.texts import exact_form, loose_form, shows_nothing

HEADING = "Examples of texts, each with the label it is to get:"
MOST_FOREIGN = 5
"""Values that are no label, in a message."""


def told(examples: Sequence[Example]) -> str:
    """The examples as they stand in a prompt: a JSON object on a line each, so that no text can pass for another."""
    lines = [msgspec.json.encode({"text": one.text, "label": one.label}).decode() for one in examples]
    return "\n".join([HEADING, *lines])


def is_example(config: JobConfig) -> Callable[[str], bool]:
    """Whether a text is one of the job's examples, or the same as one: then its label says nothing of the model."""
    form = loose_form if config.dedupe == "loose" else exact_form
    known = frozenset(form(one.text) for one in config.examples)
    return (lambda text: form(text) in known) if known else (lambda text: False)


class Draw:
    """Draws examples evenly over the labels. Memory grows with the labels and with the different texts' digests.

    Args:
        count: how many are wanted.
        column: where the labels stand, as messages name it.
    """

    def __init__(self, labels: Sequence[str], count: int, seed: int, column: str) -> None:
        self._labels, self._count, self._column = labels, count, column
        self._key = str(seed).encode()
        self._found: dict[str, list[tuple[bytes, str]]] = {label: [] for label in labels}
        self._gold: dict[bytes, str] = {}  # digest of a text -> its label; "" where rows disagree
        self._foreign: Counter[str] = Counter()
        self._first_line: dict[str, int] = {}

    def add(self, text: str, gold: str, line: int) -> None:
        """A row with what a person says of it; without, or without a text, it is none to draw from."""
        if not gold or shows_nothing(text):
            return
        if gold not in self._found:
            self._foreign[gold] += 1
            self._first_line.setdefault(gold, line)
            return
        digest = hashlib.blake2b(exact_form(text).encode("utf-8", "surrogatepass"), key=self._key, digest_size=16)
        place = digest.digest()
        if place not in self._gold:
            self._gold[place] = gold
            kept = self._found[gold]
            kept.append((place, text))
            if len(kept) > 4 * self._count:
                kept.sort()
                del kept[2 * self._count :]
        elif self._gold[place] != gold:
            self._gold[place] = ""

    def chosen(self) -> tuple[Example, ...]:
        """The examples: one of each label, then a second of each, and so on.

        Raises:
            SettingError: values of the column are no labels, or too few rows have one.
        """
        if self._foreign:
            raise SettingError(self._foreign_words())
        found = tuple(self._drawn())[: self._count]
        if len(found) < self._count:
            raise SettingError(
                f"--examples {self._count}: only {counted(len(found), 'text')} of the rows that are read for it have a"
                f" label of this job in column {self._column}: give a smaller number, or label more by hand"
            )
        return found

    def _drawn(self) -> Iterator[Example]:
        sure = {
            label: [text for place, text in sorted(kept) if self._gold[place] == label]
            for label, kept in self._found.items()
        }
        # Where there are more labels than examples, chance says which have one, and not their order.
        labels = sorted(sure, key=lambda label: hashlib.blake2b(label.encode(), key=self._key).digest())
        for turn in range(max(map(len, sure.values()), default=0)):
            yield from (Example(sure[label][turn], label) for label in labels if turn < len(sure[label]))

    def _foreign_words(self) -> str:
        shown = [
            f"{value[:80]!r} ({counted(rows, 'row')}, first on line {self._first_line[value]:,})"
            for value, rows in self._foreign.most_common(MOST_FOREIGN)
        ]
        more = len(self._foreign) - len(shown)
        told = "; ".join([*shown, *([f"and {counted(more, 'more value')}"] if more else [])])
        return (
            f"--gold {self._column}: values there are no labels of this job: {told}. "
            f"Mend them, or give these labels too"
        )
