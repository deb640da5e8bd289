"""Two jobs beside each other: their labels row by row, what they cost, and how they were asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from batchjob.corrections.overlay import overlay_of
from batchjob.errors import SettingError
from batchjob.forecast.counting import Lengths
from batchjob.jobs.guard import check_export
from batchjob.jobs.scores import SCORED_STATES, Gold
from batchjob.model import Job
from batchjob.outputs import open_output
from batchjob.ports import StoreReader
from batchjob.scoring.counts import Counts, ForeignGold, Judged
from batchjob.scoring.pairs import Duel, duel
from batchjob.settings.config import JobConfig, settings_of
from batchjob.states import Outcome, Purpose
from batchjob.task.examples import is_example
from batchjob.task.fields.looked_at import looked_at, written
from batchjob.views.compare import Comparison, Side, comparison, side_of
from batchjob.views.status import status_of

SENT = frozenset({Outcome.REJECTED, Outcome.ANSWERED, Outcome.LOST})
"""What became of requests that left this machine."""


class Half(NamedTuple):
    """A row, as one of the two jobs has it."""

    key: str
    text: str
    gold: str  # "" where nobody says any
    label: str | None
    ended: bool


class Pair(NamedTuple):
    """A row in both jobs."""

    a: Half
    b: Half


class Counted:
    """The pairs of two jobs, counted as they go by; b's label stands beside a's as a label beside gold."""

    def __init__(self, a: Job, b: Job, gold: Gold | None, field: str | None) -> None:
        configs = [settings_of(job) for job in (a, b)]
        none_has_fields = not any(config.fields for config in configs)
        fields = [field if config.fields or none_has_fields else None for config in configs]
        looks = list(map(looked_at, configs, fields))
        self.labels = {label for labels, _ in looks for label in labels}
        self.agreement, self.foreign = Counts(self.labels), ForeignGold()
        self._read = list(map(written, configs, fields))
        self.unpaired = self.unended = self.unlabelled = self.examples = 0
        self._values = [value for _, value in looks]
        self._shown = [is_example(config) for config in configs]
        self._gold = gold
        self._fields = [field if config.fields else None for config in configs]
        self._right: Counter[tuple[bool, bool]] = Counter()

    def differing(self, pairs: Iterable[Pair]) -> Iterator[tuple[str, str, str, str, str]]:
        """Count the pairs; those with two labels, or one, are given back: id, text, both labels and gold."""
        for a, b in pairs:
            if not (a.ended and b.ended):
                self.unended += 1
                continue
            if any(shown(a.text) for shown in self._shown):
                self.examples += 1
                continue
            if gold := a.gold:
                of_a, of_b = (read(gold) or "" for read in self._read)
                if not (of_a or of_b):
                    self.foreign.add(gold)
                self._right[a.label == (of_a or gold), b.label == (of_b or gold)] += 1
            if a.label is None or b.label is None:
                self.unlabelled += 1
            else:
                self.agreement.add(Judged(a.key, a.text, a.label, b.label, None, None, None))
            if a.label != b.label:
                yield a.key, a.text, a.label or "", b.label or "", gold

    @property
    def duel(self) -> Duel | None:
        """Who is right where; None without gold."""
        sides = ((True, True), (True, False), (False, True), (False, False))
        return duel(*(self._right[who] for who in sides)) if self._right else None

    # ------------------------------------------------------------ pairing

    def halves(self, reader: StoreReader, job: Job, which: int) -> Iterator[tuple[int, Half]]:
        """The rows of one of the jobs by number."""
        value, overlay = self._values[which], overlay_of(reader, job, self._fields[which])
        gold = self._gold.of if self._gold and which == 0 else None  # asked of each row in turn: it may be a list
        for record in map(overlay, reader.export_rows(job)):
            number, key, text, rest, label, _, state, _, _, _, answer, *_ = record
            right = "" if gold is None else gold(key, rest)
            yield number, Half(key, text, right, value(label, answer), state in SCORED_STATES)

    def by_number(self, reader: StoreReader, a: Job, b: Job) -> Iterator[Pair]:
        """The rows of two jobs of one input. One whose text has changed in between has no counterpart."""
        others = self.halves(reader, b, 1)
        at, other = next(others, (0, None))
        for number, half in self.halves(reader, a, 0):
            while other is not None and at < number:
                self.unpaired += 1
                at, other = next(others, (0, None))
            if other is None or at > number or other.text != half.text:
                self.unpaired += 1
            else:
                yield Pair(half, other)
            if other is not None and at == number:
                at, other = next(others, (0, None))
        self.unpaired += sum(1 for _ in others) + (other is not None)

    def by_text(self, reader: StoreReader, a: Job, b: Job) -> Iterator[Pair]:
        """The rows of two inputs: the first row of b with a text stands for all. Memory grows with the rows of b."""
        known: dict[int, Half] = {}
        names: dict[str, str] = {}  # each label once
        further: Counter[int] = Counter()  # rows of b behind the first with their text
        for _, half in self.halves(reader, b, 1):
            label = half.label and names.setdefault(half.label, half.label)
            if (code := hash(half.text)) in known:
                further[code] += 1
            else:
                known[code] = Half("", "", "", label, half.ended)
        met = set()
        for _, half in self.halves(reader, a, 0):
            other = known.get(code := hash(half.text))
            if other is None:
                self.unpaired += 1
            else:
                met.add(code)
                yield Pair(half, other)
        self.unpaired += sum(1 + further[code] for code in known if code not in met)


def compare(
    reader: StoreReader,
    a: Job,
    b: Job,
    *,
    gold: Gold | None = None,
    field: str | None = None,
    disagreements: str | None = None,
) -> Comparison:
    """Compare two jobs.

    Args:
        gold: the right labels, of the rows of a.
        field: whose values are looked at, where a job has several answers for each row.
        disagreements: a file for the rows on which they differ; its format is that of its suffix.

    Raises:
        SettingError: that file is one that is needed, or there is no such field.
    """
    counted, same_input = Counted(a, b, gold, field), a.source.place == b.source.place
    pairs = counted.by_number(reader, a, b) if same_input else counted.by_text(reader, a, b)
    differing = counted.differing(pairs)
    if disagreements is None:
        for _ in differing:
            pass
    else:
        if disagreements == "-":
            raise SettingError("--disagreements -: stdout has the comparison: name a file")
        check_export(reader, a, "--disagreements", disagreements)
        check_export(reader, b, "--disagreements", disagreements)
        open_output(disagreements, None).write(("id", "text", *_names(a, b), "gold"), differing)
    sides = (side_by_itself(reader, job) for job in (a, b))
    return comparison(
        *sides,
        by="row" if same_input else "text",
        agreement=counted.agreement,
        foreign=counted.foreign,
        labels=counted.labels,
        duel=counted.duel,
        gold=gold.said if gold else None,
        unpaired=counted.unpaired,
        unended=counted.unended,
        unlabelled=counted.unlabelled,
        examples=counted.examples,
    )


def _names(a: Job, b: Job) -> tuple[str, str]:
    """What the columns of their labels are called."""
    return f"label_{a.name}", f"label_{b.name}"


def side_by_itself(reader: StoreReader, job: Job) -> tuple[Side, JobConfig]:
    """What a job costs and how long its requests take, and its settings."""
    milliseconds, asked = Lengths(), bytearray()  # by row: one that is put back forgets what it was in
    decode = msgspec.json.Decoder(list[int]).decode
    for _, _, _, rows, purpose, _, sent_at, ended_at, outcome, *_ in reader.requests(job):
        if outcome in SENT:
            for number in decode(rows):
                if number >= len(asked):
                    asked.extend(bytes(number + 1))
                asked[number] = 1
        if outcome == Outcome.ANSWERED and purpose != Purpose.VERIFY:
            milliseconds.add(max(round(1000 * (ended_at - sent_at)), 0))
    found: dict[str, Any] = milliseconds.document()
    snapshot = reader.snapshot(job.name)
    side = side_of(status_of(snapshot), sum(asked), median=found["median"], p95=found["p95"])
    return side, settings_of(snapshot.job)
