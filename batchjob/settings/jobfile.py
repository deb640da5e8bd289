"""What a user may set: the settings of a job, what is given beside them, and the job.toml that holds them."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from batchjob.errors import SettingError
from batchjob.settings.config import JobConfig
from batchjob.settings.declared import BEFORE, START, About, Because, Decides, Setting, declared

FILES = {
    "labels": Setting(
        "labels_file",
        About("task", "File with the labels, one a line or a JSON array.", "FILE", example="labels.txt"),
        Decides(but="its name"),
    ),
    "prompt": Setting(
        "prompt_file",
        About("task", "File with your own prompt.", "FILE", example="prompt.txt"),
        Decides(but="its name"),
    ),
}
"""Setting -> what names a file with its value instead."""

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


def read_job_toml(path: Path) -> dict[str, Any]:
    """The settings in a job.toml, as written there; a key that is unknown is refused with the nearest known one."""
    try:
        written = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"cannot read {path}: {error.strerror}. Write one with: batchjob init") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not valid TOML: {error}") from None
    known = [setting.name for setting in settings() if setting.about.in_file]
    for key in written:
        if key not in known:
            nearest = difflib.get_close_matches(key.replace("-", "_"), known, n=1, cutoff=0.5)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else f" Known keys: {', '.join(sorted(known))}."
            raise SettingError(f"{path}: unknown key {key!r}.{hint}")
    return resolve_files(written, base=path.parent, origin=str(path))


def resolve_files(given: dict[str, Any], *, base: Path, origin: str) -> dict[str, Any]:
    """Replace labels_file and prompt_file by what the files hold; relative paths start from base."""
    found = dict(given)
    for setting, file in FILES.items():
        key = file.name
        named = found.pop(key, None)
        if named is None:
            continue
        if setting in found:
            raise SettingError(f"{origin}: give {setting} or {key}, not both")
        try:
            text = (base / str(named)).read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise SettingError(f"{origin}: cannot read the {key} {named}: {error}") from None
        found[setting] = parse_labels_file(text, str(named)) if setting == "labels" else text
    return found


def parse_labels_file(text: str, origin: str) -> list[str]:
    """Labels from a file: a JSON array of strings, or one label a line (blank lines and # comments are left out)."""
    if text.lstrip().startswith("["):
        try:
            return msgspec.json.decode(text.encode(), type=list[str])
        except msgspec.DecodeError as error:
            raise SettingError(f"{origin} starts like a JSON array of labels, but is not one: {error}") from None
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]
