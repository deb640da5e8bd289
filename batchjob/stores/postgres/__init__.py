"""The work table in PostgreSQL, for workers on many machines. asyncpg is imported where a URL asks for it."""

from __future__ import annotations

from typing import Any

from batchjob.errors import SettingError
from batchjob.model import Ending
from batchjob.ports import CorrectionLog, Store, StoreCheck, StoreReader


def check_installed() -> None:
    """See that asyncpg is there, or raise a SettingError that says how it comes there."""
    try:
        import asyncpg  # noqa: F401
    except ImportError:
        raise SettingError("a database postgresql:// needs asyncpg: pip install 'batchjob[postgres]'") from None


async def open_store(url: str, *, job: str, lease: float) -> Store:
    """See stores.open_store."""
    check_installed()
    from batchjob.stores.postgres import store

    return await store.open_store(url, lease=lease)


def open_reader(url: str) -> StoreReader:
    """See stores.open_reader."""
    check_installed()
    from batchjob.stores.postgres.reader import PgReader

    return PgReader(url)


def open_check(url: str) -> StoreCheck:
    """See stores.open_check."""
    check_installed()
    from batchjob.stores.postgres.check import PgCheck

    return PgCheck(url)


def correction_table(url: str) -> CorrectionLog:
    """See stores.correction_table."""
    check_installed()
    from batchjob.stores.postgres.corrections import CorrectionTable

    return CorrectionTable(url)


def writer_of(url: str) -> dict[str, Any] | None:
    """See stores.writer_of. Any number of processes may write at once, each job's own runs say who."""
    return None


def stop(url: str, job: str, ending: Ending) -> int:
    """See stores.stop."""
    check_installed()
    from batchjob.stores.postgres import reader, shared

    return reader.wait_for(shared.stop(url, job, ending))


def exists(url: str) -> bool:
    """Whether there is a database at all: opening it says so."""
    return True


def files_of(url: str) -> list[str]:
    """See stores.files_of: a server's files are its own."""
    return []
