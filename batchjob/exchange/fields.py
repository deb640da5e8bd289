"""What an answer, or the lack of one, means for a row that is asked for several fields.

A field that is answered is kept, whatever becomes of the others: in the row's answer, which is written with the end of
the request. The row is done when it has all, and until then only those that it lacks are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from batchjob.exchange.conclude import results_of
from batchjob.exchange.decide import Decision, Next
from batchjob.exchange.rows import Terms, bought_in_vain
from batchjob.model import Answered, LostRequest, Parcel, Reply, Row, RowResult
from batchjob.states import Event, Matched, Source
from batchjob.task.confidence import confidence_of_values
from batchjob.task.fields.answers import FieldSet, Kept
from batchjob.task.finish import Ended, how_it_ended
from batchjob.task.labels import kept

KEEP = (Event.RELEASE, Event.FAIL)
"""Events that write a row's answer anew."""


def field_results(
    parcel: Parcel, reply: Reply, decision: Decision, terms: Terms, lost: LostRequest | None, *, counts: bool
) -> tuple[RowResult, ...]:
    """The results of a parcel's rows. See conclude.results_of."""
    fields = terms.labels
    assert isinstance(fields, FieldSet)
    rows = parcel.rows
    if isinstance(reply, Answered) and reply.content and decision.next is not Next.REPHRASE:
        cut = decision.kind == "truncated_answer" or how_it_ended(reply.finish_reason) is Ended.UNKNOWN
        if decision.next is Next.READ or cut:
            given = fields.given(reply.content, len(rows))
            numbered = enumerate(rows, start=1)
            found = tuple([_answered(row, given.get(n, {}), reply, terms, len(rows), n) for n, row in numbered])
            if decision.next is Next.READ or any(map(fields.has_any, found)):
                return found
    results = results_of(parcel, reply, decision, terms, lost, counts=counts)
    return tuple([_keeping(row, result) for row, result in zip(rows, results, strict=True)])


def _keeping(row: Row, result: RowResult) -> RowResult:
    """The result of a row that got nothing new: what it has stays."""
    if row.answer is None or result.answer is not None or result.event not in KEEP:
        return result
    return msgspec.structs.replace(result, answer=row.answer)


def _answered(row: Row, given: Mapping[str, Any], reply: Answered, terms: Terms, count: int, number: int) -> RowResult:
    fields = terms.labels
    assert isinstance(fields, FieldSet)
    before = fields.kept(row.answer) or Kept({}, {})
    new = fields.taken({name: value for name, value in given.items() if name not in before.values})
    has = Kept({**before.values, **new.values}, {**before.others, **new.others}, before.near or new.near)
    if not fields.missing(has):
        label, content = fields.label(has), reply.content or ""
        return RowResult(
            row.number,
            Event.COMPLETE,
            row.attempts + 1,
            row.paid + 1,
            label,
            Source.MODEL,
            None if content == label or (count > 1 and not new.near) else kept(content),
            matched=Matched.NEAR if has.near else Matched.EXACT,
            confidence=confidence_of_values(reply.tokens, fields.certain(new), number if count > 1 else None),
        )
    off = any(name in has.others for name in fields.missing(has))
    kind, why = fields.kind("off_list" if off else "missing_answer", has), fields.why(has)
    if count == 1:
        return bought_in_vain(row, kind, why, fields.answer(has), terms)
    # What a shared answer leaves open is asked alone, where max_paid has its say.
    return RowResult(
        row.number, Event.RELEASE, row.attempts, row.paid, answer=fields.answer(has), error_kind=kind, error=why
    )
