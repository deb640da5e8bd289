"""What an answer, or the lack of one, means for a row: its label, another try, or its end."""

from __future__ import annotations

from collections.abc import Sequence

from batchjob.exchange.decide import Decision, Next
from batchjob.model import LostRequest, Row, RowResult, Value
from batchjob.settings.config import JobConfig
from batchjob.states import Event, Matched, Source
from batchjob.task.asked import answers_of
from batchjob.task.confidence import Token, confidence_of
from batchjob.task.labels import LabelSet, kept


class Terms(Value, frozen=True):
    """The settings that decide what an answer means, and how often a row is tried."""

    labels: LabelSet
    fallback: str | None
    max_attempts: int
    max_paid: int
    hold: bool  # a lost row waits for the user instead of going out again
    verify_sample: float = 0.0  # share of the rows of a shared answer that are asked once more, alone

    @classmethod
    def of(cls, config: JobConfig) -> Terms:
        """Those of a job with these settings."""
        return cls(
            answers_of(config),
            config.fallback,
            config.max_attempts,
            config.max_paid,
            config.on_unconfirmed == "hold",
            config.verify_sample,
        )


def read_answer(
    row: Row,
    answer: str,
    terms: Terms,
    *,
    exact_only: bool = False,
    tokens: Sequence[Token] = (),
    number: int | None = None,
) -> RowResult:
    """The result of a row the model answered.

    Args:
        exact_only: nobody knows whether the answer is whole.
        tokens: of the whole answer, where their probabilities are known.
        number: of the row in an answer for many.
    """
    match = terms.labels.read(answer, exact_only=exact_only)
    if match is not None:
        return RowResult(
            row.number,
            Event.COMPLETE,
            row.attempts + 1,
            row.paid + 1,
            match.label,
            Source.MODEL,
            None if answer == match.label else kept(answer),
            matched=Matched.NEAR if match.near else Matched.EXACT,
            confidence=confidence_of(tokens, match.label, number) if tokens else None,
        )
    # What may be a part of an answer is not kept to be read again.
    raw = None if exact_only else kept(answer)
    if terms.fallback is not None:
        return RowResult(
            row.number, Event.COMPLETE, row.attempts + 1, row.paid + 1, terms.fallback, Source.FALLBACK, raw
        )
    said = "the answer is none of the labels"
    if exact_only:
        said = f"no label letter for letter, and nobody knows whether it is the whole answer: {kept(answer)[:200]!r}"
    return bought_in_vain(row, "off_list", said, raw, terms)


def read_shared_answer(
    row: Row, answer: str | None, terms: Terms, tokens: Sequence[Token] = (), number: int | None = None
) -> RowResult:
    """The result of a row that was one of many in a request; an answer of None was not given, or given twice.

    What a shared answer leaves open is asked alone, where fallback and max_paid have their say.
    """
    if answer is not None and terms.labels.read(answer) is not None:
        return read_answer(row, answer, terms, tokens=tokens, number=number)
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


def unanswered(row: Row, decision: Decision, terms: Terms, lost: LostRequest | None, *, counts: bool) -> RowResult:
    """The result of a row whose request brought no answer that can be read; `counts`: it costs the row an attempt."""
    if decision.paid and decision.next is Next.REPHRASE:
        return RowResult(
            row.number, Event.RELEASE, row.attempts, row.paid + 1, error_kind=decision.kind, error=decision.message
        )
    if decision.paid:
        return bought_in_vain(row, decision.kind, decision.message, None, terms)
    counts = (counts and decision.next is not Next.REPHRASE) or decision.next is Next.FAIL
    attempts = row.attempts + counts
    if decision.next is Next.STOP:
        event = Event.RELEASE
    elif decision.next is Next.FAIL:
        event = Event.FAIL
    elif decision.next is Next.RESEND and terms.hold:
        message = f"{decision.kind}: {decision.message}"
        return RowResult(row.number, Event.LOSE, attempts, row.paid, error_kind="unconfirmed", error=message)
    else:
        event = Event.FAIL if attempts >= terms.max_attempts else Event.RELEASE
    return RowResult(
        row.number,
        event,
        attempts,
        row.paid,
        error_kind=decision.kind,
        error=decision.message,
        known_by=lost.request_id if lost else None,
    )


def bought_in_vain(row: Row, kind: str, message: str, raw: str | None, terms: Terms) -> RowResult:
    """An answer was paid for and is of no use: another is bought only within max_paid."""
    attempts, paid = row.attempts + 1, row.paid + 1
    again = paid < terms.max_paid and attempts < terms.max_attempts
    event = Event.RELEASE if again else Event.FAIL
    return RowResult(row.number, event, attempts, paid, answer=raw, error_kind=kind, error=message)
