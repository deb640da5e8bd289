"""batchjob for a program or a notebook: what the package offers by name. See docs/guides/python.md.

The process belongs to the caller: collector, switch interval, signals, folder, warnings and streams stay as they are.
"""

from __future__ import annotations

import msgspec

from batchjob.model import InputSource, Outage
from batchjob.money.cost import KnownPrice
from batchjob.money.prices import load_prices
from batchjob.providers.dialect import Learned
from batchjob.providers.table import known
from batchjob.settings.config import JobConfig
from batchjob.task.first import First


def _know_types() -> None:
    """msgspec looks at a type when it first decodes it, and crashes where two threads do so at once.

    So it is done here, while one thread imports this package and all others wait for that.
    """
    for kind in (JobConfig, InputSource, Outage, Learned, First, dict[str, KnownPrice]):
        msgspec.json.Decoder(kind)
    known()
    load_prices()


_know_types()
