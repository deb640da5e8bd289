"""What requests cost, and whether another one can be afforded. Amounts are picodollars: integers, so sums are exact."""

from __future__ import annotations

from collections.abc import Mapping

from batchjob.model import Usage
from batchjob.money.prices import PICO, KnownPrice, cost_picousd, worst_case_picousd


class Budget:
    """Every request reserves its worst case before it is sent and settles when it is over.

    So what was spent and what is reserved never pass the limit together, however many requests are in flight.
    """

    def __init__(self, prices: Mapping[str, KnownPrice | None], *, limit_usd: float | None, spent: int) -> None:
        self._prices = prices
        self._limit = None if limit_usd is None else round(limit_usd * PICO)
        self._held = spent  # spent and reserved

    @property
    def priced(self) -> bool:
        """Whether any model has a price."""
        return any(self._prices.values())

    @property
    def held_usd(self) -> float:
        """What was spent, and what the requests in flight may cost."""
        return self._held / PICO

    @property
    def limited(self) -> bool:
        """Whether there is a limit at all."""
        return self._limit is not None

    def prices(self, model: str) -> bool:
        """Whether this model has a price."""
        return self._prices.get(model) is not None

    def worst_case(self, model: str, *, bytes_sent: int, max_tokens: int) -> int | None:
        """The most a request can cost; None where no price is known."""
        price = self._prices.get(model)
        return None if price is None else worst_case_picousd(bytes_sent, max_tokens, price)

    def affords(self, cost: int) -> bool:
        """Whether so much is left."""
        return self._limit is None or self._held + cost <= self._limit

    def reserve(self, cost: int) -> None:
        """Put so much aside."""
        self._held += cost

    def settle(self, reserved: int, cost: int | None) -> None:
        """A request is over: what it did not cost is free again. A cost that is not known is its worst case."""
        if cost is not None:
            self._held += cost - reserved

    def cost(self, model: str, usage: Usage | None) -> int | None:
        """What an answered request cost; None where its usage or the price is not known."""
        price = self._prices.get(model)
        return None if price is None or usage is None else cost_picousd(usage, price)
