"""A storm: one job, run by the installed command, interrupted again and again, resumed to its end and judged.

Everything that is chosen follows from the seed; what the clock makes of it does not.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import importlib.util
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from storm.oracle import Bill, Oracle, read_export, read_ledger

BATCHJOB = str(Path(sys.executable).with_name("batchjob"))
LLMOCK = str(Path(sys.executable).with_name("llmock"))
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
POISON = "POISON"
LONGEST_RUN_SECONDS = 90.0
TIMEOUT_SECONDS = 1.0
"""--timeout where a process is held by SIGSTOP for longer than that."""


# ---------------------------------------------------------------- modes


class Mode(NamedTuple):
    """A way to run a job. A new option of the tool gets its storms by a line in MODES.

    `start` is added to every start, `run` to every run (start, resume, retry), `sandbox` to the endpoint.
    """

    run: tuple[str, ...] = ()
    sandbox: tuple[str, ...] = ()
    start: tuple[str, ...] = ()
    extra_allowed: bool = True  # bills beyond one a row: as many as printed, or none


# Few 429s: each slows the whole job down, as it should, and a storm has to end.
FAULTS = ("429=0.002", "500=0.02", "503=0.01", "html=0.01", "dropped=0.02", "cut=0.02", "null=0.02")
_FAULTY = (*(part for fault in FAULTS for part in ("--fault", fault)), "--retry-after", "0.05", "--poison", POISON)
_HOLD = ("--on-unconfirmed", "hold")
_MANY = ("--rows-per-request", "8")

MODES = {
    "resend": Mode(),
    "hold": Mode(run=_HOLD, extra_allowed=False),
    "idempotent": Mode(sandbox=("--idempotent",), extra_allowed=False),
    "resend, faults": Mode(sandbox=_FAULTY),
    "hold, faults": Mode(run=_HOLD, sandbox=_FAULTY, extra_allowed=False),
    "idempotent, faults": Mode(sandbox=("--idempotent", *_FAULTY), extra_allowed=False),
    "many rows": Mode(run=_MANY),
    "many rows, hold": Mode(run=(*_MANY, *_HOLD), extra_allowed=False),
    "many rows, idempotent": Mode(run=_MANY, sandbox=("--idempotent",), extra_allowed=False),
}


# ---------------------------------------------------------------- what a seed chooses


class Blow(NamedTuple):
    """One run, and how it is interrupted."""

    signal: str  # kill, term, int, int twice, stop; or none
    after: str  # spawn, database, request: what is waited for first
    seconds: float  # and how long from there
    pause: float = 0.0  # between two Ctrl-C
    command: str = "start"  # or resume, or retry where rows failed
    export: bool = False  # one is taken while it runs
    watch: bool = False  # status is asked all the time
    rival: bool = False  # a second runner tries


class Plan(NamedTuple):
    """A storm."""

    seed: int
    mode: str
    rows: int
    suffix: str
    concurrency: int
    latency: tuple[float, float]
    blows: tuple[Blow, ...]


SIGNALS = ("kill",) * 12 + ("term", "int", "int twice", "int twice", "stop")


def plan_storm(seed: int, mode: str, *, blows: int, rows: int | None = None) -> Plan:
    """The storm of this seed: always the same."""
    chance = random.Random(f"storm {seed}")
    concurrency = chance.choice((1, 2, 4, 8, 16, 24, 32, 40, chance.randint(1, 40)))
    latency = chance.choice(((0.0, 0.0), (0.002, 0.02), (0.02, 0.05)))
    mean = max(sum(latency) / 2, 0.002)
    # So long that it is still at work when the last blow falls, and no longer.
    wanted = int(min(concurrency / mean, 900) * chance.uniform(0.5, 0.9) * blows)
    most = 800 if "faults" in mode else 3000  # a job that meets 429s goes slowly
    rows = rows or min(max(wanted, 200), most)
    seconds = rows / min(concurrency / mean, 900)
    return Plan(
        seed,
        mode,
        rows,
        chance.choice((".csv", ".csv.gz", ".jsonl")),
        concurrency,
        latency,
        tuple(_blow(chance, seconds / blows) for _ in range(blows)),
    )


def _blow(chance: random.Random, seconds: float) -> Blow:
    after = chance.choice(("spawn", "database", "request", "request", "request"))
    longest = {"spawn": 0.4, "database": 0.1, "request": max(seconds, 0.1) * 1.2}[after]
    return Blow(
        signal=chance.choice(SIGNALS),
        after=after,
        seconds=chance.uniform(0, longest),
        pause=chance.uniform(0, 0.05),
        command=chance.choice(("start", "resume", "resume", "retry")),
        export=chance.random() < 0.25,
        watch=chance.random() < 0.3,
        rival=after == "request" and chance.random() < 0.2,
    )


# ---------------------------------------------------------------- endpoints


class Endpoint(Protocol):
    """An endpoint in a process of its own, whose word counts."""

    url: str

    def bills(self) -> list[Bill]: ...

    def received(self) -> int:
        """Something that grows with every request."""
        ...

    def close(self) -> None: ...


class Sandbox:
    """`batchjob sandbox` with a ledger. It is never the patched one: the ledger must not share the defect."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._ledger = folder / "ledger.jsonl"
        low, high = plan.latency
        self._process = subprocess.Popen(
            [
                *(BATCHJOB, "sandbox", "--classifier", "overlap", "--ledger", str(self._ledger)),
                *("--latency", f"{low}-{high}", "--seed", str(plan.seed), *MODES[plan.mode].sandbox),
            ],
            stdout=subprocess.PIPE,
            stderr=(folder / "sandbox.err").open("wb"),
            text=True,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().removeprefix("sandbox: ").strip()
        assert self.url, (folder / "sandbox.err").read_text()

    def bills(self) -> list[Bill]:
        return read_ledger(self._ledger)

    def received(self) -> int:
        return self._ledger.stat().st_size if self._ledger.exists() else 0

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


class Llmock:
    """Somebody else's endpoint: `llmock serve`, which keeps a journal and gives one and the same label."""

    def __init__(self, folder: Path, label: str, *, latency_ms: int) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._root, self._label = f"http://127.0.0.1:{port}", label
        self.url = f"{self._root}/v1"
        self._process = subprocess.Popen(
            [
                *(LLMOCK, "serve", "-h", "127.0.0.1", "-p", str(port), "--log-level", "error"),
                *("--latency-ms", str(latency_ms), "--tool-mode", "off"),
            ],
            stdout=(folder / "llmock.out").open("wb"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        wait_for(lambda: self._answers(), seconds=20)
        self._ask("/_llmock/scenario", {"behaviors": [{"type": "reply", "text": label, "times": None}]})

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            self._ask("/_llmock/scenario")
            return True
        return False

    def _ask(self, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urllib.request.urlopen(self._root + path, data, timeout=10) as answer:
            return json.loads(answer.read())

    def bills(self) -> list[Bill]:
        ahead = time.time() - time.monotonic()  # the journal's clock is the machine's monotonic one
        bills = []
        for record in self._ask("/_llmock/requests")["requests"]:
            (text,) = [message["content"] for message in record["body"]["messages"] if message["role"] == "user"]
            billed = record["status"] == 200
            bills.append(Bill(record["started_at"] + ahead, None, None, {text: self._label}, billed, billed))
        return bills

    def received(self) -> int:
        return int(self._ask("/_llmock/requests")["count"])

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


# ---------------------------------------------------------------- the job


def make_rows(count: int) -> list[tuple[str, str]]:
    """(key, text): the example texts, again and again, each with its number so that no two are alike."""
    with (EXAMPLES / "tickets.csv").open(newline="", encoding="utf-8") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    rows = []
    for n in range(count):
        text = f"{texts[n % len(texts)]} ({n})"
        if n % 17 == 5:
            text += '\nand "again", з повагою ☂'
        if n % 97 == 11:
            text += f" {POISON}"
        rows.append((f"R-{n:05}", text))
    return rows


def write_input(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    """The rows in the format that the path's suffix says."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding="utf-8") as file:
        if ".jsonl" in path.suffixes:
            file.writelines(json.dumps({"id": key, "text": text}) + "\n" for key, text in rows)
        else:
            csv.writer(file).writerows([("id", "text"), *rows])


class World:
    """A job, its endpoint and the oracle that watches both, in one folder. Leave it to end what it started."""

    def __init__(
        self,
        folder: Path,
        plan: Plan,
        *,
        endpoint: Endpoint | None = None,
        command: Sequence[str] = (BATCHJOB,),
        environment: dict[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.plan, self.mode = folder, plan, MODES[plan.mode]
        self.rows = make_rows(plan.rows)
        self.input = folder / f"tickets{plan.suffix}"
        self.database = folder / "job.db"
        write_input(self.input, self.rows)
        self.oracle = Oracle(self.rows, extra_allowed=self.mode.extra_allowed)
        self.endpoint = endpoint or Sandbox(folder, plan)
        self.blows: Counter[str] = Counter()  # that hit a living process
        self.runs = 0
        self.by_itself: tuple[int, int] | None = None  # extra bills and those printed, before the user sent any again
        self._command = list(command)
        self._environment = environment or {}
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> World:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self._running:
            if process.poll() is None:
                process.kill()
                process.wait()
        self.endpoint.close()

    # ------------------------------------------------------------ commands

    def arguments(self, command: str, *more: str, concurrency: int | None = None) -> list[str]:
        """A command line that runs the job."""
        given = {"start": [str(self.input)], "resume": [], "retry": []}[command]
        if command == "start":
            given += ["--labels-file", str(EXAMPLES / "labels.txt"), "--base-url", self.endpoint.url, "--model", "m"]
            given += self.mode.start
        given += ["--rpm", "0", "--concurrency", str(concurrency or self.plan.concurrency), *self.mode.run]
        return [command, *given, "--db", str(self.database), *more]

    def spawn(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Begin a command; what it says goes to a file."""
        said = self.folder / f"run-{len(self._running):03}.err"
        keys = ("BATCHJOB_", "OPENAI_", "TOKENHUB_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(keys)}
        with said.open("wb") as file:
            process = subprocess.Popen(
                [*self._command, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.folder,
                env={**clean, **self._environment},
            )
        self._running.append(process)
        return process

    def said_by(self, process: subprocess.Popen[bytes]) -> str:
        """What a command has said."""
        return (self.folder / f"run-{self._running.index(process):03}.err").read_text(errors="replace")

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        """A command from its start to its end: exit code and what it said."""
        process = self.spawn(arguments)
        return self.ended(process), self.said_by(process)

    def ended(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end of a command; one that takes too long is objected to, and killed."""
        try:
            return process.wait(LONGEST_RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            self.oracle.object(f"no end within {LONGEST_RUN_SECONDS:g} s: {self.said_by(process).strip()[-300:]}")
            return process.wait()

    def status(self) -> dict[str, Any] | None:
        """What `status --json` says; None while there is no job."""
        asked = [*self._command, "status", "--json", "--db", str(self.database)]
        if importlib.util.find_spec("batchjob.cli.status") is None:  # the same document by the same reader
            asked = [sys.executable, "-c", _STATUS, str(self.database)]
        answer = subprocess.run(asked, capture_output=True, text=True, cwd=self.folder, timeout=30, check=False)
        if answer.returncode == 0:
            return dict(json.loads(answer.stdout))
        nothing_yet = "no database" in answer.stderr or "no jobs" in answer.stderr
        if not nothing_yet:
            self.oracle.object(f"status: exit {answer.returncode}: {answer.stderr.strip()[-300:]}")
        return None

    def export(self, name: str, *, whole: bool, more: Sequence[str] = ("--details",)) -> Path:
        """An export, shown to the oracle."""
        path = self.folder / name
        code, said = self.run(["export", "--db", str(self.database), "-o", str(path), *more])
        if code != 0:
            self.oracle.object(f"export: exit {code}: {said.strip()[-300:]}")
        elif "--details" in more:
            self.oracle.see_export(read_export(path), ended_at=time.time(), whole=whole)
        return path

    # ------------------------------------------------------------ judging

    def judge(self, *, final: bool = False) -> dict[str, Any] | None:
        """Everything that must hold while no process runs."""
        status = self.status()
        if status is None:
            if final or self.endpoint.bills():
                self.oracle.object("there is no job")
            return None
        oracle, ledger = self.oracle, self.endpoint.bills()
        suffix = ".csv" if self.plan.seed % 3 == 0 else ".jsonl"
        export = read_export(self.export(f"labels{suffix}", whole=status["ingested"]))
        listed = self.export("requests.jsonl", whole=True, more=("--requests",)).read_text()
        requests = [json.loads(line) for line in listed.splitlines()]
        oracle.see_status(status, final=final)
        oracle.see_labels(export, ledger)
        oracle.see_bills(ledger, requests, status["paid_twice_at_most"])
        if any(bill.request_id for bill in ledger):
            oracle.see_usage(status, ledger, requests)
        oracle.see_database(self.database)
        return status

    def see_exit(self, process: subprocess.Popen[bytes], allowed: frozenset[int]) -> None:
        """The exit code, and that no defect was met on the way."""
        said = self.said_by(process)
        if process.returncode not in allowed:
            self.oracle.object(f"exit {process.returncode}, not one of {sorted(allowed)}: {said.strip()[-400:]}")
        # A signal may hit Python before the program has begun: then the last word is Python's own.
        if "defect:" in said or ("Traceback" in said and "KeyboardInterrupt" not in said):
            self.oracle.object(f"a defect: {said.strip()[-600:]}")


_STATUS = """
import json, sys
from pathlib import Path
from batchjob.errors import BatchjobError
from batchjob.report import status_document
from batchjob.stores.reading import StoreReader
try:
    with StoreReader(Path(sys.argv[1])) as reader:
        print(json.dumps(status_document(reader.snapshot())))
except BatchjobError as error:
    sys.exit(str(error))
"""


def wait_for(condition: Callable[[], bool], *, seconds: float) -> bool:
    """Whether it came true within so many seconds."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.002)
    return True


@contextlib.contextmanager
def watched(world: World, *, wanted: bool) -> Iterator[None]:
    """Another process asks for the status all the while."""
    stopped = threading.Event()

    def ask() -> None:
        while not stopped.is_set():
            status = world.status()
            if status is not None:
                world.oracle.see_status(status)
            stopped.wait(0.1)

    thread = threading.Thread(target=ask)
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        if wanted:
            thread.join()


# ---------------------------------------------------------------- blows

ENDS = {
    "kill": frozenset({-signal.SIGKILL}),
    "term": frozenset({130, -signal.SIGTERM}),
    "int": frozenset({130, -signal.SIGINT}),
    "int twice": frozenset({130, -signal.SIGINT}),
    "stop": frozenset({-signal.SIGKILL}),
    "none": frozenset(),
}
"""Signal -> the exit codes it may lead to. Negative ones are of a process that was hit before it could listen."""
FINISHED = frozenset({0, 4})


def strike(world: World, blow: Blow) -> dict[str, Any] | None:
    """One run with its blow, judged; the status after it."""
    command = _possible(world, blow.command)
    stop = ("--timeout", str(TIMEOUT_SECONDS)) if blow.signal == "stop" else ()
    before = world.endpoint.received()
    # What the log has grown by says more than that the file is there: it is there from the second run on.
    log = world.database.with_name(world.database.name + "-wal")
    process = world.spawn(world.arguments(command, *stop))
    world.runs += 1
    with watched(world, wanted=blow.watch):
        if blow.after != "spawn":
            reached = log.exists if blow.after == "database" else lambda: world.endpoint.received() > before
            wait_for(lambda: process.poll() is not None or reached(), seconds=20)
        if blow.export and world.database.exists() and process.poll() is None:
            _export_during(world)
        if blow.rival and process.poll() is None:
            see_rival(world, process)
        time.sleep(blow.seconds)
        hit = _hit(process, blow)
        world.ended(process)
    world.blows[blow.signal] += hit
    world.see_exit(process, ENDS[blow.signal] | FINISHED if hit else FINISHED)
    return world.judge()


def _hit(process: subprocess.Popen[bytes], blow: Blow) -> bool:
    """Send the signals; whether the process was still there."""
    if blow.signal == "none" or process.poll() is not None:
        return False
    if blow.signal == "stop":
        process.send_signal(signal.SIGSTOP)
        time.sleep(TIMEOUT_SECONDS + 0.3)
        process.send_signal(signal.SIGCONT)
        time.sleep(blow.seconds / 2)
        process.kill()
    elif blow.signal == "kill":
        process.kill()
    else:
        process.send_signal(signal.SIGTERM if blow.signal == "term" else signal.SIGINT)
        if blow.signal == "int twice":
            time.sleep(blow.pause)
            process.send_signal(signal.SIGINT)
    return True


def _possible(world: World, command: str) -> str:
    """The command, or `start` where there is nothing to do for it."""
    status = world.status()
    if status is None or command == "start":
        return "start"
    if command == "retry":
        failed = any(error["kind"] != "unconfirmed" for error in status["errors"])
        return "retry" if failed else "start"
    rows = status["rows"]
    unfinished = rows["pending"] or rows["in_flight"] or not status["ingested"]
    return "resume" if unfinished else "start"


def _export_during(world: World) -> None:
    if world.status() is not None:
        world.export("meanwhile.jsonl", whole=False)


def see_rival(world: World, first: subprocess.Popen[bytes]) -> None:
    """A second runner, which must be refused by name while the first runs."""
    code, said = world.run(world.arguments("start"))
    if first.poll() in FINISHED:
        return  # and then the second may run
    if code != 1 or f"process {first.pid}" not in said or "job 'tickets'" not in said:
        world.oracle.object(f"second runner: exit {code}, not refused by name: {said.strip()[-300:]}")


# ---------------------------------------------------------------- a whole storm


class Told(NamedTuple):
    """What a storm came to."""

    plan: Plan
    blows: Counter[str]
    runs: int
    rows: int
    labels_lost: int
    billed_after_commit: int
    extra_bills: int  # of what the tool sent by itself,
    printed: int  # and the most that it printed
    retried_extra: int  # of what was held and then sent by the user's word,
    retried_printed: int  # and the most that was printed
    objections: list[str]


def storm(world: World) -> Told:
    """All blows of the plan, then the job to its end, then once more for nothing."""
    for blow in world.plan.blows:
        status = strike(world, blow)
        if status is not None and status["ingested"]:
            rows = status["rows"]
            if not (rows["pending"] or rows["in_flight"] or rows["failed"]):
                break
    finish(world)
    oracle = world.oracle
    extra, printed = world.by_itself or (oracle.extra_bills, oracle.printed)
    return Told(
        world.plan,
        world.blows,
        world.runs,
        len(world.rows),
        oracle.labels_lost,
        oracle.billed_after_commit,
        extra,
        printed,
        oracle.extra_bills - extra,
        oracle.printed - printed,
        oracle.objections,
    )


def finish(world: World) -> None:
    """The job to its end; there a second start sends nothing. Then what was held goes out by the user's word."""
    code = _to_the_end(world)
    before = len(world.endpoint.bills())
    again, said = world.run(world.arguments("start"))
    sent = len(world.endpoint.bills()) - before
    if again != code or sent:
        world.oracle.object(f"second start: exit {again} after {code}, {sent} requests: {said.strip()[-300:]}")
    status = world.judge(final=True)
    if status is None or not status["rows"]["unconfirmed"]:
        return
    world.by_itself = (world.oracle.extra_bills, world.oracle.printed)
    world.oracle.extra_allowed = True
    for _ in range(8):
        code, said = world.run(world.arguments("retry", "--kind", "unconfirmed"))
        if code not in FINISHED:
            world.oracle.object(f"retry: exit {code}: {said.strip()[-300:]}")
        status = world.judge(final=True)
        if status is None or not status["rows"]["unconfirmed"]:
            break


def _to_the_end(world: World) -> int:
    world.runs += 1
    process = world.spawn(world.arguments("start"))
    with watched(world, wanted=any(blow.watch for blow in world.plan.blows)):
        code = world.ended(process)
    world.see_exit(process, FINISHED)
    return code
