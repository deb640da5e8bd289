"""Which corrections count: the last one of each row that was not taken back; and how good the random sample was."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from batchjob.corrections.log import FileLog
from batchjob.files import DATABASE_SIDES
from batchjob.model import Value
from batchjob.ports import CorrectionLog
from batchjob.records import Correction
from batchjob.scoring.interval import wilson
from batchjob.stores import correction_table, files_of
from batchjob.views.by_hand import ByHand

SAMPLE = "sample"
"""Why a row was reviewed that came by chance: these alone say how good the labels are."""
SIDE = next(side for side in DATABASE_SIDES if side.endswith("corrections"))
OfFields = dict[str | None, list[Correction]]
"""What people said of a row, by field, the last one last; None: of its label."""


class Standing(Value, frozen=True):
    """What people say of a row now: of its label, or of fields that it has."""

    said: dict[str | None, Correction]  # the last one by field; None: of its label
    sampled: frozenset[str | None]  # of these, what was reviewed in the random sample

    @property
    def label(self) -> str | None:
        """The label that counts; None where only fields were corrected."""
        return self.said[None].label if None in self.said else None

    def text(self, field: str | None) -> str | None:
        """What is said of a field, or of the label; None: nothing."""
        return self.said[field].label if field in self.said else None


class Corrections:
    """The corrections of a database's jobs, wherever they are kept."""

    def __init__(self, url: str) -> None:
        self.log = log_of(url)
        self._lock = threading.Lock()
        self._rows: dict[str, dict[int, OfFields]] = {}
        self._standing: dict[str, dict[int, Standing]] = {}

    def of(self, uid: str) -> dict[int, Standing]:
        """The rows of a job of which people said something that counts, by number; raises as CorrectionLog.news."""
        with self._lock:
            self._refresh()
            return dict(self._standing.get(uid, {}))

    def said(self, uid: str, row: int) -> list[Correction]:
        """What people said of a row, the last one last, without what was taken back."""
        with self._lock:
            self._refresh()
            said = [one for of_field in self._rows.get(uid, {}).get(row, {}).values() for one in of_field]
        return sorted(said, key=lambda one: one.at)

    def _refresh(self) -> None:
        news = self.log.news()
        if news.anew:
            self._rows, self._standing = {}, {}
        for one in news.added:
            said = self._rows.setdefault(one.job, {}).setdefault(one.row, {}).setdefault(one.field, [])
            if one.label is not None:
                said.append(one)
            elif said:
                said.pop()
        for uid, row in dict.fromkeys((one.job, one.row) for one in news.added):
            standing = self._standing.setdefault(uid, {})
            if any(self._rows[uid][row].values()):
                standing[row] = _standing(self._rows[uid][row])
            else:
                standing.pop(row, None)


def _standing(of_row: OfFields) -> Standing:
    told = {field: said for field, said in of_row.items() if said}
    sampled = [field for field, said in told.items() if any(one.why == SAMPLE for one in said)]
    return Standing({field: said[-1] for field, said in told.items()}, frozenset(sampled))


def log_of(url: str) -> CorrectionLog:
    """Where the corrections of a database's jobs are kept: in a file beside it, named as it is, or in a table of one
    that lies in no files.
    """
    place = next((Path(file) for file in files_of(url) if file.endswith(SIDE)), None)
    return correction_table(url) if place is None else FileLog(place)


def by_hand(standing: Mapping[int, Standing]) -> ByHand | None:
    """What people did to a job's rows; None: nothing."""
    if not standing:
        return None
    changed = unlabelled = 0
    judged: dict[str | None, list[bool]] = {}
    for one in standing.values():  # a page asks again and again, and they may be many
        differs = lacked = False
        for field, last in one.said.items():
            if last.model is None:
                lacked = True
                continue
            right = last.label == last.model
            differs |= not right
            if field in one.sampled:
                judged.setdefault(field, []).append(right)
        changed += differs
        unlabelled += lacked
    samples = {field: share for field, right in judged.items() if (share := wilson(sum(right), len(right)))}
    return ByHand(
        rows=len(standing),
        changed=changed,
        unlabelled=unlabelled,
        sample=samples.pop(None, None),
        fields={str(field): share for field, share in samples.items()},
    )
