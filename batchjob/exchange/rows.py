"""What an answer, or the lack of one, means for a row: its label, another try, or its end."""

from __future__ import annotations

from batchjob.exchange.decide import Decision, Next
from batchjob.model import LostAs, Parcel, Row, RowResult, Value
from batchjob.states import Event, Outcome, Source
from batchjob.task.labels import LabelSet

MOST_ANSWER_CHARACTERS = 2000
"""What is kept of an answer that is not a label."""


class Terms(Value, frozen=True):
    """The settings a verdict goes by."""

    labels: LabelSet
    fallback: str | None
    max_attempts: int
    max_paid: int
    hold: bool  # a lost row waits for the user instead of going out again


def unsent(row: Row, terms: Terms) -> RowResult | None:
    """The result of a row that needs no request, or None for one that does."""
    if row.defect is not None:
        kind, _, message = row.defect.partition(": ")
        return RowResult(row.number, Event.REJECT, error_kind=kind, error=message)
    if row.text.strip():
        return None
    if terms.fallback is not None:
        return RowResult(row.number, Event.ASSIGN, label=terms.fallback, source=Source.FALLBACK)
    return RowResult(row.number, Event.REJECT, error_kind="blank_text", error="there is no text to label")


def read_answer(row: Row, answer: str, terms: Terms) -> RowResult:
    """The result of a row the model answered."""
    label = terms.labels.match(answer)
    if label is not None:
        raw = None if answer == label else kept(answer)
        return RowResult(row.number, Event.COMPLETE, row.attempts + 1, row.paid + 1, label, Source.MODEL, raw)
    raw = kept(answer)
    if terms.fallback is not None:
        return RowResult(
            row.number, Event.COMPLETE, row.attempts + 1, row.paid + 1, terms.fallback, Source.FALLBACK, raw
        )
    return _bought_in_vain(row, "off_list", "the answer is none of the labels", raw, terms)


def read_shared_answer(row: Row, answer: str | None, terms: Terms) -> RowResult:
    """The result of a row that was one of many in a request; an answer of None was not given, or given twice.

    What a shared answer leaves open is asked alone, where fallback and max_paid have their say.
    """
    label = None if answer is None else terms.labels.match(answer)
    if label is not None:
        return read_answer(row, answer or "", terms)
    kind, said = (
        ("missing_answer", "left out, or given twice") if answer is None else ("off_list", "none of the labels")
    )
    return RowResult(
        row.number,
        Event.RELEASE,
        row.attempts,
        row.paid,
        answer=None if answer is None else kept(answer),
        error_kind=kind,
        error=f"in an answer for many rows its label was {said}",
    )


def split_up(row: Row, decision: Decision) -> RowResult:
    """The result of a row of a request that was refused for what is in it: it goes out again among fewer."""
    return RowResult(
        row.number, Event.RELEASE, row.attempts, row.paid, error_kind=decision.kind, error=decision.message
    )


def kept(answer: str) -> str:
    """What is kept of an answer. SQLite's JSON ends a string at NUL, so there is none in it."""
    return answer[:MOST_ANSWER_CHARACTERS].replace("\0", "\N{REPLACEMENT CHARACTER}")


def lost_as(parcel: Parcel, decision: Decision, request: LostAs) -> LostAs | None:
    """The lost request a parcel is still known by after this one, so that its key is used again; or None.

    A refusal to begin (429, 409, not sent) leaves an earlier lost request as lost as it was. After any answered
    failure the key is spent: endpoints with idempotency keys would replay that failure. (Stripe's semantics.)
    """
    if decision.next is Next.RESEND:
        return request
    untouched = decision.next is Next.STOP or decision.kind in ("rate_limited", "conflict")
    return parcel.lost if untouched or decision.outcome is Outcome.NOT_SENT else None


def after(row: Row, decision: Decision, terms: Terms, lost: LostAs | None, *, counts: bool) -> RowResult:
    """The result of a row whose request brought no answer that can be read; `counts`: it costs the row an attempt."""
    if decision.paid:
        return _bought_in_vain(row, decision.kind, decision.message, None, terms)
    attempts = row.attempts + (1 if counts or decision.next is Next.FAIL else 0)
    if decision.next is Next.STOP:
        event = Event.RELEASE
    elif decision.next is Next.FAIL:
        event = Event.FAIL
    elif decision.next is Next.RESEND and terms.hold:
        message = f"{decision.kind}: {decision.message}"
        return RowResult(row.number, Event.LOSE, attempts, row.paid, error_kind="unconfirmed", error=message)
    else:
        event = Event.FAIL if attempts >= terms.max_attempts else Event.RELEASE
    known_by = lost.request_id if lost else None
    return RowResult(
        row.number, event, attempts, row.paid, error_kind=decision.kind, error=decision.message, known_by=known_by
    )


def _bought_in_vain(row: Row, kind: str, message: str, raw: str | None, terms: Terms) -> RowResult:
    """An answer was paid for and is of no use: another is bought only within max_paid."""
    attempts, paid = row.attempts + 1, row.paid + 1
    again = paid < terms.max_paid and attempts < terms.max_attempts
    event = Event.RELEASE if again else Event.FAIL
    return RowResult(row.number, event, attempts, paid, answer=raw, error_kind=kind, error=message)
