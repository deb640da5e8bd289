"""batchjob doctor: what a job rests on, a line each: what is fine, what is not, and what to do."""

from __future__ import annotations

import asyncio
import difflib
import importlib.util
import os
import platform
import shutil
import socket
import sqlite3
import stat
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import click
import msgspec

from batchjob.cli.key import find_key, key_problem
from batchjob.cli.options import database, db_option
from batchjob.cli.show import show_lines
from batchjob.config import (
    BASE_URL_VARIABLES,
    KEY_VARIABLES,
    SANDBOX_URL,
    JobConfig,
    address_problem,
    merge,
    read_job_toml,
)
from batchjob.errors import BatchjobError, JobError, SettingError
from batchjob.model import Lost, NotSent, Rejected
from batchjob.stores.check import StoreCheck
from batchjob.stores.lock import lock_path, writer_of

OK, WARNING, PROBLEM = "ok", "warning", "problem"
DEFAULT_CONFIG = Path("job.toml")

PYTHON_NEEDED = (3, 11)
SQLITE_NEEDED = (3, 38, 0)  # STRICT tables came with 3.37, the operator ->> with 3.38
SQLITE_MENDED = (3, 51, 3)  # of the WAL-reset bug: https://sqlite.org/wal.html
FREE_NEEDED_BYTES = 16 * 1024 * 1024
FREE_WANTED_BYTES = 256 * 1024 * 1024
ANSWER_SECONDS = 5.0
MODELS_SHOWN = 5
DIFFERENCES_SHOWN = 10


class Finding(NamedTuple):
    """What a check found."""

    level: str
    about: str
    text: str


class Asked(NamedTuple):
    """The endpoint to look at, and where we know it from."""

    base_url: str
    model: str
    key_variable: str | None
    origin: str


@click.command("doctor")
@db_option
@click.option("--config", metavar="FILE", help="Settings  [default job.toml, if there is one]")
@click.option("--base-url", metavar="URL", help="Endpoint  [default: of job.toml, environment or the latest job]")
@click.option("--model", metavar="NAME", help="As the endpoint calls it")
@click.option("--api-key-env", metavar="NAME", help="Variable that holds the key")
def command(db: str | None, config: str | None, **flags: str | None) -> int:
    """Check Python, SQLite, the database, the disk and the endpoint.

    Nothing is written and nothing is paid for: the endpoint is asked only for its list of models.
    """
    written, findings = _read_settings(config)
    path = database(db, configured=written.get("db"))
    asked, unclear = _endpoint(written, flags, path)
    findings = [*_programs(), *findings, *_database(path), *_disk(path), *unclear]
    if asked is not None:
        findings += _endpoint_findings(asked)
    show_lines([f"{finding.level:<8}  {finding.about:<11} {finding.text}" for finding in findings])
    show_lines(["", _verdict(findings)])
    return int(any(finding.level == PROBLEM for finding in findings))


def _verdict(findings: list[Finding]) -> str:
    counts = [(sum(finding.level == level for finding in findings), level) for level in (PROBLEM, WARNING)]
    words = [f"{count} {level}{'' if count == 1 else 's'}" for count, level in counts if count]
    return ", ".join(words) or "all is well"


# ---------------------------------------------------------------- settings


def _read_settings(config: str | None) -> tuple[dict[str, Any], list[Finding]]:
    """What job.toml says; a broken one that was not asked for is a finding.

    Raises:
        SettingError: the file named by --config cannot be used.
    """
    if config is None and not DEFAULT_CONFIG.is_file():
        return {}, []
    file = Path(config) if config else DEFAULT_CONFIG
    try:
        written = read_job_toml(file)
        merge(written)
    except SettingError as error:
        if config:
            raise
        return {}, [Finding(PROBLEM, "settings", str(error))]
    return written, [Finding(OK, "settings", f"{file} can be read")]


def _endpoint(written: dict[str, Any], flags: dict[str, str | None], path: Path) -> tuple[Asked | None, list[Finding]]:
    """The endpoint of flags, job.toml, environment or the latest job, in this order, if there is one.

    Raises:
        SettingError: --base-url is no address.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    settings = merge(written, given)
    base_url, origin = settings.base_url, "--base-url" if flags["base_url"] else "job.toml"
    if settings.sandbox and not flags["base_url"]:
        base_url = SANDBOX_URL
    if not base_url:
        origin = next((name for name in BASE_URL_VARIABLES if os.environ.get(name)), "")
        base_url = os.environ.get(origin, "")
    if not base_url and (latest := _latest_settings(path)):
        name, of_job = latest
        settings = merge(msgspec.to_builtins(of_job), given)
        base_url, origin = of_job.base_url, f"job {name}"
    if not base_url:
        return None, [Finding(OK, "endpoint", "not checked, because none is known: give --base-url https://host/v1")]
    wrong = address_problem(base_url)
    if wrong and origin == "--base-url":
        raise SettingError(wrong)
    if wrong:
        return None, [Finding(PROBLEM, "endpoint", f"{wrong} (from {origin})")]
    return Asked(base_url, settings.model, settings.api_key_env, origin), []


def _latest_settings(path: Path) -> tuple[str, JobConfig] | None:
    try:
        with StoreCheck(path) as store:
            job = store.latest()
        return job.name, msgspec.json.decode(job.settings, type=JobConfig)
    except (BatchjobError, msgspec.DecodeError):
        return None  # the database has a line of its own


# ---------------------------------------------------------------- this machine


def _programs() -> Iterator[Finding]:
    python = platform.python_version()
    if sys.version_info < PYTHON_NEEDED:
        yield Finding(PROBLEM, "python", f"{python}: batchjob needs 3.11 or newer")
    else:
        yield Finding(OK, "python", python)
    yield _sqlite(sqlite3.sqlite_version_info)
    if importlib.util.find_spec("uvloop") is None:
        yield Finding(WARNING, "uvloop", "not installed: jobs run a little slower without. pip install uvloop")
    else:
        yield Finding(OK, "uvloop", "installed")
    yield _transport()


def _transport() -> Finding:
    from batchjob.endpoints.transport import chosen

    name, why = asyncio.run(chosen())
    if name == "fast":
        return Finding(OK, "transport", f"{name}: {why}")
    return Finding(WARNING, "transport", f"{name}, for {why}: a connection for each request, which is slower")


def _sqlite(version: tuple[int, ...]) -> Finding:
    text = ".".join(map(str, version))
    if version < SQLITE_NEEDED:
        needed = ".".join(map(str, SQLITE_NEEDED))
        return Finding(PROBLEM, "sqlite", f"{text}: {needed} is needed. Use a Python that brings a newer one")
    if version < SQLITE_MENDED:
        text += " (the WAL-reset bug of versions before 3.51.3 is not reached: one connection alone writes)"
    return Finding(OK, "sqlite", text)


# ---------------------------------------------------------------- the database


def _database(path: Path) -> Iterator[Finding]:
    if not path.exists():
        yield Finding(OK, "database", f"{path} is not there yet: batchjob start makes it")
        return
    if path.is_file() and path.stat().st_size == 0:
        yield Finding(OK, "database", f"{path} is empty: batchjob start fills it")
        return
    try:
        with StoreCheck(path) as store:
            yield from _content(store)
    except JobError as error:
        yield Finding(OK if path.is_file() else PROBLEM, "database", str(error))
    except BatchjobError as error:
        yield Finding(PROBLEM, "database", str(error))
    yield _lock(path)
    yield _permissions(path)


def _content(store: StoreCheck) -> Iterator[Finding]:
    version, newest = store.version()
    older = f" of {newest}: the next run brings it up to date" if version < newest else ""
    yield Finding(OK, "database", f"{store.path}, schema {version}{older}")
    damages = store.damages()
    if damages:
        said = "; ".join(damages)[:300]
        yield Finding(
            PROBLEM, "integrity", f"damaged: {said}. Restore a backup, or save what is left: sqlite3 .recover"
        )
        return
    yield Finding(OK, "integrity", "SQLite finds every page whole")
    differences = store.differences()
    for job, kind, name, kept, counted in differences[:DIFFERENCES_SHOWN]:
        yield Finding(PROBLEM, "counters", f"job {job}: {kind} {name} is kept as {kept:,} and counted as {counted:,}")
    if differences:
        more = f"{len(differences)} in all. " if len(differences) > DIFFERENCES_SHOWN else ""
        advice = "something else has changed the database, or this is a defect: export, then start anew"
        yield Finding(PROBLEM, "counters", more + advice)
    else:
        yield Finding(OK, "counters", "equal to what they count, for every job")


def _lock(path: Path) -> Finding:
    writer = writer_of(path.resolve())
    if writer is None:
        return Finding(OK, "writer", "no process is working in this database")
    job = f" on job {writer['job']}" if writer.get("job") else ""
    since = f" since {writer['since']}" if writer.get("since") else ""
    return Finding(OK, "writer", f"process {writer.get('pid', '?')} is working{job}{since}")


def _permissions(path: Path) -> Finding:
    real = path.resolve()
    files = [real, *(real.with_name(real.name + suffix) for suffix in ("-wal", "-shm")), lock_path(real)]
    there = {file: stat.S_IMODE(file.stat().st_mode) for file in files if file.exists()}
    is_open = [f"{file.name} ({mode:04o})" for file, mode in there.items() if mode & 0o077]
    if is_open:
        names = " ".join(str(file) for file, mode in there.items() if mode & 0o077)
        return Finding(WARNING, "permissions", f"others may read {', '.join(is_open)}: chmod 600 {names}")
    if not os.access(real, os.R_OK | os.W_OK):
        return Finding(WARNING, "permissions", f"{path} cannot be written by this user: it can only be looked at")
    return Finding(OK, "permissions", "nobody else may read the database")


def _disk(path: Path) -> Iterator[Finding]:
    from batchjob.stores.sqlite import refuse_network_disk

    folder = path.resolve().parent
    if not folder.is_dir():
        yield Finding(PROBLEM, "disk", f"there is no folder {folder}: make it with mkdir -p, or give another --db")
        return
    try:
        refuse_network_disk(path.resolve())
    except BatchjobError as error:
        yield Finding(PROBLEM, "disk", str(error))
    if not os.access(folder, os.W_OK | os.X_OK):
        yield Finding(PROBLEM, "disk", f"no file may be made in {folder} by this user: give another --db")
    size = path.stat().st_size if path.is_file() else 0
    yield _room(shutil.disk_usage(folder).free, size)


def _room(free: int, size: int) -> Finding:
    text = f"{_bytes(free)} free; the database has {_bytes(size)}"
    if free < FREE_NEEDED_BYTES:
        return Finding(PROBLEM, "disk", f"{text}. Make room before the next run")
    if free < max(FREE_WANTED_BYTES, size):
        return Finding(WARNING, "disk", f"{text}. A job may need more: make room, or give a --db on another disk")
    return Finding(OK, "disk", text)


def _bytes(size: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if size >= 10 or unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:,.1f} TB"


# ---------------------------------------------------------------- the endpoint


def _endpoint_findings(asked: Asked) -> Iterator[Finding]:
    if asked.base_url == SANDBOX_URL:
        yield Finding(OK, "endpoint", f"the built-in sandbox (from {asked.origin}); it needs no key")
        return
    variable, key = find_key(asked.key_variable)
    if key and (problem := key_problem(variable, key)):
        yield Finding(PROBLEM, "key", problem)
        return
    yield _key_finding(asked, variable)
    if asked.key_variable and not key:
        return
    yield from asyncio.run(_ask(asked, variable, key))


def _key_finding(asked: Asked, variable: str | None) -> Finding:
    if asked.key_variable and not os.environ.get(asked.key_variable, "").strip():
        return Finding(PROBLEM, "key", f"{asked.key_variable} is not set: set it, or name another with --api-key-env")
    if variable is None:
        return Finding(OK, "key", f"none is set ({', '.join(KEY_VARIABLES)}): only an endpoint without keys answers")
    return Finding(OK, "key", f"read from {variable}")


async def _ask(asked: Asked, variable: str | None, key: str | None) -> list[Finding]:
    from batchjob.endpoints.models import ModelsEndpoint

    try:
        endpoint = ModelsEndpoint(asked.base_url, key=key, timeout=ANSWER_SECONDS)
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
    return Finding(PROBLEM, "endpoint", f"{parts.hostname} is not resolved ({failed[0]}): check --base-url, network")


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
