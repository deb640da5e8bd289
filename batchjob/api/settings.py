"""Arguments of a call -> the settings of a job, and what goes beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from batchjob.errors import SettingError
from batchjob.settings.config import JobConfig
from batchjob.settings.jobfile import (
    KEY_COMMAND,
    ON_END,
    Read,
    nearest_of,
    read_job_toml,
    resolve_files,
    settings,
    with_environment,
)

BESIDE = ("db", "new", "append", "api_key", "progress")
"""Arguments that are no settings of a job."""
OF_THE_COMMAND = ("dry_run", "show_prompt", ON_END)
"""What prints and labels nothing, and what runs when a command ends: a program goes on by itself."""


class Asked(NamedTuple):
    """What a call asks for."""

    config: JobConfig
    files: tuple[str, ...]  # that settings were read from
    key_command: str | None


def given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that were given, as a job.toml would have them.

    Raises:
        SettingError: one is unknown; the text names the nearest.
    """
    known = [setting.name for setting in settings() if setting.name not in (*BESIDE, *OF_THE_COMMAND)]
    for name in arguments:
        if name not in known:
            raise SettingError(f"there is no setting {name!r}.{nearest_of(name, [*known, *BESIDE])}")
    return {name: _as_written(value) for name, value in arguments.items() if value is not None}


def _as_written(value: Any) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, set | frozenset):  # in one order, for the order of labels is asked
        return sorted(value)
    return dict(value) if isinstance(value, Mapping) else value


def asked(arguments: Mapping[str, Any]) -> Asked:
    """The settings of a new call: those of the environment, of the file that `config` names, and the arguments.

    Raises:
        SettingError: one is unknown or wrong; the text names it.
    """
    named = given(arguments)
    file = named.pop("config", None)
    written = read_job_toml(Path(file)) if file else Read({}, ())
    typed = resolve_files(named, base=Path(), origin="the arguments")
    key_command = typed.settings.get(KEY_COMMAND) or written.settings.get(KEY_COMMAND)
    return Asked(with_environment(written.settings, typed.settings), written.files + typed.files, key_command)
