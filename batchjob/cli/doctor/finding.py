"""What a check finds: a line of the report."""

from __future__ import annotations

from typing import NamedTuple

OK, WARNING, PROBLEM = "ok", "warning", "problem"


class Finding(NamedTuple):
    """What a check found, and what to do about it."""

    level: str
    about: str
    text: str
