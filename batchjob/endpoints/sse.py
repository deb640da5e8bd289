"""A body of server-sent events -> the completion it stands for: some gateways stream although they are told not to.

Source: the WHATWG HTML standard, "Server-sent events"; OpenAI's chat.completion.chunk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_END = b"data: [DONE]"
_LINE_END = re.compile("\r\n|\n|\r")  # not splitlines(), which would split at U+2028 inside a text
_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":")


def is_stream(body: bytes) -> bool:
    """Whether a body is a stream of events, or a completion with the end of a stream behind it."""
    if body[:1] == b"{" and body[-1:] == b"}":  # as nearly always
        return False
    return body.lstrip().startswith(_BEGINNINGS) or body.rstrip().endswith(_END)


def completion_of(body: bytes) -> bytes | None:
    """The completion as one JSON document; None where the stream broke off before its end."""
    if not body.lstrip().startswith(_BEGINNINGS):
        return body.rstrip().removesuffix(_END).rstrip()
    merged: dict[str, Any] = {}
    ended = False
    for data in _data(body):
        if data.strip() == "[DONE]":
            ended = True
            break
        try:
            event = json.loads(data)
        except ValueError:
            return None
        if isinstance(event, dict):
            _merge(merged, event)
    if "error" in merged and not merged.get("choices"):
        return json.dumps(merged).encode()
    choices = merged.get("choices") or [{}]
    ended = ended or all(choice.get("finish_reason") is not None for choice in choices)
    return json.dumps(merged).encode() if merged and ended else None


def _data(body: bytes) -> Iterator[str]:
    """The data of each event."""
    lines: list[str] = []
    for line in _LINE_END.split(body.decode("utf-8-sig", "replace")):
        if line.startswith("data:"):
            lines.append(line[5:].removeprefix(" "))
        elif not line and lines:
            yield "\n".join(lines)
            lines = []
    if lines:
        yield "\n".join(lines)


def _merge(merged: dict[str, Any], event: dict[str, Any]) -> None:
    """Add what an event says: a whole completion, or parts of its choices."""
    for key in ("id", "usage", "error"):
        if event.get(key) is not None:
            merged[key] = event[key]
    if event.get("object") == "error":  # vLLM's, before 0.10
        merged["error"] = event
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else []:
        if isinstance(choice, dict):
            _merge_choice(merged.setdefault("choices", []), choice)


def _merge_choice(choices: list[dict[str, Any]], choice: dict[str, Any]) -> None:
    """One that says something else than another of its index did stands beside it, for a reader to see both."""
    index, message, delta = choice.get("index") or 0, choice.get("message"), choice.get("delta")
    before = [one for one in choices if one["index"] == index and _goes_on(one["message"], message)]
    begun: dict[str, Any] = {"index": index, "message": {"content": None}, "finish_reason": None}
    whole = before[0] if before else begun
    if not before:
        choices.append(whole)
    for key in ("finish_reason", "error"):
        if choice.get(key) is not None:
            whole[key] = choice[key]
    if isinstance(message, dict):
        whole["message"] = message
        return
    for key in ("content", "refusal", "reasoning_content", "reasoning"):
        said = delta.get(key) if isinstance(delta, dict) else None
        if isinstance(said, str):
            whole["message"][key] = (whole["message"].get(key) or "") + said


def _goes_on(before: dict[str, Any], message: Any) -> bool:
    """Whether a whole message repeats what was said before it, and may say more; what is no message always does."""
    said = message.get("content") if isinstance(message, dict) else None
    return not isinstance(said, str) or said.startswith(before.get("content") or "")
