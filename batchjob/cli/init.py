"""batchjob init: a job.toml with every setting, its default and what it does."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import click
import msgspec

from batchjob.cli.show import show_lines
from batchjob.config import JobConfig
from batchjob.errors import BatchjobError
from batchjob.outputs.target import check_target, opened

SECTIONS: dict[str, dict[str, tuple[Any, str]]] = {
    "What every job needs": {
        "base_url": ("https://host/v1", "Endpoint; it usually ends in /v1. Or the variable OPENAI_BASE_URL."),
        "model": ("small-model", "As the endpoint calls it."),
        "labels": (["billing", "refund", "other"], 'The label set. Or, of a file: labels_file = "labels.txt".'),
    },
    "What else a row's label depends on: a job with other values is another job": {
        "fallback": ("other", "Taken when an answer is none of the labels, or a text blank. Not set: such rows fail."),
        "prompt": (
            "Answer with one of these labels alone: {labels}\n\n{text}",
            'Your own; {labels} and {text} are filled in. Or: prompt_file = "prompt.txt". Not set: one is made.',
        ),
        "id_column": ("id", "Column that names a row. Not set: id, else rows are known by their number."),
        "text_column": ("text", "Column to label. Not set: text, else body."),
        "encoding": ("utf-8", "Of the input."),
        "max_tokens": (16, "Of an answer. Not set: by the longest label. Models that think need hundreds."),
        "temperature": (0.0, "0 for the most likely answer."),
    },
    "How a run goes about it: may be another each time": {
        "db": ("batchjob.db", "The database, which holds every row and label."),
        "name": ("tickets", "Of the job. Not set: by the input's name."),
        "format": ("csv", "Of the input, where its suffix does not tell: csv, tsv, jsonl, parquet."),
        "api_key_env": ("OPENAI_API_KEY", "Variable that holds the key. Never write the key itself here."),
        "concurrency": (10, "Most requests in flight."),
        "rpm": (600.0, "Requests a minute; 0 is no limit."),
        "tpm": (0.0, "Tokens a minute; 0 is no limit."),
        "budget": (5.0, "USD a job may cost in all; the rest stays pending. Needs a price of the model."),
        "rows_per_request": (1, "Rows sent in one request: cheaper, and a little less exact."),
        "max_request_tokens": (8000, "Most tokens of a request that carries several rows."),
        "response_format": (True, "Ask for several rows as JSON by schema, where the endpoint takes that."),
        "verify_sample": (0.0, "Share of such rows, 0 to 1, asked once more alone, to see how many agree."),
        "dedupe": (True, "Pay once for a text that stands in the input several times."),
        "cache": (True, "Take labels bought before, by any job in the database with the same task."),
        "limit": (100, "Only the first N rows, to try it out; a later run goes on behind them."),
        "max_attempts": (5, "Tries of a row that cannot be completed."),
        "max_paid": (1, "Answers bought for a row, usable or not."),
        "timeout": (120.0, "Seconds for a whole answer."),
        "connect_timeout": (10.0, "Seconds for a connection."),
        "max_outage": (21600.0, "Seconds to wait for an endpoint that is down, before the run stops."),
        "on_unconfirmed": ("resend", 'A request whose answer was never seen: "resend", or "hold" until you decide.'),
        "output": ("labels.csv", "Export the labels here when the run ends."),
        "sandbox": (False, "Run against the built-in endpoint: no key, no cost, toy labels."),
        "quiet": (False, "No progress, only warnings and errors."),
        "log_format": ("console", 'Of the log: "console" or "json".'),
        "log_file": ("batchjob.log", "Append the log, with every detail, here instead of to stderr."),
    },
}
"""Heading -> key -> (value shown where the key has no default, what it does). `db` alone is no setting of JobConfig."""

TABLES: dict[str, tuple[str, dict[str, Any], str]] = {
    "rules": ("[[rules]]", {"name": "thanks", "label": "other", "pattern": "^thanks"}, "A label for free, by pattern."),
    "routes": ("[[routes]]", {"name": "long", "model": "large-model", "min_length": 2000}, "Rows for another model."),
    "prices": (
        '[prices."small-model"]',
        {"input": 0.1, "cached_input": 0.05, "output": 0.4},
        "What a model costs: USD per million tokens.",
    ),
}
"""Key -> (heading, an example, what it does). In TOML they stand behind everything else."""


@click.command("init")
@click.argument("file", default="job.toml")
@click.option("--force", is_flag=True, help="Replace FILE if it is there")
def command(file: str, force: bool) -> int:
    """Write FILE (job.toml, if not named) with every setting, its default and what it does.

    Every setting is commented out: take the # away from those you set. - is stdout.
    """
    path = Path(file)
    if file != "-":
        if not force and path.is_file():
            raise BatchjobError(f"{file} is there already: add --force to replace it, or name another file")
        check_target(path)
    with opened(file) as target:
        target.write(job_toml().encode())
    if file != "-":
        option = "" if file == "job.toml" else f" --config {shlex.quote(file)}"
        show_lines(
            [
                f"{file} is written: set base_url, model and labels in it",
                f"next      batchjob start INPUT{option}",
            ]
        )
    return 0


def job_toml() -> str:
    """The text of a job.toml in which every key is commented out."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(JobConfig)}
    lines = [
        "# Settings of batchjob. A flag wins over this file, and this file over the environment.",
        "# Take the # away from what you set. A value is the default or, where there is none, an example.",
    ]
    for heading, keys in SECTIONS.items():
        lines += ["", f"# ---- {heading}"]
        for key, (example, meaning) in keys.items():
            default = defaults.get(key, example)
            is_set = default not in (None, "", ())
            lines += ["", f"# {meaning}{'' if is_set or 'Not set:' in meaning else ' No default.'}"]
            lines.append(f"#{key} = {_toml(default if is_set else example)}")
    lines += ["", "# ---- Tables: they stand last; leave them out where you need none"]
    for heading, example, meaning in TABLES.values():
        lines += ["", f"# {meaning}", f"#{heading}", *(f"#{key} = {_toml(value)}" for key, value in example.items())]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    """A value in TOML, which has JSON's strings, numbers, truth values and arrays."""
    return json.dumps(value, ensure_ascii=False)
