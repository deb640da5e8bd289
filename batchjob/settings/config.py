"""JobConfig: every setting of a job, and its default.

Settings come from the environment, job.toml and flags, the later winning over the earlier (see `merge`). A setting is
declared once, at its field: the flags, `batchjob init` and docs/reference/settings.md are made from that.
"""

# No `from __future__ import annotations`: msgspec would compile the text of each annotation at every start.

import re
from functools import cache
from math import isinf
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from batchjob.errors import SettingError
from batchjob.model import Job
from batchjob.settings.asked import TaskSettings
from batchjob.settings.declared import RUNS, START, About, Because, Decides, declared
from batchjob.settings.pairs import READERS, check_variable, merged
from batchjob.settings.tables import Amount, Count, Field, Length, Price, Share

OTHER_ROWS = "refused for rows that are read: add --new"

MOST_LABELS, MOST_LABEL_CHARACTERS = 10_000, 1_000
KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "a table",
}
"""msgspec's word for a kind of value -> ours."""
DEEPEST = 50
"""Of tables in tables: a request's parameters have a few."""
Tries = Annotated[int, Meta(ge=1, le=100)]
Positive = Annotated[float, Meta(gt=0)]
Status = Annotated[int, Meta(ge=500, le=599)]


class JobConfig(TaskSettings, msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All settings of a job, group by group, the common ones first. Durations are seconds, money is USD. A default
    that is None means "not set".
    """

    text_column: Annotated[
        str | None,
        About("input", "Column with the text.", "NAME", "text, else body, else the only one", "text"),
        Decides(),
    ] = None
    id_column: Annotated[
        str | None,
        About("input", "Column that names a row.", "NAME", "id, else the row's number", "id"),
        Because("it names rows", then=OTHER_ROWS),
    ] = None
    format: Annotated[
        str | None,
        About("input", "Format of the input, such as csv, if its name does not tell.", "NAME", "by the suffix", "csv"),
        Because("a file has one format, and with another it is not read"),
    ] = None
    encoding: Annotated[
        str,
        About("input", "Encoding of the input, such as cp1252; a byte order mark wins over it.", "NAME"),
        Decides(),
    ] = "utf-8"
    delimiter: Annotated[
        str | None,
        About(
            "input", "What separates the fields of a CSV file; tab for a tab.", "CHAR", "as its beginning has it", ";"
        ),
        Because("with another the file has other rows", then=OTHER_ROWS),
    ] = None
    skip_lines: Annotated[
        Length,
        About("input", "Lines to leave out above the header."),
        Because("it says where the table begins", then=OTHER_ROWS),
    ] = 0
    header_row: Annotated[
        bool | None,
        About(
            "input",
            "Whether the first line names the columns; without, they are text, or column_1 and so on.",
            unset="the first line, if it looks like one",
            example=True,
        ),
        Because("it says where the rows begin", then=OTHER_ROWS),
    ] = None

    concurrency: Annotated[
        int, Meta(ge=1, le=4096), About("limits", "Most requests in flight."), Because("it sets the pace")
    ] = 10
    rpm: Annotated[Amount, About("limits", "Most requests a minute; 0 for no limit."), Because("it sets the pace")] = (
        600
    )
    tpm: Annotated[Amount, About("limits", "Most tokens a minute; 0 for no limit."), Because("it sets the pace")] = 0
    max_attempts: Annotated[
        Tries, About("limits", "Most tries of a row that cannot be completed."), Because("each try asks the same")
    ] = 5
    timeout: Annotated[
        Positive,
        About("limits", "Seconds to wait for a whole answer.", "SECONDS"),
        Because("an answer that comes too late is none"),
    ] = 120.0
    connect_timeout: Annotated[
        Positive,
        About("limits", "Seconds to wait for a connection.", "SECONDS"),
        Because("nothing is asked before there is one"),
    ] = 10.0
    max_outage: Annotated[
        Amount | None,
        About(
            "limits",
            "Seconds to wait for an endpoint that is down, before the run stops.",
            "SECONDS",
            "six hours, but a minute where none of the job's requests ever reached it",
            21600.0,
        ),
        Because("nothing is answered meanwhile"),
    ] = None

    wait_for_quota: Annotated[
        bool,
        About("limits", "Wait for a quota of a day or a month that is used up, however long; else the run stops."),
        Because("nothing is answered meanwhile"),
    ] = False

    budget: Annotated[
        Positive | None,
        About("money", "Most USD the job may cost, over all its runs; needs a price.", "USD", "no limit", 5.0),
        Because("it stops a run and changes no answer"),
    ] = None
    rows_per_request: Annotated[
        int,
        Meta(ge=1, le=1000),
        About("money", "Texts sent in one request; more is cheaper and a little less exact."),
        Because("each text is asked the same"),
    ] = 1
    max_request_tokens: Annotated[
        int,
        Meta(ge=100),
        About("money", "Most tokens of the texts in one request."),
        Because("each text is asked the same"),
    ] = 8000
    response_format: Annotated[
        bool | None,
        About(
            "money",
            "Hold answers to the labels by a schema, where the endpoint takes that.",
            unset="those for several texts; if on, all",
            example=True,
        ),
        Because("it is the form of an answer"),
    ] = None
    confidence: Annotated[
        bool,
        About("money", "Ask for the probabilities of tokens, and keep with each label how sure the model was."),
        Because("the answer is the same"),
    ] = False
    verify_sample: Annotated[
        Share,
        About("money", "Share of texts sent together to send again alone, to see how many labels agree.", "SHARE"),
        Because("the second answer is only counted"),
    ] = 0.0
    dedupe: Annotated[
        Literal["exact", "loose", "off"],
        About(
            "money",
            "Pay once for texts that are the same; loose: also where only case or closing .!? differ.",
        ),
        Because("it says which rows share an answer, not what is asked"),
    ] = "exact"
    cache: Annotated[
        bool,
        About("money", "Use the labels that earlier jobs with this task have paid for."),
        Because("they are answers to the same question"),
    ] = True
    max_paid: Annotated[
        Tries, About("money", "Most answers bought for a row, usable or not."), Because("each is asked the same")
    ] = 1
    price: Annotated[
        tuple[Amount, Amount] | None,
        About("money", "USD for a million tokens sent to --model, and answered.", "IN,OUT", "as known", (0.1, 0.4)),
        Because("it changes no answer"),
    ] = None
    prices: Annotated[
        dict[str, Price],
        About("money", "What a model costs.", "MODEL", "those that are known", "small-model"),
        Because("it changes no answer"),
    ] = {}

    limit: Annotated[
        Count | None,
        About("run", "Only the first N rows; a later run goes on behind them.", unset="all rows", example=100),
        Because("it chooses rows"),
    ] = None
    name: Annotated[
        str | None,
        About("run", "Name of the job.", "NAME", "by the input's name", "tickets", commands=START),
        Because("it is for you", then="another job"),
    ] = None
    on_unconfirmed: Annotated[
        Literal["resend", "hold"],
        About("run", "A request whose answer was never seen: send it again, or wait for you."),
        Because("the same is asked again"),
    ] = "resend"
    lease: Annotated[
        float,
        Meta(ge=1, le=3600),
        About(
            "run",
            "With several workers: seconds without a sign of life after which one is taken for dead.",
            "SECONDS",
            commands=RUNS,
        ),
        Because("it says who works, not what is asked"),
    ] = 60.0
    unpaid_status: Annotated[
        tuple[Status, ...],
        About(
            "run",
            "Statuses of a 5xx without JSON that mean nothing was done or paid for, such as nginx's 503.",
            "N,N",
            "each may have been paid",
            (503,),
        ),
        Because("it says what a refusal may have cost"),
    ] = ()

    allow_failed: Annotated[
        str,
        About(
            "run",
            "Failed rows that are no reason for exit code 4: a number, or a share such as 2%.",
            "N|P%",
            commands=RUNS,
        ),
        Because("it is about the exit code"),
    ] = "0"
    blank: Annotated[
        Literal["fail", "skip"],
        About(
            "run",
            "A row with a blank text and no --fallback for it: failed, or skipped, which is no failure to tell of.",
            commands=RUNS,
        ),
        Because("such a row has no label either way"),
    ] = "fail"

    output: Annotated[
        str | None,
        About("output", "Export the labels to this file when the run ends.", "FILE", "no export", "labels.csv"),
        Because("it is written afterwards"),
    ] = None
    quiet: Annotated[
        bool, About("output", "No progress, only warnings and errors."), Because("it is for who watches")
    ] = False
    log_format: Annotated[
        Literal["console", "json"], About("output", "Format of the log."), Because("it is for who watches")
    ] = "console"
    log_file: Annotated[
        str | None,
        About("output", "Append the log, with every detail, to this file.", "FILE", "stderr", "batchjob.log"),
        Because("it is for who watches"),
    ] = None


def models_of(config: JobConfig) -> tuple[str, ...]:
    """The models that a job may ask, each once: the one that is set first."""
    second = () if config.second_model is None else (config.second_model,)
    return tuple(dict.fromkeys((config.model, *(route.model for route in config.routes), *second)))


@cache
def deciding() -> tuple[str, ...]:
    """The names of the settings that decide the label of a text."""
    return tuple(setting.name for setting in declared(JobConfig) if setting.decides)


def merge(*layers: dict[str, Any]) -> JobConfig:
    """One JobConfig of several layers of settings, later ones winning.

    Raises:
        SettingError: a value has the wrong type or is out of range; the text names the setting.
    """
    settings: dict[str, Any] = {}
    for layer in layers:
        if "labels" in layer and "descriptions" in settings:  # of other labels they say nothing
            settings["descriptions"] = {k: v for k, v in settings["descriptions"].items() if k in layer["labels"]}
        together = {
            name: merged(settings.get(name, {}), layer[name]) for name in READERS if isinstance(layer.get(name), dict)
        }
        settings.update({**layer, **together})
    for beside in ("db", "api_key_command", "on_end"):  # in a job.toml, and no settings of a job
        settings.pop(beside, None)
    if settings.get("temperature") is not None and isinstance(settings["temperature"], int):
        settings["temperature"] = float(settings["temperature"])
    if isinstance(settings.get("allow_failed"), int):  # as one writes it in job.toml
        settings["allow_failed"] = str(settings["allow_failed"])
    _check_plain(settings)
    try:
        config = msgspec.convert(settings, JobConfig)
    except msgspec.ValidationError as error:
        message, _, where = str(error).partition(" - at `$.")
        raise SettingError(f"setting {where.rstrip('`') or '?'}: {_in_words(message, where)}") from None
    check_variable(config.api_key_env)
    return config


def settings_of(job: Job) -> JobConfig:
    """The settings of a job's last run."""
    return msgspec.json.decode(job.settings, type=JobConfig)


def _in_words(message: str, where: str) -> str:
    """What msgspec says of a value, in the words of somebody who writes settings."""

    def kinds(found: re.Match[str]) -> str:
        named = [KINDS.get(kind, kind) for kind in found[1].split(" | ") if kind != "null"]
        return " or ".join(named) or "nothing"

    if lacking := re.fullmatch(r"Object missing required field `(\w+)`", message):
        return f"{lacking[1]} is missing"
    if message.startswith("Invalid enum value"):
        return f"{message.partition(' value ')[2]} is none of those it may be: {', '.join(_choices(where))}"
    said = re.sub(r"`([^`]+)`", kinds, message[:1].lower() + message[1:])
    for sign, words in ((" >= ", " of at least "), (" <= ", " of at most "), (" > ", " above "), (" < ", " below ")):
        said = said.replace(sign, words)
    said = said.replace("expected a list,", 'expected a list such as ["a", "b"],')
    return said.removesuffix(".0")


def _check_plain(settings: dict[str, Any]) -> None:
    """See that values can be used and stored.

    Raises:
        SettingError: a number is not finite, a value is nested too deeply, or there are too many labels.
    """
    labels = settings.get("labels")
    if isinstance(labels, list | tuple) and len(labels) > MOST_LABELS:
        raise SettingError(
            f"setting labels: {len(labels):,} are more than a model can be told, {MOST_LABELS:,} at most"
        )
    left = [(name, value, 0) for name, value in settings.items()]
    while left:
        where, value, depth = left.pop()
        if isinstance(value, float) and isinf(value):
            raise SettingError(f"setting {where}: expected a number that is finite")
        if depth > DEEPEST:
            raise SettingError(f"setting {where.partition('.')[0]}: it is nested too deeply")
        if isinstance(value, dict):
            left += [(f"{where}.{name}", inner, depth + 1) for name, inner in value.items()]
        elif isinstance(value, list | tuple) and where != "labels":
            left += [(where, inner, depth + 1) for inner in value]


def _choices(where: str) -> list[str]:
    """The values that may stand at a place such as `thinking` or `fields[0].kind`."""
    from msgspec.inspect import LiteralType, StructType, UnionType, type_info

    name = where.rstrip("`").rpartition(".")[2]
    structs = [each for each in map(type_info, (JobConfig, Field)) if isinstance(each, StructType)]
    types = [field.type for struct in structs for field in struct.fields if field.name == name]
    parts = [part for each in types for part in (each.types if isinstance(each, UnionType) else (each,))]
    return [str(value) for part in parts if isinstance(part, LiteralType) for value in part.values]
