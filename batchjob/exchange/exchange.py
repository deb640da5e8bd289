"""An exchange: one request and its reply, from before it is claimed until it is concluded."""

from __future__ import annotations

import zlib

from batchjob.model import Claim, LostRequest, Parcel, Value
from batchjob.money.cost import KnownPrice
from batchjob.states import Purpose


class Exchange(Value, frozen=True):
    """A request that is about to go out, with all that its conclusion will need."""

    request_id: int
    client_key: str
    parcel: Parcel
    body: bytes
    body_digest: int
    sent_at: float  # monotonic seconds, as pacing counts: from when it was let go
    price: KnownPrice | None = None
    reserved: int | None = None  # picodollars: the most it can cost; None: no price is known
    tokens: float = 0.0  # charged to the token quota

    @property
    def request(self) -> LostRequest:
        """How it will be known if its reply is never seen."""
        return LostRequest(self.request_id, self.client_key, self.body_digest)

    def claim(self, at: float, *, asks_for_all: bool = False) -> Claim:
        """The write that takes its rows; `at` is UTC epoch seconds.

        Args:
            asks_for_all: no other run of the job may ask for the same texts.
        """
        parcel = self.parcel
        return Claim(
            self.request_id,
            self.client_key,
            tuple([row.number for row in parcel.rows]),
            parcel.model,
            at,
            self.body_digest,
            parcel.lost,
            self.reserved,
            _purpose(parcel),
            parcel.texts if asks_for_all and parcel.verifies is None else (),
        )


def _purpose(parcel: Parcel) -> Purpose:
    if parcel.verifies is not None:
        return Purpose.VERIFY
    return Purpose.LABEL if parcel.rows[0].first is None else Purpose.SECOND


def client_key(prefix: str, number: int, lost: LostRequest | None, body_digest: int) -> str:
    """The idempotency key of a request: the prefix is its run's alone, and the number its own there.

    A lost request keeps its key, so that an endpoint that honours keys does not bill it twice. Where its body has
    changed meanwhile (another max_tokens, say) such endpoints refuse the old key, so it gets a new one; and so does one
    whose answer was broken off, which the old key would bring again.
    """
    if lost is not None and lost.body_digest == body_digest and not lost.broken_off:
        return lost.client_key
    return f"{prefix}-{number}"


digest_of = zlib.crc32
"""A body's digest. It only has to tell whether two bodies are the same."""
