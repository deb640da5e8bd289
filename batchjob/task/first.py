"""What the first model made of a row that is the second one's turn, as a database holds it (JSON)."""

from __future__ import annotations

import msgspec

from batchjob.states import Matched, Source


class First(msgspec.Struct, omit_defaults=True):
    """What the first model made of a row."""

    kind: str  # why the second is asked
    label: str | None = None  # that holds where the second has none
    source: Source | None = None
    matched: Matched | None = None
    confidence: float | None = None
    answer: str | None = None
    asked: str = ""  # what it was asked: see identity.asked_first; "": what the run asks that puts the row back
