"""batchjob cache: the labels that are remembered, so that nobody pays for them again."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import click

from batchjob.cli.options import database, db_option
from batchjob.cli.show import db_flag, show_document, show_lines
from batchjob.errors import SettingError
from batchjob.stores.sqlite.reader import StoreReader
from batchjob.stores.sqlite.store import open_store

SECONDS = {"h": 3600, "d": 86400, "w": 7 * 86400}
MOST_JOBS = 20
ENTRY_BYTES, FILLING = 26, 0.75
"""Of a label in the cache: what stands beside it, and how full pages are that are filled in no order."""


@click.group("cache", invoke_without_command=False)
def command() -> None:
    """Labels remembered by text and task: the same text is not paid for again.

    Taking them out changes no job's rows. An unfinished job may pay again for texts it has labelled.
    """


@command.command("stats")
@db_option
@click.option("--json", "as_json", is_flag=True, help="One JSON document")
def stats(db: str | None, as_json: bool) -> int:
    """Say how many labels are remembered, which job bought them, how old they are, and how large that is."""
    with StoreReader(database(db)) as reader:
        document = _document(reader)
        flag = db_flag(reader.path)
    if as_json:
        show_document(document)
    else:
        show_lines(_lines(document, flag, time.time()))
    return 0


@command.command("clear")
@db_option
def clear(db: str | None) -> int:
    """Forget every label."""
    removed, left = _forget(database(db), None)
    show_lines([f"{_labels(removed)} forgotten, {left:,} left"])
    return 0


@command.command("prune")
@db_option
@click.option("--older-than", required=True, metavar="AGE", help="A number and h, d or w, such as 30d")
def prune(db: str | None, older_than: str) -> int:
    """Forget the labels that were bought longer ago than AGE."""
    removed, left = _forget(database(db), time.time() - age_seconds(older_than))
    show_lines([f"{_labels(removed)} older than {older_than} forgotten, {left:,} left"])
    return 0


def age_seconds(written: str) -> float:
    """The seconds of an age such as 12h, 30d or 8w.

    Raises:
        SettingError: it is none.
    """
    found = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?)([hdw])", written.strip().lower(), re.ASCII)
    if found is None:
        raise SettingError(f"--older-than {written!r} is no age: give a number and h, d or w, such as 12h, 30d or 8w")
    return float(found[1]) * SECONDS[found[2]]


def _forget(path: Path, before: float | None) -> tuple[int, int]:
    """Take labels out; how many, and how many are left.

    Raises:
        JobError: there is no database, or a job is running in it.
    """
    StoreReader(path).close()  # opening it for writing would make one

    async def forget() -> int:
        store = await open_store(path, job="")
        try:
            return await store.forget_labels(before=before)
        finally:
            await store.close()

    removed = asyncio.run(forget())
    with StoreReader(path) as reader:
        return removed, _document(reader)["labels"]


def _document(reader: StoreReader) -> dict[str, Any]:
    """What is remembered. Keys are stable; more may be added. Times are UTC epoch seconds."""
    jobs = reader.cache_by_job()
    labels = sum(job.labels for job in jobs)
    return {
        "labels": labels,
        "fallbacks": sum(job.fallbacks for job in jobs),
        "oldest_at": min((job.oldest_at for job in jobs), default=None),
        "newest_at": max((job.newest_at for job in jobs), default=None),
        "about_bytes": round((sum(job.label_bytes for job in jobs) + ENTRY_BYTES * labels) / FILLING),
        "jobs": [
            {"job": job.job, "labels": job.labels, "oldest_at": job.oldest_at, "newest_at": job.newest_at}
            for job in jobs
        ],
    }


def _lines(document: dict[str, Any], flag: str, now: float) -> list[str]:
    if not document["labels"]:
        return ["no label is remembered yet"]
    jobs = sorted(document["jobs"], key=lambda job: -job["labels"])
    more = [f"  and {len(jobs) - MOST_JOBS:,} more jobs: --json lists all"] if len(jobs) > MOST_JOBS else []
    fallbacks = f", {document['fallbacks']:,} of them the fallback" if document["fallbacks"] else ""
    return [
        f"labels    {document['labels']:,} remembered{fallbacks}",
        *(f"  {job['job'] or 'a job that is gone'}: {job['labels']:,}, {_ages(job, now)}" for job in jobs[:MOST_JOBS]),
        *more,
        f"age       {_ages(document, now)}",
        f"size      about {document['about_bytes'] / 1e6:,.1f} MB in the database",
        f"next      batchjob cache prune --older-than 90d{flag}",
    ]


def _ages(document: dict[str, Any], now: float) -> str:
    newest, oldest = (_age(now - document[at]) for at in ("newest_at", "oldest_at"))
    return f"{newest} old" if newest == oldest else f"{newest} to {oldest} old"


def _age(seconds: float) -> str:
    if seconds < 3600:
        return f"{max(int(seconds // 60), 0)} min"
    return f"{int(seconds // 3600)} h" if seconds < 2 * 86400 else f"{int(seconds // 86400)} days"


def _labels(count: int) -> str:
    return "1 label" if count == 1 else f"{count:,} labels"
