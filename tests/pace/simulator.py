"""A job in virtual time: the program's own gate, decisions and conclusions, against an endpoint of arithmetic."""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from math import ceil, inf

from batchjob.exchange.conclude import conclude
from batchjob.exchange.decide import ANSWERED, Decision, Signal, decide
from batchjob.exchange.exchange import Exchange
from batchjob.exchange.rows import Terms
from batchjob.model import Answered, Lost, Parcel, Rejected, Reply, Row
from batchjob.pace.gate import Gate, Lesson
from batchjob.settings.config import JobConfig
from batchjob.states import Event
from tests.pace.endpoints import Server

LATE = 0.0015
"""Seconds at most by which an event loop wakes late."""
ON_THE_WAY = 0.1
"""Of the mean latency: until a request is at the endpoint, which decides about requests in the order they are sent."""
MIX: dict[str, tuple[float, Reply]] = {
    "500": (0.015, Rejected(500, "oops")),
    "503": (0.015, Rejected(503, "overloaded")),
    "html": (0.01, Lost("garbled_answer", "HTTP 502 without a JSON body, as from a proxy", 502)),
    "dropped": (0.01, Lost("connection_lost", "closed")),
    "cut": (0.005, Lost("garbled_answer", "not a whole HTTP answer")),
    "null": (0.005, Answered(None, "stop")),
}
"""What goes wrong by chance besides 429s: share, and what is heard."""
_RIGHT = Answered("a", "stop")


@dataclass(frozen=True, kw_only=True)
class World:
    """An endpoint and a job. Latencies are means, in seconds; a 429 by chance asks for a second where `told`."""

    server: Callable[[], Server] | None = None
    then: tuple[float, Callable[[], Server]] | None = None  # another quota, from that second on
    concurrency: int = 40
    rpm: float = 0.0
    latency: float = 0.015
    refusal: float = 0.003  # seconds to a 429
    chance: float = 0.0  # share of 429s, whatever the quota
    told: bool = True  # 429s say how long to wait, in whole seconds
    mix: bool = False
    rows: int | None = None  # None: as many as can be sent
    minutes: float = inf
    seed: int = 1


@dataclass
class Run:
    """What came of it."""

    seconds: float = 0.0  # until the last row had its end
    accepted: int = 0
    failed: int = 0
    refused: int = 0
    sent: int = 0
    by_minute: Counter[int] = field(default_factory=Counter)
    ends: list[str] = field(default_factory=list)

    @property
    def refusals(self) -> float:
        """The share of 429s."""
        return self.refused / max(self.sent, 1)

    @property
    def rows_failed(self) -> int:
        """Rows that failed for anything but an empty answer."""
        return sum(kind != "empty_answer" for kind in self.ends)

    def used(self, per_minute: float, first: int = 1) -> float:
        """Of a quota, in the whole minutes behind the first."""
        minutes = int(self.seconds // 60)
        return sum(self.by_minute[m] for m in range(first, minutes)) / (per_minute * (minutes - first))


class Perfect:
    """No gate: every slot is always used, and a refused row waits for what it was told. No program can be faster."""

    def __init__(self, concurrency: int) -> None:
        self.in_flight, self._concurrency = 0, concurrency

    def seconds_to_room(self, now: float) -> float:
        return 0.0 if self.in_flight < self._concurrency else inf

    def admit(self, tokens: float, now: float) -> float:
        return 0.0

    def learn(self, decision: Decision, reply: Reply, parcel: Parcel, *, sent_at: float, now: float) -> Lesson:
        limited = decision.signal is Signal.RATE_LIMITED
        wait = (getattr(reply, "retry_after_seconds", None) or 0.25) if limited else 0.0
        return Lesson(decision.signal is Signal.ERRED, wait=wait)

    def row_over(self, number: int) -> None: ...


def perfect_seconds(world: World) -> float:
    """What a perfect scheduler takes for the rows of a world without a quota."""
    return simulate(world, Perfect(world.concurrency)).seconds


def simulate(world: World, gate: Gate | Perfect | None = None) -> Run:
    """Run a world's job to its end."""
    return _Simulation(world, gate).go()


class _Simulation:
    def __init__(self, world: World, gate: Gate | Perfect | None) -> None:
        self.world = world
        self.config = JobConfig(labels=("a",), concurrency=world.concurrency, rpm=world.rpm)
        self.gate = gate or Gate(self.config, heard=True, now=0.0)
        self.terms = Terms.of(self.config)
        self.server = world.server() if world.server else None
        self.dice = random.Random(world.seed)
        self.own = random.Random(world.seed + 1)  # the program's own chance
        self.fresh = iter(range(1, (world.rows or 10**12) + 1))
        self.waiting: list[tuple[float, int, Parcel]] = []
        self.queue: list[tuple[float, int, Parcel | None, Reply, float]] = []
        self.ids = count()
        self.run = Run()
        self.parcel: Parcel | None = None
        self.asleep = inf
        shares = [(share, reply) for share, reply in MIX.values()] if world.mix else []
        self.mix = shares

    def go(self) -> Run:
        end, left, queue, run = self.world.minutes * 60, self.world.rows, self.queue, self.run
        self.dispatch(0.0)
        while queue and queue[0][0] < end:
            now, _, parcel, reply, sent_at = heapq.heappop(queue)
            if parcel is None:
                if now >= self.asleep:
                    self.asleep = inf
            else:
                self.heard(parcel, reply, sent_at, now)
                self.gate.in_flight -= 1
                if left is not None and run.accepted + run.failed >= left:
                    break
            self.dispatch(now)
        run.seconds = now if left is not None else end
        return run

    def dispatch(self, now: float) -> None:
        gate = self.gate
        while True:
            wait = gate.seconds_to_room(now)
            if not wait:
                parcel = self.choose(now)
                wait = self.seconds_to_next(now) if parcel is None else gate.admit(1.0, now)
            if wait:
                if wait < inf and now + wait < self.asleep:
                    self.asleep = now + wait
                    heapq.heappush(
                        self.queue, (now + wait + self.dice.random() * LATE, next(self.ids), None, _RIGHT, 0.0)
                    )
                return
            assert parcel is not None
            self.parcel = None
            gate.in_flight += 1
            self.run.sent += 1
            reply, seconds = self.asked(now)
            heapq.heappush(self.queue, (now + seconds, next(self.ids), parcel, reply, now))

    def seconds_to_next(self, now: float) -> float:
        return self.waiting[0][0] - now if self.waiting else inf

    def choose(self, now: float) -> Parcel | None:
        if self.parcel is None:
            if self.waiting and self.waiting[0][0] <= now:
                self.parcel = heapq.heappop(self.waiting)[2]
            else:
                number = next(self.fresh, None)
                self.parcel = None if number is None else Parcel((Row(number, "t"),))
        return self.parcel

    def asked(self, now: float) -> tuple[Reply, float]:
        """What the endpoint answers to a request sent now, and after how many seconds."""
        world, dice = self.world, self.dice
        long = world.latency * (0.8 + 0.4 * dice.random())
        short = world.refusal * (0.8 + 0.4 * dice.random())
        there = now + ON_THE_WAY * min(world.latency, world.refusal)
        if world.then and there >= world.then[0] and self.server is not None:
            self.server, self.world = world.then[1](), replace(world, then=None)
        if world.chance and dice.random() < world.chance:
            return Rejected(429, "busy", retry_after_seconds=1.0 if world.told else None), short
        if self.mix:
            point = dice.random()
            for share, reply in self.mix:
                point -= share
                if point < 0:
                    return reply, long if isinstance(reply, Answered) else short
        if self.server is not None and not self.server.take(1.0, there):
            wait = max(ceil(self.server.retry_after(1.0, there)), 1.0)
            return Rejected(429, "quota", retry_after_seconds=wait if world.told else None), short
        return _RIGHT, long

    def heard(self, parcel: Parcel, reply: Reply, sent_at: float, now: float) -> None:
        run, gate = self.run, self.gate
        decision = ANSWERED if reply is _RIGHT else decide(reply)
        lesson = gate.learn(decision, reply, parcel, sent_at=sent_at, now=now)
        if reply is _RIGHT:
            run.accepted += 1
            run.by_minute[int(now // 60)] += 1
            gate.row_over(parcel.rows[0].number)
            return
        run.refused += decision.signal is Signal.RATE_LIMITED
        exchange = Exchange(1, "k", parcel, b"", 0, sent_at)
        result = conclude(exchange, reply, decision, self.terms, counts=lesson.counts, at=now, chance=self.own.random)
        for over in result.over:
            run.failed += over.result.event is Event.FAIL
            run.ends.append(over.result.error_kind or "")
            gate.row_over(over.row.number)
        for again, seconds in result.again:
            due = now + max(seconds, lesson.wait)
            heapq.heappush(self.waiting, (due, next(self.ids), again))
