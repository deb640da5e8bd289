"""Quotas of endpoints, in virtual time: seconds come in as `now`, which does not go back."""

from __future__ import annotations

from collections import deque
from typing import Protocol


class Server(Protocol):
    """What stands behind an endpoint: whether it takes a request, and what it would say of its quota."""

    quota: float

    def take(self, cost: float, now: float) -> bool: ...
    def retry_after(self, cost: float, now: float) -> float: ...
    def reset(self, now: float) -> float: ...
    def remaining(self, now: float) -> float: ...


class FixedWindow:
    """`quota` units in each window; the windows began some time before the run did."""

    def __init__(self, quota: float, window: float = 60.0, phase: float = 17.0) -> None:
        self.quota, self.window, self.phase = quota, window, phase
        self.index, self.used = -1, 0.0

    def take(self, cost: float, now: float) -> bool:
        index = int((now + self.phase) // self.window)
        if index != self.index:
            self.index, self.used = index, 0.0
        if self.used + cost > self.quota:
            return False
        self.used += cost
        return True

    def retry_after(self, cost: float, now: float) -> float:
        return self.reset(now)

    def reset(self, now: float) -> float:
        return self.window - (now + self.phase) % self.window

    def remaining(self, now: float) -> float:
        return self.quota - self.used


class SlidingWindow:
    """`quota` units in any `window` seconds."""

    def __init__(self, quota: float, window: float = 60.0) -> None:
        self.quota, self.window = quota, window
        self.taken: deque[tuple[float, float]] = deque()
        self.used = 0.0

    def take(self, cost: float, now: float) -> bool:
        while self.taken and self.taken[0][0] <= now - self.window:
            self.used -= self.taken.popleft()[1]
        if self.used + cost > self.quota:
            return False
        self.taken.append((now, cost))
        self.used += cost
        return True

    def retry_after(self, cost: float, now: float) -> float:
        return self.taken[0][0] + self.window - now

    def reset(self, now: float) -> float:
        return self.taken[-1][0] + self.window - now if self.taken else 0.0

    def remaining(self, now: float) -> float:
        return self.quota - self.used


class Bucket:
    """`quota` units in `window` seconds, of which `burst` may lie ready; `full` or empty at first."""

    def __init__(self, quota: float, window: float = 60.0, burst: float | None = None, *, full: bool = True) -> None:
        self.quota, self.rate = quota, quota / window
        self.burst = quota if burst is None else burst
        self.level, self.at = self.burst if full else 0.0, 0.0

    def take(self, cost: float, now: float) -> bool:
        self.level, self.at = min(self.burst, self.level + (now - self.at) * self.rate), now
        if self.level < cost:
            return False
        self.level -= cost
        return True

    def retry_after(self, cost: float, now: float) -> float:
        return (cost - self.level) / self.rate

    def reset(self, now: float) -> float:
        return (self.burst - self.level) / self.rate

    def remaining(self, now: float) -> float:
        return self.level
