"""The endpoint: whether it is there, takes the key, and lists the model."""

from __future__ import annotations

import asyncio
import difflib
import os
import socket
import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

from batchjob.cli.doctor.finding import OK, PROBLEM, WARNING, Finding
from batchjob.cli.doctor.settings import Asked
from batchjob.endpoints.key import auth_of, find_key, headers_of, key_problem
from batchjob.errors import SettingError
from batchjob.model import Lost, NotSent, Rejected
from batchjob.providers.dialect import dialect_of, differences
from batchjob.providers.table import provider_of
from batchjob.settings.endpoint import KEY_VARIABLES, SANDBOX_URL

ANSWER_SECONDS = 5.0
MODELS_SHOWN = 5


def check_endpoint(asked: Asked) -> Iterator[Finding]:
    """Whether the endpoint would answer a job. Only its list of models is asked for."""
    if asked.base_url == SANDBOX_URL:
        yield Finding(OK, "endpoint", f"the built-in sandbox (from {asked.origin}); it needs no key")
        return
    yield from _form(asked)
    if auth_of(asked.config) == "none":
        yield from asyncio.run(_ask(asked, None, None))
        return
    variable, key = find_key(asked.key_variable)
    if key and (problem := key_problem(variable, key)):
        yield Finding(PROBLEM, "key", problem)
        return
    yield _key_finding(asked, variable)
    if asked.key_variable and not key:
        return
    yield from asyncio.run(_ask(asked, variable, key))


def _form(asked: Asked) -> Iterator[Finding]:
    """How requests would be written, and who says so."""
    config = asked.config
    provider = provider_of(config.base_url, config.provider)
    by = "by --provider" if config.provider else "by its address"
    who = f"{provider.name} ({by}; facts of {provider.date})" if provider.name else "not known: asked in OpenAI's form"
    how = differences(dialect_of(config, config.model, asked.learned.get(config.model))) if config.model else ""
    yield Finding(OK, "provider", who + (f": {how}" if how else ""))


def _key_finding(asked: Asked, variable: str | None) -> Finding:
    if asked.key_variable and not os.environ.get(asked.key_variable, "").strip():
        return Finding(PROBLEM, "key", f"{asked.key_variable} is not set: set it, or name another with --api-key-env")
    if variable is None:
        return Finding(OK, "key", f"none is set ({', '.join(KEY_VARIABLES)}): only an endpoint without keys answers")
    return Finding(OK, "key", f"read from {variable}")


async def _ask(asked: Asked, variable: str | None, key: str | None) -> list[Finding]:
    from batchjob.endpoints.models import ModelsEndpoint

    try:
        headers, secrets = headers_of(asked.config)
        endpoint = ModelsEndpoint(
            asked.base_url,
            key=key,
            timeout=ANSWER_SECONDS,
            auth=auth_of(asked.config),
            headers=headers,
            secrets=secrets,
        )
    except SettingError as error:
        return [Finding(PROBLEM, "endpoint", str(error))]
    try:
        if not endpoint.through_proxy and (unknown := _unresolved(asked.base_url)):
            return [unknown]
        heard = await endpoint.models()
    finally:
        await endpoint.close()
    if isinstance(heard, tuple):
        found = [Finding(OK, "endpoint", f"{asked.base_url} answers (from {asked.origin})")]
        return [*found, _model(asked.model, heard)] if asked.model else found
    level, text = _explained(heard, asked, variable)
    return [Finding(level, "endpoint", text)]


def _unresolved(base_url: str) -> Finding | None:
    """What keeps the host's name from being resolved within 5 s, in a thread that may be left behind."""
    parts = urlsplit(base_url)
    failed: list[str] = []

    def resolve() -> None:
        try:
            socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            failed.append(getattr(error, "strerror", None) or str(error))

    thread = threading.Thread(target=resolve, daemon=True)
    thread.start()
    thread.join(ANSWER_SECONDS)
    if thread.is_alive():
        failed.append(f"no answer from DNS within {ANSWER_SECONDS:g} s")
    if not failed:
        return None
    return Finding(
        PROBLEM, "endpoint", f"{parts.hostname} is not resolved ({failed[0]}): check --base-url and the network"
    )


def _explained(heard: NotSent | Lost | Rejected, asked: Asked, variable: str | None) -> tuple[str, str]:
    """(level, text) of an endpoint that gave no list of models."""
    url = f"{asked.base_url} (from {asked.origin})"
    if isinstance(heard, NotSent):
        check = "the machine's certificates and clock" if heard.kind == "bad_certificate" else "that it is running"
        return PROBLEM, f"{url}: {heard.message}: check base_url, and {check}"
    if isinstance(heard, Lost):
        return _explained_loss(heard, url)
    status = heard.status
    if status == 401 and variable is None:
        return PROBLEM, f"{url} wants a key (401): set {KEY_VARIABLES[0]}, or name a variable with --api-key-env"
    if status == 401:
        return PROBLEM, f"{url} refuses the key in {variable} (401): is it whole, valid, and for this endpoint?"
    if status in (404, 405):
        return WARNING, (
            f"{url} answers, but lists no models ({status}): base_url usually ends in /v1; some endpoints have no "
            f"list, then a job with --limit 1 tells more"
        )
    if status == 403:
        return WARNING, f"{url} does not show its models with this key (403): it may still label; try --limit 1"
    if status == 402:
        return PROBLEM, f"{url} wants credit first (402): top up the account"
    if status == 429:
        return WARNING, f"{url} answers that its rate limit is reached (429): wait, or give --rpm"
    if 300 <= status < 400:
        return PROBLEM, f"{url} sends elsewhere ({status}; {heard.message}): give that as --base-url, if you trust it"
    if status >= 500:
        return PROBLEM, f"{url} is in trouble (HTTP {status}): try again later; a job would wait for it"
    return WARNING, f"{url} answers HTTP {status}: {heard.message}"


def _explained_loss(heard: Lost, url: str) -> tuple[str, str]:
    if heard.kind == "timeout":
        return PROBLEM, f"{url} gave no answer within {ANSWER_SECONDS:g} s: check base_url, or try again"
    if heard.status is not None and heard.status >= 500:
        return PROBLEM, f"{url} is in trouble (HTTP {heard.status}): try again later; a job would wait for it"
    if heard.kind == "garbled_answer":
        return PROBLEM, f"{url} answers, but not with a list of models: base_url usually ends in /v1"
    return PROBLEM, f"{url}: the connection broke ({heard.message}): check base_url and the network"


def _model(model: str, listed: tuple[str, ...]) -> Finding:
    if model in listed:
        return Finding(OK, "model", f"{model} is listed")
    if not listed:
        return Finding(OK, "model", f"{model}: the endpoint's list is empty, so nobody can tell")
    near = difflib.get_close_matches(model, listed, n=MODELS_SHOWN, cutoff=0.5) or listed[:MODELS_SHOWN]
    return Finding(WARNING, "model", f"{model} is not among the {len(listed)} listed. Near: {', '.join(near)}")
