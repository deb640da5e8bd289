"""The conclusion of an exchange: what is written of it, which rows have their end, and what goes out again.

Pure: the reply, the decision about it and a chance come in, a value goes out. Whoever runs a loop (over a connection
now, over a provider's batch of requests later) commits `settle`, counts `over` and queues `again`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import msgspec

from batchjob.exchange.decide import ANSWERED, Decision, Next, Signal, advice_of, backoff_seconds
from batchjob.exchange.exchange import Exchange
from batchjob.exchange.rows import Terms, read_answer, read_shared_answer, split_up, unanswered
from batchjob.model import (
    Answered,
    Ending,
    Key,
    LostRequest,
    NotSent,
    Parcel,
    Remembered,
    Reply,
    Row,
    RowResult,
    Settle,
    Value,
)
from batchjob.money.cost import cost_picousd
from batchjob.states import CostSource, Event, JobState, Outcome, Source, plain_kind
from batchjob.task.answers import split_answer
from batchjob.task.finish import Ended, how_it_ended

BEHIND_OTHERS = 1.0
"""Seconds by which a row whose refusal stopped all lets others ask first: it may be its own fault."""

DISAGREED = "disagreed"
"""The error kind of a request that verifies, where the row got another label than it has."""
MOST_SHOWN = 200
"""Characters of that answer that are kept."""


PARTIAL = frozenset({"off_list", "missing_answer"})
"""Kinds of a failed row whose answer is remembered, for whoever asks the same again."""


class Again(NamedTuple):
    """A parcel that goes out again, after so many seconds."""

    parcel: Parcel
    seconds: float


class Over(Value, frozen=True):
    """A row that has its end, and the key by which rows of its job share that, where they do."""

    row: Row
    result: RowResult
    key: Key | None


class Conclusion(Value, frozen=True):
    """What becomes of a request and of its rows."""

    settle: Settle
    over: tuple[Over, ...]  # the rows that have their end
    again: tuple[Again, ...]
    stop: Ending | None = None  # the endpoint does not take the job


def conclude(
    exchange: Exchange,
    reply: Reply,
    decision: Decision,
    terms: Terms,
    *,
    counts: bool,
    at: float,
    chance: Callable[[], float],
    read: Read | None = None,
) -> Conclusion:
    """What becomes of a request, by its reply and the decision about it.

    Args:
        counts: a try that was not answered costs its rows an attempt.
        at: when it ended, UTC epoch seconds.
        chance: numbers in [0, 1), for the jitter of a backoff.
        read: the results of the rows, where that is not `results_of`.
    """
    parcel = exchange.parcel
    if parcel.verifies is not None:
        settle = _settle(exchange, reply, decision, (), at, agreed=_agreed(reply, decision, parcel.verifies, terms))
        if settle.agreed is False:
            settle = msgspec.structs.replace(settle, error_kind=DISAGREED, error=f"asked alone: {_content(reply)}")
        return Conclusion(settle, (), (), refusal(decision))
    lost = still_lost(exchange, decision)
    results = (read or results_of)(parcel, reply, decision, terms, lost, counts=counts)
    settle = _settle(exchange, reply, decision, results, at)
    keys: Sequence[Key | None] = parcel.twins or parcel.keys or (None,) * len(parcel.rows)
    if decision is ANSWERED and len(results) == 1 and results[0].event is Event.COMPLETE:  # as nearly always
        return Conclusion(settle, (Over(parcel.rows[0], results[0], keys[0]),), ())
    if lost is not None and decision.outcome is not Outcome.LOST:  # it goes out as a repeat once more, and counts then
        settle = msgspec.structs.replace(settle, untaken=lost.client_key != exchange.client_key)
    ends = zip(parcel.rows, results, keys, strict=True)
    over = tuple([Over(*end) for end in ends if end[1].event is not Event.RELEASE])
    parcels = _parcels_again(parcel, results, decision, lost)
    again = [Again(each, _wait(each, decision, chance)) for each in parcels]
    if terms.verify_sample and len(parcel.rows) > 1:
        again += _to_verify(over, parcel.model, terms.verify_sample, chance)
    return Conclusion(settle, over, tuple(again), refusal(decision))


class Concludes(Protocol):
    """`conclude`, as it is for the rows of a job."""

    def __call__(
        self,
        exchange: Exchange,
        reply: Reply,
        decision: Decision,
        terms: Terms,
        *,
        counts: bool,
        at: float,
        chance: Callable[[], float],
    ) -> Conclusion: ...


def refusal(decision: Decision) -> Ending | None:
    """How the job ends where the endpoint does not take it, with what to do; else None."""
    if decision.next is not Next.STOP:
        return None
    advice = decision.advice or advice_of(decision.kind)
    said = decision.message.rstrip(".\N{IDEOGRAPHIC FULL STOP}")
    return Ending(JobState.REFUSED, f"{said}. What to do: {advice}", 3, decision.kind)


def still_lost(exchange: Exchange, decision: Decision) -> LostRequest | None:
    """The lost request a parcel is known by after this one, so that its key is used again; or None.

    A refusal to begin (429, 409, not sent) leaves an earlier lost request as lost as it was. After any answered
    failure the key is spent: endpoints with idempotency keys would replay that failure. (Stripe's semantics.)
    """
    if decision is ANSWERED:
        return None
    if decision.next is Next.RESEND:
        return msgspec.structs.replace(exchange.request, broken_off=decision.kind == "broken_off_answer")
    untouched = decision.next is Next.STOP or decision.pause or decision.kind in ("rate_limited", "conflict")
    return exchange.parcel.lost if untouched or decision.outcome is Outcome.NOT_SENT else None


# ---------------------------------------------------------------- the request


def _settle(
    exchange: Exchange,
    reply: Reply,
    decision: Decision,
    results: tuple[RowResult, ...],
    at: float,
    *,
    agreed: bool | None = None,
) -> Settle:
    cost, cost_source = cost_of(exchange, reply, decision)
    status: int | None = None
    provider_id = usage = odd_usage = None
    if isinstance(reply, Answered):
        status, provider_id, usage, odd_usage = 200, reply.provider_id, reply.usage, reply.odd_usage
    elif not isinstance(reply, NotSent):
        status, provider_id = reply.status, reply.provider_id
    return Settle(
        exchange.request_id,
        decision.outcome,
        results,
        at,
        status,
        provider_id,
        usage,
        cost,
        cost_source,
        decision.kind or None,
        decision.message or None,
        _remembered(exchange.parcel, results),
        agreed,
        odd_usage,
    )


def cost_of(exchange: Exchange, reply: Reply, decision: Decision) -> tuple[int | None, CostSource | None]:
    """What the request cost, in picodollars, and what says so: the endpoint itself if it does. None: unknown."""
    if decision.outcome is Outcome.LOST:
        return exchange.reserved, None if exchange.reserved is None else CostSource.WORST_CASE
    if isinstance(reply, Answered) and reply.cost is not None:
        return reply.cost, CostSource.REPORTED
    if exchange.price is None or (isinstance(reply, Answered) and reply.usage is None):
        return None, None
    used = reply.usage if isinstance(reply, Answered) else None
    return cost_picousd(used, exchange.price) if used else 0, CostSource.PRICE


def _remembered(parcel: Parcel, results: tuple[RowResult, ...]) -> tuple[Remembered, ...]:
    """What was answered, as the cache takes it."""
    if not parcel.keys or not results:
        return ()
    found = list(map(_remember, parcel.keys, results))
    if parcel.twins:
        found += [_remember(twin, result, loose=True) for twin, result in zip(parcel.twins, results, strict=True)]
    return tuple([one for one in found if one is not None])


def _remember(key: Key, result: RowResult, *, loose: bool = False) -> Remembered | None:
    """A label, or an answer off the list, which others may have a label or a fallback for."""
    if result.label is not None and (result.source is Source.MODEL or result.source is Source.SECOND):
        return Remembered(key, result.label, False, loose=loose)
    over = result.event is Event.COMPLETE or (
        result.event is Event.FAIL and plain_kind(result.error_kind or "") in PARTIAL
    )
    return Remembered(key, result.answer, True, loose=loose) if over and result.answer is not None else None


def _content(reply: Reply) -> str:
    return (reply.content or "")[:MOST_SHOWN] if isinstance(reply, Answered) else ""


def _agreed(reply: Reply, decision: Decision, label: str, terms: Terms) -> bool | None:
    """Whether a row that was asked once more, alone, got the label it has; None where it got no answer."""
    if decision.next is not Next.READ or not isinstance(reply, Answered):
        return None
    found = terms.labels.read(reply.content or "")
    return found is not None and found.label == label


# ---------------------------------------------------------------- its rows


class Read(Protocol):
    """What a reply means for each row of a parcel."""

    def __call__(
        self,
        parcel: Parcel,
        reply: Reply,
        decision: Decision,
        terms: Terms,
        lost: LostRequest | None,
        *,
        counts: bool,
    ) -> tuple[RowResult, ...]: ...


def results_of(
    parcel: Parcel, reply: Reply, decision: Decision, terms: Terms, lost: LostRequest | None, *, counts: bool
) -> tuple[RowResult, ...]:
    """What a reply means for each row of a parcel, in a job that asks for a label alone."""
    rows = parcel.rows
    if isinstance(reply, Answered) and reply.content and decision.next is not Next.REPHRASE:
        if decision.next is Next.READ and len(rows) == 1:
            unsure = how_it_ended(reply.finish_reason) is Ended.UNKNOWN
            return (read_answer(rows[0], reply.content, terms, exact_only=unsure, tokens=reply.tokens),)
        cut = decision.kind == "truncated_answer" or how_it_ended(reply.finish_reason) is Ended.UNKNOWN
        if len(rows) > 1 and (decision.next is Next.READ or cut):
            answers = split_answer(reply.content, len(rows), cut=cut)
            numbered = enumerate(rows, start=1)
            return tuple([read_shared_answer(row, answers.get(n), terms, reply.tokens, n) for n, row in numbered])
    if len(rows) > 1 and decision.next is Next.FAIL:
        return tuple([split_up(row, decision) for row in rows])
    return tuple([unanswered(row, decision, terms, lost, counts=counts) for row in rows])


def _parcels_again(
    parcel: Parcel, results: tuple[RowResult, ...], decision: Decision, lost: LostRequest | None
) -> list[Parcel]:
    """What goes out again of a parcel.

    A lost one goes whole, under its key, and so does one that was not at fault. One that was refused for what is in it
    goes in halves, down to the row at fault; rows that a shared answer left out go alone.
    """
    left = [at for at, result in enumerate(results) if result.event is Event.RELEASE]
    if not left:
        return []
    if lost is not None or decision.next in (Next.AGAIN, Next.REPHRASE, Next.RESEND):
        return [_part(parcel, results, left, lost)]
    partly = plain_kind(results[0].error_kind or "") != results[0].error_kind  # then the rows lack different fields
    if decision.next is Next.FAIL and len(left) == len(parcel.rows) > 1 and not partly:
        middle = len(left) // 2
        return [_part(parcel, results, half) for half in (left[:middle], left[middle:])]
    return [_part(parcel, results, [at]) for at in left]


def _part(parcel: Parcel, results: tuple[RowResult, ...], places: list[int], lost: LostRequest | None = None) -> Parcel:
    """The rows at these places as a parcel, with the attempts they have had by now."""
    rows = [
        msgspec.structs.replace(
            parcel.rows[at],
            attempts=results[at].attempts,
            paid=results[at].paid,
            answer=results[at].answer,
            first=results[at].first or parcel.rows[at].first,
        )
        for at in places
    ]
    keys = tuple([parcel.keys[at] for at in places]) if parcel.keys else ()
    twins = tuple([parcel.twins[at] for at in places]) if parcel.twins else ()
    return Parcel(tuple(rows), parcel.model, lost, keys=keys, twins=twins)


def _to_verify(over: Sequence[Over], model: str, share: float, chance: Callable[[], float]) -> list[Again]:
    """A sample of the labels of a shared answer, each asked once more, alone."""
    labelled = [one for one in over if one.result.event is Event.COMPLETE]
    return [Again(Parcel((one.row,), model, verifies=one.result.label), 0.0) for one in labelled if chance() < share]


def _wait(parcel: Parcel, decision: Decision, chance: Callable[[], float]) -> float:
    """Seconds of backoff until a parcel is due again: none after a 429, or a repeat that cannot hurt."""
    if decision.pause:
        return decision.pause + BEHIND_OTHERS
    troubled = decision.signal in (Signal.UNREACHABLE, Signal.UNAVAILABLE, Signal.ERRED)
    if decision.next not in (Next.AGAIN, Next.RESEND) or not troubled:
        return 0.0
    return backoff_seconds(max(parcel.rows[0].attempts, 1), chance())
