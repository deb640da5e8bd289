"""How many rows may fail before it is worth an exit code: what --allow-failed and --blank say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from batchjob.errors import SettingError
from batchjob.settings.config import JobConfig
from batchjob.states import State

BLANK = "blank_text"
"""The error kind of a row whose text shows nothing."""
_AMOUNT = re.compile(r"\d{1,18}|\d{1,3}(\.\d{1,9})?%", re.ASCII)


class Failures(NamedTuple):
    """The rows of a job that have no label and will get none by themselves."""

    failed: int  # but for those that are skipped
    skipped: int  # blank ones, which --blank skip lets pass
    held: int  # unconfirmed: they wait for the user
    allowed: int  # failed rows that --allow-failed lets pass

    @classmethod
    def of(cls, config: JobConfig, rows: Mapping[str, int], kinds: Mapping[str, int]) -> Failures:
        """Those of a job with these rows by state, and failed rows by error kind."""
        skipped = kinds.get(BLANK, 0) if config.blank == "skip" else 0
        failed = rows.get(State.FAILED, 0) - skipped
        allowed = allowed_of(config.allow_failed, sum(rows.values()))
        return cls(failed, skipped, rows.get(State.UNCONFIRMED, 0), allowed)

    @property
    def too_many(self) -> bool:
        """Whether the user must know: a held row always is for the user to decide."""
        return self.held > 0 or self.failed > self.allowed


def allowed_of(amount: str, total: int) -> int:
    """How many of so many rows may fail: `5`, or `2%` of them, rounded down.

    Raises:
        SettingError: it is neither.
    """
    if not _AMOUNT.fullmatch(amount) or (amount[-1] == "%" and Decimal(amount[:-1]) > 100):
        raise SettingError(f"allow_failed {amount!r} is no number of rows: give one such as 5, or a share such as 2%")
    return int(Decimal(amount[:-1]) * total / 100) if amount[-1] == "%" else int(amount)
