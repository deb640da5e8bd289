"""What requests may cost, and whether another one can be afforded. Amounts are picodollars."""

from __future__ import annotations

from collections.abc import Mapping

from batchjob.money.cost import PICO, KnownPrice, worst_case_picousd


class Budget:
    """Every request reserves its worst case before it is sent, and corrects that when it is over.

    So what was spent and what is reserved never pass the limit together, however many requests are in flight.

    Args:
        spent: what the job cost before this run.
        allowance: what this run may spend; None: there is no limit.
    """

    def __init__(
        self, prices: Mapping[str, KnownPrice | None], *, spent: int = 0, allowance: int | None = None
    ) -> None:
        self._prices = prices
        self._spent_before = spent
        self._allowance = allowance
        self.limited = allowance is not None
        self._held = 0  # spent and reserved by this run
        self._reserved = 0

    @property
    def known(self) -> bool:
        """Whether anything is known of the cost: a model's price, or what an endpoint reported."""
        return any(self._prices.values()) or self._held > 0

    @property
    def spent_usd(self) -> float:
        """What the job cost so far, without the requests in flight; lost ones at their worst case."""
        return (self._spent_before + self._held - self._reserved) / PICO

    def price(self, model: str) -> KnownPrice | None:
        """What this model's tokens cost; None: unknown."""
        return self._prices.get(model)

    def worst_case(self, model: str, *, bytes_sent: int, max_tokens: int) -> int | None:
        """The most a request can cost; None where no price is known."""
        price = self._prices.get(model)
        return None if price is None else worst_case_picousd(bytes_sent, max_tokens, price)

    def affords(self, cost: int) -> bool:
        """Whether so much is left."""
        return self._allowance is None or self._held + cost <= self._allowance

    @property
    def passed_usd(self) -> float:
        """By how much more this run has spent than it may; 0 where it is within."""
        if self._allowance is None:
            return 0.0
        return max(0, self._held - self._reserved - max(0, self._allowance)) / PICO

    def hold_back(self) -> int:
        """Nothing more is put aside until `allow`; what this run has spent or put aside."""
        self._allowance = self._held
        return self._held

    def allow(self, allowance: int, *, spent: int) -> None:
        """This run may spend so much from here on; `spent` is what all runs of the job have spent so far."""
        self._allowance = allowance
        self._spent_before = spent - (self._held - self._reserved)

    def reserve(self, cost: int) -> None:
        """Put so much aside; or, where an answer proved to be dearer, so much more."""
        self._held += cost
        self._reserved += cost

    def correct(self, reserved: int | None, cost: int | None) -> None:
        """A request is over: what it did not cost is free again. A cost that is not known is its worst case."""
        self._reserved -= reserved or 0
        if cost is not None:
            self._held += cost - (reserved or 0)
