"""What is said to type next: every command is one that the program takes, and none repeats what was just refused."""

from __future__ import annotations

import shlex
from typing import Any

import click
import msgspec
import pytest

from batchjob.cli import group
from batchjob.exchange.decide import ADVICE
from batchjob.settings.config import merge
from batchjob.states import JobState
from batchjob.views.next_steps import UNSENDABLE, after_errors, next_command, remedy
from batchjob.views.status import ErrorCount, Rows, Status, status_of
from tests.views.test_status import snapshot

CONFIG = merge({"base_url": "https://host/v1", "model": "m", "labels": ["a"], "budget": 0.05})
PLACES = {"USD": "5", "URL": "https://other/v1", "N": "5"}
"""What a person puts for a word in capitals, where any text will not do."""


def status(
    state: JobState = JobState.FINISHED,
    *kinds: str,
    job: str = "t",
    reason_kind: str = "",
    reason: str = "",
    left: int = 0,
) -> Status:
    failed = 0 if "unconfirmed" in kinds else len(kinds)
    return msgspec.structs.replace(
        status_of(snapshot()),
        job=job,
        state=state,
        reason=reason,
        reason_kind=reason_kind,
        rows=Rows(9 + left, left, 0, 9 - len(kinds), failed, len(kinds) - failed),
        errors=tuple(ErrorCount(kind, 1, None) for kind in kinds),
    )


def taken(typed: str) -> dict[str, Any]:
    """What the program understands of a command; fails where it takes no such command."""
    words = [PLACES.get(word, word) for word in shlex.split(typed.rpartition(": ")[2])]
    assert words[0] == "batchjob"
    with click.Context(group) as parent:
        found = group.get_command(parent, words[1])
        assert found is not None
        return found.make_context(words[1], words[2:], parent=parent).params


@pytest.mark.parametrize("flag", ["", "--db 'my jobs.db'"])
@pytest.mark.parametrize("kind", ADVICE)
@pytest.mark.parametrize("job", ["t", "-t", "it's; a job"])
def test_what_to_type_about_failed_rows_is_taken_and_is_about_that_job(kind: str, flag: str, job: str) -> None:
    typed = remedy(kind, status(JobState.FINISHED, kind, job=job), CONFIG, flag)
    assert bool(typed) == (kind not in UNSENDABLE - {"blank_text"})
    if typed:
        params = taken(typed)
        assert params.get("job", job) == job
        assert params["db"] == ("my jobs.db" if flag else None)


@pytest.mark.parametrize("kind", ADVICE)
def test_after_a_refusal_the_same_command_alone_is_never_next(kind: str) -> None:
    for failed in ((), (kind,)):
        refused = status(JobState.REFUSED, *failed, reason_kind=kind, left=5)
        for typed in (next_command(refused, CONFIG, ""), after_errors(refused, CONFIG, {}, None, "")):
            assert typed != "batchjob resume t"
            taken(typed)


@pytest.mark.parametrize("kind", ["truncated_answer", "timeout"])
def test_what_was_not_enough_is_not_named_again(kind: str) -> None:
    failed, config = status(JobState.FINISHED, kind), CONFIG
    for _ in range(3):
        typed = remedy(kind, failed, config, "")
        params = taken(typed)
        given = {name: params[name] for name in ("max_tokens", "timeout") if params[name] is not None}
        more = merge({**msgspec.to_builtins(config), **given})
        assert (more.max_tokens or 0, more.timeout) > (config.max_tokens or 0, config.timeout)
        config = more


@pytest.mark.parametrize(
    ("reason", "option"),
    [
        ("HTTP 400 unsupported_value: 'temperature' does not support 0", "--param temperature=omit"),
        ("HTTP 400 unsupported_parameter: no 'max_tokens'", "--param max_tokens=omit"),
        ("HTTP 404 model_not_found: no model m", "--model NAME"),
    ],
)
def test_a_setting_that_was_refused_is_named_by_what_the_endpoint_says(reason: str, option: str) -> None:
    refused = status(JobState.REFUSED, reason_kind="bad_setting", reason=reason, left=5)
    assert next_command(refused, CONFIG, "") == f"batchjob resume t {option}"


@pytest.mark.parametrize(
    ("spent", "asked", "left", "budget"),
    [(0.0, 0, 90, "USD"), (0.04, 10, 90, "0.48"), (0.04, 10, 1, "0.1"), (0.0123, 7, 12345, "27")],
)
def test_a_budget_that_is_reached_comes_with_one_that_is_enough(
    spent: float, asked: int, left: int, budget: str
) -> None:
    stopped = status(JobState.OVER_BUDGET, left=left)
    stopped = msgspec.structs.replace(
        stopped, cost=msgspec.structs.replace(stopped.cost, usd=spent), sources={**stopped.sources, "model": asked}
    )
    assert next_command(stopped, CONFIG, "") == f"batchjob resume t --budget {budget}"


def test_after_errors_the_largest_kind_that_needs_something_else_is_next() -> None:
    assert after_errors(status(JobState.FINISHED, "conflict", "timeout"), CONFIG, {}, None, "") == (
        "batchjob retry t --kind conflict"
    )
    assert (
        after_errors(status(JobState.FINISHED, "conflict", "server_error"), CONFIG, {}, None, "") == "batchjob retry t"
    )
    assert after_errors(status(JobState.FINISHED, "unconfirmed"), CONFIG, {}, None, "") == (
        "batchjob retry t --kind unconfirmed"
    )
    only_blank = status(JobState.FINISHED, "blank_text")
    assert after_errors(only_blank, CONFIG, {}, None, "") == "batchjob export t -o t-labels.csv"
    assert "--fallback LABEL" in after_errors(only_blank, CONFIG, {}, "blank_text", "")


@pytest.mark.parametrize("job", ["../x", "/etc/x", "a/b", "..", "-o"])
def test_no_job_is_named_so_that_its_export_leaves_the_folder(job: str) -> None:
    file = taken(next_command(status(job=job), CONFIG, ""))["output"]
    assert "/" not in file
    assert not file.startswith((".", "-"))


def test_a_run_that_ended_with_an_error_goes_on_when_that_is_mended() -> None:
    stopped = status(JobState.STOPPED, reason_kind="error", left=5)
    assert next_command(stopped, CONFIG, "") == "when that is mended: batchjob resume t"
    assert next_command(status(JobState.STOPPED, left=5), CONFIG, "") == "batchjob resume t"
