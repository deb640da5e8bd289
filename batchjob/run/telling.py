"""What the log says of a request that is over."""

from __future__ import annotations

from batchjob.exchange.decide import ANSWERED, Decision, Next
from batchjob.exchange.exchange import Exchange
from batchjob.logs import Logger
from batchjob.model import Answered, Reply


class Telling:
    """Tells of requests that gave no answer, and once of a usage that cannot be true."""

    def __init__(self, log: Logger) -> None:
        self._log = log
        self._told_odd_usage = False

    def tell(self, exchange: Exchange, decision: Decision, reply: Reply) -> None:
        """A request is over."""
        if decision is not ANSWERED:
            self._tell_of_failure(exchange, decision, reply)
        if isinstance(reply, Answered) and reply.odd_usage is not None and not self._told_odd_usage:
            self._told_odd_usage = True
            self._log.warning("usage_not_believed", usage=reply.odd_usage, request_id=reply.provider_id)

    def _tell_of_failure(self, exchange: Exchange, decision: Decision, reply: Reply) -> None:
        usual = decision.next is Next.AGAIN and not decision.pause
        tell = self._log.debug if usual else self._log.info
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
