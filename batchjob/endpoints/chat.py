"""An OpenAI-compatible /chat/completions endpoint over aiohttp.

`read_reply` turns an HTTP answer into what was heard, and is pure; `ChatEndpoint.send` moves the bytes and translates
every error of the network once, here.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from typing import Any

import aiohttp
import msgspec
from multidict import CIMultiDict
from yarl import URL

from batchjob import failpoints
from batchjob.endpoints.deadlines import Deadlines
from batchjob.endpoints.headers import limits, retry_after_seconds
from batchjob.endpoints.transport import Answer, NotConnected, open_transport
from batchjob.errors import SettingError
from batchjob.model import HUGE, Answered, Lost, NotSent, Rejected, Reply, Usage

MOST_MESSAGE_CHARACTERS = 500
MOST_ID_CHARACTERS = 200
BLOT = "[key]"
LEAST_SECRET_CHARACTERS = 8
"""A shorter key is a dummy ("x", "EMPTY") and is left where it is: it may well be part of a label."""


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    prompt_tokens_details: _Details | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's name for cached tokens


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    choices: tuple[_Choice, ...]
    usage: _Usage | None = None
    id: str | None = None
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_completion = msgspec.json.Decoder(_Completion)


class ChatEndpoint:
    """The endpoint at a base URL, such as https://host/v1. Must be made inside a running event loop."""

    METHOD, PATH = "POST", "/chat/completions"

    def __init__(self, base_url: str, *, key: str | None, timeout: float, connect_timeout: float) -> None:
        try:
            url = URL(base_url.rstrip("/") + self.PATH)
            self._proxy = _proxy_for(url)
        except ValueError as error:
            raise SettingError(f"base_url {base_url!r} is no address: {error}") from None
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._secrets = _spellings(key)
        self._timeout = timeout
        self._deadlines = Deadlines(timeout)
        # The connection's time ends first: only so it is known that nothing was sent.
        connect_timeout = min(connect_timeout, 0.95 * timeout)
        self._transport = open_transport(self.METHOD, url, headers, proxy=self._proxy, connect_timeout=connect_timeout)

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
        }
        if response_format is not None:
            request["response_format"] = response_format
        return msgspec.json.encode(request)

    async def send(self, body: bytes, client_key: str) -> Reply:
        """POST the body once and say what was heard; nothing is retried or followed here."""
        headers = f"Idempotency-Key: {client_key}\r\nX-Client-Request-Id: {client_key}\r\n"
        try:
            with self._deadlines:
                failpoints.reach("request.before_first_byte")
                answer = await self._transport.ask(headers, body)
            return read_reply(answer.status, *self._blotted(answer), now=time.time)
        except Exception as error:
            return self._translate(error)

    def _translate(self, error: Exception) -> Reply:
        """What an exception says of the request: not sent only where that is certain, else lost."""
        if isinstance(error, NotConnected):
            if isinstance(error.cause, aiohttp.ClientConnectorSSLError | aiohttp.ClientConnectorCertificateError):
                return NotSent("bad_certificate", f"no secure connection: {self._told(error.cause)}")
            if isinstance(error.cause, TimeoutError):
                return NotSent("cannot_connect", "no connection in time (--connect-timeout)")
            if isinstance(error.cause, aiohttp.ClientResponseError):  # its own words hold the proxy's password
                said = self._told(Exception(f"{error.cause.status} {error.cause.message}"))
                return NotSent("cannot_connect", f"no way through the proxy: {said}"[:MOST_MESSAGE_CHARACTERS])
            return NotSent("cannot_connect", self._told(error.cause))
        if isinstance(error, TimeoutError):
            return Lost("timeout", f"no whole answer within {self._timeout:g} s (--timeout)")
        text = self._told(error)
        if isinstance(error, aiohttp.ClientPayloadError | ValueError):
            return Lost("garbled_answer", f"not a whole HTTP answer: {text}"[:MOST_MESSAGE_CHARACTERS])
        self._transport.drop_idle()
        return Lost("connection_lost", text)

    def _told(self, error: Exception) -> str:
        """An exception in words, without the key."""
        text = _text(str(error) or type(error).__name__) or ""
        for secret in self._secrets:
            text = text.replace(secret, BLOT)
        return text

    def _blotted(self, answer: Answer) -> tuple[Mapping[str, str], bytes | None]:
        """An answer without the key. Endpoints repeat it in errors, and those that mirror a request in answers."""
        headers, body = answer.headers, answer.body
        for secret in self._secrets:
            if body is not None and (found := secret.encode()) in body:
                body = body.replace(found, BLOT.encode())
            if any(secret in value for value in headers.values()):
                headers = CIMultiDict((name, value.replace(secret, BLOT)) for name, value in headers.items())
        return headers, body

    @property
    def slowed(self) -> str:
        """Why each request has a connection of its own; "" where connections are kept."""
        return "" if self._transport.name == "fast" else self._transport.why

    async def close(self) -> None:
        """Close all connections."""
        self._deadlines.close()
        await self._transport.close()


def _spellings(key: str | None) -> tuple[str, ...]:
    """A key as it may come back: as it is, and with its slashes escaped, as some write JSON."""
    if key is None or len(key) < LEAST_SECRET_CHARACTERS:
        return ()
    return (key, key.replace("/", "\\/")) if "/" in key else (key,)


def read_reply(status: int, headers: Mapping[str, str], body: bytes | None, *, now: Any) -> Reply:
    """What an HTTP answer says. A body of None was too large to be read; `now` gives epoch seconds."""
    provider_id = _identifier(headers.get("x-request-id"))
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


def _read_success(
    status: int, headers: Mapping[str, str], body: bytes | None, provider_id: str | None, now: Any
) -> Reply:
    if body is None:
        return Answered(None, finish_reason=HUGE, provider_id=provider_id)
    try:
        reply = _completion.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _read_odd(status, headers, body, provider_id, now)
    if not reply.choices or reply.error is not msgspec.UNSET:
        return _read_odd(status, headers, body, provider_id, now)
    choice = reply.choices[0]
    return Answered(
        choice.message.content,
        choice.finish_reason,
        choice.message.refusal,
        _usage(reply.usage),
        provider_id or _identifier(reply.id),
        limits(headers),
    )


def _usage(reported: _Usage | None) -> Usage | None:
    """The usage, or None where it is missing or cannot be true."""
    if reported is None:
        return None
    details = reported.prompt_tokens_details
    cached = (details.cached_tokens if details else None) or reported.prompt_cache_hit_tokens or 0
    numbers = (reported.prompt_tokens, cached, reported.completion_tokens)
    if min(numbers) < 0 or max(numbers) > 1e9 or cached > reported.prompt_tokens:
        return None
    return Usage(*numbers)


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
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    try:
        usage = _usage(msgspec.convert(reply.get("usage"), _Usage | None))
    except msgspec.ValidationError:
        usage = None
    return Answered(
        _text(message.get("content")),
        _text(choice.get("finish_reason")),
        _text(message.get("refusal")),
        usage,
        provider_id or _identifier(reply.get("id")),
        limits(headers),
    )


def _told_status(error: Any) -> int | None:
    """The status that an error inside a 200 gives as its code, as OpenRouter does; None where it gives none."""
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else None


def _identifier(value: Any) -> str | None:
    """A request's ID, fit to be stored."""
    text = _text(value)
    return text[:MOST_ID_CHARACTERS] if text else None


def _parse(body: bytes) -> Any:
    """The body as JSON, more patient than the typed decoder: a BOM, NaN and lone surrogates are survived.

    Raises:
        ValueError: it is no JSON, or too deeply nested to be read.
    """
    try:
        return json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _text(value: Any) -> str | None:
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
        (_text(said if isinstance(said, str) else json.dumps(said, default=str)) or "")[:MOST_MESSAGE_CHARACTERS],
        code="content_filter" if _is_flagged(fields) else _name(fields.get("code")),
        type=_name(fields.get("type")),
        param=_name(fields.get("param")),
        provider_id=provider_id,
        retry_after_seconds=wait,
        limits=limits(headers),
    )


def _is_flagged(fields: Mapping[str, Any]) -> bool:
    """Whether it is moderation's, as OpenRouter tells it: a 403 whose metadata hold what was flagged, and no code."""
    metadata = fields.get("metadata")
    return isinstance(metadata, dict) and "flagged_input" in metadata


def _name(value: Any) -> str:
    return value.strip().lower()[:100].encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _proxy_for(url: URL) -> URL | None:
    """The proxy the environment names for this address, asked once instead of at each request; none for loopback.

    Raises:
        SettingError: it is no proxy that can be used. Its address is not told, for it may hold a password.
    """
    host = url.host or ""
    try:
        local = ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if local or urllib.request.proxy_bypass(host):
        return None
    named = urllib.request.getproxies().get(url.scheme)
    if not named:
        return None
    try:
        proxy = URL(named if "://" in named else f"http://{named}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in ("http", "https") or not proxy.host:
        variable = f"{url.scheme}_proxy"
        raise SettingError(f"{variable} in the environment is no proxy that can be used: give it as http://host:port")
    return proxy
