"""Whether settings are complete and consistent enough to label with."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from batchjob.errors import SettingError
from batchjob.settings.config import JobConfig
from batchjob.settings.endpoint import SANDBOX_URL
from batchjob.settings.failures import allowed_of
from batchjob.settings.fields import check_fields, given_twice, label_problem
from batchjob.settings.pairs import check_headers, check_params

MOST_NAMED = 10
"""Labels in a message."""
_VERSION = re.compile(r"[0-9A-Za-z.-]{1,40}\Z")


def check(config: JobConfig) -> JobConfig:
    """The config, complete and consistent enough to label with.

    Raises:
        SettingError: something needed is missing; the text says how to give it.
    """
    if config.fields:
        check_fields(config)
    elif not config.labels:
        raise SettingError("no labels: give --labels billing,refund,other or --labels-file labels.txt")
    if problem := next(filter(None, map(label_problem, config.labels)), ""):
        raise SettingError(problem)
    if twice := given_twice(config.labels):
        raise SettingError(f"label {twice!r} is given twice")
    unknown = next((label for label in config.descriptions if label not in config.labels), None)
    if unknown is not None:
        known = ", ".join(config.labels[:MOST_NAMED]) + (", ..." if len(config.labels) > MOST_NAMED else "")
        raise SettingError(f"{unknown!r} is described, and is no label of this job. The labels are: {known}")
    for number, example in enumerate(config.examples, 1):
        if example.label not in config.labels or not example.text.strip():
            wrong = f"{example.label!r} is not a label of this job" if example.text.strip() else "its text is blank"
            raise SettingError(f"example number {number}: {wrong}")
    if not config.base_url:
        raise SettingError(
            "no endpoint: give --base-url https://host/v1 (or set OPENAI_BASE_URL), or try it out with --sandbox"
        )
    if problem := address_problem(config.base_url):
        raise SettingError(problem)
    allowed_of(config.allow_failed, 0)
    if config.name is not None and not config.name.strip():
        raise SettingError("--name is blank: name the job, or leave it out")
    if not config.model:
        raise SettingError("no model: give --model NAME, as your endpoint calls it")
    _check_second(config)
    check_params(config.params, "params")
    for model, own in config.models.items():
        check_params(own.params, f'models."{model}".params')
    check_headers(config.headers)
    return config


def _check_second(config: JobConfig) -> None:
    """See that a second model is another one, and that there is what it goes by."""
    if config.second_model is not None and config.second_model.strip() in ("", config.model):
        raise SettingError("--second-model: name another model than --model, as your endpoint calls it")
    if config.second_below != JobConfig().second_below and not (config.second_model and config.confidence):
        raise SettingError("--second-below is for --second-model with --confidence: give both, or leave it out")


def address_problem(base_url: str) -> str:
    """What is wrong with an endpoint's address, or ""."""
    if base_url == SANDBOX_URL:
        return ""
    hidden = "@" in base_url
    shown = "base_url (with a password?)" if hidden else f"base_url {base_url!r}"
    try:
        parts = urlsplit(base_url)
        host = parts.hostname or ""
        host.encode("idna")
        _ = parts.port
    except ValueError as error:
        return f"{shown} is no address: " + ("give one such as https://host/v1" if hidden else str(error))
    if "@" in parts.netloc:
        return "base_url holds a password, which would be stored: give keys by --api-key-env NAME"
    odd = any(c.isspace() or c == "\\" or not c.isprintable() for c in base_url)
    if parts.scheme not in ("http", "https") or not host or odd:
        return f"{shown} is no address: it starts with http:// or https://, as https://host/v1 does"
    query = parts.query.partition("=")
    if "#" in base_url or ("?" in base_url and (query[0] != "api-version" or not _VERSION.match(query[2]))):
        return "base_url has a query (?...), which would be stored: only ?api-version=DATE may stand there"
    return ""
