"""How a model is asked: what of a request's parameters it takes, under which names, and who says so.

What the user sets wins over what the endpoint taught (`Learned`), that over what providers.toml says, and that over
OpenAI's own form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from batchjob.errors import SettingError
from batchjob.model import Value
from batchjob.providers.table import Level, ModelFacts, Provider, provider_of
from batchjob.settings.config import JobConfig, models_of
from batchjob.settings.pairs import OMIT, merged

USUAL_FIELD = "max_tokens"
FIELDS = frozenset({USUAL_FIELD, "max_completion_tokens"})
ROOM = 2000
"""Output tokens that are left for thoughts where nobody knows how many a model needs."""


class Learned(Value, frozen=True, omit_defaults=True):
    """What an endpoint taught about a model: its refusals, each met by one change."""

    token_field: str | None = None
    temperature: bool = True  # False: it takes none
    response_format: bool = True
    system: bool = True  # False: a message of the role system is put before the user's
    thinking: dict[str, Any] | None = None  # the switch that it named, which turns thinking off
    switch: bool = True  # False: it does not take the switch of providers.toml
    room: int = 0  # output tokens for thoughts


def learned_of(stored: Mapping[str, bytes], config: JobConfig) -> dict[str, Learned]:
    """What the endpoint taught a database, by model; nothing where the job is not to adapt."""
    if not config.adapt:
        return {}
    return {model: msgspec.json.decode(facts, type=Learned) for model, facts in stored.items()}


def tells_cost(config: JobConfig) -> bool:
    """Whether the endpoint is known to tell what each answer cost."""
    return provider_of(config.base_url, config.provider).cost is not None


def place_of(config: JobConfig) -> str:
    """The address under which a database remembers what an endpoint taught."""
    return config.base_url.partition("?")[0].rstrip("/")


class Said(NamedTuple):
    """Something in which requests differ from OpenAI's own form, and who says so."""

    what: str
    by: str  # the user, the endpoint, or a provider of providers.toml


NOTHING: Mapping[str, Any] = {}


class Dialect(Value, frozen=True):
    """How one model is asked."""

    token_field: str = USUAL_FIELD  # "" where no limit is sent
    most_tokens: int | None = None  # that a parameter sets
    temperature: bool = True  # it is sent
    response_format: bool = True
    system: bool = True
    params: Mapping[str, Any] = NOTHING  # put over the request; OMIT takes one out
    room: int = 0  # output tokens for thoughts, besides those for the label
    choice: str = ""  # the parameter that holds one answer to a list of words, with dots
    switch: Mapping[str, Any] = NOTHING  # of thinking, that is sent and not by the user's word
    by_user: frozenset[str] = frozenset()  # of field, temperature, tokens and thinking: what the user sets
    said: tuple[Said, ...] = ()
    asked: bytes = b""  # what a label may depend on, besides what the task says; b"" in OpenAI's own form


PLAIN = Dialect()


def differences(dialect: Dialect) -> str:
    """In what a model's requests differ from OpenAI's own form, and who says so, in a line; "" for nothing."""
    return "; ".join(f"{said.what} ({said.by})" for said in dialect.said)


def dialect_of(config: JobConfig, model: str, learned: Learned | None = None) -> Dialect:
    """How a model is asked by a job with these settings.

    Raises:
        SettingError: the settings name a provider nobody knows.
    """
    provider = provider_of(config.base_url, config.provider)
    facts, taught, user = provider.of_model(model), learned or Learned(), params_for(config, model)
    thinking = _thinking(config, provider, facts, taught, user)
    by_user = next((key for key in ("max_completion_tokens", USUAL_FIELD) if user.get(key, OMIT) != OMIT), None)
    omitted = USUAL_FIELD in user and by_user is None
    field = "" if omitted else by_user or taught.token_field or facts.token_field or USUAL_FIELD
    temperature = _takes_temperature(config, facts, taught, thinks=thinking.thinks)
    by_schema = config.response_format is True or (taught.response_format and facts.response_format is not False)
    form = {"temperature": temperature, "response_format": by_schema, "system": taught.system}
    said = [*_said(field, form, taught, provider, by_user), *thinking.said]
    if user:
        said.append(Said(", ".join(f"{key}={_shown(value)}" for key, value in user.items()), "you"))
    return Dialect(
        token_field=field,
        most_tokens=user[by_user] if by_user else None,
        params=merged(thinking.params, user),
        room=max(thinking.room, taught.room),
        choice=provider.choice,
        switch={} if thinking.by_user else thinking.params,
        by_user=frozenset(_by_user(config, user, thinking=thinking.by_user)),
        said=tuple(said),
        asked=_asked(thinking.params, temperature=temperature or "temperature" in user, system=taught.system),
        **form,
    )


def params_for(config: JobConfig, model: str) -> dict[str, Any]:
    """The parameters the user gives for a model's requests."""
    own = config.models.get(model)
    return merged(config.params, own.params) if own else config.params


def check_dialects(config: JobConfig) -> None:
    """See that each model of a job can be asked as the settings have it.

    Raises:
        SettingError: nobody knows how; the text says what to give.
    """
    provider = provider_of(config.base_url, config.provider)
    for model in models_of(config):
        levels = provider.of_model(model).thinking or {}
        if config.thinking not in (None, "default", *levels):
            who = f"{provider.name} for {model}" if provider.name else f"the endpoint at {config.base_url}"
            known = f"known: {', '.join(levels)}" if levels else "nobody knows how it is told to; give --provider NAME"
            raise SettingError(f"thinking: no {config.thinking!r} at {who} ({known}), or say it with --param KEY=VALUE")
        if config.budget is not None and not dialect_of(config, model).token_field:
            raise SettingError("a budget cannot be kept with max_tokens=omit: an answer would have no most it can cost")


# ---------------------------------------------------------------- the parts


class _Thinking(NamedTuple):
    """What becomes of thinking: what is sent for it, the room for it, and whether the model will think."""

    params: dict[str, Any]
    room: int
    thinks: bool
    said: tuple[Said, ...]
    by_user: bool = False


def _thinking(
    config: JobConfig, provider: Provider, facts: ModelFacts, taught: Learned, user: dict[str, Any]
) -> _Thinking:
    levels = facts.thinking or {}
    room = facts.room or ROOM
    if taught.thinking is not None and config.thinking in (None, "off") and not _speaks_of(taught.thinking, user):
        return _Thinking(taught.thinking, 0, False, (Said(f"thinking off ({_told(taught.thinking)})", "the endpoint"),))
    level: Level | None = None
    if config.thinking is None:
        level = "off" if "off" in levels and taught.switch and not _speaks_of(levels["off"], user) else None
    elif config.thinking != "default":
        level = config.thinking
    if level is None:
        thinks = bool(facts.thinks)
        said = (Said(f"thinks as it likes, with room for {room:,} tokens", provider.name),) if thinks else ()
        chosen = config.thinking is not None or _speaks_of({}, user)
        return _Thinking({}, room if thinks else 0, thinks, said, chosen)
    params = levels.get(level, {})
    by = provider.name if config.thinking is None else "you"
    told = _switch_said(level, params, by)
    return _Thinking(params, 0 if level == "off" else room, level != "off", told, config.thinking is not None)


def _switch_said(level: str, params: dict[str, Any], by: str) -> tuple[Said, ...]:
    return (Said(f"thinking {level} ({_told(params)})", by),) if params else ()


def _speaks_of(switch: dict[str, Any], user: dict[str, Any]) -> bool:
    """Whether the user's own parameters say something about thinking: then nothing else is said of it."""
    return any(key in user for key in (*switch, "reasoning_effort", "reasoning", "thinking", "enable_thinking"))


def _by_user(config: JobConfig, user: Mapping[str, Any], *, thinking: bool) -> Iterator[str]:
    if thinking:
        yield "thinking"
    if config.temperature or "temperature" in user:
        yield "temperature"
    if config.response_format:
        yield "response_format"
    if FIELDS & user.keys():
        yield "field"
    if config.max_tokens is not None or FIELDS & user.keys():
        yield "tokens"


def _takes_temperature(config: JobConfig, facts: ModelFacts, taught: Learned, *, thinks: bool) -> bool:
    """Whether it is sent: one that the user set is, whatever is known of the model."""
    if config.temperature or not taught.temperature:
        return bool(config.temperature)
    return facts.temperature == "send" or (facts.temperature == "omit_while_thinking" and not thinks)


def _said(
    field: str, form: dict[str, bool], taught: Learned, provider: Provider, by_user: str | None
) -> tuple[Said, ...]:
    found = []
    if field and field != USUAL_FIELD and not by_user:
        found.append(Said(f"max_tokens as {field}", "the endpoint" if taught.token_field else provider.name))
    if not form["temperature"]:
        found.append(Said("no temperature", provider.name if taught.temperature else "the endpoint"))
    if not form["response_format"]:
        found.append(Said("no response_format", provider.name if taught.response_format else "the endpoint"))
    if not form["system"]:
        found.append(Said("no system message: it stands in the user's", "the endpoint"))
    if taught.room:
        found.append(Said(f"room for {taught.room:,} tokens of thought", "the endpoint"))
    return tuple(found)


def _asked(params: dict[str, Any], *, temperature: bool, system: bool) -> bytes:
    told: dict[str, Any] = {}
    if not temperature:
        told["temperature"] = OMIT
    if not system:
        told["system"] = OMIT
    if params:
        told["params"] = params
    return msgspec.json.encode(told, order="sorted") if told else b""


def _told(params: dict[str, Any], path: str = "") -> str:
    """Parameters as one would type them: thinking.type=disabled."""
    parts = []
    for key, value in params.items():
        name = f"{path}{key}"
        parts.append(_told(value, f"{name}.") if isinstance(value, dict) else f"{name}={_shown(value)}")
    return ", ".join(parts)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
