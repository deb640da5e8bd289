"""The labels that are remembered: the document of `cache stats --json`, and lines for a person."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from batchjob.model import Value
from batchjob.numbers import DAY, HOUR, MINUTE, counted, size

MOST_JOBS = 20
"""Jobs listed for a person; a program gets all."""


class CacheJob(Value, frozen=True):
    """The labels that one job bought; `job` is None where the job is gone. Times are UTC epoch seconds."""

    job: str | None
    labels: int
    oldest_at: float
    newest_at: float


class Cache(Value, frozen=True):
    """What is remembered. Its fields are the keys of `cache stats --json`, in order: stable, but more may be added."""

    labels: int
    fallbacks: int
    oldest_at: float | None
    newest_at: float | None
    about_bytes: int
    jobs: tuple[CacheJob, ...]


def cache_lines(cache: Cache, flag: str, now: float) -> list[str]:
    """What a person reads of it; `flag` is the part of a command that names the database."""
    if cache.oldest_at is None or cache.newest_at is None:
        return ["no label is remembered yet"]
    fallbacks = f", {cache.fallbacks:,} of them the fallback" if cache.fallbacks else ""
    return [
        f"labels    {cache.labels:,} remembered{fallbacks}",
        *_job_lines(cache.jobs, now),
        f"age       {_ages(cache.oldest_at, cache.newest_at, now)}",
        f"size      about {size(cache.about_bytes)} in the database",
        f"next      batchjob cache prune --older-than 90d {flag}".rstrip(),
    ]


def _job_lines(jobs: Sequence[CacheJob], now: float) -> Iterator[str]:
    for job in sorted(jobs, key=lambda job: -job.labels)[:MOST_JOBS]:
        name = job.job or "a job that is gone"
        yield f"  {name}: {job.labels:,}, {_ages(job.oldest_at, job.newest_at, now)}"
    left = len(jobs) - MOST_JOBS
    if left > 0:
        yield f"  and {counted(left, 'more job')}: --json lists all"


def _ages(oldest_at: float, newest_at: float, now: float) -> str:
    newest, oldest = _age(now - newest_at), _age(now - oldest_at)
    return f"{newest} old" if newest == oldest else f"{newest} to {oldest} old"


def _age(seconds: float) -> str:
    """An age in one unit: that of a label matters by the day."""
    if seconds < HOUR:
        # A clock that was set back makes an age negative.
        return f"{max(int(seconds // MINUTE), 0)} min"
    return f"{int(seconds // HOUR)} h" if seconds < 2 * DAY else f"{int(seconds // DAY)} days"
