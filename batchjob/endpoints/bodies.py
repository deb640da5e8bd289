"""The JSON of a chat completion that is asked for. Apart from chat.py, so that it can be shown without aiohttp."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from batchjob.settings.pairs import OMIT, merged

NONE: Mapping[str, Any] = {}


class ChatBodies:
    """See ports.Bodies."""

    PATH = "/chat/completions"

    def body(
        self,
        messages: Sequence[tuple[str, str]],
        *,
        model: str,
        max_tokens: int | None,
        temperature: float | None,
        response_format: dict[str, Any] | None,
        token_field: str = "max_tokens",
        params: Mapping[str, Any] = NONE,
    ) -> bytes:
        """The request's JSON."""
        request: dict[str, Any] = {
            "model": model,
            "messages": [{"role": role, "content": content} for role, content in messages],
        }
        if temperature is not None:
            request["temperature"] = temperature
        if max_tokens is not None:
            request[token_field] = max_tokens
        request["stream"] = False  # some gateways stream unless they are told not to
        if response_format is not None:
            request["response_format"] = response_format
        return msgspec.json.encode(_without_omitted(merged(request, params)) if params else request)


def address_of(base_url: str, path: str) -> str:
    """Where a request goes: the path stands before the address's query, if it has one."""
    address, mark, query = base_url.partition("?")
    return f"{address.rstrip('/')}{path}{mark}{query}"


def _without_omitted(table: dict[str, Any]) -> dict[str, Any]:
    """A table without what is to be left out of it, at any depth."""
    kept = {key: value for key, value in table.items() if value != OMIT}
    return {key: _without_omitted(value) if isinstance(value, dict) else value for key, value in kept.items()}
