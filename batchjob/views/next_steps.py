"""What to do next: a command ready to paste, and advice for each kind of error."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from batchjob.exchange.decide import ADVICE
from batchjob.settings.failures import BLANK
from batchjob.states import State
from batchjob.views.status import Status

UNSENDABLE = frozenset({BLANK, "unreadable_row", "ragged_row", "bad_json", "missing_text", "not_text"})
"""Kinds of rows that cannot be sent at all: to put them back would change nothing."""


def advice(kind: str, status: Status | None = None) -> str:
    """What to do about an error kind; `status`: of the job whose rows failed so, if there is one yet."""
    if status is not None and status.skipped and kind == BLANK:
        return "skipped, as --blank skip says"
    return ADVICE.get(kind, "see batchjob errors")


def shell_word(text: str) -> str:
    """A name as a shell takes it, also where it begins like an option."""
    quoted = shlex.quote(text)
    return f"-- {quoted}" if text.startswith("-") else quoted


def next_command(status: Status, flag: str) -> str:
    """What to type next about a job; `flag` is the part that names the database."""
    if status.busy or status.unfinished:
        return _go_on(status, flag)
    if status.rows.failed > status.skipped or status.rows.unconfirmed:
        return f"batchjob errors {shell_word(status.job)}{flag}"
    return _export(status, flag)


def after_errors(status: Status, asked: str | None, flag: str) -> str:
    """What to type next after a look at the errors, of the kind `asked` where one was named."""
    if status.busy or status.unfinished:
        return _go_on(status, flag)
    kinds = _worth_a_retry(status, asked)
    retry = f"batchjob retry {shell_word(status.job)}"
    if asked in kinds:
        return f"{retry} --kind {asked}{flag}"
    if any(kind != State.UNCONFIRMED for kind in kinds):
        return f"{retry}{flag}"
    # Without --kind, retry leaves rows alone that may have been paid for.
    return f"{retry} --kind {State.UNCONFIRMED}{flag}" if kinds else _export(status, flag)


def _worth_a_retry(status: Status, asked: str | None) -> Sequence[str]:
    kinds = [error.kind for error in status.errors if error.count and error.kind not in UNSENDABLE]
    return kinds if asked is None else [kind for kind in kinds if kind == asked]


def _go_on(status: Status, flag: str) -> str:
    job = shell_word(status.job)
    return f"batchjob status {job} --watch{flag}" if status.busy else f"batchjob resume {job}{flag}"


def _export(status: Status, flag: str) -> str:
    job = shell_word(status.job)
    return f"batchjob export {job} -o {job}-labels.csv{flag}"
