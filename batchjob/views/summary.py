"""A job's status as lines for a person: what is read when a run ends, or when somebody asks how it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchjob.numbers import about, counted, day, dollars, duration, share
from batchjob.printable import printable
from batchjob.records import Worker
from batchjob.settings.endpoint import SANDBOX_URL
from batchjob.states import Outcome, Source
from batchjob.views.by_hand import hand_words
from batchjob.views.lines import cut, ending, folded
from batchjob.views.live import live_lines, live_of
from batchjob.views.next_steps import advice
from batchjob.views.outage import outage_words
from batchjob.views.status import Cost, Status

MOST_VALUES = 5
"""Values listed of each field."""
SILENT_SECONDS = 5.0
"""A worker gives a sign of life each second; after so many without one that is told."""
MOST_LABELS = 12
"""Labels listed for a person; a program gets all."""


def summary_lines(
    status: Status, *, seconds: float | None, next_command: str | None, requests: tuple[int, int] = (0, 0)
) -> list[str]:
    """What a person reads of a status.

    `seconds` is how long the run took, and `requests` how many of the job's requests were this run's: those sent,
    and those not. Without `seconds`, somebody asks about the job: its input and endpoint are named.
    """
    lines = [
        _state_line(status),
        *(_origin_lines(status) if seconds is None else []),
        _rows_line(status),
        *(f"warning   {warning}" for warning in status.warnings),
        *_label_lines(status.labels, MOST_LABELS),
        *_field_lines(status),
        *_second_lines(status),
        *_fallback_lines(status.sources[Source.FALLBACK]),
        *_near_lines(status.matched.near),
        *_error_lines(status),
        *([f"by hand   {hand_words(status.by_hand)}"] if status.by_hand else []),
        *_request_lines(status),
        *(f"asked     {printable(model)}: {how}" for model, how in status.learned.items()),
    ]
    if seconds is not None:
        sent, not_sent = requests
        told = counted(sent, "request") if sent else "no requests"
        lines.append(f"this run  {duration(seconds)}, {told}{_unsent(sent, not_sent)}")
    lines += [*_cost_lines(status), *_saved_lines(status), *_pace_lines(status), *_worker_lines(status)]
    if next_command:
        lines.append(f"next      {next_command}")
    return lines


def watch_lines(status: Status, *, columns: int, lines: int) -> list[str]:
    """What a person who watches a running job sees, no more than fits: what matters least is left out first."""
    held_back = outage_words(status.outage) if status.outage else status.pacing
    blocks: list[tuple[int, Sequence[str]]] = [  # how soon a block is left out, from 0 for never
        (0, [_state_line(status)]),
        *((5, [line]) for line in _origin_lines(status, columns)),
        (8, [""]),
        (0, live_lines(live_of(status, held_back), columns)),
        (8, [""]),
        (1, [_rows_line(status)]),
        *((4, [f"warning   {warning}"]) for warning in status.warnings),
        *((4 if number else 2, [line]) for number, line in enumerate(_error_lines(status))),
        *((4, [line]) for line in _request_lines(status)),
        *((3, [line]) for line in _cost_lines(status)),
        *((6, [line]) for line in _saved_lines(status)),
        *((5, [line]) for line in _field_lines(status)),
        *((5, [line]) for line in _worker_lines(status)),
    ]
    shown = _fitting([(rank, folded(block, columns, whole=False)) for rank, block in blocks], columns, lines)
    for most in range(min(MOST_LABELS, len(status.labels)), 0, -1):
        labels = folded(_label_lines(status.labels, most), columns)
        if len(shown) + len(labels) <= lines:
            return shown + labels
    return shown


def _fitting(blocks: Sequence[tuple[int, Sequence[str]]], columns: int, lines: int) -> list[str]:
    """The lines of the blocks in their order, without those of the highest ranks if they are too many."""
    kept = dict.fromkeys(range(len(blocks)), 0)
    for place in sorted(kept, key=lambda place: blocks[place][0]):
        kept[place] = min(len(blocks[place][1]), lines - sum(kept.values()))
    return [line for place, count in kept.items() for line in _begun(blocks[place][1], count, columns)]


def _begun(block: Sequence[str], count: int, columns: int) -> Sequence[str]:
    """So many lines of a block; where some are missing, the last one says so."""
    return block[:count] if count in (0, len(block)) else [*block[: count - 1], cut(f"{block[count - 1]} …", columns)]


def trouble_lines(status: Status, next_command: str) -> list[str]:
    """What a person who wants no words is told all the same, where a run ended with an exit code."""
    return [_state_line(status), _rows_line(status), *_error_lines(status), f"next      {next_command}"]


def _state_line(status: Status) -> str:
    return f"job {status.job}: {status.state.replace('_', ' ')}" + (f" - {status.reason}" if status.reason else "")


def _origin_lines(status: Status, columns: int | None = None) -> Iterator[str]:
    yield f"input     {ending(status.input, columns and columns - 10)}"
    asked = "the built-in sandbox" if status.endpoint == SANDBOX_URL else f"{status.model} at {status.endpoint}"
    yield f"asks      {asked}, since {day(status.created_at)}"


def _error_lines(status: Status) -> Iterator[str]:
    yield from (f"  {error.count:,} {error.kind}: {advice(error.kind, status)}" for error in status.errors)


def _rows_line(status: Status) -> str:
    rows = status.rows
    parts = [f"{rows.done:,} of {rows.total:,}{'' if status.ingested else '+'} rows labelled"]
    others = {
        "pending": rows.pending,
        "in flight": rows.in_flight,
        "failed": rows.failed - status.skipped,
        "blank, skipped": status.skipped,
        "unconfirmed": rows.unconfirmed,
    }
    return "rows      " + ", ".join([*parts, *(f"{count:,} {what}" for what, count in others.items() if count)])


def _label_lines(labels: dict[str, int], most: int) -> list[str]:
    if not labels:
        return []
    shown = [f"{printable(label)} {count:,}" for label, count in list(labels.items())[:most]]
    more = f", and {len(labels) - most} more" if len(labels) > most else ""
    return ["labels    " + ", ".join(shown) + more]


def _field_lines(status: Status) -> Iterator[str]:
    """Each field with its most frequent values, and the failed rows that lack it."""
    for name, field in status.fields.items():
        ranked = sorted(field.values.items(), key=lambda one: -one[1])
        values = [f"{printable(value)} {rows:,}" for value, rows in ranked[:MOST_VALUES]]
        more = [f"and {len(ranked) - MOST_VALUES} more"] if len(ranked) > MOST_VALUES else []
        failed = [f"missing in {counted(field.failed, 'failed row')}"] if field.failed else []
        yield f"field     {name} ({field.kind}): {', '.join([*values, *more, *failed]) or f'{field.done:,} answered'}"


def _second_lines(status: Status) -> Iterator[str]:
    if (second := status.second) is not None:
        worth = "" if second.usd is None else f", {dollars(second.usd)} of the cost"
        worth += f" ({second.unknown:,} of unknown cost)" if second.unknown else ""
        told = f"{counted(second.labelled, 'row')} labelled by a second model (now {printable(second.model)})"
        yield f"second    {told}, in {counted(second.answered, 'answer')}{worth}"


def _fallback_lines(taken: int) -> list[str]:
    told = f"fallback  {counted(taken, 'row')}, blank or with an answer that was none of the labels"
    return [told] if taken else []


def _near_lines(near: int) -> list[str]:
    return (
        [f"near      {counted(near, 'label')} not letter for letter as the model wrote it; the answers are kept"]
        if near
        else []
    )


def _request_lines(status: Status) -> list[str]:
    requests, usage = status.requests, status.usage
    out = status.rows.in_flight  # requests that nobody has counted yet
    if not requests.sent:
        return [f"requests  none were sent{' but those in flight' if out else ''}{_unsent(0, requests.not_sent)}"]
    outcomes = (Outcome.ANSWERED, Outcome.REJECTED, Outcome.LOST)
    told = [f"{count:,} {outcome}" for outcome in outcomes if (count := getattr(requests, outcome))]
    cached = f" ({usage.cached_input_tokens:,} cached)" if usage.cached_input_tokens else ""
    thought = f" ({usage.reasoning_tokens:,} thinking)" if usage.reasoning_tokens else ""
    return [
        f"requests  {requests.sent:,} sent{', besides those in flight' if out else ''}: "
        + ", ".join(told)
        + _unsent(requests.sent, requests.not_sent),
        f"tokens    {usage.input_tokens:,} in{cached}, {usage.output_tokens:,} out{thought}, as reported",
    ]


def _unsent(sent: int, not_sent: int) -> str:
    """What is said of requests that were not sent, behind how many were: they reached nobody and cost nothing."""
    return f"; {not_sent:,}{' more' if sent else ''} got no connection" if not_sent else ""


def _cost_lines(status: Status) -> list[str]:
    cost = status.cost
    lines = []
    if cost.odd_usages:
        odd = counted(cost.odd_usages, "answer")
        lines.append(f"usage     {odd} with a usage that cannot be true: export --requests shows it")
    if cost.usd is not None:
        lines.append(f"cost      {_paid(cost, cost.usd)}, {_says(cost, status.requests.answered)}")
    elif status.requests.answered and cost.prices and status.usage.input_tokens:
        lines.append("cost      unknown: no price was known when it was answered; one given now is for later answers")
    elif status.requests.answered and cost.prices:
        lines.append("cost      unknown: the endpoint told no usage that can be true; a budget counts the worst case")
    elif status.requests.answered:
        lines.append("cost      unknown: no price is known for the model: give --price IN,OUT (USD per million tokens)")
    return lines


def _says(cost: Cost, answered: int) -> str:
    """What the cost rests on."""
    by_usage = f"by usage as reported and {_price_origin(cost)}"
    if not cost.reported_requests:
        return by_usage
    if cost.reported_requests + cost.unknown_requests >= answered:
        return "as the endpoint reported it"
    return f"for {counted(cost.reported_requests, 'request')} as the endpoint reported it, else {by_usage}"


def _paid(cost: Cost, amount: float) -> str:
    unknown = f" (besides {counted(cost.unknown_requests, 'request')} of unknown cost)" if cost.unknown_requests else ""
    lost = f", and {dollars(cost.lost_usd_at_most)} at most for lost requests" if cost.lost_usd_at_most else ""
    return f"{dollars(amount)}{unknown}{lost}"


def _price_origin(cost: Cost) -> str:
    return "; ".join(sorted(set(cost.prices.values())))


def _saved_lines(status: Status) -> Iterator[str]:
    for source, saved in status.saved.items():
        worth = "" if saved.usd is None else f", {about(saved.usd)} saved"
        yield f"saved     {counted(saved.rows, 'row')} by {source}{worth}"
    yield from (f"rule      {name} took no row" for name, rows in status.rules.items() if not rows)
    asked, agreed = status.verified.asked, status.verified.agreed
    if asked:
        yield f"verified  {share(agreed, asked)} of {counted(asked, 'label')} were the same when asked alone"


def _pace_lines(status: Status) -> Iterator[str]:
    if status.paid_twice_at_most:
        changed = status.requests.resent_as_new
        new = f"; {changed:,} under a new key, because what is asked has changed" if changed else ""
        yield f"paid twice, at most: {counted(status.paid_twice_at_most, 'request')} (sent again unanswered{new})"
    if status.outage:
        yield f"outage    {outage_words(status.outage)}"
    if status.pacing:
        yield f"now       {status.pacing}"
    if status.rate.rows_per_second is not None:
        eta = status.rate.eta_seconds
        left = f", about {duration(eta)} left" if eta is not None else ""
        yield f"rate      {status.rate.rows_per_second:,.1f} rows/s{left}"


def _worker_lines(status: Status) -> Iterator[str]:
    """Who works on the job, where they are several."""
    if len(status.workers) > 1:
        yield f"workers   {len(status.workers)}"
        yield from map(_worker_line, status.workers)


def _worker_line(worker: Worker) -> str:
    rate = "" if worker.rows_per_second is None else f", {worker.rows_per_second:,.1f} rows/s"
    silent = f", silent for {duration(worker.silent_seconds)}" if worker.silent_seconds > SILENT_SECONDS else ""
    doing = f", {worker.doing}" if worker.doing else ""
    return f"  {printable(worker.host)} {worker.pid}: since {day(worker.since)}{rate}{doing}{silent}"
