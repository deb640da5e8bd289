"""What a model's tokens cost: the price list that comes with batchjob, and the prices a job sets.

A price that is not known is None, never 0: a local endpoint that charges nothing gets a price of 0 in job.toml.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from decimal import ROUND_CEILING, Decimal
from functools import cache
from importlib.resources import files
from math import isfinite
from types import MappingProxyType
from urllib.parse import urlsplit

import msgspec

from batchjob.errors import SettingError
from batchjob.money.cost import PICO, KnownPrice
from batchjob.settings.config import JobConfig, models_of
from batchjob.settings.endpoint import SANDBOX_URL
from batchjob.settings.tables import Price

_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}\Z")
_DATED_HOST = "api.openai.com"  # the one host known to price gpt-4o-mini-2024-07-18 as gpt-4o-mini


PriceList = Mapping[tuple[str, str], KnownPrice]
"""(host, model) -> price"""


class _Listed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[prices]]` table of the price list: USD per million tokens."""

    host: str
    model: str
    input: float
    output: float
    date: str
    source: str
    cached_input: float | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    prices: list[_Listed]


def parse_prices(text: str) -> PriceList:
    """The price list in the text of a prices.toml."""
    listed = msgspec.convert(tomllib.loads(text), _File).prices
    return MappingProxyType(
        {
            (entry.host, entry.model): _known(
                Price(input=entry.input, output=entry.output, cached_input=entry.cached_input),
                f"batchjob's price list of {entry.date}: {entry.source}",
            )
            for entry in listed
        }
    )


@cache
def load_prices() -> PriceList:
    """The price list that comes with batchjob; read once."""
    return parse_prices(files("batchjob.money").joinpath("prices.toml").read_text(encoding="utf-8"))


def price_for(base_url: str, model: str, overrides: Mapping[str, Price], origin: str = "job.toml") -> KnownPrice | None:
    """The price of a model at an endpoint: the one the job's settings give, else the listed one; None: unknown.

    Raises:
        SettingError: the given price is not a finite number.
    """
    given = overrides.get(model)
    if given is not None:
        if not all(isfinite(amount) for amount in (given.input, given.output, given.cached_input or 0.0)):
            raise SettingError(f"prices: that of {model!r} is not a finite number of USD per million tokens")
        return _known(given, origin)
    return _listed(load_prices(), _host(base_url), model)


def _listed(prices: PriceList, host: str, model: str) -> KnownPrice | None:
    """The listed price; a snapshot with a price of its own keeps it, another has its model's."""
    found = prices.get((host, model))
    if found is None and host == _DATED_HOST:
        found = prices.get((host, _DATED.sub("", model)))
    return found


def _host(base_url: str) -> str:
    try:
        return (urlsplit(base_url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _known(price: Price, source: str) -> KnownPrice:
    cached = price.input if price.cached_input is None else price.cached_input
    return KnownPrice(_per_token(price.input), _per_token(cached), _per_token(price.output), source)


def _per_token(usd_per_million: float) -> int:
    """Picodollars a token, rounded up; by its digits, for 0.15 is no binary fraction."""
    return int((Decimal(str(usd_per_million)) * (PICO // 10**6)).to_integral_value(ROUND_CEILING))


FREE = KnownPrice(0, 0, 0, "the sandbox is free")


def prices_of(config: JobConfig, *, told: bool) -> dict[str, KnownPrice | None]:
    """The price of each model a job may ask.

    Args:
        told: the endpoint tells what each answer costs, so a budget needs no price.

    Raises:
        SettingError: there is a budget, and no price for one of them.
    """
    models = models_of(config)
    if config.base_url == SANDBOX_URL and not config.prices and config.price is None:
        return dict.fromkeys(models, FREE)
    prices = {model: price_for(config.base_url, model, config.prices) for model in models}
    if config.price is not None:
        sent, answered = config.price
        own = {config.model: Price(input=sent, output=answered)}
        prices[config.model] = price_for(config.base_url, config.model, own, "--price")
    unknown = [model for model, price in prices.items() if price is None]
    if config.budget is not None and unknown and not told:
        # Neither resume nor retry reads job.toml; they go by what start has kept of it.
        asked_first = unknown[0] == config.model
        way = "as --price IN,OUT" if asked_first else f'to start, in job.toml as [prices."{unknown[0]}"]'
        raise SettingError(
            f"no price is known for model {unknown[0]!r} at {config.base_url}, so a budget cannot be kept. Give it "
            f"{way}, in USD per million tokens"
        )
    return prices
