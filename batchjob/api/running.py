"""A plan, carried out for a caller: its key, where it is shown, and which endings are errors."""

from __future__ import annotations

from batchjob.api.hosting import host
from batchjob.api.shown import where_it_is_shown
from batchjob.api.words import in_python
from batchjob.endpoints.key import auth_of, key_problem, not_stored, require_key
from batchjob.errors import BatchjobError, JobError, JobRefused, SettingError
from batchjob.jobs.plans import Plan
from batchjob.model import Ending, Job
from batchjob.settings.config import JobConfig
from batchjob.settings.endpoint import SANDBOX_URL
from batchjob.stores import open_reader
from batchjob.views.status import status_of
from batchjob.views.summary import summary_lines

ERRORS: dict[int, type[BatchjobError]] = {1: JobError, 3: JobRefused}
"""Exit codes of a run's end that are errors to a caller. With the others the labels that there are can be used."""


def key_for(config: JobConfig, given: str | None, key_command: str | None) -> str | None:
    """The key to send: the one that is given, else as the command finds it.

    Raises:
        SettingError: it cannot be one, or a setting holds it. It is not told.
    """
    if given is None:
        try:
            return require_key(config, key_command)
        except BatchjobError as error:
            raise type(error)(f"{error}. Or give it as api_key") from None
    if not isinstance(given, str) or not given.strip() or key_problem("api_key", given.strip()):
        raise SettingError("api_key is no key: give it as a text, as the provider wrote it")
    if config.base_url == SANDBOX_URL or auth_of(config) == "none":
        return None
    return not_stored(given.strip(), config)


def carry_out(plan: Plan, key: str | None, key_command: str | None, *, progress: bool) -> None:
    """Carry out a plan.

    Raises:
        BatchjobError: it could not go on, or ended with the exit code of an error.
        KeyboardInterrupt: Ctrl-C stopped it; what was answered is kept.
    """
    shown = where_it_is_shown(progress=progress and not plan.config.quiet)
    if not isinstance(plan.job, Job):
        shown.say([in_python(f"{plan.source.path}: {said}") for said in plan.source.said])
    ended = host(plan, key=key, key_command=key_command, shown=shown)
    with open_reader(plan.db) as reader:
        status = status_of(reader.snapshot(plan.name))
    lines = summary_lines(status, seconds=ended.seconds, next_command=None, requests=(ended.requests, ended.not_sent))
    shown.say([in_python(line) for line in lines])
    _raise_for(ended.ending, plan.name)


def _raise_for(ending: Ending, name: str) -> None:
    if (kind := ERRORS.get(ending.exit_code)) is not None:
        raise kind(f"job {name!r}: {ending.reason}")
