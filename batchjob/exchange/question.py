"""What is asked of the model for a parcel, what that may cost, and what the answer means for each of its rows."""

from __future__ import annotations

from typing import Any

from batchjob.config import JobConfig
from batchjob.exchange.decide import Decision, Next
from batchjob.exchange.rows import Terms, after, read_answer, read_shared_answer, split_up
from batchjob.model import Answered, Heard, LostAs, Parcel, RowResult, Usage
from batchjob.money.budget import Budget
from batchjob.ports import Endpoint
from batchjob.states import Event, Outcome
from batchjob.task.answers import split_answer
from batchjob.task.labels import LabelSet
from batchjob.task.prompt import Prompt, estimate_tokens, max_tokens_for, response_format

ROW_BYTES = 16
"""Around a text in a request: its number, quotes and commas."""


class Asking:
    """The questions of a job."""

    def __init__(self, config: JobConfig, endpoint: Endpoint, budget: Budget) -> None:
        labels = LabelSet(config.labels)
        hold = config.on_unconfirmed == "hold"
        self.terms = Terms(labels, config.fallback, config.max_attempts, config.max_paid, hold)
        self.by_schema = config.response_format  # whether many rows are asked for with a response_format
        self._by_schema_worked = False
        self._config = config
        self._endpoint = endpoint
        self._budget = budget
        self._prompt = Prompt(labels, config.prompt)
        self._prompt_tokens = self._prompt.overhead_tokens()
        self._prompt_bytes = self._prompt.overhead_bytes()
        self._least_input: dict[tuple[str, int], int] = {}
        self._max_tokens = {1: config.max_tokens or max_tokens_for(config.labels, 1)}

    def body(self, parcel: Parcel) -> bytes:
        """The request that asks for the labels of these rows."""
        count = len(parcel.rows)
        return self._endpoint.body(
            self._prompt.messages(parcel.rows),
            model=parcel.model,
            max_tokens=self._most_tokens(count),
            temperature=self._config.temperature,
            response_format=self._format(count),
        )

    def _format(self, count: int) -> dict[str, Any] | None:
        return response_format(self._config.labels, count) if count > 1 and self.by_schema else None

    def _most_tokens(self, count: int) -> int:
        if count not in self._max_tokens:
            self._max_tokens[count] = max(self._config.max_tokens or 0, max_tokens_for(self._config.labels, count))
        return self._max_tokens[count]

    def tokens(self, parcel: Parcel) -> float:
        """About what a token quota is charged for it: what is sent, and the most that may come back."""
        texts = sum([estimate_tokens(row.text) for row in parcel.rows])
        return self._prompt_tokens + texts + self._most_tokens(len(parcel.rows))

    def worst_case(self, parcel: Parcel) -> int | None:
        """The most it can cost, in picodollars; None where no price is known.

        A token has a byte at least; and what stands around the texts has no more tokens than the smallest request of
        as many rows had in all.
        """
        if not self._budget.prices(parcel.model):
            return None
        count = len(parcel.rows)
        around = self._least_input.get((parcel.model, count))
        if around is None:
            around = self._prompt_bytes
            if count > 1 and self.by_schema:  # some endpoints bill the schema
                around += count * (ROW_BYTES + sum(len(label.encode()) + 3 for label in self._config.labels))
        size = around + self._prompt.text_bytes(parcel.rows) + ROW_BYTES * count
        return self._budget.worst_case(parcel.model, bytes_sent=size, max_tokens=self._most_tokens(count))

    def learn_usage(self, parcel: Parcel, usage: Usage) -> None:
        """What a request of so many rows was billed, for a closer worst case of the next."""
        key = parcel.model, len(parcel.rows)
        self._least_input[key] = min(usage.input_tokens, self._least_input.get(key, usage.input_tokens))

    # ------------------------------------------------------------ what it means

    def results(
        self, parcel: Parcel, decision: Decision, heard: Heard, lost: LostAs | None, *, counts: bool
    ) -> tuple[RowResult, ...]:
        """The result of each row of a parcel."""
        many = len(parcel.rows) > 1
        if isinstance(heard, Answered) and heard.content:
            if decision.next is Next.READ and not many:
                return (read_answer(parcel.rows[0], heard.content, self.terms),)
            cut = decision.kind == "truncated_answer"
            if many and (decision.next is Next.READ or cut):
                self._by_schema_worked = True
                answers = split_answer(heard.content, len(parcel.rows), cut=cut)
                return tuple(
                    [read_shared_answer(row, answers.get(n), self.terms) for n, row in enumerate(parcel.rows, start=1)]
                )
        if many and decision.next is Next.FAIL:
            return tuple([split_up(row, decision) for row in parcel.rows])
        return tuple([after(row, decision, self.terms, lost, counts=counts) for row in parcel.rows])

    def gives_up_schema(self, parcel: Parcel, decision: Decision) -> bool:
        """Whether the endpoint refused the response_format, as far as can be told; from now on it goes without."""
        refused = decision.outcome is Outcome.REJECTED and decision.kind in ("bad_request", "bad_response_format")
        if not refused or len(parcel.rows) == 1 or not self.by_schema or self._by_schema_worked:
            return False
        self.by_schema = False
        return True


def parcels_again(
    parcel: Parcel, results: tuple[RowResult, ...], decision: Decision, lost: LostAs | None, *, whole: bool
) -> list[Parcel]:
    """What goes out again of a parcel.

    A lost one goes whole, under its key, and so does one that was not at fault. One that was refused for what is in it
    goes in halves, down to the row at fault; rows that a shared answer left out go alone.
    """
    released = {result.number: result for result in results if result.event is Event.RELEASE}
    rows = [
        type(row)(row.number, row.text, result.attempts, result.paid, row.defect, row.rest)
        for row in parcel.rows
        if (result := released.get(row.number)) is not None
    ]
    if not rows:
        return []
    if whole or lost is not None or decision.next in (Next.AGAIN, Next.RESEND):
        return [Parcel(tuple(rows), parcel.model, lost)]
    if decision.next is Next.FAIL and len(rows) == len(parcel.rows) > 1:
        middle = len(rows) // 2
        return [Parcel(tuple(rows[:middle]), parcel.model), Parcel(tuple(rows[middle:]), parcel.model)]
    return [Parcel((row,), parcel.model) for row in rows]
