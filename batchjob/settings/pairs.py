"""Settings that are tables of the user's own keys: parameters and headers of a request."""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from batchjob.errors import SettingError

OMIT = "omit"
"""A parameter of this value is left out of the request, also where it is one of ours."""

REFUSED = {
    "model": "give --model",
    "messages": "they come from the prompt and the rows",
    "stream": "an answer is read when it is whole",
    "n": "one answer is read, and all are paid for",
    "tools": "a label is no call of a tool",
}
"""Parameters that would change what is asked of whom, and why they cannot be given."""

OURS = frozenset(
    {
        *("host", "connection", "content-type", "content-length", "content-encoding", "transfer-encoding", "accept"),
        *("accept-encoding", "expect", "upgrade", "idempotency-key", "x-client-request-id"),
    }
)
"""Headers that each request has of its own."""

FROM_ENVIRONMENT = "env:"
_SECRET = re.compile(r"auth|key|token|secret|password|cookie|credential|signature", re.IGNORECASE)
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
LONGEST_WORD = 24
"""Characters between the underscores of a variable's name; a key has more."""
MIXED = 12
"""Characters from which on a word with digits before letters is taken for a part of a key."""


def read_params(given: Sequence[str]) -> dict[str, Any]:
    """Parameters as they are typed, KEY=VALUE: dots in a key lead into tables, a value is TOML or else text.

    Raises:
        SettingError: one has no KEY or no =.
    """
    found: dict[str, Any] = {}
    for pair in given:
        key, equals, value = pair.partition("=")
        names = [name.strip() for name in key.split(".")]
        if not equals or not all(names):
            raise SettingError(f"--param {pair!r}: give KEY=VALUE, such as reasoning_effort=low or seed=7")
        table: Any = _value(value)
        for name in reversed(names):
            table = {name: table}
        found = merged(found, table)
    return found


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def read_headers(given: Sequence[str]) -> dict[str, str]:
    """Headers as they are typed, NAME=VALUE.

    Raises:
        SettingError: one has no NAME or no =. What it says is not told, for it may be a secret.
    """
    pairs = [pair.partition("=") for pair in given]
    if any(not name.strip() or not equals for name, equals, _ in pairs):
        raise SettingError("--header: give NAME=VALUE, or NAME=env:VARIABLE for a value that is a secret")
    return {name.strip(): value for name, _, value in pairs}


def read_descriptions(given: Sequence[str]) -> dict[str, str]:
    """What labels mean, as it is typed, LABEL=TEXT.

    Raises:
        SettingError: one has no LABEL or no =, or a label is there twice.
    """
    found: dict[str, str] = {}
    for pair in given:
        label, equals, text = (part.strip() for part in pair.partition("="))
        if not label or not equals:
            raise SettingError(
                f"--describe {pair!r}: give LABEL=TEXT, such as refund='money back for something bought'"
            )
        if label in found:
            raise SettingError(f"--describe: {label!r} is there twice")
        found[label] = text
    return found


READERS = {"params": read_params, "headers": read_headers, "descriptions": read_descriptions}
"""Setting -> how its repeatable flag is read."""


def merged(first: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Two tables as one, key by key; where both have a value, that of `more`."""
    found = dict(first)
    for key, value in more.items():
        before = found.get(key)
        found[key] = merged(before, value) if isinstance(before, dict) and isinstance(value, dict) else value
    return found


def check_params(params: Mapping[str, Any], where: str) -> None:
    """See that parameters can be sent.

    Raises:
        SettingError: one cannot; the text says why, and what to give instead.
    """
    for key, why in REFUSED.items():
        if key in params:
            raise SettingError(f"{where}: {key} cannot be given: {why}")
    if params.get("temperature", OMIT) != OMIT:
        raise SettingError(f"{where}: give --temperature {params['temperature']}; temperature=omit leaves it out")
    for key in ("max_tokens", "max_completion_tokens"):
        value = params.get(key, OMIT)
        if value != OMIT and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise SettingError(f"{where}: {key} is a number of tokens, 1 or more, or {OMIT}")
    if wrong := _no_json(params):
        raise SettingError(f"{where}: {wrong} is of a kind that JSON has not")


def _no_json(value: Any, key: str = "") -> str:
    """The key of a value that JSON has not, or ""."""
    if isinstance(value, dict):
        return next(filter(None, (_no_json(one, f"{key}.{name}".lstrip(".")) for name, one in value.items())), "")
    if isinstance(value, list | tuple):
        return next(filter(None, (_no_json(one, key) for one in value)), "")
    fine = value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    return "" if fine else key


def is_variable(text: str) -> bool:
    """Whether this looks like the name of a variable of the environment, and not like the key that one would hold.

    What does not is never stored or shown.
    """
    return bool(_VARIABLE.match(text)) and not any(map(_of_a_key, text.split("_")))


def _of_a_key(word: str) -> bool:
    return len(word) > LONGEST_WORD or (len(word) >= MIXED and bool(re.search(r"[0-9][A-Za-z]", word)))


def check_variable(name: str | None) -> None:
    """See that api_key_env is a name, for settings are stored.

    Raises:
        SettingError: it looks like something else; the text never says what stands there.
    """
    if name is not None and not is_variable(name):
        raise SettingError(
            "api_key_env is no name of a variable, and what stands there is not shown, for it may be the key itself: "
            "put the key into a variable of the environment, such as OPENAI_API_KEY, and name that"
        )


def check_headers(headers: Mapping[str, str]) -> None:
    """See that headers can be sent, and that no secret stands where it would be stored.

    Raises:
        SettingError: one cannot; the text says why, and never its value.
    """
    for name, value in headers.items():
        if not _HEADER.match(name):
            raise SettingError(f"headers: {name!r} is no name of a header")
        if name.lower() in OURS:
            raise SettingError(f"headers: {name} is set by batchjob for each request, and cannot be given")
        if value.startswith(FROM_ENVIRONMENT):
            if not is_variable(value.removeprefix(FROM_ENVIRONMENT).strip()):
                raise SettingError(
                    f"headers: {name}: name the variable that holds the value, as env:VARIABLE; what stands there is "
                    f"not shown, for it may be the secret itself"
                )
        elif _SECRET.search(name):
            raise SettingError(
                f"headers: {name} is named like a secret, and what stands here is stored: put it into a variable of "
                f"the environment and give {name}=env:VARIABLE"
            )
        elif not value.isascii() or not value.isprintable():
            raise SettingError(f"headers: {name} holds characters that no header may have")
