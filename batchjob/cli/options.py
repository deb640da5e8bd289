"""Options that several commands share. A flag that is not given is None, so that job.toml and defaults may speak."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_DB = "batchjob.db"
DEFAULT_CONFIG = Path("job.toml")


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Several options as one decorator, in this order in the help."""

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def database(given: str | None, *, configured: str | None = None) -> Path:
    """Where the database is: the flag, else job.toml, else BATCHJOB_DB, else batchjob.db here.

    Absolute, with links resolved: the lock lies beside it, and one database must not have two.
    """
    named = given or configured or _in_job_toml() or os.environ.get("BATCHJOB_DB") or DEFAULT_DB
    return Path(named).resolve()


def _in_job_toml() -> str | None:
    """The `db` of the job.toml here, which `start` goes by; what else is in it does not matter to other commands."""
    try:
        named = tomllib.loads(DEFAULT_CONFIG.read_text(encoding="utf-8")).get("db")
    except (OSError, ValueError):
        return None
    return named if isinstance(named, str) else None


db_option = click.option("--db", metavar="PATH", help=f"Database file  [env BATCHJOB_DB; default {DEFAULT_DB}]")
job_argument = click.argument("job", required=False)

# What may be another at each run: it decides how the work goes on, not which label a row gets.
run_options = together(
    click.option("--concurrency", type=int, metavar="N", help="Most requests in flight  [default 10]"),
    click.option("--rpm", type=float, metavar="N", help="Requests a minute, 0 for no limit  [default 600]"),
    click.option("--tpm", type=float, metavar="N", help="Tokens a minute, 0 for no limit  [default 0]"),
    click.option("--budget", type=float, metavar="USD", help="Most the job may cost, over all its runs"),
    click.option("--rows-per-request", type=int, metavar="N", help="Texts in one request  [default 1]"),
    click.option("--max-request-tokens", type=int, metavar="N", help="Of the texts in one request  [default 8000]"),
    click.option(
        "--response-format/--no-response-format",
        default=None,
        help="Ask for JSON by schema, if many rows a request  [default on]",
    ),
    click.option("--verify-sample", type=float, metavar="SHARE", help="Rows of many-row requests also asked alone"),
    click.option("--dedupe/--no-dedupe", default=None, help="Pay once for texts that are the same  [default on]"),
    click.option("--cache/--no-cache", default=None, help="Use labels of earlier jobs with this task  [default on]"),
    click.option("--limit", type=int, metavar="N", help="Only the first N rows; a later run goes on behind them"),
    click.option("--max-attempts", type=int, metavar="N", help="Tries of a row that cannot be completed  [default 5]"),
    click.option("--max-paid", type=int, metavar="N", help="Answers bought for a row, usable or not  [default 1]"),
    click.option("--timeout", type=float, metavar="SECONDS", help="For a whole answer  [default 120]"),
    click.option("--connect-timeout", type=float, metavar="SECONDS", help="For a connection  [default 10]"),
    click.option("--max-outage", type=float, metavar="SECONDS", help="Wait so long for a dead endpoint  [21600]"),
    click.option(
        "--on-unconfirmed",
        type=click.Choice(["resend", "hold"]),
        help="A request whose answer was never seen: send again, or wait for you  [default resend]",
    ),
    click.option("--api-key-env", metavar="NAME", help="Variable that holds the key  [default: see README]"),
    click.option("--output", metavar="FILE", help="Export the labels here when the run ends"),
    click.option("--quiet/--no-quiet", default=None, help="No progress, only warnings and errors"),
    click.option("--log-format", type=click.Choice(["console", "json"]), help="Of the log  [default console]"),
    click.option("--log-file", metavar="FILE", help="Append the log, with every detail, here instead of stderr"),
)

task_options = together(
    click.option("--base-url", metavar="URL", help="Endpoint, such as https://host/v1  [env OPENAI_BASE_URL]"),
    click.option("--model", metavar="NAME", help="As the endpoint calls it"),
    click.option("--labels", metavar="A,B,C", help="The label set"),
    click.option("--labels-file", metavar="FILE", help="The label set, one a line or a JSON array"),
    click.option("--fallback", metavar="LABEL", help="Taken when an answer is none of the labels"),
    click.option("--prompt", metavar="TEXT", help="Your own; {labels} and {text} are filled in"),
    click.option("--prompt-file", metavar="FILE", help="Your own, from a file"),
    click.option("--id-column", metavar="NAME", help="Column that names a row  [default id, else its number]"),
    click.option("--text-column", metavar="NAME", help="Column to label  [default text, else body]"),
    click.option("--format", metavar="NAME", help="Of INPUT, where its suffix does not tell: csv, tsv, jsonl"),
    click.option("--encoding", metavar="NAME", help="Of INPUT  [default utf-8]"),
    click.option("--max-tokens", type=int, metavar="N", help="Of an answer  [default: by the longest label]"),
    click.option("--temperature", type=float, metavar="T", help="0 for the most likely answer  [default 0]"),
)


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that were given, as settings."""
    settings = {name: value for name, value in flags.items() if value is not None}
    if "labels" in settings:
        settings["labels"] = [label.strip() for label in settings["labels"].split(",") if label.strip()]
    return settings
