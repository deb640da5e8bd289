"""Errors in a caller's words: settings are named as arguments, and what to type next is a note below."""

from __future__ import annotations

import contextlib
import re
import shlex
from collections.abc import Iterator

from batchjob.errors import BatchjobError
from batchjob.printable import printable, without_passwords
from batchjob.settings.jobfile import settings
from batchjob.views.next_steps import after_error

_OPTION = re.compile(r"(?<![\w-])--([a-z][a-z-]*)")


def in_python(text: str) -> str:
    """A sentence of the command line with its options as arguments: --base-url URL is base_url URL, --new new=True."""
    known = {setting.option[2:]: setting for setting in settings()}

    def argument(option: re.Match[str]) -> str:
        setting = known.get(option[1])
        if setting is None:
            return option[1].replace("-", "_")
        return f"{setting.name}=True" if setting.kind is bool else setting.name

    return _OPTION.sub(argument, printable(without_passwords(text)))


@contextlib.contextmanager
def errors_in_python(db: str) -> Iterator[None]:
    """Around what is done for a caller: known errors are raised anew in a caller's words."""
    try:
        yield
    except BatchjobError as error:
        raise reworded(error, db) from None


def reworded(error: BatchjobError, db: str) -> BatchjobError:
    """The error in a caller's words."""
    said = type(error)(in_python(str(error)), then=error.then)
    if error.then:
        said.add_note(f"on the command line: {after_error(error.then, f'--db {shlex.quote(without_passwords(db))}')}")
    return said
