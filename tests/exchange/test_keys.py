"""The idempotency key of a request."""

from __future__ import annotations

from batchjob.exchange.exchange import client_key, digest_of
from batchjob.model import LostRequest

BODY = b'{"max_tokens":16}'
LOST = LostRequest(7, "old-7", digest_of(BODY))


def test_a_lost_request_keeps_its_key_only_while_its_body_is_the_same() -> None:
    assert client_key("new", 9, LOST, digest_of(BODY)) == "old-7"
    assert client_key("new", 9, LOST, digest_of(b'{"max_tokens":99}')) == "new-9"
    assert client_key("new", 9, None, digest_of(BODY)) == "new-9"
