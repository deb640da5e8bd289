"""The billing ledger: one JSON line per request, written before the first byte of its answer."""

from __future__ import annotations

import os

import msgspec

from batchjob.errors import BatchjobError


class LedgerRow(msgspec.Struct):
    """A row of a request, and the label the answer gives it; None where the answer gives none."""

    text: str
    label: str | None = None


class Line(msgspec.Struct):
    """What is known of a request. A bill is the sum over the lines that are `billed`.

    The tokens are those of the usage that the answer reports (or would have reported, had it arrived); 0 where it
    reports none.
    """

    n: int  # requests count from 1 in each process
    at: float  # when it was received, UTC epoch seconds
    client_key: str | None  # its Idempotency-Key
    request_id: str
    billed: bool = False
    replayed: bool = False  # the stored answer of an earlier request with this key
    fault: str | None = None
    status: int | None = None  # None: no status line was sent
    model: str | None = None
    rows: list[LedgerRow] = []
    input_tokens: int = 0
    output_tokens: int = 0


class Ledger:
    """The file, opened for appending; it is created readable by its owner alone. None: counted, not written."""

    def __init__(self, path: str | None) -> None:
        self.billed = 0  # requests billed by this process
        self._encoder = msgspec.json.Encoder()
        self._file = None if path is None else _open(path)

    def append(self, line: Line) -> None:
        """Write one line, in one write: lines of several processes never mix, and a kill never splits one.

        Raises:
            OSError: it was not written whole, so the request must not be answered.
        """
        if self._file is not None:
            written = self._encoder.encode(line) + b"\n"
            if os.write(self._file, written) != len(written):
                raise OSError("the ledger's disk is full")
        self.billed += line.billed

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BatchjobError(f"cannot write the ledger {path}: {error.strerror}") from None
