"""The API key and other secrets: which variable or command gives them. Only its name is ever stored or shown."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from urllib.parse import urlsplit

import msgspec

from batchjob.errors import BatchjobError, SettingError
from batchjob.numbers import how_ended
from batchjob.providers.table import Auth, provider_of
from batchjob.settings.config import JobConfig
from batchjob.settings.endpoint import KEY_VARIABLES, SANDBOX_URL
from batchjob.settings.pairs import FROM_ENVIRONMENT

COMMAND_SECONDS = 60.0
LEAST_FOUND = 16
"""Characters of a key that is looked for in settings: a shorter one, such as a local server's, may be a word there."""

_WORD = re.compile(r"[\w.+=-]+\Z")


def find_key(named: str | None) -> tuple[str | None, str | None]:
    """(variable, key): the variable named, else the first of KEY_VARIABLES that is set. No key is None."""
    for variable in (named,) if named else KEY_VARIABLES:
        key = os.environ.get(variable, "").strip()
        if key:
            return variable, key
    return named, None


def require_key(config: JobConfig, command: str | None = None) -> str | None:
    """The key to send, or None where none is set and the endpoint is on this machine or network.

    Args:
        command: prints the key, where one is given.

    Raises:
        SettingError: the variable named is not set, the command gives no key, or a setting holds the key.
        BatchjobError: there is no key and the endpoint is on the internet.
    """
    if config.base_url == SANDBOX_URL or auth_of(config) == "none":
        return None
    if command:
        return not_stored(key_of_command(command), config)
    variable, key = find_key(config.api_key_env)
    if key is None and variable is not None:
        raise SettingError(f"api_key_env names {variable}, which is not set in the environment")
    if key is not None and (problem := key_problem(variable, key)):
        raise SettingError(problem)
    if key is None and not _nearby(config.base_url) and not _names_a_secret(config.headers):
        raise BatchjobError(
            f"no API key for {config.base_url}: set {', '.join(KEY_VARIABLES[:-1])} or {KEY_VARIABLES[-1]}, "
            f"or name another variable with --api-key-env. To try without one: --sandbox"
        )
    return None if key is None else not_stored(key, config)


def not_stored(key: str, config: JobConfig) -> str:
    """The key, where no setting holds it too: settings are stored, and reports show them.

    Raises:
        SettingError: one does; the text names it.
    """
    if len(key) < LEAST_FOUND:
        return key
    for name, value in msgspec.to_builtins(config).items():
        if msgspec.json.encode(key)[1:-1] in msgspec.json.encode(value):
            raise SettingError(f"{name} holds the API key, and settings are stored: take it out there")
    return key


def auth_of(config: JobConfig) -> Auth:
    """How the key is sent: as the user says, else as the provider wants it."""
    return config.auth or provider_of(config.base_url, config.provider).auth


def key_of_command(command: str) -> str:
    """The key that a command of the user's prints, asked in a shell.

    Raises:
        SettingError: it gives none within a minute. What it printed is not told.
    """
    if _WORD.match(command) and shutil.which(command) is None:  # a shell would print it
        raise SettingError("--api-key-command names no command, and is not shown, for it may be the key itself")
    try:
        ended = subprocess.run(
            command, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise SettingError(f"--api-key-command gave no key within {COMMAND_SECONDS:.0f} s") from None
    if ended.returncode:
        raise SettingError(f"--api-key-command {how_ended(ended.returncode)}")
    key = ended.stdout.decode("utf-8", "replace").strip()
    if not key:
        raise SettingError("--api-key-command printed no key")
    if key_problem("--api-key-command", key):
        raise SettingError("--api-key-command printed more than a key: it must print nothing else, on one line")
    return key


def headers_of(config: JobConfig) -> tuple[dict[str, str], tuple[str, ...]]:
    """The user's own headers with their values, and which of these are secrets.

    Raises:
        SettingError: a variable that is named there is not set.
    """
    found, secrets = {}, []
    for name, value in config.headers.items():
        if value.startswith(FROM_ENVIRONMENT):
            variable = value.removeprefix(FROM_ENVIRONMENT).strip()
            value = os.environ.get(variable, "").strip()
            if not value:
                raise SettingError(f"headers: {name} is to be read from {variable}, which is not set")
            if key_problem(variable, value):
                raise SettingError(f"headers: {variable} holds characters that no header may have")
            secrets.append(value)
        found[name] = value
    return found, tuple(secrets)


def _names_a_secret(headers: Mapping[str, str]) -> bool:
    return any(value.startswith(FROM_ENVIRONMENT) for value in headers.values())


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


def variables_of(config: JobConfig) -> dict[str, str]:
    """The variables of this process that the key and the headers of a job are read from, with what they hold."""
    read = [value for value in config.headers.values() if value.startswith(FROM_ENVIRONMENT)]
    headers = [value.removeprefix(FROM_ENVIRONMENT).strip() for value in read]
    named = [config.api_key_env or "", *KEY_VARIABLES, *headers]
    return {name: os.environ[name] for name in named if name in os.environ}
