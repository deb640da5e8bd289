"""The API key: which variable of the environment holds it. Only the variable's name is ever stored or shown."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from batchjob.errors import BatchjobError, SettingError
from batchjob.settings.config import KEY_VARIABLES, SANDBOX_URL


def find_key(named: str | None) -> tuple[str | None, str | None]:
    """(variable, key): the variable named, else the first of KEY_VARIABLES that is set. No key is None."""
    for variable in (named,) if named else KEY_VARIABLES:
        key = os.environ.get(variable, "").strip()
        if key:
            return variable, key
    return named, None


def require_key(base_url: str, named: str | None) -> str | None:
    """The key to send, or None where none is set and the endpoint is on this machine or network.

    Raises:
        SettingError: the variable named is not set.
        BatchjobError: there is no key and the endpoint is on the internet.
    """
    if base_url == SANDBOX_URL:
        return None
    variable, key = find_key(named)
    if key is None and variable is not None:
        raise SettingError(f"api_key_env names {variable}, which is not set in the environment")
    if key is not None and (problem := key_problem(variable, key)):
        raise SettingError(problem)
    if key is None and not _nearby(base_url):
        raise BatchjobError(
            f"no API key for {base_url}: set {', '.join(KEY_VARIABLES[:-1])} or {KEY_VARIABLES[-1]}, "
            f"or name another variable with --api-key-env. To try without one: --sandbox"
        )
    return key


def key_problem(variable: str | None, key: str) -> str:
    """What is wrong with a key, or "": a header must be able to hold it."""
    if key.isascii() and key.isprintable():
        return ""
    return f"the key in {variable} holds characters that no key has: set it anew"


def _nearby(base_url: str) -> bool:
    """Whether the endpoint is on this machine or network, where keys are often not asked for."""
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith((".local", ".internal", ".localhost"))
