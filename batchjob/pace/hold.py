"""Everybody waits, then one request asks for all: after a refusal that may pass, and for a quota that is used up.

Nothing here reads a clock: times are seconds of the runner's clock.
"""

from __future__ import annotations

from math import inf

import msgspec

from batchjob.exchange.decide import Decision, Next, Signal

MONEY_SECONDS = 20.0  # a limit of tokens that calls itself a lack of money is over by then, or nearly
REFUSED_SECONDS = 2.0


class Hold:
    """A pause for all, which ends with the first answer to a request that was sent after it."""

    def __init__(self) -> None:
        self.on = False
        self.until = -inf
        self._why = ""
        self._doubts = False  # whether it is a refusal's that may pass
        self._first = 0  # the row whose refusal began it
        self._answered = 0
        self._refused: dict[int, int] = {}  # row -> how many had been answered when it was refused

    def begin(self, seconds: float, now: float, why: str) -> None:
        """Nobody sends for so long."""
        self.on, self._why = True, why
        self.until = max(self.until, now + seconds)

    def wait_for_first(self, waits: bool) -> None:
        """Whether nobody sends before the first request of another run is answered."""
        if waits:
            self.on, self.until = True, inf
        elif self.until == inf:
            self.on, self.until = False, -inf

    def answered(self, sent_at: float) -> None:
        """A request was answered."""
        if sent_at >= self.until:
            self._answered += 1
            self.on = self._doubts = False

    def judge(self, decision: Decision, row: int, wait: float | None, *, sent_at: float) -> Decision:
        """A reason to stop that may pass: asked once more after a pause, and taken at its word if it comes again.

        A row that is refused again fails alone if others were answered meanwhile, or none was left to be asked. `wait`
        is what the endpoint asked for.
        """
        before, self._refused[row] = self._refused.get(row), self._answered
        money, again = decision.kind == "no_credit", self._doubts and sent_at >= self.until
        if not money and before is not None and (self._answered > before or (again and row == self._first)):
            return msgspec.structs.replace(decision, next=Next.FAIL, signal=Signal.ERRED, kind="bad_request")
        if again:
            return decision
        self._first = self._first if self._doubts else row
        self._doubts = True
        pause = wait or (MONEY_SECONDS if money else REFUSED_SECONDS)
        return msgspec.structs.replace(decision, next=Next.AGAIN, signal=Signal.RATE_LIMITED, pause=pause)

    def forget(self, row: int) -> None:
        """The row is settled."""
        self._refused.pop(row, None)

    def describe(self, now: float) -> str:
        """What everybody waits for."""
        if self.until == inf:
            return "waiting for the first answer to another worker"
        return f"waiting {max(round(self.until - now), 1)} s: {self._why}"
