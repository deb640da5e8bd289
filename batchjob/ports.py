"""The doors of the program: what the work may ask of the world. Each docstring is the contract.

A run is handed things of these shapes and knows nobody behind them; one test suite tests everything behind a door.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Protocol, Self

from batchjob.model import (
    Chunk,
    Control,
    Ending,
    InputRow,
    InputSource,
    Job,
    Key,
    Notice,
    Page,
    Remembered,
    Reply,
    Run,
    TaskRecord,
    Unheard,
    Write,
)
from batchjob.records import (
    CacheShare,
    Difference,
    Disagreements,
    Found,
    FoundRequests,
    Problem,
    RowDetail,
    RowFilter,
    Snapshot,
)


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


class Bodies(Protocol):
    """How an endpoint has its requests written."""

    def body(
        self,
        messages: Sequence[tuple[str, str]],
        *,
        model: str,
        max_tokens: int | None,
        temperature: float | None,
        response_format: dict[str, Any] | None,
        token_field: str = "max_tokens",
        params: Mapping[str, Any] = ...,
    ) -> bytes:
        """The request's body for these (role, content) messages. What is None is not sent.

        Args:
            token_field: under which name max_tokens goes.
            params: put over the request, key by key; "omit" leaves a key out.
        """
        ...


class Endpoint(Bodies, Protocol):
    """Something that completes chats."""

    async def send(self, body: bytes, client_key: str) -> Reply:
        """Send one request and give its reply. Never raises for anything the network or the endpoint does.

        The same client_key is to be used again only for the same body.
        """
        ...

    async def close(self) -> None:
        """Let go of all connections."""
        ...


class Store(Protocol):
    """A work table, opened for writing. One suite tests whatever stands behind this door: tests/stores.

    Every method that writes is one transaction, on the disk when it returns; it is never half done, whatever happens
    to the caller. `create_job` or `choose` comes first, and says which job all others are about.
    """

    # ------------------------------------------------------------ the job

    async def create_job(
        self, *, uid: str, name: str, source: InputSource, settings: bytes, task: TaskRecord, at: float
    ) -> None:
        """A new job. `settings` is a JobConfig as JSON, `at` UTC epoch seconds here and below."""
        ...

    async def choose(self, name: str) -> None:
        """The job of this name, or a JobError."""
        ...

    async def job(self) -> Job:
        """The job as it stands."""
        ...

    async def set_settings(self, settings: bytes) -> None:
        """What the job goes by from now on (a JobConfig as JSON)."""
        ...

    async def set_source(self, source: InputSource) -> None:
        """Where its input lies from now on."""
        ...

    async def set_prices(self, prices: bytes) -> None:
        """What its costs are reckoned at, for the reports (JSON)."""
        ...

    async def counts(self) -> dict[str, int]:
        """Its rows by state."""
        ...

    async def failures(self) -> dict[str, int]:
        """Its failed and unconfirmed rows by error kind."""
        ...

    async def retry(self, kinds: Sequence[str], *, at: float) -> int:
        """Put its failed or unconfirmed rows of these error kinds back to pending; how many."""
        ...

    async def recover(self, *, hold: bool, at: float) -> int:
        """Settle what dead runs left in flight: their requests are lost, their rows pending again, or unconfirmed
        where `hold` is set; then rows of requests lost before, which are pending, are unconfirmed too. The number of
        those requests. A request that outlives its run is not touched.
        """
        ...

    # ------------------------------------------------------------ a run of it

    async def begin_run(self, task: TaskRecord, *, fresh: bool, up_to: int | None, at: float) -> Run:
        """A run begins: the job is `running`, or `ingesting` while its input is not all read.

        Args:
            task: what it asks; requests and labels point to it.
            fresh: whether it wants rows that were never tried.
            up_to: the last row number it wants; None: all.
        """
        ...

    async def wanted(self) -> int:
        """How many of the job's pending rows the run wants: those up to `up_to`, and only those that were tried before
        where it is not `fresh`.
        """
        ...

    async def commit(self, writes: Sequence[Write]) -> Control:
        """Carry out the writes in one flushed transaction: results before claims, else in this order.

        Raises:
            DiskFull: there was no room; nothing of it was stored.
            CommitUnknown: the disk failed: it may be stored or not.
            StoreError: a row was not in the state its event starts from; nothing of it was stored.
        """
        ...

    async def next_page(self, limit: int) -> Page | None:
        """About `limit` rows to work on, each given out once a run; None where there are none now.

        First pending rows that were out before this run or put back by the user, those of a lost request together and
        never parted; then those that were never claimed, in input order. More may come while the input is read.
        """
        ...

    async def unheard_rows(self, *, after: int, limit: int) -> list[Unheard]:
        """Rows that were sent and whose answer nobody saw: held or failed ones of this job, and all of the other jobs
        that ask the same. With ids above `after`, in order, at most `limit`.
        """
        ...

    async def cached_labels(self, keys: Sequence[Key]) -> dict[Key, Remembered]:
        """The labels remembered under these keys, of whatever job."""
        ...

    async def learned(self, base_url: str) -> dict[str, bytes]:
        """What the endpoint at an address taught, by model (JSON); nothing where it taught nothing."""
        ...

    async def learn(self, base_url: str, model: str, facts: bytes, *, at: float) -> None:
        """What the endpoint teaches from now on, for every job; it replaces what was there."""
        ...

    async def draw(self, limit: int | None) -> tuple[int, int | None]:
        """What the job cost so far, lost requests at their worst case, and what this run may spend of `limit`; None
        where there is none. Picodollars (1e-12 USD).
        """
        ...

    async def end_run(self, ending: Ending, *, at: float) -> None:
        """The run is over: the job's state is now this, for this reason. Requests still out are for `recover`."""
        ...

    # ------------------------------------------------------------ besides

    async def remove(self) -> bool:
        """Delete the job with all that belongs to it: its texts are nowhere in the store after that. Labels it bought
        stay in the cache, which holds no texts. False where a reader still keeps the old pages on the disk; they go
        with it.
        """
        ...

    async def forget_labels(self, *, before: float | None) -> int:
        """Take labels out of the cache, all or those remembered before a time; how many. Those that jobs bought which
        are not finished stay.
        """
        ...

    def free_reserve(self) -> None:
        """After DiskFull: make the little room that is kept for the answers in hand."""
        ...

    async def close(self) -> None:
        """Close it; another process may open it for writing from now on."""
        ...


class StoreReader(Protocol):
    """A work table, opened for reading by any process at any time, also while a run writes. Nothing is written, and no
    read lasts so long that it holds the writer up.
    """

    @property
    def url(self) -> str:
        """Where it is, as the store was opened."""
        ...

    def job(self, name: str) -> Job:
        """The job of this name, or a JobError that names the nearest."""
        ...

    def jobs(self) -> list[Job]:
        """All jobs, the oldest first."""
        ...

    def names(self) -> set[str]:
        """The names of all jobs."""
        ...

    def latest(self, *, unfinished: bool = False) -> Job:
        """The job that was worked on last, or, where `unfinished` is set, the only one that is not finished. Those that
        `try` made for a few rows are left out.

        Raises:
            JobError: there is none, or there are several unfinished ones.
        """
        ...

    def by_input(self, place: str) -> list[Job]:
        """The jobs with this input (InputSource.place), the latest first."""
        ...

    def unread(self) -> list[Job]:
        """The jobs whose input is not read to its end."""
        ...

    def snapshot(self, name: str | None = None) -> Snapshot:
        """A job as it stands at one instant; the latest where no name is given."""
        ...

    def overview(self) -> list[Snapshot]:
        """Every job, the oldest first, with the counters of its rows alone: few questions, however many jobs."""
        ...

    def problems(self, job: Job, kind: str, limit: int) -> list[Problem]:
        """The first failed or unconfirmed rows of an error kind."""
        ...

    def noticed(self, job: Job) -> list[Notice]:
        """What was noticed while its input was read, in that order."""
        ...

    def export_rows(self, job: Job, *, only: str | None = None, asked: int | None = None) -> Iterator[tuple[Any, ...]]:
        """The rows of the job in input order, as ExportRow has them (plain tuples: a million are made).

        Args:
            only: rows in this state (pending: or in flight), `near` for those whose label was so matched, or of this
                error kind.
            asked: rows behind this number are left out where nothing was done about them.
        """
        ...

    def find_rows(
        self, job: Job, wanted: RowFilter, *, beyond: int, limit: int, most: int, backwards: bool = False
    ) -> Found:
        """The next rows of the job that are wanted, in input order.

        Args:
            beyond: the number of the row behind which is looked, or before which where it goes backwards.
            limit: of the rows found.
            most: of the rows looked at, so that it does not take long. Very long texts count for many rows.
        """
        ...

    def row(self, job: Job, number: int) -> RowDetail:
        """The row of this number, or a JobError."""
        ...

    def rows(self, job: Job, numbers: Collection[int]) -> list[tuple[Any, ...]]:
        """Some rows by their numbers, in input order, as ExportRow has them; a number that no row has is left out."""
        ...

    def disagreements(self, job: Job, *, beyond: int, most: int) -> Disagreements:
        """The rows that got another label when they were asked once more, in that order.

        Args:
            beyond: the request behind which is looked; 0: all.
            most: of the requests looked at, so that it does not take long.
        """
        ...

    def numbers(self, job: Job, keys: Collection[str]) -> dict[str, list[int]]:
        """The numbers of the rows that have these ids, in order; one id may stand in several rows."""
        ...

    def row_requests(self, job: Job, number: int, *, beyond: int, most: int) -> FoundRequests:
        """The requests that carried a row, those in flight too, in the order of sending.

        Args:
            beyond: the request behind which is looked; 0: all.
            most: of the requests looked at, so that it does not take long.
        """
        ...

    def unfinished_rows(self, job: Job) -> Iterator[list[tuple[int, InputRow]]]:
        """The pending and in-flight rows of the job in input order, by number, a page at a time."""
        ...

    def requests(self, job: Job) -> Iterator[tuple[Any, ...]]:
        """Every request of the job in the order of sending, those in flight too, as RequestRecord has them."""
        ...

    def cached_labels(self, keys: Sequence[Key]) -> dict[Key, Remembered]:
        """The labels remembered under these keys, of whatever job."""
        ...

    def learned(self, base_url: str) -> dict[str, bytes]:
        """What the endpoint at an address taught, by model (JSON)."""
        ...

    def remembers_labels(self) -> bool:
        """Whether there is any label in the cache."""
        ...

    def cache_by_job(self) -> list[CacheShare]:
        """What is in the label cache, by the job that bought it, the oldest job first."""
        ...

    def close(self) -> None:
        """Close it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class StoreCheck(StoreReader, Protocol):
    """A work table, opened to find out whether it is whole."""

    def version(self) -> tuple[int, int]:
        """The version of its tables, and the newest this program knows."""
        ...

    def damages(self) -> list[str]:
        """What is wrong with what it is stored in; nothing where all is well."""
        ...

    def differences(self) -> list[Difference]:
        """The counters that differ from what they count, at one instant, also while a job is running."""
        ...
