"""batchjob cache: the labels that are remembered, so that nobody pays for them again."""

from __future__ import annotations

import asyncio
import re
import time

import click

from batchjob.cli.options import database, db_flag, db_option
from batchjob.cli.show import show_document, show_lines
from batchjob.errors import SettingError
from batchjob.jobs.forgetting import forget_labels
from batchjob.numbers import DAY, HOUR, counted
from batchjob.ports import StoreReader
from batchjob.stores import open_reader
from batchjob.views.cache import Cache, CacheJob, cache_lines

SECONDS = {"h": HOUR, "d": DAY, "w": 7 * DAY}
ENTRY_BYTES, FILLING = 26, 0.75
"""Of a label in the cache: what stands beside it, and how full pages are that are filled in no order."""


@click.group("cache", invoke_without_command=False)
def command() -> None:
    """Labels remembered by text and task: the same text is not paid for again.

    Taking them out changes no job's rows. Labels stay that rows may still get from others of their job, whose texts
    are the same: those of jobs that are not finished, and those that failed rows may get when they are put back.
    """


@command.command("stats")
@db_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document")
def stats(db: str | None, as_json: bool) -> int:
    """Say how many labels are remembered, which job bought them, how old they are, and how large that is."""
    with open_reader(database(db)) as reader:
        cache = _cache(reader)
        flag = db_flag()
    if as_json:
        show_document(cache)
    else:
        show_lines(cache_lines(cache, flag, time.time()))
    return 0


@command.command("clear")
@db_option
def clear(db: str | None) -> int:
    """Forget every label, but for those that rows without one may still get."""
    removed, left = _forget(database(db), None)
    show_lines([f"{counted(removed, 'label')} forgotten, {left:,} left", *_why_left(left)])
    return 0


@command.command("prune")
@db_option
@click.option("--older-than", required=True, metavar="AGE", help="A number and h, d or w, such as 30d")
def prune(db: str | None, older_than: str) -> int:
    """Forget the labels that were bought longer ago than AGE."""
    removed, left = _forget(database(db), time.time() - age_seconds(older_than))
    show_lines([f"{counted(removed, 'label')} older than {older_than} forgotten, {left:,} left"])
    return 0


def _why_left(left: int) -> list[str]:
    why = "those stay that rows without a label may still get: in jobs that are not finished, or by a retry"
    return [why] if left else []


def age_seconds(written: str) -> float:
    """The seconds of an age such as 12h, 30d or 8w.

    Raises:
        SettingError: it is none.
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([hdw])", written.strip().lower(), re.ASCII)
    if found is None:
        raise SettingError(f"--older-than {written!r} is no age: give a number and h, d or w, such as 12h, 30d or 8w")
    return float(found[1]) * SECONDS[found[2]]


def _forget(path: str, before: float | None) -> tuple[int, int]:
    """Take labels out; how many, and how many are left.

    Raises:
        JobError: there is no database, or a job is running in it.
    """
    removed = asyncio.run(forget_labels(path, before=before))
    with open_reader(path) as reader:
        return removed, _cache(reader).labels


def _cache(reader: StoreReader) -> Cache:
    """What is remembered, and about how much room it takes."""
    jobs = reader.cache_by_job()
    labels = sum(job.labels for job in jobs)
    return Cache(
        labels=labels,
        fallbacks=sum(job.fallbacks for job in jobs),
        oldest_at=min((job.oldest_at for job in jobs), default=None),
        newest_at=max((job.newest_at for job in jobs), default=None),
        about_bytes=round((sum(job.label_bytes for job in jobs) + ENTRY_BYTES * labels) / FILLING),
        jobs=tuple([CacheJob(job.job, job.labels, job.oldest_at, job.newest_at) for job in jobs]),
    )
