"""Rows that cannot be sent: a defect of the input, a blank text."""

from __future__ import annotations

from batchjob.model import RowResult
from batchjob.settings.failures import BLANK
from batchjob.shortcuts.case import Case, Terms
from batchjob.states import Event, Source
from batchjob.task.texts import shows_nothing


class Unsendable:
    """See shortcuts.Shortcut."""

    looks_up = False

    def __init__(self, terms: Terms) -> None:
        self._fallback = terms.fallback

    def settle(self, case: Case) -> RowResult | None:
        row = case.row
        if row.defect is not None:
            kind, _, message = row.defect.partition(": ")
            return RowResult(row.number, Event.REJECT, error_kind=kind, error=message)
        if "!" <= row.text < "\x7f" or not shows_nothing(row.text):  # nearly all begin with a character between
            return None
        if self._fallback is not None:
            return RowResult(row.number, Event.ASSIGN, label=self._fallback, source=Source.FALLBACK)
        return RowResult(row.number, Event.REJECT, error_kind=BLANK, error="there is no text to label")
