"""An outage of the endpoint as a person reads it: in the progress line, in `status` and in the log."""

from __future__ import annotations

from batchjob.model import Outage
from batchjob.numbers import moment
from batchjob.printable import printable


def outage_words(outage: Outage) -> str:
    """Since when, until when, and what was heard last."""
    when = f"next try {moment(outage.next_try)}, gives up {moment(outage.until)}"
    return f"no answer since {moment(outage.since)}, {when}: {printable(outage.error)}"
