"""A refusal of one of our own parameters -> the one change that meets it.

Only while a model has given no label yet: then a refusal is about how it is asked. A parameter is known by the
refusal's `param`, or by its name in the message with all that was sent cut out of it. Nothing is decided about a row
by that; at worst a parameter is dropped once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import msgspec

from batchjob.exchange.decide import is_thought
from batchjob.model import Answered, Rejected
from batchjob.providers.dialect import ROOM, USUAL_FIELD, Dialect, Learned
from batchjob.providers.table import Auth, known
from batchjob.task.finish import Ended, how_it_ended

OTHER_FIELD = {USUAL_FIELD: "max_completion_tokens", "max_completion_tokens": USUAL_FIELD}
LEAST_ECHO = 12
"""Characters that stand in a message as they stand in what was sent: fewer are words that both may have."""


class Change(NamedTuple):
    """What meets a refusal."""

    name: str  # each is made once at most
    learned: Learned
    said: str  # what goes out from here on
    type: str  # what a user would type for it


def meets_refusal(
    reply: Rejected,
    dialect: Dialect,
    learned: Learned,
    sent: Sequence[str],
    done: frozenset[str] = frozenset(),
    *,
    formatted: bool = False,
) -> Change | None:
    """The change that meets a refusal of one of our own parameters; None where it names none.

    Args:
        sent: the texts of the request.
        done: the changes that were made already.
        formatted: a response_format was sent.
    """
    named = _Named(reply, sent)
    if not formatted:
        dialect = msgspec.structs.replace(dialect, response_format=False)
    ways = (*_ways(named, dialect, learned), *_switches(named, dialect, learned))
    return next((change for change in ways if change.name not in done), None)


def makes_room(reply: Answered, dialect: Dialect, learned: Learned) -> Change | None:
    """The change that meets an answer which was cut in its thoughts; None where it was not, or there is room."""
    cut = how_it_ended(reply.finish_reason) is Ended.CUT
    if not cut or not is_thought(reply) or dialect.room >= ROOM or "tokens" in dialect.by_user:
        return None
    return _room(learned)


def wants_auth(reply: Rejected, auth: Auth) -> Auth | None:
    """In which other header an endpoint that refuses the key wants it; None where it does not say so."""
    if reply.status != 401:
        return None
    message = reply.message.lower()
    for other in ("x-api-key", "api-key"):
        if other in message or (other == "api-key" and "subscription key" in message):
            return other if other != auth else None
    return "bearer" if auth != "bearer" and re.search(r"bearer|authorization header", message) else None


def _room(learned: Learned) -> Change:
    return Change("room", _with(learned, room=ROOM), f"room for {ROOM:,} tokens of thought", f"--max-tokens {ROOM}")


def _too_small(named: _Named) -> bool:
    """As gpt-6 says where its thoughts did not fit: "max_tokens or model output limit was reached"."""
    told = re.search(r"limit was reached|could not finish", named.message) is not None
    return told and any(field in named for field in OTHER_FIELD)


# ---------------------------------------------------------------- what is named


class _Named:
    """The names in a refusal."""

    def __init__(self, reply: Rejected, sent: Sequence[str]) -> None:
        self.param = reply.param
        self.message = without_echo(reply.message.lower(), sent)

    def __contains__(self, name: str) -> bool:
        """Whether a parameter is named, in words of its own: max_tokens is not in max_tokens_to_sample."""
        if self.param:
            return self.param == name or self.param.startswith(f"{name}.") or self.param.endswith(f".{name}")
        return re.search(rf"(?<![a-z0-9_]){re.escape(name)}(?![a-z0-9_])", self.message) is not None


def without_echo(message: str, sent: Sequence[str]) -> str:
    """A message without what it repeats of the texts that were sent; lower case."""
    texts = " ".join(text.lower() for text in sent)
    kept, at = "", 0
    while at < len(message):
        end = at
        while end < len(message) and message[at : end + 1] in texts:
            end += 1
        if end - at >= LEAST_ECHO:
            kept, at = kept + " ", end
        else:
            kept, at = kept + message[at], at + 1
    return kept


# ---------------------------------------------------------------- what can be changed


def _ways(named: _Named, dialect: Dialect, learned: Learned) -> Iterator[Change]:
    """The changes that meet what is named, the likeliest first."""
    field = dialect.token_field
    if _too_small(named):
        if dialect.room < ROOM and "tokens" not in dialect.by_user:
            yield _room(learned)
        return
    if field in named and "field" not in dialect.by_user:
        other = OTHER_FIELD[field]
        yield Change("field", _with(learned, token_field=other), f"{other} for {field}", "--provider NAME")
    by_user = dialect.by_user
    if dialect.temperature and "temperature" not in by_user and "temperature" in named:
        yield Change("temperature", _with(learned, temperature=False), "no temperature", "--param temperature=omit")
    schema = "response_format" in named or "json_schema" in named
    if dialect.response_format and "response_format" not in by_user and schema:
        said = "no response_format"
        yield Change("response_format", _with(learned, response_format=False), said, "--no-response-format")
    if dialect.system and _refuses_system(named):
        said = "the system message in the user's"
        yield Change("system", _with(learned, system=False), said, "--prompt with {text} in it")


def _refuses_system(named: _Named) -> bool:
    """As Gemma's and Mistral's templates do: "System role not supported"."""
    told = re.search(r"system['\"`]? (role|message|prompt|instruction)|role:? ['\"`]?system", named.message)
    return told is not None and (not named.param or named.param.startswith("messages"))


def _switches(named: _Named, dialect: Dialect, learned: Learned) -> Iterator[Change]:
    """The changes that have to do with thinking: our switch left out, or the one that the endpoint names."""
    if dialect.switch:
        if any(key in named for path in _paths(dialect.switch) for key in _telling(path)):
            without = _with(learned, switch=False, thinking=None)
            yield Change("switch", without, "no switch for thinking", "--thinking default")
        return
    if "thinking" in dialect.by_user or not re.search(r"false|disab|none|\boff\b", named.message):
        return
    for switch in _off_switches():
        paths = _paths(switch)
        if all(key in named for path in paths for key in _telling(path)):
            text = ", ".join(f"{path}={_value(switch, path)}" for path in paths)
            yield Change("thinking", _with(learned, thinking=dict(switch)), f"thinking off ({text})", f"--param {text}")


@cache
def _off_switches() -> tuple[Mapping[str, Any], ...]:
    """What turns thinking off somewhere: the longest first, for it says more where all of it is named."""
    found: list[Mapping[str, Any]] = []
    for provider in known().providers:
        for thinking in (provider.thinking, *(facts.thinking or {} for facts in provider.models)):
            if "off" in thinking and thinking["off"] not in found:
                found.append(thinking["off"])
    return tuple(sorted(found, key=lambda switch: -len(msgspec.json.encode(switch))))


def _paths(table: Mapping[str, Any], path: str = "") -> list[str]:
    """The path of each value, with dots."""
    found: list[str] = []
    for key, value in table.items():
        found += _paths(value, f"{path}{key}.") if isinstance(value, Mapping) else [f"{path}{key}"]
    return found


def _telling(path: str) -> list[str]:
    """The names in a path that say something by themselves."""
    return [key for key in path.split(".") if key not in ("type", "enabled")]


def _value(table: Mapping[str, Any], path: str) -> str:
    value: Any = table
    for key in path.split("."):
        value = value[key]
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _with(learned: Learned, **changes: Any) -> Learned:
    return msgspec.structs.replace(learned, **changes)
