"""When the next request may go, and what the last ones say of the endpoint: probe, pace, pause, outage."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from batchjob.exchange.decide import ANSWERED, Decision, Next, Signal
from batchjob.model import NO_ROOM, Answered, Ending, Lost, NotSent, Outage, Parcel, Rejected, Reply
from batchjob.numbers import duration
from batchjob.pace.first_label import FirstLabel
from batchjob.pace.health import Health
from batchjob.pace.hold import Hold
from batchjob.pace.pacer import LONGEST_PAUSE, MARGIN, Pacer
from batchjob.pace.quota import believable
from batchjob.printable import printable
from batchjob.settings.config import JobConfig
from batchjob.states import JobState

MAX_OUTAGE_SECONDS = 6 * 3600.0
FIRST_CONTACT_SECONDS = 60.0
"""How long a job tries that never reached its endpoint: that is a wrong address far more often than an outage."""
OWN_WAIT_SECONDS, SAME_WAITS = 0.25, 3
"""A row's wait after a 429 that does not say how long: the same the first times, then doubling. A row that is refused
twice by chance must not be the last of the job, and one that is refused always must not be sent all the time."""
STILL_SECONDS = 5.0
"""Between two looks at the clock that come every second: so long a gap is a stall of this process."""
MOST_SAID_CHARACTERS = 150
"""Of an endpoint's words, where they stand beside the figures of a run."""
LIMITED = (Answered, Rejected)
"""Replies that may tell of limits."""


class Down(NamedTuple):
    """Nothing is answered; since when, when is the next try, and when does the job stop."""

    since: float
    next_try: float
    until: float
    said: str


class Lesson(NamedTuple):
    """What follows from a request besides its rows' results."""

    counts: bool  # the try costs its rows an attempt
    stop: Ending | None = None  # nothing was answered for too long
    outage: bool = False  # it is the first to show that the endpoint does not work
    over: float = 0.0  # it is the first answer after an outage of so many seconds
    wait: float = 0.0  # seconds that its rows wait, whatever the others do


class Gate:
    """The requests in flight, and whether one more may join them. Times are seconds of the runner's clock.

    heard: a request of the job has reached the endpoint before. fresh: the job has no label, and is not retried.
    shared: other runs may be working on the job.
    """

    def __init__(
        self, config: JobConfig, *, heard: bool, fresh: bool = False, shared: bool = False, now: float
    ) -> None:
        self._given = config.max_outage
        self._heard = heard
        self._looked_at = now
        self._pacer = Pacer(rpm=config.rpm, tpm=config.tpm, concurrency=config.concurrency, now=now)
        self._health = Health(now=now)
        self._hold = Hold()
        self.first_label = FirstLabel(waiting=fresh, shared=shared)
        self._untold: dict[int, int] = {}  # row -> its 429s that did not say how long to wait
        self._remembers_rows = False  # from the first failure on
        self.counts_tokens = self._pacer.counts_tokens  # else any number of them will do
        self.in_flight = 0

    def share(self, runs: int) -> None:
        """So many runs of the job send: each has its part of the quotas."""
        self._pacer.share(runs)

    def wait_for_first(self, waits: bool) -> None:
        """Whether the first request of another run is to be answered before any of this one goes."""
        self._hold.wait_for_first(waits)

    @property
    def paused_until(self) -> float:
        """When the pause is over that the endpoint asked for; -inf where it asked for none."""
        return self._pacer.until

    def pause(self, seconds: float, now: float) -> None:
        """The endpoint asked another run to wait."""
        self._pacer.pause(seconds, now)

    def look(self, now: float) -> float:
        """To be called once a second: seconds that this process stood still, which are no silence of the endpoint."""
        gap, self._looked_at = now - self._looked_at, now
        if gap <= STILL_SECONDS:
            return 0.0
        self._health.stood_still(gap)
        return gap

    def seconds_to_room(self, now: float) -> float:
        """0 when one more may be in flight; infinite until one that is comes back."""
        if self._hold.on:
            return inf if self.in_flight else max(self._hold.until - now, 0.0)
        if self.in_flight >= (1 if self._health.probing or self.first_label.waiting else self._pacer.concurrency):
            return inf
        return max(self._health.probe_at - now, 0.0)

    def admit(self, tokens: float, now: float) -> float:
        """0 when the quotas let a request of about so many tokens go, which is charged then; else seconds to wait."""
        return self._pacer.admit(tokens, now)

    def correct_tokens(self, charged: float, reply: Reply, now: float) -> None:
        """A request was charged its estimate; put that right, where the usage is known or nothing was done."""
        if isinstance(reply, Answered) and reply.usage:
            self._pacer.correct(charged, reply.usage.input_tokens + reply.usage.output_tokens, now)
        elif isinstance(reply, NotSent | Rejected):
            self._pacer.correct(charged, 0.0, now)

    def judge(self, decision: Decision, reply: Reply, parcel: Parcel, *, sent_at: float) -> Decision:
        """The decision, or another one where a reason to stop may pass."""
        if not decision.doubtful:
            return decision
        wait = reply.retry_after_seconds if isinstance(reply, Rejected) else None
        return self._hold.judge(decision, parcel.rows[0].number, wait, sent_at=sent_at)

    def learn(self, decision: Decision, reply: Reply, parcel: Parcel, *, sent_at: float, now: float) -> Lesson:
        """What a reply teaches, for the requests that come."""
        if isinstance(reply, LIMITED) and reply.limits is not None:
            self._pacer.learn(reply.limits, now)
            self.counts_tokens = self._pacer.counts_tokens
        if decision is not ANSWERED and decision.next in (Next.STOP, Next.REPHRASE):
            return Lesson(False)  # what it says of the endpoint the next request tells
        if decision.signal is Signal.GOOD:
            since = self._health.outage_since
            self._health.good(now, parcel.rows)
            self._hold.answered(sent_at)
            self._pacer.went_well(now, self.in_flight, sent_at)
            self._heard = True
            return _COUNTS if since is None else Lesson(True, over=now - since)
        self._heard = self._heard or not isinstance(reply, NotSent)
        self._remembers_rows = True
        self._health.said = decision.message
        self.look(now)
        before = self._health.outage_since
        counts = self._learn_of_failure(decision, reply, parcel, sent_at, now)
        outage = before is None and self._health.outage_since is not None
        down = self._health.down_seconds(now)
        stop = self._gives_up(down) if down > self._max_outage else None
        if self._health.outage_since is not None:
            self._health.probe_by(now + self._max_outage - down)
        return Lesson(counts, stop, outage, wait=self._own_wait(decision, reply, parcel))

    @property
    def _max_outage(self) -> float:
        if self._given is not None:
            return self._given
        return MAX_OUTAGE_SECONDS if self._heard else FIRST_CONTACT_SECONDS

    def _gives_up(self, seconds: float) -> Ending:
        if self._heard or self._given is not None:
            reason = f"no answer for {duration(seconds)} (--max-outage): {self._health.said}"
            return Ending(JobState.STOPPED, reason, 1, "unavailable")
        reason = (
            f"no connection in {duration(seconds)}, and none before: {self._health.said.rstrip('.')}. What to do: "
            "check the address, that something listens there, the network and the proxy; then resume, with another "
            "--base-url or a longer --max-outage if need be"
        )
        return Ending(JobState.REFUSED, reason, 3, "cannot_connect")

    def _learn_of_failure(self, decision: Decision, reply: Reply, parcel: Parcel, sent_at: float, now: float) -> bool:
        wait = reply.retry_after_seconds if isinstance(reply, Rejected | Lost) else None
        if decision.pause:
            self._hold.begin(decision.pause, now, decision.message)
            self._health.told_to_wait(decision.pause, now, most=inf)
            return False
        if decision.signal is Signal.RATE_LIMITED:
            self._pacer.rate_limited(wait, sent_at, now)
            self._health.told_to_wait(wait or 0.0, now, most=self._max_outage)
            return False
        if decision.kind == NO_ROOM:
            self._pacer.no_room(self.in_flight)
        many = decision.overload and self._pacer.overloaded(now, self.in_flight)
        if many and wait:
            self._pacer.pause(wait, now)
        return self._health.bad(decision.signal, parcel.rows[0], now)

    def _own_wait(self, decision: Decision, reply: Reply, parcel: Parcel) -> float:
        """What the endpoint asked for; where a 429 asked for nothing, a moment."""
        asked = believable(reply.retry_after_seconds) if isinstance(reply, Rejected | Lost) else None
        if asked and not decision.pause:
            return asked + MARGIN
        if decision.pause or decision.signal is not Signal.RATE_LIMITED:
            return 0.0
        row = parcel.rows[0].number
        times = self._untold[row] = self._untold.get(row, 0) + 1
        return min(OWN_WAIT_SECONDS * 2.0 ** min(max(times - SAME_WAITS, 0), 30), LONGEST_PAUSE)

    def row_over(self, number: int) -> None:
        """A row has its end."""
        if self._remembers_rows:
            self._health.forget(number)
            self._hold.forget(number)
            self._untold.pop(number, None)

    def down(self, now: float) -> Down | None:
        """The outage, if there is one."""
        since = self._health.outage_since
        if since is None:
            return None
        until = now + self._max_outage - self._health.down_seconds(now)
        return Down(since, max(self._health.probe_at, now), until, self._health.said)

    def outage(self, now: float, wall: float) -> Outage | None:
        """The same in UTC epoch seconds, which are `wall` now."""
        if (down := self.down(now)) is None:
            return None
        epoch = wall - now
        return Outage(epoch + down.since, epoch + down.next_try, epoch + down.until, down.said)

    def describe(self, now: float) -> str:
        """What holds the job back, in a few words; "" if nothing does."""
        if self._hold.on and now < self._hold.until:
            return printable(self._hold.describe(now)[:MOST_SAID_CHARACTERS])
        told = self._pacer.describe(now, self.in_flight)
        said = self._health.said[:MOST_SAID_CHARACTERS] if told.startswith("waiting") else ""
        return f"{told} ({printable(said)})" if said else told


_COUNTS = Lesson(True)
