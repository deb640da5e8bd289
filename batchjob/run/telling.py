"""What the log says of a request that is over."""

from __future__ import annotations

from batchjob.exchange.decide import Decision
from batchjob.exchange.exchange import Exchange
from batchjob.logs import Logger
from batchjob.model import Answered, Reply
from batchjob.money.budget import Budget


class Telling:
    """Tells of requests that gave no answer, and once of a usage that cannot be true, or of a budget that is passed."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._told_odd_usage = self._told_passed = False

    def odd_usage(self, reply: Answered) -> None:
        """Tell once that what an answer says it used cannot be true."""
        if not self._told_odd_usage:
            self._told_odd_usage = True
            self._log.warning("usage_not_believed", usage=reply.odd_usage, request_id=reply.provider_id)

    def passed_budget(self, budget: Budget) -> None:
        """Tell once that answers cost more than they may."""
        if budget.passed_usd and not self._told_passed:
            self._told_passed = True
            self._log.warning(
                "budget_passed", why="answers are billed for more than they may be", usd=budget.passed_usd
            )

    def failure(self, exchange: Exchange, decision: Decision, reply: Reply) -> None:
        """A request gave no label."""
        # What becomes of a row is for a log file: on a screen, the rows that fail are counted.
        tell = self._log.info if decision.pause else self._log.debug
        row = exchange.parcel.rows[0]
        tell(
            f"request_{decision.outcome}",
            kind=decision.kind,
            error=decision.message,
            row=row.number,
            attempt=row.attempts + 1,
            request=exchange.request_id,
            request_id=getattr(reply, "provider_id", None),
        )
