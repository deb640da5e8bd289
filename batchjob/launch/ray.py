"""Workers begun by Ray: each is a task that starts the command and waits for its end.

A worker that died is replaced by a new one: to the database that is another run, which may write nothing of the dead
one's. Ray's own retries are off. They would do the same, but nobody would be told.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FrameType
from typing import Any

from batchjob.errors import BatchjobError, SettingError

CPUS = 0.25
"""Of a node, that a worker is given: it mostly waits for answers."""
DEATHS = 20
"""For each worker that was asked for: more, and something is wrong that a new one does not mend."""
LOOK_SECONDS = 0.5
_DEATH_OF_PARENT = 1  # PR_SET_PDEATHSIG


def launch(workers: int, arguments: Sequence[str], environment: Mapping[str, str], say: Callable[[str], None]) -> int:
    """Have Ray run `batchjob` with these arguments so many times at once; the exit code of the job.

    Ray is that of RAY_ADDRESS, else one of this machine's own. Ctrl-C and SIGTERM end these workers as they end one.

    Args:
        environment: what the workers need of this process's variables: database, passwords, key. It goes to them with
            the task. A runtime environment is shown in Ray's dashboard.

    Raises:
        SettingError: there is no Ray.
        BatchjobError: it cannot be reached, or workers die again and again.
    """
    try:
        import ray
    except ImportError:
        raise SettingError("--on ray:N needs Ray: pip install 'batchjob[ray]'") from None
    task = ray.remote(num_cpus=CPUS, max_retries=0, scheduling_strategy="SPREAD")(_work)
    with _cluster(ray):
        codes = _Workers(ray, lambda: task.remote(list(arguments), dict(environment)), say).run(workers)
    return next((code for code in (4, 0) if code in codes), max(codes))


@contextlib.contextmanager
def _cluster(ray: Any) -> Iterator[None]:
    """Ray, and SIGTERM as Ctrl-C."""
    own = "RAY_ADDRESS" not in os.environ
    if own:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(logging_level="WARNING", **({"include_dashboard": False} if own else {}))
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise BatchjobError(f"Ray cannot be reached: {error}") from error
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        ray.shutdown()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _work(arguments: list[str], environment: dict[str, str]) -> int:
    """On a node: a worker, from its start to its end; its exit code, below 0 where a signal ended it."""
    # Ray ends the processes of a group whose task has died, and not in peace. So the worker has a group of its own,
    # and is told by the kernel.
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "batchjob", *arguments],
        env={**os.environ, **environment},
        start_new_session=True,
        preexec_fn=_end_with_parent if sys.platform == "linux" else None,
    )
    while True:
        try:
            return process.wait(LOOK_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        except KeyboardInterrupt:  # Ray was told to cancel the task
            process.terminate()
            return process.wait()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_DEATH_OF_PARENT, signal.SIGTERM)


class _Workers:
    """Tasks at work, and what became of those that ended."""

    def __init__(self, ray: Any, begin: Callable[[], Any], say: Callable[[str], None]) -> None:
        self._ray, self._begin, self._say = ray, begin, say
        self._running: dict[Any, int] = {}
        self._codes: list[int] = []
        self._deaths = 0

    def run(self, workers: int) -> list[int]:
        """Begin them, and one anew for each that dies; the exit codes of all that came to an end."""
        for number in range(1, workers + 1):
            self._running[self._begin()] = number
        try:
            while self._running:
                self._see(*self._next(), most=DEATHS * workers)
        except KeyboardInterrupt:
            self._say("stopping: the workers wait for their requests in flight")
            for task in self._running:
                self._ray.cancel(task)
            while self._running:
                self._next()
            return [130]
        return self._codes

    def _next(self) -> tuple[int, int | None]:
        """The number of the next worker that ends, and its exit code; None: it died, or its node did."""
        (task,), _ = self._ray.wait(list(self._running), num_returns=1)
        number = self._running.pop(task)
        try:
            code: int = self._ray.get(task)
        except self._ray.exceptions.RayError:
            return number, None
        return number, code if code >= 0 else None

    def _see(self, number: int, code: int | None, *, most: int) -> None:
        if code is not None:
            self._say(f"worker {number} has ended with exit code {code}")
            self._codes.append(code)
            return
        self._deaths += 1
        if self._deaths > most:
            raise BatchjobError(f"{self._deaths} workers died, one after the other: Ray's logs say why")
        self._say(f"worker {number} died: a new one takes its place")
        self._running[self._begin()] = number
