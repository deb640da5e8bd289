"""A storm over several workers on one job in PostgreSQL: one by one they are killed, held, ended, cut off, replaced."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import subprocess
import threading
import time
from collections.abc import Iterator

from storm.harness import ROW_USD, Told, World, finish, told_of, wait_for
from tests import postgres

LEASE_SECONDS = 1.5
BLOWS = ("kill",) * 6 + ("stop",) * 2 + ("term", "cut", "cut", "restart")
"""stop: SIGSTOP for longer than the lease. cut: a COMMIT whose answer is lost. restart: of the server."""
LEFT = ("is away", "cannot be reached", "was stopped for all workers")
"""What a worker says that came when the server was restarting, or the budget was reached."""
ENDS = frozenset({0, 4, 5, 130, -signal.SIGKILL, -signal.SIGTERM})


@contextlib.contextmanager
def cutting(url: str) -> Iterator[postgres.Proxy]:
    """A proxy before the server, in a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    proxy = postgres.Proxy(url)
    asyncio.run_coroutine_threadsafe(proxy.__aenter__(), loop).result()
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.__aexit__(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


class Workers:
    """Those of a world's job; the first one is who began it."""

    def __init__(self, world: World, count: int, url: str) -> None:
        self._world, self._count, self._url = world, count, url
        self._all = [world.spawn(world.arguments("start", "--lease", str(LEASE_SECONDS), "--quiet"))]
        wait_for(lambda: self._first.poll() is not None or world.endpoint.received() > 0, seconds=30)

    @property
    def _first(self) -> subprocess.Popen[bytes]:
        return self._all[0]

    def alive(self) -> list[subprocess.Popen[bytes]]:
        """Those that have not ended; the missing ones are replaced first."""
        while len(found := [one for one in self._all if one.poll() is None]) < self._count:
            self._world.runs += 1
            concurrency = ("--concurrency", str(self._world.plan.concurrency))
            self._all.append(
                self._world.spawn(["work", self._world.at.name, "--db", self._url, *concurrency, "--quiet"])
            )
        return found

    def left(self) -> bool:
        """Whether the job has rows to do."""
        status = self._world.status()
        if status is None or not status["ingested"]:
            return True
        return status["state"] != "over_budget" and status["rows"]["pending"] + status["rows"]["in_flight"] > 0

    def end(self) -> None:
        """Wait until each has ended, and see how."""
        for one in self._all:
            self._world.ended(one)
            said = self._world.said_by(one)
            self._world.see_exit(one, ENDS | {1} if any(part in said for part in LEFT) else ENDS)


def storm_of_workers(world: World, *, workers: int, blows: int) -> Told:
    """So many blows at so many workers, then the job to its end, then once more for nothing."""
    chance = random.Random(f"workers {world.plan.seed}")
    if world.mode.budget:
        world.budget = 0.6 * len(world.rows) * ROW_USD
    with cutting(world.url) as proxy:
        at_work = Workers(world, workers, proxy.url)
        for _ in range(blows):
            time.sleep(chance.uniform(0.05, 0.6))
            if not at_work.left():
                break
            _strike(world, chance.choice(at_work.alive()), chance.choice(BLOWS), chance, proxy)
        at_work.end()
    if world.mode.budget:
        world.judge()
        world.budget = 100 * len(world.rows) * ROW_USD
    finish(world)
    return told_of(world)


def _strike(
    world: World, victim: subprocess.Popen[bytes], blow: str, chance: random.Random, proxy: postgres.Proxy
) -> None:
    if blow == "cut":
        proxy.cuts += 1
    elif blow == "restart":
        postgres.restart()
    elif blow == "stop":
        victim.send_signal(signal.SIGSTOP)
        time.sleep(LEASE_SECONDS * chance.uniform(0.5, 2.0))
        victim.send_signal(signal.SIGCONT)
    else:
        victim.send_signal(signal.SIGKILL if blow == "kill" else signal.SIGTERM)
    world.blows[blow] += 1
