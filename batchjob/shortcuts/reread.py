"""Rows whose answer was paid for and gave no label: it is read again, for labels or reading may be others now."""

from __future__ import annotations

from batchjob.model import RowResult
from batchjob.shortcuts.case import Case, Terms
from batchjob.states import Event, Matched, Source


class Reread:
    """See shortcuts.Shortcut."""

    looks_up = False

    def __init__(self, terms: Terms) -> None:
        self._labels = terms.labels
        self._fallback = terms.fallback

    def settle(self, case: Case) -> RowResult | None:
        row = case.row
        if row.answer is None:
            return None
        match = self._labels.read_kept(row.answer)
        if match is not None:
            matched = Matched.NEAR if match.near else Matched.EXACT
            return RowResult(row.number, Event.ASSIGN, label=match.label, source=Source.MODEL, matched=matched)
        if self._fallback is not None and not row.asked_otherwise:  # what is asked now comes before a fallback
            return RowResult(row.number, Event.ASSIGN, label=self._fallback, source=Source.FALLBACK)
        return None
