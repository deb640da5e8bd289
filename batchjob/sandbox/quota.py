"""Requests and tokens per window, and what the x-ratelimit headers say of them. Time comes in as an argument."""

from __future__ import annotations

import math
from collections import deque

import msgspec

from batchjob.sandbox.settings import SandboxSettings, WindowKind


class FixedWindow:
    """Windows that follow one another, the first beginning at time 0; each begins with nothing used."""

    def __init__(self, limit: int, window_seconds: float) -> None:
        self.limit = limit
        self._seconds = window_seconds
        self._window = -1.0
        self._used = 0

    def used(self, now: float) -> int:
        window = now // self._seconds
        if window != self._window:
            self._window, self._used = window, 0
        return self._used

    def take(self, amount: int, now: float) -> None:
        self._used = self.used(now) + amount

    def reset_seconds(self, now: float) -> float:
        """Until all of it is free again."""
        return (now // self._seconds + 1) * self._seconds - now if self.used(now) else 0.0

    def wait_seconds(self, amount: int, now: float) -> float:
        """Until this much is free; 0.0 where it is free now. What never fits waits a whole window."""
        return 0.0 if self.used(now) + amount <= self.limit else self.reset_seconds(now) or self._seconds


class SlidingWindow:
    """At any moment, what was taken within the last window counts."""

    def __init__(self, limit: int, window_seconds: float) -> None:
        self.limit = limit
        self._seconds = window_seconds
        self._taken: deque[tuple[float, int]] = deque()
        self._used = 0

    def used(self, now: float) -> int:
        while self._taken and self._taken[0][0] + self._seconds <= now:
            self._used -= self._taken.popleft()[1]
        return self._used

    def take(self, amount: int, now: float) -> None:
        self._used = self.used(now) + amount
        self._taken.append((now, amount))

    def reset_seconds(self, now: float) -> float:
        """Until all of it is free again."""
        return self._taken[-1][0] + self._seconds - now if self.used(now) else 0.0

    def wait_seconds(self, amount: int, now: float) -> float:
        """Until this much is free; 0.0 where it is free now. What never fits waits a whole window."""
        excess = self.used(now) + amount - self.limit
        if excess <= 0:
            return 0.0
        for at, taken in self._taken:
            excess -= taken
            if excess <= 0:
                return at + self._seconds - now
        return self._seconds


Window = FixedWindow | SlidingWindow


class Denied(msgspec.Struct, frozen=True):
    """Which quota is used up, and after how many seconds there is room again."""

    unit: str  # requests or tokens
    limit: int
    used: int
    asked: int
    retry_after_seconds: float


class Quota:
    """Both limits. A request is admitted by both or charged to neither."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._windows = [
            (unit, _window(settings.window_kind, limit, settings.window_seconds))
            for unit, limit in (("requests", settings.rpm), ("tokens", settings.tpm))
            if limit
        ]

    def admit(self, tokens: int, now: float) -> Denied | None:
        """Charge a request of this many tokens (its prompt, and all it may answer), or say what stands against it."""
        asked = {"requests": 1, "tokens": tokens}
        for unit, window in self._windows:
            wait = window.wait_seconds(asked[unit], now)
            if wait > 0:
                return Denied(unit, window.limit, window.used(now), asked[unit], wait)
        for unit, window in self._windows:
            window.take(asked[unit], now)
        return None

    def headers(self, now: float) -> dict[str, str]:
        """The x-ratelimit headers; nothing of a limit that is not set."""
        told: dict[str, str] = {}
        for unit, window in self._windows:
            told[f"x-ratelimit-limit-{unit}"] = str(window.limit)
            told[f"x-ratelimit-remaining-{unit}"] = str(max(0, window.limit - window.used(now)))
            told[f"x-ratelimit-reset-{unit}"] = duration(window.reset_seconds(now))
        return told


def _window(kind: WindowKind, limit: int, window_seconds: float) -> Window:
    return (FixedWindow if kind == "fixed" else SlidingWindow)(limit, window_seconds)


def duration(seconds: float) -> str:
    """Seconds as OpenAI's headers write them, rounded up to milliseconds: 0s, 500ms, 1s, 8.64s, 6m0s."""
    milliseconds = math.ceil(round(seconds * 1000, 6))
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes}m{rest / 1000:g}s" if minutes else f"{rest / 1000:g}s"
