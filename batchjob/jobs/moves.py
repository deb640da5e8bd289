"""A job moved to another database, with all that was paid for."""

from __future__ import annotations

import time

from batchjob.corrections.standing import log_of
from batchjob.model import Value
from batchjob.records import Correction
from batchjob.settings.config import settings_of
from batchjob.stores import open_store
from batchjob.stores.moving import carry, check_way


class Moved(Value, frozen=True):
    """What became of a move."""

    lost: int  # requests that a dead process had left out: they were settled first, as a resume does
    now: bool  # False: it was there already


async def move(db: str, name: str, to: str) -> Moved:
    """Move a job from a file to PostgreSQL. What is left is marked, and only read from then on.

    Raises:
        BatchjobError: it was not moved, and goes on where it is; or nobody knows, and it goes on nowhere until this is
            called again. The text says which.
    """
    check_way(db, to)

    def said(uid: str) -> list[Correction]:
        return [one for one in log_of(db).news().added if one.job == uid]

    store = await open_store(db, job=name)
    try:
        await store.choose(name)
        config = settings_of(await store.job())
        lost = await store.recover(hold=config.on_unconfirmed == "hold", at=time.time())
        return Moved(lost, await carry(db, to, name, said))
    finally:
        await store.close()
