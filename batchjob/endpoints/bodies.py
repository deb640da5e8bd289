"""The JSON of a chat completion that is asked for. Apart from chat.py, so that it can be shown without aiohttp."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec


class ChatBodies:
    """See ports.Bodies."""

    PATH = "/chat/completions"

    def body(
        self,
        messages: Sequence[tuple[str, str]],
        *,
        model: str,
        max_tokens: int,
        temperature: float,
        response_format: dict[str, Any] | None,
    ) -> bytes:
        """The request's JSON."""
        request: dict[str, Any] = {
            "model": model,
            "messages": [{"role": role, "content": content} for role, content in messages],
            "temperature": temperature,
            "max_tokens": max_tokens,
            "stream": False,  # some gateways stream unless they are told not to
        }
        if response_format is not None:
            request["response_format"] = response_format
        return msgspec.json.encode(request)
