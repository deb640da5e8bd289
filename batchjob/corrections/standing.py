"""Which corrections count: the last one of each row that was not taken back; and how good the random sample was."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path

from batchjob.corrections import log
from batchjob.errors import SettingError
from batchjob.files import DATABASE_SIDES
from batchjob.model import Value
from batchjob.records import Correction
from batchjob.scoring.interval import wilson
from batchjob.stores import files_of
from batchjob.views.by_hand import ByHand

SAMPLE = "sample"
"""Why a row was reviewed that came by chance: these alone say how good the labels are."""
SIDE = next(side for side in DATABASE_SIDES if side.endswith("corrections"))


class Standing(Value, frozen=True):
    """What a person says of a row now."""

    last: Correction
    sampled: bool  # it was reviewed in the random sample

    @property
    def label(self) -> str:
        """The label that counts."""
        assert self.last.label is not None
        return self.last.label


class Corrections:
    """The corrections of a database's jobs. The file is read once, and then only what is added to it."""

    def __init__(self, url: str) -> None:
        self.path = place_of(url)
        self._lock = threading.Lock()
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._inode, self._end = 0, 0
        self._rows: dict[str, dict[int, list[Correction]]] = {}

    def of(self, uid: str) -> dict[int, Standing]:
        """The rows of a job that a person has labelled, by number; raises as log.read."""
        with self._lock:
            self._refresh()
            return {
                number: Standing(said[-1], any(one.why == SAMPLE for one in said))
                for number, said in self._rows.get(uid, {}).items()
                if said
            }

    def said(self, uid: str, row: int) -> list[Correction]:
        """What people said of a row, the last one last, without what was taken back."""
        with self._lock:
            self._refresh()
            return list(self._rows.get(uid, {}).get(row, ()))

    @property
    def file(self) -> Path:
        """Where they are written.

        Raises:
            SettingError: the database lies in no files.
        """
        if self.path is None:
            raise SettingError("corrections are kept in a file beside the database, and this one lies in no file")
        return self.path

    def _refresh(self) -> None:
        if self.path is None:
            return
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            self._begin_anew()
            return
        if found.st_ino != self._inode or found.st_size < self._end:
            self._begin_anew()
            self._inode = found.st_ino
        if found.st_size > self._end:
            added, self._end = log.read(self.path, self._end)
            for one in added:
                said = self._rows.setdefault(one.job, {}).setdefault(one.row, [])
                if one.label is not None:
                    said.append(one)
                elif said:
                    said.pop()


def place_of(url: str) -> Path | None:
    """Where the corrections of a database lie: beside it, named as it is. None: it lies in no files, and has none."""
    return next((Path(file) for file in files_of(url) if file.endswith(SIDE)), None)


def by_hand(standing: Mapping[int, Standing]) -> ByHand | None:
    """What people did to a job's rows; None: nothing."""
    if not standing:
        return None
    said = standing.values()
    sampled = [one for one in said if one.sampled and one.last.model is not None]
    return ByHand(
        rows=len(standing),
        changed=sum(one.last.model not in (None, one.label) for one in said),
        unlabelled=sum(one.last.model is None for one in said),
        sample=wilson(sum(one.label == one.last.model for one in sampled), len(sampled)),
    )
