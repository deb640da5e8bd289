"""What requests cost and may cost: money is put aside for each that is out, and more where answers prove to be dearer.

What an endpoint reports never makes smaller what is put aside, for it may be wrong. What makes it greater (thinking
outside of the usage, another price) holds at once, also for what is out. So the budget is passed by no more than those
requests cost beyond what was put aside for them.
"""

from __future__ import annotations

import msgspec

from batchjob.exchange.exchange import Exchange
from batchjob.exchange.question import Questions
from batchjob.model import Answered, Ending, Parcel, Settle
from batchjob.money.budget import Budget
from batchjob.states import JobState, Outcome

UNPAID = frozenset({Outcome.REJECTED, Outcome.NOT_SENT})
UNTOLD = "cost_untold"
"""The error kind of a job whose budget cannot be kept."""


class Spending:
    """The budget of a run, and the requests that are out."""

    def __init__(self, budget: Budget, questions: Questions) -> None:
        self._budget = budget
        self._questions = questions
        self._out: dict[int, tuple[Parcel, int | None]] = {}  # request id -> (rows, what is put aside for them)

    def affords(self, parcel: Parcel) -> bool:
        """Whether the budget has room for the worst this request can cost."""
        return not self._budget.limited or self._budget.affords(self._questions.worst_case(parcel) or 0)

    def begin(self, request_id: int, parcel: Parcel) -> int | None:
        """A request goes out, and money is put aside for it.

        Returns:
            what it counts with if it is lost: by what was reported of others, so perhaps less; None: no price is known.
        """
        most = self._questions.worst_case(parcel)
        self._out[request_id] = parcel, most
        if most is None:
            return None
        self._budget.reserve(most)
        return self._questions.worst_case(parcel, by_reports=True)

    def take_back(self, exchange: Exchange) -> None:
        """A request was not let go after all."""
        self._budget.correct(self._out.pop(exchange.request_id)[1], 0)

    def learn(self, exchange: Exchange, reply: Answered) -> None:
        """An answer was billed: if for more than could be, more is put aside for the others that are out."""
        if exchange.price is None and reply.cost is None and len(exchange.parcel.rows) == 1:
            return
        if self._questions.learn_answer(exchange.parcel, reply.usage, reply.cost):
            for request_id, (parcel, aside) in self._out.items():
                most = self._questions.worst_case(parcel)
                self._out[request_id] = parcel, most
                self._budget.reserve((most or 0) - (aside or 0))

    def as_known_now(self, exchange: Exchange) -> Exchange:
        """The exchange with what it counts with if it is lost, by all that was reported meanwhile."""
        most = self._questions.worst_case(exchange.parcel, by_reports=True)
        return exchange if most == exchange.reserved else msgspec.structs.replace(exchange, reserved=most)

    def end(self, exchange: Exchange, settle: Settle) -> Ending | None:
        """A request is over, and what it cost takes the place of what was put aside.

        Returns:
            how the job ends where a budget rests on the word of an endpoint that says nothing.
        """
        _, aside = self._out.pop(exchange.request_id)
        unpaid = settle.outcome in UNPAID
        self._budget.correct(aside, 0 if unpaid else settle.cost)
        told = unpaid or settle.cost is not None or aside is not None
        return None if told or not self._budget.limited else _untold(exchange.parcel.model)


def _untold(model: str) -> Ending:
    return Ending(
        JobState.REFUSED,
        f"the endpoint did not tell what an answer cost, and no price is known for {model}, so the budget cannot be"
        " kept. What to do: give --price IN,OUT, in USD per million tokens",
        3,
        UNTOLD,
    )
