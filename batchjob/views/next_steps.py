"""What to do next: a command ready to paste, and advice for each kind of error.

What only the user knows stands in a command in capitals. No command repeats what was just refused.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from math import ceil, floor, log10

from batchjob.exchange.decide import advice_of
from batchjob.settings.config import JobConfig
from batchjob.settings.failures import BLANK
from batchjob.states import JobState, State, fields_of
from batchjob.views.status import Status, asked_rows

UNSENDABLE = frozenset({BLANK, "unreadable_row", "ragged_row", "bad_json", "missing_text", "not_text"})
"""Kinds of rows that cannot be sent at all: to put them back as they are would change nothing."""
BY_HAND = frozenset({"content_filter", "filtered_answer"})
"""Kinds that no other try will mend."""
OF_THE_ENDPOINT = frozenset({"bad_key", "forbidden", "not_found", "bad_certificate", "huge_answer", "cannot_connect"})
"""Kinds that `doctor` can say more of."""
RESUMED_WITH = {
    "redirected": "--base-url URL",
    "bad_response_format": "--no-response-format",
    "daily_quota": "--wait-for-quota",
    "cost_untold": "--price IN,OUT",
}
"""Kind that ended a run -> the options to resume with."""
MENDED = "when that is mended: "
LEAST_MAX_TOKENS = 2000


def advice(kind: str, status: Status | None = None, *, fields: bool = False) -> str:
    """What to do about an error kind.

    Args:
        status: of the job whose rows failed so, if there is one yet.
        fields: of such a job: whether it asks several answers about each text, and so takes no fallback.
    """
    if kind == BLANK and status is not None and status.skipped:
        return "skipped, as --blank skip says"
    if kind == BLANK and (fields or (status is not None and status.fields)):
        return "there is nothing to label: --blank skip lets such rows pass"
    return advice_of(kind) or "see its message"


def command(verb: str, job: str, *options: str) -> str:
    """A command about a job, as a shell takes it, also where the job's name begins like an option."""
    words = [option for option in options if option]
    name = shlex.quote(job)
    ends_options = job.startswith("-") and job != "-"
    return " ".join(["batchjob", verb, *words, "--", name] if ends_options else ["batchjob", verb, name, *words])


def after_error(then: Sequence[str], flag: str) -> str:
    """The command that an error names (BatchjobError.then), its verb first."""
    verb, *words = then
    flag = "" if "--db" in words else flag
    return command(verb, words[0], *map(shlex.quote, words[1:]), flag) if words else f"batchjob {verb} {flag}".rstrip()


def next_command(status: Status, config: JobConfig, flag: str) -> str:
    """What to type next about a job with these settings; `flag` is the part that names the database."""
    if status.moved_to is not None:
        there = f"--db {shlex.quote(status.moved_to)}"
        return command("resume" if status.unfinished else "status", status.job, there)
    if status.busy:
        return command("status", status.job, "--watch", flag)
    if status.state is JobState.REFUSED:
        return _after_refusal(status, config, flag)
    if status.unfinished:
        return _go_on(status, config, flag)
    if status.rows.failed > status.skipped or status.rows.unconfirmed:
        return command("errors", status.job, flag)
    return _export(status, flag)


def _after_refusal(status: Status, config: JobConfig, flag: str) -> str:
    kind = status.reason_kind
    if kind in RESUMED_WITH or kind == "bad_setting":
        return command("resume", status.job, RESUMED_WITH.get(kind) or _another_value(status.reason), flag)
    if kind in OF_THE_ENDPOINT:
        return _doctor(config, flag)
    if any(error.kind == kind for error in status.errors):
        return command("errors", status.job, flag)
    return MENDED + command("resume", status.job, flag)


def _another_value(reason: str) -> str:
    """Of what the endpoint names in its refusal; of the model where it names nothing that can be set."""
    known = {
        "temperature": "--param temperature=omit",
        "max_tokens": "--param max_tokens=omit",
        "max_completion_tokens": "--param max_completion_tokens=omit",
    }
    return next((option for name, option in known.items() if name in reason), "--model NAME")


def _doctor(config: JobConfig, flag: str) -> str:
    key = f"--api-key-env {shlex.quote(config.api_key_env)}" if config.api_key_env else ""
    asked = f"--base-url {shlex.quote(config.base_url)} --model {shlex.quote(config.model)}"
    return " ".join(filter(None, ("batchjob doctor", asked, key, flag)))


def _go_on(status: Status, config: JobConfig, flag: str) -> str:
    if status.state is JobState.OVER_BUDGET:
        return command("resume", status.job, f"--budget {_enough(status, config)}", flag)
    return (MENDED if status.reason_kind else "") + command("resume", status.job, flag)


def _enough(status: Status, config: JobConfig) -> str:
    """A budget for the rows that are left, by what those before have cost: a fifth more, in two digits."""
    asked = asked_rows(status.sources)
    if not asked or not status.cost.usd or config.budget is None:
        return "USD"
    whole = status.cost.usd * (1 + 1.2 * status.rows.unfinished / asked)
    return f"{_rounded_up(max(whole, 2 * config.budget)):g}"


def _rounded_up(amount: float) -> float:
    digits = 1 - floor(log10(amount))
    scale = 10.0**digits
    return ceil(round(amount * scale, 6)) / scale


# ---------------------------------------------------------------- rows that failed


def remedy(kind: str, status: Status, config: JobConfig, flag: str) -> str:
    """What to type about rows that failed so; "" where only the user can do something."""
    job = status.job
    if kind == BLANK:
        if status.skipped:
            return ""
        if status.fields:
            return command("resume", job, "--blank skip", flag)
        return command("retry", job, f"--kind {kind} --fallback LABEL", flag)
    if kind in UNSENDABLE:
        return ""
    if kind in BY_HAND:
        return command("export", job, f"--only {kind} -o {shlex.quote(f'{_file_name(job)}-{kind}.csv')}", flag)
    if kind in OF_THE_ENDPOINT:
        return _doctor(config, flag)
    # Rows that were never tried are asked first, and so: a retry asks only those that failed.
    if fields_of(kind):
        return command("retry", job, f"--kind {kind}", "--model NAME", flag)
    verb, which = ("resume", "") if status.unfinished and kind in _ASKED_OTHERWISE else ("retry", f"--kind {kind}")
    return command(verb, job, which, _changed(kind, config), flag)


_ASKED_OTHERWISE = frozenset({"off_list", "refused_by_model", "too_long"})


def _changed(kind: str, config: JobConfig) -> str:
    """The options without which rows of this kind would fail as before."""
    if kind in ("truncated_answer", "thought_only"):
        return f"--max-tokens {max(LEAST_MAX_TOKENS, 4 * (config.max_tokens or 0))}"
    if kind == "timeout":
        return f"--timeout {_rounded_up(2.5 * config.timeout):g}"
    if kind in ("connection_lost", "garbled_answer") and config.rows_per_request > 1:
        return "--rows-per-request 1"  # one row may take those with it that go in one request
    if kind == "off_list":
        return "" if config.fallback else "--fallback LABEL"
    return "--model NAME" if kind in _ASKED_OTHERWISE else ""


def after_errors(status: Status, config: JobConfig, by_hand: Mapping[str, int], asked: str | None, flag: str) -> str:
    """What to type next after a look at the errors, of the kind `asked` where one was named. `by_hand` says of how many
    rows of a kind people gave the label, which nobody needs to ask for.
    """
    left = {error.kind: error.count - by_hand.get(error.kind, 0) for error in status.errors}
    kinds = [kind for kind, count in left.items() if count > 0 and asked in (None, kind)]
    if status.busy or (status.unfinished and status.reason_kind not in kinds):
        return next_command(status, config, flag)
    typed = {kind: one for kind in kinds if (one := remedy(kind, status, config, flag))}
    if asked is None:
        typed.pop(BLANK, None)  # there is nothing to label in them, and the job may well be over
    as_before = [kind for kind in typed if typed[kind] == command("retry", status.job, f"--kind {kind}", flag)]
    # Without --kind, retry leaves rows alone that may have been paid for.
    if asked is None and list(typed) == as_before != [State.UNCONFIRMED] and as_before:
        return command("retry", status.job, flag)
    first = typed.get(status.reason_kind) or next(iter(typed.values()), "")
    return first or (MENDED + command("resume", status.job, flag) if status.unfinished else _export(status, flag))


def _export(status: Status, flag: str) -> str:
    return command("export", status.job, f"-o {shlex.quote(f'{_file_name(status.job)}-labels.csv')}", flag)


def _file_name(job: str) -> str:
    """A job's name in that of a file in this folder."""
    return re.sub(r"[^\w.-]+", "-", job).strip("-.") or "job"
