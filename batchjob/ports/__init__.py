"""The doors of the program: what the work may ask of the world. Each docstring is the contract.

A run is handed things of these shapes and knows nobody behind them; one test suite tests everything behind a door.
"""

from batchjob.ports.control import ENDS_ALL, SURE, Asking, Control, Drawn
from batchjob.ports.corrections import CorrectionLog
from batchjob.ports.endpoint import Bodies, Endpoint
from batchjob.ports.input import Reader
from batchjob.ports.reading import StoreCheck, StoreReader
from batchjob.ports.store import Store

__all__ = [
    "ENDS_ALL",
    "SURE",
    "Asking",
    "Bodies",
    "Control",
    "CorrectionLog",
    "Drawn",
    "Endpoint",
    "Reader",
    "Store",
    "StoreCheck",
    "StoreReader",
]
