"""The door to an endpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from batchjob.model import Reply


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
