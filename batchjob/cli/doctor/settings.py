"""The settings: whether job.toml can be read, and which endpoint a job would use."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from batchjob.cli.doctor.finding import OK, PROBLEM, Finding
from batchjob.errors import BatchjobError, SettingError
from batchjob.providers.dialect import Learned, learned_of, place_of
from batchjob.settings.complete import address_problem
from batchjob.settings.config import JobConfig, merge, settings_of
from batchjob.settings.endpoint import BASE_URL_VARIABLES, SANDBOX_URL
from batchjob.settings.jobfile import DEFAULT_CONFIG, read_job_toml
from batchjob.stores import open_reader


class Asked(NamedTuple):
    """The endpoint to look at, and where we know it from."""

    base_url: str
    model: str
    key_variable: str | None
    origin: str
    config: JobConfig  # with this address
    learned: Mapping[str, Learned]  # what this endpoint taught the database, by model


def read_settings(config: str | None) -> tuple[dict[str, Any], list[Finding]]:
    """What job.toml says; a broken one that was not asked for is a finding.

    Raises:
        SettingError: the file named by --config cannot be used.
    """
    if config is None and not DEFAULT_CONFIG.is_file():
        return {}, []
    file = Path(config) if config else DEFAULT_CONFIG
    try:
        written = read_job_toml(file).settings
        merge(written)
    except SettingError as error:
        if config:
            raise
        return {}, [Finding(PROBLEM, "settings", str(error))]
    return written, [Finding(OK, "settings", f"{file} can be read")]


def endpoint_asked(
    written: dict[str, Any], flags: dict[str, str | None], url: str
) -> tuple[Asked | None, list[Finding]]:
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
    if not base_url and (latest := _latest_settings(url)):
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
    settings = msgspec.structs.replace(settings, base_url=base_url)
    learned = _learned(url, settings)
    return Asked(base_url, settings.model, settings.api_key_env, origin, settings, learned), []


def _learned(url: str, config: JobConfig) -> Mapping[str, Learned]:
    try:
        with open_reader(url) as store:
            return learned_of(store.learned(place_of(config)), config)
    except BatchjobError:
        return {}  # the database has a line of its own


def _latest_settings(url: str) -> tuple[str, JobConfig] | None:
    try:
        with open_reader(url) as store:
            job = store.latest()
        return job.name, settings_of(job)
    except BatchjobError:
        return None  # the database has a line of its own
