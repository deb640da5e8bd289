"""A group of writes, sorted by what each does to the work table, and what they do to the counters.

A transition is a record of plain values under its name; what a store makes of them is its own affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from batchjob.model import AddRows, Beat, Claim, Remembered, RowResult, Settle, SettleSecond, Skip, Usage, Write
from batchjob.states import TRANSITIONS, CostSource, Event, Outcome, Purpose, Source, State
from batchjob.stores import ids

GROUP = (
    "add_input",
    "add_rows",
    "add_notices",
    "advance_input",
    "settle_requests",
    "complete",
    "release",
    "fail",
    "lose",
    "assign",
    "reject",
    "hold",
    "add_intents",
    "claim_rows",
    "remember",
    "beat",
    "count_up",
)
"""What may be in a group, in the order they are carried out: results before claims, so that a row given back can be
claimed again."""

Tally = Counter[tuple[str, str]]
Counted = Callable[[str], Iterable[tuple[str, str]]]
"""A label -> the counters, by kind and name, that it is counted in."""


class Sorted:
    """Writes sorted by query, and what they do to the counters."""

    def __init__(
        self, writes: Sequence[Write], *, job_id: int, task_id: int, run_id: int, counted: Counted | None = None
    ) -> None:
        self._constants, self._counted = (job_id, task_id, run_id), counted
        self._base = ids.row_id(job_id, 0)
        self.given: dict[str, list[Any]] = {name: [] for name in GROUP}
        self._tally: Tally = Counter()
        self._results: list[RowResult] = []  # counted together, which takes a quarter off the time of a group
        self._settled: list[Settle] = []
        self.remembered: list[Remembered] = []
        for write in writes:
            _ADD[type(write)](self, write)
        self._count_results()
        self._count_requests()
        self.given["count_up"] = [(kind, name, by) for (kind, name), by in self._tally.items() if by]

    @property
    def beats(self) -> bool:
        """Whether a sign of life is among them."""
        return bool(self.given["beat"])

    # ------------------------------------------------------------ sorting

    def _add_rows(self, added: AddRows) -> None:
        chunk, before = added.chunk, added.chunk.first_number - 1
        first = self._base + chunk.first_number
        if chunk.rows:
            self.given["add_input"] = [(first + i, *row) for i, row in enumerate(chunk.rows)]
            self.given["add_rows"].append((first, first + len(chunk.rows) - 1))
            self._tally["row", State.PENDING] += len(chunk.rows)
        position = (before, before + len(chunk.rows), chunk.position, chunk.digest, int(chunk.complete))
        self.given["advance_input"].append(position)
        self.given["add_notices"] += chunk.noticed

    def _add_claim(self, claim: Claim) -> None:
        rows, base, repeats = claim.rows, self._base, claim.repeats
        numbers = str(rows[0]) if len(rows) == 1 else ",".join(map(str, rows))
        intent = (
            claim.request_id,
            claim.client_key,
            claim.body_digest,
            f"[{numbers}]",
            claim.purpose,
            claim.model,
            claim.at,
        )
        more = (int(claim.outlives_run), claim.cost, repeats.request_id if repeats else None)
        self.given["add_intents"].append((*intent, *more) if repeats or claim.cost is not None else (*intent, more[0]))
        if claim.purpose is Purpose.VERIFY:
            return
        claimed = self.given["claim_rows"]
        for number in rows:
            claimed.append((base + number, claim.request_id))
        self._tally["row", State.PENDING] -= len(rows)
        self._tally["row", State.IN_FLIGHT] += len(rows)
        if repeats:
            self._tally["request", "resent"] += 1
            self._tally["request", "resent_as_new"] += repeats.client_key != claim.client_key

    def _add_settle(self, settle: Settle) -> None:
        usage, cost = settle.usage, settle.cost
        tokens = (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens) if usage else _NO_TOKENS
        over = settle.request_id, settle.at, settle.outcome, settle.status, settle.provider_id, *tokens
        # What is missing at the end of an array is NULL to SQLite, and takes no time to be read.
        more: tuple[Any, ...] = () if cost is None else (cost, settle.cost_source)
        if settle.odd_usage is not None or (usage is not None and usage.reasoning_tokens):
            thought = usage.reasoning_tokens if usage else None
            failure = settle.error_kind, settle.error
            more = (cost, settle.cost_source, *failure, thought, settle.odd_usage)
        elif settle.error_kind is not None:
            more = (cost, settle.cost_source, settle.error_kind, settle.error)
        self.given["settle_requests"].append((*over, *more))
        self._settled.append(settle)
        self._add_results(settle.rows, settle.request_id)
        for known in settle.remember:
            label = (*known.key, known.label, int(known.off_list), int(settle.at))
            self.given["remember"].append((*label, 1) if known.loose else label)
        self.remembered += settle.remember

    def _add_second(self, settle: SettleSecond) -> None:
        self._add_settle(settle)
        if settle.outcome is Outcome.ANSWERED:
            self._tally["second", "answered"] += 1
            self._tally["second", "unknown"] += settle.cost is None
            self._tally["second", "cost"] += settle.cost or 0

    def _add_skip(self, skip: Skip) -> None:
        self._add_results(skip.rows, 0)

    def _add_beat(self, beat: Beat) -> None:
        self.given["beat"] = [(beat.at, beat.rows_per_second, beat.pacing, beat.outage, beat.rows_unwanted)]

    def _add_results(self, results: Sequence[RowResult], request: int) -> None:
        base, given = self._base, self.given
        for result in results:
            given[result.event].append(_RECORDS[result.event](base + result.number, request, result))
        self._results += results

    # ------------------------------------------------------------ counting

    def _count_results(self) -> None:
        tally = self._tally
        for event, n in Counter([result.event for result in self._results]).items():
            before, after = _MOVES[event]
            tally["row", before] -= n
            tally["row", after] += n
        for (label, source), n in Counter([(result.label, result.source) for result in self._results]).items():
            if label is not None:
                for kind, name in (("label", label),) if self._counted is None else self._counted(label):
                    tally[kind, name] += n
                tally["source", source or Source.MODEL] += n
        for matched, n in Counter([result.matched for result in self._results]).items():
            if matched is not None:
                tally["matched", matched] += n
        for result in self._results:
            if result.source is Source.RULE:
                tally["rule", result.origin or ""] += 1
            elif result.event in _TO_PROBLEMS:
                tally["error", result.error_kind or ""] += 1

    def _count_requests(self) -> None:
        tally = self._tally
        for outcome, n in Counter([settle.outcome for settle in self._settled]).items():
            tally["request", outcome] += n
            if outcome is not Outcome.NOT_SENT:
                tally["request", "sent"] += n
        used = [settle.usage for settle in self._settled if settle.usage is not None]
        for name in Usage.__struct_fields__:
            tally["usage", name] += sum([getattr(usage, name) for usage in used])
        for settle in self._settled:
            if settle.agreed is not None:
                tally["verify", "asked"] += 1
                tally["verify", "agreed"] += settle.agreed
            if settle.outcome is Outcome.ANSWERED:
                if settle.cost is None:
                    tally["cost", "unknown"] += 1
                else:
                    tally["cost", "answered"] += settle.cost
                    tally["cost", "reported"] += settle.cost_source is CostSource.REPORTED
                if settle.odd_usage is not None:
                    tally["usage", "odd"] += 1
            elif settle.outcome is Outcome.LOST and settle.cost:
                tally["cost", "lost"] += settle.cost
            elif settle.untaken is not None:
                tally["request", "resent"] -= 1
                tally["request", "resent_as_new"] -= settle.untaken


_ADD: dict[type[Write], Callable[[Sorted, Any], None]] = {
    AddRows: Sorted._add_rows,
    Claim: Sorted._add_claim,
    Settle: Sorted._add_settle,
    SettleSecond: Sorted._add_second,
    Skip: Sorted._add_skip,
    Beat: Sorted._add_beat,
}


# ---------------------------------------------------------------- a record for each transition

Record = Callable[[int, int, RowResult], tuple[Any, ...]]
"""(the row's id, the request's, the result) -> what the query of the event takes."""


def _answered(row: int, request: int, result: RowResult) -> tuple[Any, ...]:
    labelled = row, request, result.attempts, result.paid, result.label, result.source, result.matched
    if result.confidence is not None:
        return (*labelled, result.answer, result.confidence)
    return labelled if result.answer is None else (*labelled, result.answer)


def _unanswered(row: int, request: int, result: RowResult) -> tuple[Any, ...]:
    tried = row, request, result.attempts, result.paid
    return (*tried, result.answer, result.error_kind, result.error, result.known_by, result.first)


def _assigned(row: int, _: int, result: RowResult) -> tuple[Any, ...]:
    return row, result.label, result.source, result.origin, result.matched


def _refused(row: int, _: int, result: RowResult) -> tuple[Any, ...]:
    refused = row, result.error_kind, result.error
    return refused if result.answer is None else (*refused, result.answer)


_RECORDS: dict[Event, Record] = {
    Event.COMPLETE: _answered,
    Event.RELEASE: _unanswered,
    Event.FAIL: _unanswered,
    Event.LOSE: _unanswered,
    Event.ASSIGN: _assigned,
    Event.REJECT: _refused,
    Event.HOLD: _refused,
}

_MOVES: dict[Event, tuple[State, State]] = {
    event: (min(before), after) for event, (before, after) in TRANSITIONS.items() if event is not Event.RETRY
}
"""Event -> (state before, state after); RETRY, which starts from two, is a query of its own."""
_TO_PROBLEMS = frozenset(event for event, (_, after) in _MOVES.items() if after in (State.FAILED, State.UNCONFIRMED))
_NO_TOKENS = (None, None, None)
