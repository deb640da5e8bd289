"""What a user may set: the settings of a job, what is given beside them, and the job.toml that holds them."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from batchjob.errors import SettingError
from batchjob.files import read_small, real_path
from batchjob.settings.config import JobConfig, merge
from batchjob.settings.declared import ALWAYS, BEFORE, RUNS, START, About, Because, Decides, Setting, declared
from batchjob.settings.endpoint import BASE_URL_VARIABLES, SANDBOX_URL
from batchjob.settings.labelsfile import read_labels_file

DEFAULT_CONFIG = Path("job.toml")
MOST_TOML_BYTES = 1024 * 1024
MOST_FILE_BYTES = 4 * MOST_TOML_BYTES
"""Of a prompt or of labels, which each request holds."""

FILES = {
    "labels": Setting(
        "labels_file",
        About(
            "task",
            "File with the labels: one a line, a JSON array, or CSV with label and description.",
            "FILE",
            example="labels.txt",
            commands=ALWAYS,
        ),
        Decides(but="its name"),
    ),
    "prompt": Setting(
        "prompt_file",
        About("task", "File with your own prompt.", "FILE", example="prompt.txt", commands=ALWAYS),
        Decides(but="its name"),
    ),
}
"""Setting -> what names a file with its value instead."""

KEY_COMMAND = "api_key_command"
ON_END = "on_end"
PROGRAMS = (KEY_COMMAND, ON_END)
"""What would run a program: never stored, and taken from a file only where the user has named that file."""

DB = Setting(
    "db",
    About("run", "Database file, which holds every row and label.", "PATH", env=("BATCHJOB_DB",)),
    Because("it keeps the labels", then="the jobs in that file"),
    default="batchjob.db",
)

BESIDE = (
    Setting(
        "dry_run",
        About(
            "run",
            "Say what would be done and what it would cost; send and write nothing.",
            commands=START,
            in_file=False,
        ),
        Because("nothing is asked", then="nothing is done"),
        bool,
        False,
    ),
    Setting(
        "show_prompt",
        About(
            "run",
            "Print the request of the first row as it would be sent; send and write nothing.",
            commands=START,
            in_file=False,
        ),
        Because("nothing is asked", then="nothing is done"),
        bool,
        False,
    ),
    DB,
    Setting(
        "config",
        About(
            "run",
            "Settings; a flag wins over it.",
            "FILE",
            "job.toml, if there is one",
            commands=BEFORE,
            in_file=False,
        ),
        Because("what stands in it may", then="by what stands in it"),
    ),
    Setting(
        KEY_COMMAND,
        About(
            "endpoint",
            "Command that prints the API key, asked again after a 401; in a file only if you name that file.",
            "COMMAND",
            "a variable holds the key",
            example="gcloud auth print-access-token",
            commands=("start", "try", "resume", "retry"),
        ),
        Because("it says who pays"),
    ),
    Setting(
        ON_END,
        About(
            "run",
            "Command to run when the run has ended, told its state in BATCHJOB_STATE and others; in a file only if you"
            " name that file.",
            "COMMAND",
            "none",
            example="notify-send batchjob done",
            commands=RUNS,
        ),
        Because("it is run afterwards"),
    ),
    Setting(
        "append",
        About("run", "Also the rows by which the input has grown.", commands=START, in_file=False),
        Because("the same is asked", then="the job goes on with the new rows"),
        bool,
        False,
    ),
    Setting(
        "new",
        About("run", "A new job, even if this input is labelled already.", commands=START, in_file=False),
        Because("the same is asked", then="another job"),
        bool,
        False,
    ),
)
"""What is given like a setting of a job, and is none."""


def settings() -> Iterator[Setting]:
    """All that can be set, in each group the common ones first."""
    yield from BESIDE
    for setting in declared(JobConfig):
        yield setting
        if setting.name in FILES:
            yield FILES[setting.name]


def with_environment(*layers: dict[str, Any]) -> JobConfig:
    """One JobConfig of the environment and several layers, later ones winning; see `merge`. The sandbox's address
    stands in the place of another.
    """
    environment = next(({"base_url": url} for name in BASE_URL_VARIABLES if (url := os.environ.get(name))), {})
    config = merge(environment, *layers)
    if not config.sandbox:
        return config
    return msgspec.structs.replace(config, base_url=SANDBOX_URL, model=config.model or "sandbox")


class Read(NamedTuple):
    """Settings as they were written somewhere, and the files with values of theirs, by their real paths."""

    settings: dict[str, Any]
    files: tuple[str, ...]


def read_job_toml(path: Path) -> Read:
    """The settings in a job.toml, as written there; a key that is unknown is refused with the nearest known one."""
    try:
        written = parse_job_toml(path)
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}. Write one with: batchjob init") from None
    except ValueError as error:
        raise SettingError(f"{path} is not valid TOML: {error}") from None
    known = [setting.name for setting in settings() if setting.about.in_file]
    for key in written:
        if key not in known:
            raise SettingError(f"{path}: unknown key {key!r}.{nearest_of(key, known)}")
    found, files = resolve_files(written, base=path.parent, origin=str(path))
    return Read(found, (real_path(str(path)), *files))


def nearest_of(key: str, known: Sequence[str]) -> str:
    """What a key may have been meant to be, as a sentence behind a space."""
    nearest = difflib.get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0.6)
    return f" Did you mean {nearest[0]!r}?" if nearest else f" Known keys: {', '.join(sorted(known))}."


def parse_job_toml(path: Path) -> dict[str, Any]:
    """What stands in a job.toml.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not TOML.
    """
    try:
        return tomllib.loads(read_small(path, MOST_TOML_BYTES).decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def resolve_files(given: dict[str, Any], *, base: Path, origin: str) -> Read:
    """Replace labels_file and prompt_file by what the files hold; relative paths start from base."""
    found, files = dict(given), []
    if isinstance(labels := found.get("labels"), dict):  # the table [labels] of a job.toml
        found |= {"labels": list(labels), "descriptions": labels}
    for setting, file in FILES.items():
        key = file.name
        named = found.pop(key, None)
        if named is None:
            continue
        if setting in found:
            raise SettingError(f"{origin}: give {setting} or {key}, not both")
        files.append(real_path(str(base / str(named))))
        try:
            text = read_small(base / str(named), MOST_FILE_BYTES).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise SettingError(f"{origin}: cannot read the {key} {named}: {why}") from None
        if setting == "labels":
            found |= read_labels_file(text, str(named))
        else:
            found[setting] = text.replace("\r\n", "\n")  # as TOML has it: a Windows editor makes no other job of it
    return Read(found, tuple(files))
