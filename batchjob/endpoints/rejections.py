"""An answer that says "not done" -> a Rejected, with all the words by which its meaning is known, not yet cut.

Shapes: {"error": {...} or "text"}, {"message": ...}, {"detail": ...}, [{"error": ...}] (Gemini), {"base_resp": ...} in
a 200 (MiniMax), or a proxy's page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from batchjob.endpoints.headers import LONGEST_WAIT_SECONDS, asked_seconds, duration_seconds, limits, within_an_hour
from batchjob.model import LONG_WAIT, Rejected

LONGEST_MEANT_SECONDS = 32 * 86400.0

_HTTP_STATUS = re.compile("[1-5][0-9]{2}")
_TITLE = re.compile(rb"<title[^>]*>(.{1,200}?)</title>", re.IGNORECASE | re.DOTALL)


class Refusal(NamedTuple):
    """An HTTP answer that says "not done", before it is read."""

    status: int
    headers: Mapping[str, str]
    body: bytes | None
    now: float
    provider_id: str | None


def read_rejection(refusal: Refusal, given: Any) -> Rejected:
    """What it says; `given` is its JSON, None where there is none."""
    if isinstance(given, list) and given:
        given = given[0]  # as Gemini wraps it
    outer = given if isinstance(given, dict) else {}
    error = outer.get("error")
    fields = error if isinstance(error, dict) else outer
    asked = asked_seconds(refusal.headers, now=refusal.now)
    if asked is None:
        asked = next((wait for one in _details(fields) if (wait := _delay(one)) is not None), None)
    reasons = [_name(reason) for reason in _reasons(outer, fields)]
    if asked is not None and LONGEST_WAIT_SECONDS < asked <= LONGEST_MEANT_SECONDS:
        reasons.append(LONG_WAIT)
    return Rejected(
        refusal.status,
        _message(outer, fields, refusal),
        code=_code(fields.get("code")),
        type=_name(fields.get("type")),
        param=_name(fields.get("param")) or _place(fields),
        provider_id=refusal.provider_id or _id_in(outer, error),
        retry_after_seconds=None if asked is None else within_an_hour(asked),
        limits=limits(refusal.headers),
        reasons=tuple(reason for reason in reasons if reason),
        page=given is None and _looks_like_a_page(refusal.body),
    )


# ---------------------------------------------------------------- its words


def _message(outer: Mapping[str, Any], fields: Mapping[str, Any], refusal: Refusal) -> str:
    base = outer.get("base_resp")
    said = (
        fields.get("message")
        or outer.get("error")
        or fields.get("detail")
        or (base.get("status_msg") if isinstance(base, dict) else None)
        or _in_place_of_a_message(refusal)
    )
    text = text_of(said if isinstance(said, str) else json.dumps(said, default=str)) or ""
    metadata = fields.get("metadata")
    raw = text_of(metadata.get("raw")) if isinstance(metadata, dict) else None  # OpenRouter: the provider's own words
    return f"{text}: {raw}" if raw else text


def _in_place_of_a_message(refusal: Refusal) -> str:
    if "Location" in refusal.headers:
        return f"it points to {refusal.headers['Location']}"
    found = _TITLE.search(refusal.body or b"")
    return f"a page titled {' '.join(found[1].decode('utf-8', 'replace').split())!r}" if found else ""


def _looks_like_a_page(body: bytes | None) -> bool:
    return body is not None and body.lstrip()[:1] == b"<"


def _code(value: Any) -> str:
    """A code; a number that only repeats an HTTP status is none."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    name = _name(value)
    return "" if _HTTP_STATUS.fullmatch(name) else name


def _reasons(outer: Mapping[str, Any], fields: Mapping[str, Any]) -> Iterator[Any]:
    """What says why, besides code and type."""
    for one in _details(fields):
        yield one.get("reason")
        violations = one.get("violations")
        yield from (v.get("quotaId") for v in violations if isinstance(v, dict)) if isinstance(violations, list) else ()
    metadata, inner, base = fields.get("metadata"), fields.get("innererror"), outer.get("base_resp")
    if isinstance(metadata, dict):
        yield metadata.get("reason")
        if "flagged_input" in metadata:  # OpenRouter: a 403 of moderation, with no code
            yield "content_filter"
    if isinstance(inner, dict):
        yield inner.get("code")
    if isinstance(base, dict):
        yield _code(base.get("status_code"))


def _details(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Google's `details`."""
    details = fields.get("details")
    return [one for one in details if isinstance(one, dict)] if isinstance(details, list) else []


def _delay(detail: Mapping[str, Any]) -> float | None:
    delay = detail.get("retryDelay")
    return duration_seconds(delay) if isinstance(delay, str) else None


def _place(fields: Mapping[str, Any]) -> str:
    """The parameter that pydantic's words name by its place: {"detail": [{"loc": ["body", "max_tokens"]}]}."""
    message = fields.get("message")
    details = message.get("detail") if isinstance(message, dict) else fields.get("detail")
    first = details[0] if isinstance(details, list) and details and isinstance(details[0], dict) else {}
    loc = first.get("loc")
    return _name(loc[1]) if isinstance(loc, list) and len(loc) > 1 and loc[0] == "body" else ""


def _id_in(outer: Mapping[str, Any], error: Any) -> str | None:
    """The ID that an error's JSON holds."""
    for fields in (error, outer):
        for name in ("request_id", "requestId", "id") if isinstance(fields, dict) else ():
            if found := identifier(fields.get(name)):
                return found
    return None


def _name(value: Any) -> str:
    return value.strip().lower().encode("utf-8", "replace").decode() if isinstance(value, str) else ""


# ---------------------------------------------------------------- texts of an endpoint


def identifier(value: Any) -> str | None:
    """A request's ID, fit to be stored."""
    return text_of(value) or None


def text_of(value: Any) -> str | None:
    """A value as text that can be stored: lists of text parts are joined, lone surrogates replaced."""
    if type(value) is str and value.isascii() and "\0" not in value:  # as nearly always
        return value
    if isinstance(value, list):
        parts = [part.get("text") for part in value if isinstance(part, dict)]
        value = "".join(part for part in parts if isinstance(part, str)) or None
    if not isinstance(value, str):
        return None
    return value.encode("utf-8", "replace").decode().replace("\0", "\N{REPLACEMENT CHARACTER}")
