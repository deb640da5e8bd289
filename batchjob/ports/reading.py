"""The doors to a work table that is read."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol, Self

from batchjob.model import InputRow, Job, Key, Notice, Remembered
from batchjob.records import (
    CacheShare,
    Difference,
    Disagreements,
    Found,
    FoundRequests,
    Problem,
    RowDetail,
    RowFilter,
    Sent,
    Snapshot,
)


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

    def sent(self, job: Job, *, points: int) -> list[list[Sent]]:
        """When requests went out: of the latest run, and of each that was at work beside it, about so many of those
        that are over, evenly spread from the first to the last one.
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
