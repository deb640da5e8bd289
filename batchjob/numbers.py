"""Counts, amounts, durations, sizes and exit codes as a person reads them: one form each, for every view."""

from __future__ import annotations

import signal
from datetime import datetime
from math import floor, log10

MINUTE, HOUR, DAY = 60, 3600, 86400
LEAST_ABOUT_USD = 0.01
LEAST_PLAIN_USD = 0.001
"""Below this, four decimals would hide most of the amount."""


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 row`, `1,234 rows`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def dollars(amount: float) -> str:
    """An amount in USD: cents from one dollar on, four decimals below, two digits of a very small one."""
    if amount >= 1:
        return f"{amount:,.2f} USD"
    if amount >= LEAST_PLAIN_USD or amount <= 0:
        return f"{amount:.4f} USD"
    return f"{amount:.{1 - floor(log10(amount))}f} USD"


def about(amount: float) -> str:
    """A reckoned amount in USD, in two digits: more would be more than one knows."""
    if 0 < amount < LEAST_ABOUT_USD:
        return f"less than {LEAST_ABOUT_USD} USD"
    if amount <= 0:
        return "0 USD"
    places = 1 - floor(log10(amount))
    rounded = round(amount, places)
    return f"about {rounded:,.{max(places, 0) if rounded < 1 else 2 if rounded < 10 else 0}f} USD"


def duration(seconds: float) -> str:
    """A duration in its two largest units."""
    if round(seconds, 1) < MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < HOUR:
        return f"{whole // MINUTE} min {whole % MINUTE:02} s"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE:02} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


def moment(at: float) -> str:
    """A time (UTC epoch seconds) as the clock on the wall shows it."""
    return datetime.fromtimestamp(at).strftime("%H:%M:%S")


def day(at: float) -> str:
    """A time (UTC epoch seconds) with its day, as the clock on the wall shows it."""
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"


def share(part: int, whole: int) -> str:
    """A part of a whole in percent."""
    return f"{100 * part / whole:.1f} %"


def size(count: float) -> str:
    """A number of bytes in the unit that suits it."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if count >= 10 or unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def how_ended(code: int) -> str:
    """How a command ended, by the exit code that `subprocess` gives: less than 0 is the signal that killed it."""
    if code >= 0:
        return f"ended with exit code {code}"
    names = {int(known): known.name for known in signal.Signals}
    return f"was killed by {names.get(-code, f'signal {-code}')}"
