"""What rules and routes share: patterns, and names that are told apart."""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Sequence

from batchjob.errors import SettingError


def compiled(kind: str, name: str, pattern: str | None) -> re.Pattern[str] | None:
    """A pattern ready to search with, without regard to case; None where there is none.

    Raises:
        SettingError: it is not a regular expression.
    """
    if pattern is None:
        return None
    try:
        return re.compile(pattern, re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise SettingError(f"{kind} {name!r}: pattern {pattern!r} is not valid: {error}") from None


def check_names(kind: str, names: Sequence[str]) -> None:
    """See that no two rules, or routes, have one name.

    Raises:
        SettingError: two have, or one has none.
    """
    times = Counter(names)
    for number, name in enumerate(names, 1):
        if not name.strip():
            raise SettingError(f"{kind} number {number} has a blank name: give it one, as reports show it")
        if times[name] > 1:
            raise SettingError(f"{kind} {name!r} is there twice: give each {kind} a name of its own")


def nearest(written: str, known: Sequence[str]) -> str:
    """A sentence that asks whether the nearest of the known names was meant; "" where none is near."""
    found = difflib.get_close_matches(written, known, n=1, cutoff=0.5)
    return f" Did you mean {found[0]!r}?" if found else ""
