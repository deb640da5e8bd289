"""The providers that are known: providers.toml, read and typed. Adding one is data alone.

`[everywhere]` holds the words that mean one thing on every host. What stands in a provider holds on its hosts, or
where `--provider` names it.
"""

# No `from __future__ import annotations`: msgspec would compile the text of each annotation at every start.

import tomllib
from collections.abc import Mapping
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from batchjob.errors import SettingError
from batchjob.model import Value

Meaning = Literal[
    "no_credit",  # the account has no money, or a limit on spending is reached
    "daily_quota",  # a quota of a day or a month is used up
    "rate_limited",  # a quota of seconds or minutes
    "hiccup",  # the same request is taken a little later
    "content_filter",
    "too_long",
    "wrong_model",
    "bad_key",
]
Level = Literal["off", "low", "medium", "high"]
"""How much a model is to think before it answers."""
Auth = Literal["bearer", "api-key", "x-api-key", "none"]
TokenField = Literal["max_tokens", "max_completion_tokens"]
Temperature = Literal["send", "omit", "omit_while_thinking"]


_SIGNS = frozenset("*?[")
"""With which a shell pattern says more than a name."""


class Table(Value, frozen=True, forbid_unknown_fields=True):
    """Base of what stands in the file: a key that nobody reads is a mistake."""


class Signs(Table, frozen=True):
    """How an error that means one thing is known."""

    codes: frozenset[str] = frozenset()  # its code, type, or reason in its details; lower case
    says: tuple[str, ...] = ()  # in its message, the row's text cut out of it; lower case
    statuses: frozenset[int] = frozenset()  # its HTTP status alone says it


class Cost(Table, frozen=True):
    """Where an endpoint says what a request cost."""

    path: str = ""  # in the JSON of the answer, with dots: usage.cost
    header: str = ""
    usd: float = 1.0  # what one of its units is


class LimitHeaders(Table, frozen=True):
    """The headers that tell a quota."""

    limit: str
    remaining: str = ""
    reset: str = ""
    window_seconds: float = 60.0


class ModelFacts(Table, frozen=True):
    """What holds for the models whose name matches one of the patterns. None: as the provider has it."""

    match: tuple[str, ...]  # shell patterns, lower case
    token_field: TokenField | None = None
    temperature: Temperature | None = None
    thinking: Mapping[Level, dict[str, Any]] | None = None
    thinks: bool | None = None
    room: int | None = None
    response_format: bool | None = None


class Provider(Table, frozen=True):
    """What is known of a provider."""

    name: str
    date: str  # when the facts were last compared
    source: str
    hosts: tuple[str, ...] = ()  # shell patterns of a host, or of host:port; none: only by --provider
    auth: Auth = "bearer"
    token_field: TokenField = "max_tokens"
    temperature: Temperature = "send"
    thinking: Mapping[Level, dict[str, Any]] = {}  # what each level adds to a request
    thinks: bool = False  # thinks unless it is told not to
    room: int = 0  # output tokens to leave for thoughts where it thinks
    response_format: bool = True  # takes a JSON schema
    choice: str = ""  # the parameter that holds one answer to a list of words, with dots
    request_ids: tuple[str, ...] = ()  # headers, besides those of REQUEST_IDS
    cost: Cost | None = None
    limits: Mapping[Literal["requests", "tokens"], tuple[LimitHeaders, ...]] = {}
    means: Mapping[Meaning, Signs] = {}
    models: tuple[ModelFacts, ...] = ()  # the first that matches counts

    def of_model(self, model: str) -> ModelFacts:
        """What is known of a model; what the provider says holds where its models do not differ."""
        name = model.lower()
        found = next((facts for facts in self.models if any(_matches(name, one) for one in facts.match)), None)
        facts = found or ModelFacts((), None)
        names = [field for field in ModelFacts.__struct_fields__ if field != "match"]
        own = {field: getattr(facts, field) for field in names}
        return ModelFacts(facts.match, **{k: getattr(self, k) if v is None else v for k, v in own.items()})


class _File(Table, frozen=True):
    everywhere: Mapping[Meaning, Signs]
    request_ids: tuple[str, ...]
    providers: tuple[Provider, ...]


def parse_providers(text: str) -> _File:
    """The table in the text of a providers.toml.

    Raises:
        msgspec.ValidationError: it is none.
    """
    return msgspec.convert(tomllib.loads(text), _File)


@cache
def known() -> _File:
    """The table that comes with batchjob; read once."""
    return parse_providers(files("batchjob.providers").joinpath("providers.toml").read_text(encoding="utf-8"))


PLAIN = Provider("", "", "")
"""An endpoint of which nothing is known: OpenAI's form, as all servers take it."""


@cache
def provider_of(base_url: str, named: str | None = None) -> Provider:
    """Who answers at an address: the provider that is named, else the one of its host, else PLAIN.

    Raises:
        SettingError: nobody is known by that name.
    """
    if named:
        return by_name(named)
    try:
        parts = urlsplit(base_url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return PLAIN
    places = (host, f"{host}:{port}")
    return next((one for one in known().providers if _at(one, places)), PLAIN)


def _at(provider: Provider, places: tuple[str, ...]) -> bool:
    return any(_matches(place, pattern) for pattern in provider.hosts for place in places)


def _matches(name: str, pattern: str) -> bool:
    # fnmatch compiles each pattern, in 0.1 ms: most are plain names.
    return name == pattern or (not _SIGNS.isdisjoint(pattern) and fnmatchcase(name, pattern))


def by_name(name: str) -> Provider:
    """The provider of this name.

    Raises:
        SettingError: there is none.
    """
    found = next((one for one in known().providers if one.name == name), None)
    if found is None:
        names = ", ".join(one.name for one in known().providers)
        raise SettingError(f"provider: {name!r} is not known. Known: {names}. One that is not needs no name")
    return found
