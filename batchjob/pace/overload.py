"""How many requests may be in flight."""

from __future__ import annotations

from math import inf


class Overload:
    """How many requests may be in flight: AIMD (RFC 5681's shape, with a gentler cut).

    FIRST at the start, as many as TCP begins with (RFC 6928), or half of the ceiling where that is more; then one more
    for each answer (doubling each round trip) up to the threshold, then one more a round trip. When overloads are more
    than MANY of the latest answers it is cut to CUT of what was in flight, at most once in EVERY seconds, and does not
    grow beyond the threshold until they are fewer than half of that. Single failures by chance do not cut: at 5 % of
    them it would never get off the ground. The threshold falls only if something went well since the cut before: an
    outage does not make it forget.
    """

    __slots__ = ("_cut_at", "_memory", "_threshold", "_well", "ceiling", "cut", "limit", "trouble")

    FIRST = 10
    CUT = 0.7
    EVERY = 5.0
    MANY = 0.1
    MEMORY = 100.0  # answers at least, of the moving average: failures by chance are often heard before all else

    def __init__(self, ceiling: int) -> None:
        self.ceiling = max(ceiling, 1)
        self._memory = max(self.MEMORY, 2.0 * self.ceiling)
        self.limit = float(min(max(self.FIRST, self.ceiling // 2), self.ceiling))
        self.trouble = 0.0  # the share of overloads among the latest answers
        self.cut = False  # below the ceiling because of an overload
        self._threshold = float(self.ceiling)
        self._cut_at = -inf
        self._well = True

    @property
    def many(self) -> bool:
        """Whether overloads are too many for chance."""
        return self.trouble >= self.MANY

    def happened(self, now: float, in_flight: int | None) -> None:
        """An overload was heard."""
        self.trouble += (1.0 - self.trouble) / self._memory
        if not self.many or now - self._cut_at < self.EVERY:
            return
        if self._well:
            self._threshold = max(self.limit * self.CUT, 1.0)
        flying = self.limit if in_flight is None else min(self.limit, max(in_flight, 1))
        self.limit = max(flying * self.CUT, 1.0)
        self._cut_at, self._well, self.cut = now, False, True

    def no_room(self, in_flight: int) -> None:
        """This machine has room for no more than were in flight."""
        self.ceiling = max(min(self.ceiling, in_flight - 1), 1)
        self.limit = min(self.limit, self.ceiling)

    def went_well(self, in_flight: int | None) -> None:
        """An answer was heard; it teaches a higher limit only if this one was used up (in slow start, half)."""
        self._well = True
        self.trouble = self.trouble * (1.0 - 1.0 / self._memory) if self.trouble > 0.001 else 0.0
        slow_start = self.limit < self._threshold
        # Answers come in bunches, and each of a bunch finds the limit raised by those before it: half of it will do.
        used = self.limit / 2 if slow_start else int(self.limit) - 1
        if in_flight is not None and in_flight <= used:
            return
        if self.trouble > self.MANY / 2 and not slow_start:
            return
        self.limit = min(self.limit + (1.0 if slow_start else 1.0 / self.limit), self.ceiling)
        if self.limit >= self.ceiling:
            self.cut = False
