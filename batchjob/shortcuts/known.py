"""Texts that have a label already: bought by this job or an earlier one, or by another row of this run."""

from __future__ import annotations

from batchjob.model import Row, RowResult
from batchjob.shortcuts.case import Case, Terms
from batchjob.states import Event, Source, plain_kind


class Known:
    """The label that was bought for this text before, by this job or an earlier one. See shortcuts.Shortcut."""

    looks_up = True

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._labels = terms.labels

    def settle(self, case: Case) -> RowResult | None:
        found, terms = case.found, self._terms
        if found is None:
            return None
        own = found.job_id == terms.job_id
        if not (terms.dedupe if own else terms.cache):
            return None
        source = Source.DUPLICATE if own else Source.CACHE
        if not found.off_list:
            return _assigned(case.row, found.label, source, found.job)
        # It was none of the labels then: what it is now is for this job to say.
        match = self._labels.read_kept(found.label)
        if match is not None:
            return _assigned(case.row, match.label, source, found.job)
        if terms.fallback is not None:
            return _assigned(case.row, terms.fallback, Source.FALLBACK, found.job)
        if not own or case.row.put_back:
            return None
        error = f"the same text was answered before, by none of the labels: {found.label[:200]!r}"
        return _failed(case.row, self._labels.failure(found.label), error, found.label)


def _assigned(row: Row, label: str, source: Source, job: str) -> RowResult:
    return RowResult(row.number, Event.ASSIGN, label=label, source=source, origin=job or None)


def like(row: Row, result: RowResult, number: int, job: str) -> RowResult:
    """What became of the row with this number, said of another with the same text."""
    if result.label is not None:
        source = Source.FALLBACK if result.source is Source.FALLBACK else Source.DUPLICATE
        return RowResult(row.number, Event.ASSIGN, label=result.label, source=source, origin=job)
    error = f"the same text as row {number}: {result.error}"
    if result.event is Event.LOSE:
        return held(row, error)
    return _failed(row, result.error_kind or "", error, result.answer)


def _failed(row: Row, kind: str, error: str, answer: str | None) -> RowResult:
    """A row that failed with another one's answer: of several fields it has those that were answered there."""
    kept = answer if plain_kind(kind) != kind else None
    return RowResult(row.number, Event.REJECT, error_kind=kind, error=error, answer=kept)


def held(row: Row, error: str) -> RowResult:
    """A row that waits for the user, because its text may have been paid for."""
    return RowResult(row.number, Event.HOLD, error_kind="unconfirmed", error=error)
