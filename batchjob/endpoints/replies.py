"""An HTTP answer -> a reply. Pure: what endpoints and what stands before them send is read here, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from batchjob.endpoints.headers import ID_HEADERS, limits, retry_after_seconds
from batchjob.endpoints.sse import completion_of, is_stream
from batchjob.endpoints.usage import RawUsage, read_odd_usage, read_usage
from batchjob.model import HUGE, Answered, Lost, Rejected, Reply

MOST_CHARACTERS = {
    "message": 500,
    "provider_id": 200,
    "code": 100,
    "type": 100,
    "param": 100,
    "finish_reason": 100,
    "odd_usage": 300,
    "refusal": 100,
}
"""What is kept of a reply's texts."""
MOST_ANSWER_CHARACTERS = 2**18
"""An answer for a thousand rows has a tenth of that."""
UNCUT_FACTOR = 20
"""So many times as much of a text is looked through for secrets before it is cut."""


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None  # DeepSeek, vLLM and others
    reasoning: str | None = None  # OpenRouter, Ollama, Groq and others


class _Token(msgspec.Struct):
    token: str
    logprob: float


class _Tokens(msgspec.Struct):
    content: tuple[_Token, ...] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    logprobs: _Tokens | None = None
    finish_reason: str | None = None
    index: int | None = None
    error: msgspec.Raw | None = None  # OpenRouter: the provider behind it broke the answer off


class _Completion(msgspec.Struct):
    choices: tuple[_Choice, ...]
    usage: RawUsage | None = None
    id: str | None = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_completion = msgspec.json.Decoder(_Completion)

BROKEN_OFF = "error"
"""The finish_reason of an answer that its provider broke off, whatever it said of it elsewhere."""


def read_reply(status: int, headers: Mapping[str, str], body: bytes | None, *, now: Any) -> Reply:
    """What an HTTP answer says. A body of None was too large to be read; `now` gives epoch seconds."""
    provider_id = request_id(headers)
    if 200 <= status < 300:
        return _read_success(status, headers, body, provider_id, now)
    wait = retry_after_seconds(headers, now=now())
    try:
        error = None if body is None else _parse(body)
    except ValueError:
        error = None
    if isinstance(error, list) and error:
        error = error[0]  # as Gemini wraps it
    if status >= 500 and not isinstance(error, dict):
        return Lost("garbled_answer", f"HTTP {status} without a JSON body, as from a proxy", status, provider_id, wait)
    location = f"it points to {headers['Location']}" if "Location" in headers else ""
    return _rejection(status, error, location, provider_id, wait, headers)


def fit_to_keep(reply: Reply, blotted: Callable[[str], str]) -> Reply:
    """A reply whose texts may be kept and shown: without secrets, and only then cut, or half of one would be left."""
    if isinstance(reply, Answered) and len(reply.content or "") > MOST_ANSWER_CHARACTERS:
        reply = msgspec.structs.replace(reply, content=None, finish_reason=HUGE)
    changed = {}
    for name in reply.__struct_fields__:
        value = getattr(reply, name)
        if isinstance(value, str):
            most = MOST_CHARACTERS.get(name, MOST_ANSWER_CHARACTERS)
            kept = blotted(value[: UNCUT_FACTOR * most])[:most]
            if kept != value:
                changed[name] = kept
    return msgspec.structs.replace(reply, **changed) if changed else reply


def _read_success(
    status: int, headers: Mapping[str, str], body: bytes | None, provider_id: str | None, now: Any
) -> Reply:
    if body is None:
        return Answered(None, finish_reason=HUGE, provider_id=provider_id)
    if is_stream(body):
        body = completion_of(body)
        if body is None:
            return Lost("garbled_answer", f"HTTP {status} with a stream of events that has no end", status, provider_id)
    try:
        reply = _completion.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_odd(status, headers, body, provider_id, now)
    if not reply.choices or reply.error is not msgspec.UNSET:
        return _read_odd(status, headers, body, provider_id, now)
    choice = reply.choices[0]
    if len(reply.choices) > 1:
        choice = next((one for one in reply.choices if one.index == 0), choice)
    used = read_usage(reply.usage, headers)
    return Answered(
        choice.message.content,
        BROKEN_OFF if choice.error is not None else choice.finish_reason,
        choice.message.refusal,
        used.usage,
        provider_id or _identifier(reply.id),
        limits(headers),
        used.cost,
        used.odd,
        choice.message.reasoning_content or choice.message.reasoning,
        () if choice.logprobs is None else _tokens(choice.logprobs),
    )


def _tokens(given: _Tokens) -> tuple[tuple[str, float], ...]:
    return tuple([(one.token, one.logprob) for one in given.content or ()])


def _read_odd(status: int, headers: Mapping[str, str], body: bytes, provider_id: str | None, now: Any) -> Reply:
    """A 2xx that is not the completion one expects: an error in disguise, an answer in another shape, or garbage."""
    try:
        reply = _parse(body)
    except ValueError:
        return Lost("garbled_answer", f"HTTP {status} whose body is not whole JSON", status, provider_id)
    if not isinstance(reply, dict):
        return Lost("garbled_answer", f"HTTP {status} whose body is JSON, but no completion", status, provider_id)
    if reply.get("error") and not reply.get("choices"):
        return _rejection(
            _told_status(reply["error"]) or status,
            reply,
            "",
            provider_id,
            retry_after_seconds(headers, now=now()),
            headers,
        )
    choices = reply.get("choices")
    choice = _first_choice(choices) if isinstance(choices, list) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    used = read_odd_usage(reply.get("usage"), headers)
    return Answered(
        text_of(message.get("content")),
        BROKEN_OFF if choice.get("error") else text_of(choice.get("finish_reason")),
        text_of(message.get("refusal")),
        used.usage,
        provider_id or _identifier(reply.get("id")),
        limits(headers),
        used.cost,
        used.odd,
        text_of(message.get("reasoning_content")) or text_of(message.get("reasoning")),
    )


def _first_choice(choices: list[Any]) -> dict[str, Any]:
    """That with index 0; a single one whatever its index."""
    found = [choice for choice in choices if isinstance(choice, dict)]
    return next((choice for choice in found if choice.get("index") == 0), found[0] if found else {})


def _told_status(error: Any) -> int | None:
    """The status that an error inside a 200 gives as its code, as OpenRouter does; None where it gives none."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else None


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's ID of a request, under whichever name it comes."""
    return next((found for name in ID_HEADERS if name in headers and (found := _identifier(headers[name]))), None)


def _id_in(reply: Any, error: Any) -> str | None:
    """The ID that an error's JSON holds."""
    for fields in (error, reply):
        for name in ("request_id", "requestId", "id") if isinstance(fields, dict) else ():
            if found := _identifier(fields.get(name)):
                return found
    return None


def _identifier(value: Any) -> str | None:
    """A request's ID, fit to be stored."""
    return text_of(value) or None


def _parse(body: bytes) -> Any:
    """The body as JSON, more patient than the typed decoder: a BOM, NaN and lone surrogates are survived.

    Raises:
        ValueError: it is no JSON, or too deeply nested to be read.
    """
    try:
        return json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def text_of(value: Any) -> str | None:
    """A value as text that can be stored: lists of text parts are joined, lone surrogates replaced."""
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        value = "".join(part for part in parts if isinstance(part, str)) or None
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")


def _rejection(
    status: int, reply: Any, note: str, provider_id: str | None, wait: float | None, headers: Mapping[str, str]
) -> Rejected:
    """A Rejected, of the shapes errors come in: {"error": {...} or "text"}, {"message": ...}, {"detail": ...}."""
    outer = reply if isinstance(reply, dict) else {}
    error = outer.get("error")
    fields = error if isinstance(error, dict) else outer
    said = fields.get("message") or error or fields.get("detail") or note
    return Rejected(
        status,
        text_of(said if isinstance(said, str) else json.dumps(said, default=str)) or "",
        code="content_filter" if _is_flagged(fields) else _name(fields.get("code")),
        type=_name(fields.get("type")),
        param=_name(fields.get("param")),
        provider_id=provider_id or _id_in(outer, error),
        retry_after_seconds=wait,
        limits=limits(headers),
    )


def _is_flagged(fields: Mapping[str, Any]) -> bool:
    """Whether it is moderation's, as OpenRouter tells it: a 403 whose metadata hold what was flagged, and no code."""
    metadata = fields.get("metadata")
    return isinstance(metadata, dict) and "flagged_input" in metadata


def _name(value: Any) -> str:
    return value.strip().lower().encode("utf-8", "replace").decode() if isinstance(value, str) else ""
