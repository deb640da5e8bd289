"""--on-end: a command of the user's, told how a run ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping

from batchjob.endpoints.key import headers_of
from batchjob.jobs.plans import Plan
from batchjob.numbers import how_ended
from batchjob.settings.endpoint import KEY_VARIABLES
from batchjob.views.status import Status

MOST_SECONDS = 60.0
"""That it may take: a run should not hang on its notice."""
LEAST_SECRET = 8
"""Characters of a secret that is looked for inside of variables: a shorter one may stand there by chance."""


def tell_end(
    command: str, plan: Plan, status: Status, key: str | None, *, exit_code: int, seconds: float | None
) -> str:
    """Run a command in a shell; what went wrong with it, or "". What it prints goes to stderr.

    Its environment is ours without the API key and other secrets of the job, and with how the run ended.

    Args:
        exit_code: that the run ends with, whatever becomes of the command.
        seconds: how long the run took; None: not known.
    """
    environment = _without_secrets(os.environ, plan, key) | {
        "BATCHJOB_DB": plan.db,
        "BATCHJOB_JOB": status.job,
        "BATCHJOB_STATE": str(status.state),
        "BATCHJOB_REASON": status.reason,
        "BATCHJOB_EXIT_CODE": str(exit_code),
        "BATCHJOB_ROWS": str(status.rows.total),
        "BATCHJOB_DONE": str(status.rows.done),
        "BATCHJOB_FAILED": str(status.rows.failed),
        "BATCHJOB_UNCONFIRMED": str(status.rows.unconfirmed),
        "BATCHJOB_PENDING": str(status.rows.unfinished),
        "BATCHJOB_COST_USD": "" if status.cost.usd is None else f"{status.cost.usd:.6f}",
        "BATCHJOB_SECONDS": "" if seconds is None else f"{seconds:.0f}",
    }
    try:
        # A group of its own, so that Ctrl-C is for us, and that nothing of it is left where it takes too long.
        process = subprocess.Popen(
            command, shell=True, stdin=subprocess.DEVNULL, stdout=2, env=environment, start_new_session=True
        )
    except OSError as error:
        return f"--on-end could not be run: {error.strerror}"
    try:
        code = process.wait(MOST_SECONDS)
    except subprocess.TimeoutExpired:
        return _ended(process, f"took more than {MOST_SECONDS:.0f} s and was ended")
    except KeyboardInterrupt:
        return _ended(process, "was broken off")
    return f"--on-end {how_ended(code)}; the job is as it was said above" if code else ""


def _ended(process: subprocess.Popen[bytes], why: str) -> str:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return f"--on-end {why}; the job is as it was said above"


def _without_secrets(environment: Mapping[str, str], plan: Plan, key: str | None) -> dict[str, str]:
    """The environment without variables that are for the key, or hold it or a secret header's value."""
    named = {*KEY_VARIABLES, plan.config.api_key_env}
    secrets = set(_secrets(plan, key))
    return {
        name: value
        for name, value in environment.items()
        if name not in named
        and value.strip() not in secrets
        and not any(len(secret) >= LEAST_SECRET and secret in value for secret in secrets)
    }


def _secrets(plan: Plan, key: str | None) -> Iterator[str]:
    if key:
        yield key
    yield from headers_of(plan.config)[1]
