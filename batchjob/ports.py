"""The doors of the program: what the work may ask of the world. Each docstring is the contract.

The runner is handed things of these shapes and knows nobody behind them; one test suite tests everything behind a
door.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from batchjob.model import Chunk, Heard, InputSource, Parcel, Remembered, Row, Run, Unheard, Write
from batchjob.states import JobState


class Reader(Protocol):
    """An input, opened and its header checked."""

    source: InputSource

    def chunks(self, *, position: int, digest: str, number: int, chunk_rows: int) -> Iterator[Chunk]:
        """The input's rows from a position on, a chunk at a time; the last chunk, perhaps empty, is `complete`.

        Position, digest and number are those of the last chunk stored (0, "" and 1 at the beginning): reading goes on
        behind it with `number` as the next row's number. Memory does not grow with the input.

        Raises:
            InputChanged: what stands before `position` is not what was read then.
            InputError: from here on the input cannot be read; what was yielded before stands.
        """
        ...


class Endpoint(Protocol):
    """Something that completes chats."""

    def body(
        self,
        messages: Sequence[tuple[str, str]],
        *,
        model: str,
        max_tokens: int,
        temperature: float,
        response_format: dict[str, Any] | None,
    ) -> bytes:
        """The request's body for these (role, content) messages."""
        ...

    async def send(self, body: bytes, client_key: str) -> Heard:
        """Send one request and say what was heard. Never raises for anything the network or the endpoint does.

        The same client_key is to be used again only for the same body.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class Store(Protocol):
    """The work table, opened for writing by the one process that may.

    Every method that writes is one transaction, on the disk when it returns; it is never half done, whatever happens
    to the caller.
    """

    async def commit(self, writes: Sequence[Write]) -> None:
        """Carry out the writes, in this order, in one flushed transaction.

        Raises:
            DiskFull: there was no room; nothing of it was stored.
            CommitUnknown: the disk failed: it may be stored or not.
            StoreError: a row was not in the state its event starts from; nothing of it was stored.
        """
        ...

    async def fresh_rows(self, *, after: int, limit: int) -> list[Row]:
        """Rows never claimed so far with numbers above `after`, in order, at most `limit`."""
        ...

    async def returned_parcels(
        self, *, after: tuple[int, int] | None, limit: int
    ) -> tuple[list[Parcel], tuple[int, int]]:
        """Pending rows claimed before this run, or put back by the user; the rows of a lost request stay together.

        Those that were never claimed come last. Begin with after=None; the second value returned is the `after` of the
        next page. About `limit` rows.
        """
        ...

    async def unheard_rows(self, *, after: int, limit: int) -> list[Unheard]:
        """Rows that went out and were not heard of: held or failed ones of this job, and all of the other jobs that ask
        the same. With ids above `after`, in order, at most `limit`.
        """
        ...

    async def recover(self, *, hold: bool, at: float) -> int:
        """Settle what a dead run left in flight: its requests are lost, its rows pending again, or unconfirmed where
        `hold` is set. The number of those requests.
        """
        ...

    async def retry(self, kinds: Sequence[str], *, at: float) -> int:
        """Put the failed or unconfirmed rows of these error kinds back to pending; how many."""
        ...

    async def set_settings(self, settings: bytes) -> None:
        """What the job goes by from now on (a JobConfig as JSON)."""
        ...

    async def begin_run(self, *, at: float) -> Run:
        """A run of the job begins: its state is `running`, or `ingesting` while the input is not all read."""
        ...

    async def end_run(self, state: JobState, reason: str, *, at: float) -> None:
        """The run is over, and this is what the job's state is now. Requests without an outcome are for `recover`."""
        ...

    async def spent_picousd(self) -> int:
        """What the job's requests cost so far, lost ones at their worst case (1e-12 USD)."""
        ...

    async def cached_labels(self, keys: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Remembered]:
        """The labels remembered under these keys, of whatever job."""
        ...

    async def counts(self) -> dict[str, int]:
        """Rows by state."""
        ...

    def free_reserve(self) -> None:
        """After DiskFull: make the little room that is kept for the answers in hand."""
        ...

    async def close(self) -> None:
        """Close the file; another process may open it for writing from now on."""
        ...
