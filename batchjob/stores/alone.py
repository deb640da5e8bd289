"""What a store says of other runs where only one process at a time may write: there are none."""

from __future__ import annotations

from collections.abc import Sequence

from batchjob.errors import SettingError
from batchjob.model import Key, Settle
from batchjob.ports import Asking


class Alone:
    """A part of ports.Store."""

    async def join(self, name: str, settings: bytes) -> None:
        """See ports.Store.join."""
        raise SettingError(
            f"several workers on job {name!r} need a database that several machines may write to: give --db "
            "postgresql://..., and take the job there with: batchjob move"
        )

    async def asking(self, texts: Sequence[Key]) -> dict[Key, Asking]:
        """See ports.Store.asking."""
        return {}

    def may_send(self) -> bool:
        """See ports.Store.may_send."""
        return True

    async def pause(self, seconds: float) -> None:
        """See ports.Store.pause."""

    async def hear_late(self, settles: Sequence[Settle]) -> int:
        """See ports.Store.hear_late."""
        return 0
