"""An HTTP answer -> a reply. Pure: what endpoints and what stands before them send is read here, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping, Sequence
from functools import cache, lru_cache
from operator import attrgetter
from typing import Any, get_args, get_type_hints

import msgspec

from batchjob.endpoints.headers import limits, retry_after_seconds
from batchjob.endpoints.rejections import Refusal, identifier, read_rejection, text_of
from batchjob.endpoints.sse import completion_of, is_stream
from batchjob.endpoints.usage import read_usage
from batchjob.model import HUGE, SEVERAL, Answered, Lost, Reply
from batchjob.providers.table import known

MOST_CHARACTERS = {
    "message": 500,
    "provider_id": 200,
    "code": 100,
    "type": 100,
    "param": 100,
    "reasons": 100,
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
    usage: msgspec.Raw = msgspec.Raw(b"null")
    id: str | None = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_completion = msgspec.json.Decoder(_Completion)
Clock = Callable[[], float]
"""Gives UTC epoch seconds."""

BROKEN_OFF = "error"
"""The finish_reason of an answer that its provider broke off, whatever it said of it elsewhere."""


def read_reply(
    status: int, headers: Mapping[str, str], body: bytes | None, *, now: Clock, unpaid: Container[int] = ()
) -> Reply:
    """What an HTTP answer says.

    A body of None was too large to be read; `now` gives epoch seconds. A 5xx without JSON may have been paid for,
    unless it is one of `unpaid`.
    """
    provider_id = request_id(headers)
    if 200 <= status < 300:
        return _read_success(status, headers, body, provider_id, now)
    try:
        error = None if body is None else _parse(body)
    except ValueError:
        error = None
    told = isinstance(error, dict) or (isinstance(error, list) and error)
    if status >= 500 and not told and status not in unpaid:
        wait = retry_after_seconds(headers, now=now())
        return Lost("garbled_answer", f"HTTP {status} without a JSON body, as from a proxy", status, provider_id, wait)
    return read_rejection(Refusal(status, headers, body, now(), provider_id), error)


def fit_to_keep(reply: Reply, blotted: Callable[[str], str]) -> Reply:
    """A reply whose texts may be kept and shown: without secrets, and only then cut, or half of one would be left."""
    if isinstance(reply, Answered) and len(reply.content or "") > MOST_ANSWER_CHARACTERS:
        reply = msgspec.structs.replace(reply, content=None, finish_reason=HUGE)

    values, texts = _texts_of(type(reply))
    changed: dict[str, Any] = {}
    for value, (name, most) in zip(values(reply), texts, strict=True):
        if not value:
            continue
        if isinstance(value, str):
            if (fit := _fit(value, most, blotted)) is not value:
                changed[name] = fit
        else:
            changed[name] = tuple([_fit(one, most, blotted) for one in value])
    return msgspec.structs.replace(reply, **changed) if changed else reply


def _fit(text: str, most: int, blotted: Callable[[str], str]) -> str:
    return blotted(text) if len(text) <= most else blotted(text[: UNCUT_FACTOR * most])[:most]


@cache
def _texts_of(kind: type[Reply]) -> tuple[Callable[[Reply], Sequence[Any]], tuple[tuple[str, int], ...]]:
    """What gets the fields of a reply that hold texts; and how much of each is kept."""
    hints = get_type_hints(kind)
    names = [name for name in kind.__struct_fields__ if {str, tuple[str, ...]} & {hints[name], *get_args(hints[name])}]
    return attrgetter(*names), tuple([(name, MOST_CHARACTERS.get(name, MOST_ANSWER_CHARACTERS)) for name in names])


def _read_success(
    status: int, headers: Mapping[str, str], body: bytes | None, provider_id: str | None, now: Clock
) -> Reply:
    if body is None:
        return Answered(None, finish_reason=HUGE, provider_id=provider_id)
    if is_stream(body):
        body = completion_of(body)
        if body is None:
            return Lost("garbled_answer", f"HTTP {status} with a stream of events that has no end", status, provider_id)
    try:
        reply = _completion.decode(body)
        used = read_usage(bytes(reply.usage), headers)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_odd(status, headers, body, provider_id, now)
    if not reply.choices or reply.error is not msgspec.UNSET:
        return _read_odd(status, headers, body, provider_id, now)
    choice = reply.choices[0]
    if len(reply.choices) > 1:
        if _disagree([one.message.content for one in reply.choices]):
            return _read_odd(status, headers, body, provider_id, now)
        choice = next((one for one in reply.choices if one.index == 0), choice)
    return Answered(
        choice.message.content,
        BROKEN_OFF if choice.error is not None else choice.finish_reason,
        choice.message.refusal,
        used.usage,
        provider_id or identifier(reply.id),
        limits(headers),
        used.cost,
        used.odd,
        choice.message.reasoning_content or choice.message.reasoning,
        () if choice.logprobs is None else _tokens(choice.logprobs),
    )


def _tokens(given: _Tokens) -> tuple[tuple[str, float], ...]:
    return tuple([(one.token, one.logprob) for one in given.content or ()])


def _read_odd(status: int, headers: Mapping[str, str], body: bytes, provider_id: str | None, now: Clock) -> Reply:
    """A 2xx that is not the completion one expects: an error in disguise, an answer in another shape, or garbage."""
    if status == 202:  # as of NVIDIA's functions
        said = "HTTP 202: the endpoint is still at work and wants to be asked again elsewhere, which is not supported"
        return Lost("garbled_answer", said, status, provider_id)
    try:
        reply = _parse(body)
    except ValueError:
        return Lost("garbled_answer", f"HTTP {status} whose body is not whole JSON", status, provider_id)
    if not isinstance(reply, dict):
        return Lost("garbled_answer", f"HTTP {status} whose body is JSON, but no completion", status, provider_id)
    if not reply.get("choices") and (error := _error_in(reply)) is not None:
        inner = error.get("error")
        told = _told_status(inner if isinstance(inner, dict) else error) or status
        return read_rejection(Refusal(told, headers, body, now(), provider_id), error)
    given = reply.get("choices")
    choices = [one for one in given if isinstance(one, dict)] if isinstance(given, list) else []
    choice = _first_choice(choices)
    message = _message_of(choice)
    content, finish_reason = text_of(message.get("content")), text_of(choice.get("finish_reason"))
    if _disagree([text_of(_message_of(one).get("content")) for one in choices]):
        content, finish_reason = None, SEVERAL
    used = read_usage(reply.get("usage"), headers)
    return Answered(
        content,
        BROKEN_OFF if choice.get("error") or _says_error(reply.get("error")) else finish_reason,
        text_of(message.get("refusal")),
        used.usage,
        provider_id or identifier(reply.get("id")),
        limits(headers),
        used.cost,
        used.odd,
        text_of(message.get("reasoning_content")) or text_of(message.get("reasoning")),
    )


def _first_choice(choices: list[dict[str, Any]]) -> dict[str, Any]:
    """That with index 0; a single one whatever its index."""
    return next((choice for choice in choices if choice.get("index") == 0), choices[0] if choices else {})


def _message_of(choice: dict[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    return message if isinstance(message, dict) else {}


def _disagree(contents: Sequence[str | None]) -> bool:
    """Whether choices say more than one thing: nobody asked for several, and none is more the answer than another."""
    return len({said for content in contents if (said := (content or "").strip())}) > 1


def _says_error(error: Any) -> bool:
    """Whether an error beside choices says something went wrong; gateways leave empty ones there."""
    said = error.get("message") if isinstance(error, dict) else error
    return bool(text_of(said)) or _told_status(error) is not None


def _error_in(reply: dict[str, Any]) -> dict[str, Any] | None:
    """The error that a 200 without choices holds, in one form; None where it does not say that it is one."""
    if reply.get("error") or _is_refused(reply.get("base_resp")):
        return reply
    errors = reply.get("errors")  # Cloudflare
    if isinstance(errors, list) and errors:
        return {"error": errors[0]}
    code = reply.get("code") or reply.get("error_code")
    said = next((text for name in _SAID if (text := text_of(reply.get(name)))), None)
    fails = reply.get("object") == "error" or reply.get("success") is False or code not in (None, 0, "0", 200, "200")
    return {**reply, "message": said, "code": code} if fails and said and reply.get("usage") is None else None


_SAID = ("message", "msg", "error_msg", "detail")  # vLLM's and SiliconFlow's, Zhipu's, Baidu's, FastAPI's


def _told_status(error: Any) -> int | None:
    """The status that an error inside a 200 gives as its code, as OpenRouter does; None where it gives none."""
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, str) and len(code) == 3 and code.isdecimal():  # as LiteLLM gives it
        code = int(code)
    return code if isinstance(code, int) and 400 <= code <= 599 else None


def _is_refused(base: Any) -> bool:
    """Whether MiniMax's status, which comes in a 200, is that of an error."""
    return isinstance(base, dict) and bool(base.get("status_code"))


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's ID of a request, under whichever name it comes."""
    for name in _ids_among(tuple(headers)):
        if found := identifier(headers[name]):
            return found
    return None


@lru_cache(16)  # an endpoint sends the same headers with each answer
def _ids_among(names: tuple[str, ...]) -> tuple[str, ...]:
    given = {name.lower(): name for name in names}
    return tuple([given[name] for name in _id_names() if name in given])


@cache
def _id_names() -> tuple[str, ...]:
    """All headers that hold such an ID, each once, those that everybody may use first."""
    table = known()
    theirs = [name for provider in table.providers for name in provider.request_ids]
    return tuple(dict.fromkeys((*table.request_ids, *theirs)))


def _parse(body: bytes) -> Any:
    """The body as JSON, more patient than the typed decoder: a BOM, NaN and lone surrogates are survived.

    Raises:
        ValueError: it is no JSON, or too deeply nested to be read.
    """
    try:
        return json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
