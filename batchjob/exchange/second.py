"""The second model's part: it is asked what the first one left off the list, failed on, or was unsure of.

A row that is its turn is pending, with what the first made of it. So neither model is paid twice after a crash, and a
label that the first was unsure of, or the fallback, stays where the second has none.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from batchjob.exchange.conclude import Again, Concludes, Conclusion, Read, conclude, results_of
from batchjob.exchange.decide import PAID_KINDS, Decision
from batchjob.exchange.exchange import Exchange
from batchjob.exchange.fields import field_results
from batchjob.exchange.rows import Terms
from batchjob.model import LostRequest, Parcel, Reply, Row, RowResult, SettleSecond
from batchjob.settings.config import JobConfig
from batchjob.states import Event, Source, plain_kind
from batchjob.task.first import First
from batchjob.task.identity import asked_first

ANSWERABLE = PAID_KINDS | {"missing_answer", "content_filter", "too_long"}
"""Kinds of failures that another model may have an answer for."""
UNSURE = "unsure"


class Seconded:
    """Concludes the exchanges of a job with a second model.

    Args:
        read: what a reply means for each row.
    """

    def __init__(self, config: JobConfig, read: Read) -> None:
        self._model, self._below, self._fields = config.second_model or "", config.second_below, bool(config.fields)
        self._results, self._asked = read, asked_first(config)

    def conclude(
        self,
        exchange: Exchange,
        reply: Reply,
        decision: Decision,
        terms: Terms,
        *,
        counts: bool,
        at: float,
        chance: Callable[[], float],
    ) -> Conclusion:
        """See exchange.conclude."""
        found = conclude(exchange, reply, decision, terms, counts=counts, at=at, chance=chance, read=self._read)
        if exchange.parcel.rows[0].first is not None and exchange.parcel.verifies is None:
            found = msgspec.structs.replace(found, settle=SettleSecond(**msgspec.structs.asdict(found.settle)))
        return msgspec.structs.replace(found, again=tuple(map(self._again, found.again))) if found.again else found

    def _again(self, again: Again) -> Again:
        parcel = again.parcel
        if parcel.rows[0].first is None or parcel.verifies is not None:
            return again
        return again._replace(parcel=msgspec.structs.replace(parcel, model=self._model))

    def _read(
        self, parcel: Parcel, reply: Reply, decision: Decision, terms: Terms, lost: LostRequest | None, *, counts: bool
    ) -> tuple[RowResult, ...]:
        found = self._results(parcel, reply, decision, terms, lost, counts=counts)
        return tuple([self._result(parcel, row, one) for row, one in zip(parcel.rows, found, strict=True)])

    def _result(self, parcel: Parcel, row: Row, result: RowResult) -> RowResult:
        if row.first is not None:
            return _of_second(msgspec.json.decode(row.first, type=First), result)
        why = "" if parcel.model == self._model else self._why(result)  # a route may lead to it, too
        if not why:
            return result
        first = First(why, result.label, result.source, result.matched, result.confidence, result.answer, self._asked)
        return RowResult(
            row.number,
            Event.RELEASE,
            result.attempts,
            result.paid,
            answer=result.answer if self._fields and result.label is None else None,
            error_kind=why,
            error=result.error or f"{why}: the second model is asked",
            first=msgspec.json.encode(first).decode(),
        )

    def _why(self, result: RowResult) -> str:
        """Why the second model is to be asked; "" where it is not."""
        if result.event is Event.FAIL and plain_kind(result.error_kind or "") in ANSWERABLE:
            return result.error_kind or ""
        if result.event is not Event.COMPLETE:
            return ""
        if result.source is Source.FALLBACK:
            return "off_list"
        return UNSURE if result.confidence is not None and result.confidence < self._below else ""


def concluding(config: JobConfig) -> Concludes:
    """How exchanges are concluded: with one label a row, or with fields, or with a second model."""
    read = field_results if config.fields else results_of
    if config.second_model is not None:
        return Seconded(config, read).conclude
    return partial(conclude, read=read) if config.fields else conclude


def _of_second(first: First, result: RowResult) -> RowResult:
    """What the second model's answer means, or that it gave none."""
    if result.event is Event.COMPLETE and result.source is Source.MODEL:
        return msgspec.structs.replace(result, source=Source.SECOND)
    ended = result.event is Event.FAIL or (result.event is Event.COMPLETE and result.source is Source.FALLBACK)
    if not ended or first.label is None:
        return result
    return RowResult(
        result.number,
        Event.COMPLETE,
        result.attempts,
        result.paid,
        first.label,
        first.source,
        first.answer,
        matched=first.matched,
        confidence=first.confidence,
    )
