"""A group of writes, sorted by what each does to the work table, and what they do to the counters.

A transition is a record of plain values under its name; what a store makes of them is its own affair.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from batchjob.model import AddRows, Beat, Claim, EndAll, Remembered, RowResult, Settle, SettleSecond, Skip, Usage, Write
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
        self._count_claims()
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
        request, rows, repeats = claim.request_id, claim.rows, claim.repeats
        numbers = f"[{rows[0]}]" if len(rows) == 1 else f"[{','.join(map(str, rows))}]"
        outlives, key = int(claim.outlives_run), claim.client_key
        intent = [request, key, claim.body_digest, numbers, claim.purpose, claim.model, claim.at, outlives]
        # What is missing at the end of a record is NULL to SQLite, and takes no time to be read.
        if repeats is not None:
            intent += claim.cost, repeats.request_id
        elif claim.cost is not None:
            intent.append(claim.cost)
        self.given["add_intents"].append(intent)
        if claim.purpose is Purpose.VERIFY:
            return
        self.given["claim_rows"] += [(self._base + number, request) for number in rows]
        if claim.texts:
            owners = zip(claim.texts, rows, strict=True)
            owned = self.given.setdefault("own_texts", [])  # of a store that several runs share
            owned += [(*text, self._base + number, request) for text, number in owners]
        if repeats is not None:
            self._tally["request", "resent"] += 1
            self._tally["request", "resent_as_new"] += repeats.client_key != key

    def _add_settle(self, settle: Settle) -> None:
        usage, cost = settle.usage, settle.cost
        over = [settle.request_id, settle.at, settle.outcome, settle.status, settle.provider_id]
        over += _NO_TOKENS if usage is None else (usage.input_tokens, usage.cached_input_tokens, usage.output_tokens)
        if settle.untaken is not None:
            over += cost, settle.cost_source, settle.error_kind, settle.error, None, None, 1
        elif settle.odd_usage is not None or (usage is not None and usage.reasoning_tokens):
            thought = usage.reasoning_tokens if usage else None
            over += cost, settle.cost_source, settle.error_kind, settle.error, thought, settle.odd_usage
        elif settle.error_kind is not None:
            over += cost, settle.cost_source, settle.error_kind, settle.error
        elif cost is not None:
            over += cost, settle.cost_source
        self.given["settle_requests"].append(over)
        self._settled.append(settle)
        self._add_results(settle.rows, settle.request_id)
        for known in settle.remember:
            label = [*known.key, known.label, int(known.off_list), int(settle.at)]
            self.given["remember"].append([*label, 1] if known.loose else label)
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

    def _add_end_all(self, met: EndAll) -> None:
        ending = msgspec.json.encode(met.ending).decode()
        given = self.given.setdefault("end_all", [])  # of a store that several runs share
        given.append((met.ending.kind, ending, met.at_first, met.later))

    def _add_results(self, results: Sequence[RowResult], request: int) -> None:
        base, given = self._base, self.given
        for result in results:
            given[result.event].append(_RECORDS[result.event](base + result.number, request, result))
        self._results += results

    # ------------------------------------------------------------ counting

    def _count_claims(self) -> None:
        claimed = len(self.given["claim_rows"])
        self._tally["row", State.PENDING] -= claimed
        self._tally["row", State.IN_FLIGHT] += claimed

    def _count_results(self) -> None:
        tally = self._tally
        alike = [(one.event, one.label, one.source, one.matched, one.origin, one.error_kind) for one in self._results]
        for (event, label, source, matched, origin, kind), n in Counter(alike).items():
            before, after = _MOVES[event]
            tally["row", before] -= n
            tally["row", after] += n
            if label is not None:
                for name in (("label", label),) if self._counted is None else self._counted(label):
                    tally[name] += n
                tally["source", source or Source.MODEL] += n
            if matched is not None:
                tally["matched", matched] += n
            if source is Source.RULE:
                tally["rule", origin or ""] += n
            elif event in _TO_PROBLEMS:
                tally["error", kind or ""] += n

    def _count_requests(self) -> None:
        tally, settled = self._tally, self._settled
        alike = [(one.outcome, one.cost is None, one.cost_source) for one in settled]
        for (outcome, unknown, source), n in Counter(alike).items():
            tally["request", outcome] += n
            if outcome is not Outcome.NOT_SENT:
                tally["request", "sent"] += n
            if outcome is Outcome.ANSWERED:
                tally["cost", "unknown"] += n * unknown
                tally["cost", "reported"] += n * (source is CostSource.REPORTED)
        for settle in settled:
            if settle.cost and (name := _COSTS.get(settle.outcome)):
                tally["cost", name] += settle.cost
            if settle.agreed is not None:
                tally["verify", "asked"] += 1
                tally["verify", "agreed"] += settle.agreed
            if settle.odd_usage is not None and settle.outcome is Outcome.ANSWERED:
                tally["usage", "odd"] += 1
            if settle.untaken is not None:
                tally["request", "resent"] -= 1
                tally["request", "resent_as_new"] -= settle.untaken
        used = [settle.usage for settle in settled if settle.usage is not None]
        for name in Usage.__struct_fields__:
            tally["usage", name] += sum([getattr(usage, name) for usage in used])


_ADD: dict[type[Write], Callable[[Sorted, Any], None]] = {
    AddRows: Sorted._add_rows,
    Claim: Sorted._add_claim,
    Settle: Sorted._add_settle,
    SettleSecond: Sorted._add_second,
    Skip: Sorted._add_skip,
    Beat: Sorted._add_beat,
    EndAll: Sorted._add_end_all,
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
    assigned = row, result.label, result.source, result.origin, result.matched
    return assigned if result.confidence is None else (*assigned, result.confidence)


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
_COSTS = {Outcome.ANSWERED: "answered", Outcome.LOST: "lost"}
"""How the costs of requests that cost something are counted."""
_NO_TOKENS = (None, None, None)
