"""batchjob: label a big file through an OpenAI-compatible endpoint, resumable, and never paid twice.

From Python: `batchjob.label` labels a file, a list or a frame, and `batchjob.open` reads the jobs of a database. See
docs/guides/python.md. Nothing else is imported until one of the names below is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchjob.api.database import Database, open
    from batchjob.api.job import Job
    from batchjob.api.label import label
    from batchjob.api.table import Table
    from batchjob.errors import BatchjobError

__version__ = "0.1.0"
__all__ = ["BatchjobError", "Database", "Job", "Table", "__version__", "label", "open"]

_HOMES = {
    "BatchjobError": "batchjob.errors",
    "Database": "batchjob.api.database",
    "Job": "batchjob.api.job",
    "Table": "batchjob.api.table",
    "label": "batchjob.api.label",
    "open": "batchjob.api.database",
}


if not TYPE_CHECKING:  # a type checker is to know what is not there

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'batchjob' has no attribute {name!r}")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
