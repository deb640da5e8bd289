"""What an answer's headers say about waiting: Retry-After in all its forms, and the x-ratelimit family."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import cache, lru_cache

from batchjob.model import Limits, Quota
from batchjob.providers.table import LimitHeaders, known

LONGEST_WAIT_SECONDS = 3600.0
"""A longer wait is asked for again after an hour: a year is a mistake, and a daily quota may be raised meanwhile."""

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?")
_UNITS = (86400.0, 3600.0, 60.0, 1.0)


def retry_after_seconds(headers: Mapping[str, str], *, now: float) -> float | None:
    """How long the answer asks to wait: retry-after-ms, else Retry-After as seconds or as a date.

    A date is read against the answer's own Date, so a wrong clock here does not matter; `now` (epoch seconds) stands
    in where there is none. None where nothing was asked, or nothing that can be read. An hour at most.
    """
    asked = asked_seconds(headers, now=now)
    return None if asked is None else within_an_hour(asked)


def asked_seconds(headers: Mapping[str, str], *, now: float) -> float | None:
    """The same, however long or negative."""
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("Retry-After")
    seconds = _number(asked)
    if seconds is not None:
        return seconds
    until = _epoch(asked)
    if until is None:
        return None
    sent = _epoch(headers.get("Date"))
    return until - (now if sent is None else sent)


def within_an_hour(seconds: float) -> float:
    """A wait as it is obeyed."""
    return min(max(seconds, 0.0), LONGEST_WAIT_SECONDS)


def limits(headers: Mapping[str, str]) -> Limits | None:
    """The quotas that headers tell of, OpenAI's or those of a provider that has its own, or None."""
    if not _tell_of_quotas(tuple(headers)):
        return None
    if any(name in headers for name in _NAMES):
        found = Limits(requests=_quota(headers, _USUAL["requests"]), tokens=_quota(headers, _USUAL["tokens"]))
    else:
        told = {what: one for what, one in _others() if one.limit in headers}
        found = Limits(**{what: _quota(headers, one) for what, one in told.items()})
    return None if found == _NOTHING else found


_NOTHING = Limits()
_USUAL = {
    what: LimitHeaders(f"x-ratelimit-limit-{what}", f"x-ratelimit-remaining-{what}", f"x-ratelimit-reset-{what}")
    for what in ("requests", "tokens")
}
_NAMES = tuple(name for one in _USUAL.values() for name in (one.limit, one.remaining))
MINUTE = 60.0


@cache
def _others() -> tuple[tuple[str, LimitHeaders], ...]:
    """The headers of providers with names of their own. A limit of a day says nothing of a pace."""
    return tuple(
        (what, one)
        for provider in known().providers
        for what, named in provider.limits.items()
        for one in named
        if one.window_seconds == MINUTE and one.limit not in _NAMES
    )


@lru_cache(16)  # an endpoint sends the same headers with each answer
def _tell_of_quotas(names: tuple[str, ...]) -> bool:
    return not {name.lower() for name in names}.isdisjoint({*_NAMES, *(one.limit for _, one in _others())})


def _quota(headers: Mapping[str, str], named: LimitHeaders) -> Quota:
    return Quota(
        limit=_number(headers.get(named.limit)),
        remaining=_number(headers.get(named.remaining)),
        reset_seconds=_reset_seconds(headers.get(named.reset), headers),
    )


def _reset_seconds(told: str | None, headers: Mapping[str, str]) -> float | None:
    """Seconds until a quota is whole again; a moment (RFC 3339) is read against the answer's own Date."""
    seconds = duration_seconds(told)
    if seconds is not None or not told or "T" not in told:
        return seconds
    sent = _epoch(headers.get("Date"))
    try:
        at = datetime.fromisoformat(told).timestamp()
    except (ValueError, OverflowError):
        return None
    return None if sent is None else max(0.0, at - sent)


def duration_seconds(text: str | None) -> float | None:
    """Seconds of `12`, `1.5s`, `500ms` or `6m0s`; None of anything else."""
    if text is None:
        return None
    text = text.strip().lower()
    number = _number(text)
    if number is not None:
        return max(0.0, number)
    if text.endswith("ms"):
        milliseconds = _number(text[:-2])
        return None if milliseconds is None else max(0.0, milliseconds / 1000)
    match = _DURATION.fullmatch(text)
    if not text or match is None:
        return None
    seconds = sum(float(part) * unit for part, unit in zip(match.groups(), _UNITS, strict=True) if part)
    return seconds if math.isfinite(seconds) else None


def _number(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _epoch(date: str | None) -> float | None:
    if not date:
        return None
    try:
        return parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
