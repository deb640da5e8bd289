"""JobConfig: every setting of a job, its default, its check and its fingerprint.

Settings come from the environment, job.toml and flags, the later winning over the earlier (see `merge`). Those in
TASK_SETTINGS decide which label a row gets, so they make the job what it is; the others may change at each run.
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from batchjob.errors import SettingError

KEY_VARIABLES = ("BATCHJOB_API_KEY", "TOKENHUB_KEY", "OPENAI_API_KEY")
BASE_URL_VARIABLES = ("BATCHJOB_BASE_URL", "OPENAI_BASE_URL")
SANDBOX_URL = "sandbox:"

Positive = Annotated[float, Meta(gt=0)]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[rules]]` table: rows whose text matches get the label without a request."""

    name: str
    label: str
    pattern: str | None = None  # a regular expression, searched for without regard to case
    words: tuple[str, ...] = ()  # any of them as whole words


class Route(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[[routes]]` table: rows that meet all that is given go to this model."""

    name: str
    model: str
    pattern: str | None = None
    script: str | None = None  # a Unicode script such as Han, Latin or Cyrillic: the one most letters have
    language: str | None = None  # ISO 639-1, such as zh or de
    min_length: Annotated[int, Meta(ge=0)] | None = None  # characters
    max_length: Annotated[int, Meta(ge=0)] | None = None
    column: str | None = None  # another column, which must have this value
    value: str | None = None


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `[prices."MODEL"]` table: USD per million tokens."""

    input: Annotated[float, Meta(ge=0)]
    output: Annotated[float, Meta(ge=0)]
    cached_input: Annotated[float, Meta(ge=0)] | None = None  # None: as input


class JobConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All settings of a job. Durations are seconds, money is USD. A default that is None means "not set"."""

    # what a row's label depends on
    base_url: str = ""
    model: str = ""
    labels: tuple[str, ...] = ()
    fallback: str | None = None
    prompt: str | None = None
    id_column: str | None = None
    text_column: str | None = None
    encoding: str = "utf-8"
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] = 0.0
    rules: tuple[Rule, ...] = ()
    routes: tuple[Route, ...] = ()

    # how this run goes about it
    name: str | None = None
    format: str | None = None
    api_key_env: str | None = None
    concurrency: Annotated[int, Meta(ge=1, le=4096)] = 10
    rpm: Annotated[float, Meta(ge=0)] = 600
    tpm: Annotated[float, Meta(ge=0)] = 0
    budget: Annotated[float, Meta(gt=0)] | None = None
    prices: dict[str, Price] = {}
    rows_per_request: Annotated[int, Meta(ge=1, le=1000)] = 1
    max_request_tokens: Annotated[int, Meta(ge=100)] = 8000
    response_format: bool = True
    verify_sample: Annotated[float, Meta(ge=0, le=1)] = 0.0
    dedupe: bool = True
    cache: bool = True
    limit: Annotated[int, Meta(ge=1)] | None = None
    max_attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    max_paid: Annotated[int, Meta(ge=1, le=100)] = 1
    timeout: Positive = 120.0
    connect_timeout: Positive = 10.0
    max_outage: Annotated[float, Meta(ge=0)] = 6 * 3600.0
    on_unconfirmed: Literal["resend", "hold"] = "resend"
    output: str | None = None
    sandbox: bool = False
    quiet: bool = False
    log_format: Literal["console", "json"] = "console"
    log_file: str | None = None


TASK_SETTINGS = (
    "base_url",
    "model",
    "labels",
    "fallback",
    "prompt",
    "id_column",
    "text_column",
    "encoding",
    "max_tokens",
    "temperature",
    "rules",
    "routes",
)
"""The settings that decide which label a row gets. A job with others is another job."""

FILE_ONLY = ("labels_file", "prompt_file")
"""Keys and flags that name a file with the value of another setting."""


def read_job_toml(path: Path) -> dict[str, Any]:
    """The settings in a job.toml, as written there; a key that is unknown is refused with the nearest known one."""
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}. Write one with: batchjob init") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not valid TOML: {error}") from None
    known = (*JobConfig.__struct_fields__, *FILE_ONLY, "db")
    for key in written:
        if key not in known:
            nearest = difflib.get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0.5)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else f" Known keys: {', '.join(sorted(known))}."
            raise SettingError(f"{path}: unknown key {key!r}.{hint}")
    return resolve_files(written, base=path.parent, origin=str(path))


def resolve_files(given: dict[str, Any], *, base: Path, origin: str) -> dict[str, Any]:
    """Replace labels_file and prompt_file by what the files hold; relative paths start from base."""
    settings = dict(given)
    for key, setting in (("labels_file", "labels"), ("prompt_file", "prompt")):
        named = settings.pop(key, None)
        if named is None:
            continue
        if setting in settings:
            raise SettingError(f"{origin}: give {setting} or {key}, not both")
        try:
            text = (base / str(named)).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{origin}: cannot read the {key} {named}: {error}") from None
        settings[setting] = parse_labels_file(text, str(named)) if setting == "labels" else text
    return settings


def parse_labels_file(text: str, origin: str) -> list[str]:
    """Labels from a file: a JSON array of strings, or one label a line (blank lines and # comments are left out)."""
    if text.lstrip().startswith("["):
        try:
            return msgspec.json.decode(text.encode(), type=list[str])
        except msgspec.DecodeError as error:
            raise SettingError(f"{origin} starts like a JSON array of labels, but is not one: {error}") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def merge(*layers: dict[str, Any]) -> JobConfig:
    """One JobConfig of several layers of settings, later ones winning.

    Raises:
        SettingError: a value has the wrong type or is out of range; the text names the setting.
    """
    settings: dict[str, Any] = {}
    for layer in layers:
        settings.update(layer)
    settings.pop("db", None)
    if settings.get("temperature") is not None and isinstance(settings["temperature"], int):
        settings["temperature"] = float(settings["temperature"])
    try:
        return msgspec.convert(settings, JobConfig)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$.")
        raise SettingError(f"setting {where.rstrip('`') or '?'}: {message[:1].lower()}{message[1:]}") from None


def check(config: JobConfig) -> JobConfig:
    """The config, complete and consistent enough to label with.

    Raises:
        SettingError: something needed is missing; the text says how to give it.
    """
    if not config.labels:
        raise SettingError("no labels: give --labels billing,refund,other or --labels-file labels.txt")
    for label in config.labels:
        if not label.strip() or label != label.strip() or any(ord(c) < 32 or ord(c) == 127 for c in label):
            raise SettingError(f"label {label!r} is blank, or has spaces around it or control characters in it")
    twice = {label for label in config.labels if config.labels.count(label) > 1}
    if twice:
        raise SettingError(f"label {sorted(twice)[0]!r} is given twice")
    if not config.base_url:
        raise SettingError(
            "no endpoint: give --base-url https://host/v1 (or set OPENAI_BASE_URL), or try it out with --sandbox"
        )
    if problem := address_problem(config.base_url):
        raise SettingError(problem)
    if not config.model:
        raise SettingError("no model: give --model NAME, as your endpoint calls it")
    return config


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
    if "?" in base_url or "#" in base_url:
        return "base_url has a query (?...), which would be stored, and which chat completions do not take"
    return ""


def task_digest(config: JobConfig) -> str:
    """A fingerprint of the settings that decide the labels (SHA-256, 16 hex digits)."""
    task = {name: getattr(config, name) for name in TASK_SETTINGS}
    return hashlib.sha256(msgspec.json.encode(task)).hexdigest()[:16]


def changed_settings(old: JobConfig, new: JobConfig) -> dict[str, tuple[Any, Any]]:
    """The task settings in which two configs differ: name -> (old, new)."""
    pairs = {name: (getattr(old, name), getattr(new, name)) for name in TASK_SETTINGS}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
