"""A storm: one job, run by the installed command, interrupted again and again, resumed to its end and judged.

Everything that is chosen follows from the seed; what the clock makes of it does not.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import unicodedata
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Protocol

from warm import shared

from storm.oracle import Bill, Oracle, read_export, read_ledger
from storm.readers import LABELS, read_some

BATCHJOB = str(Path(sys.executable).with_name("batchjob"))
LLMOCK = str(Path(sys.executable).with_name("llmock"))
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
POISON = "POISON"
PRICES = (1.0, 2.0)
"""USD for a million tokens, in and out."""
ROW_USD = 130e-6
"""What an example text costs by them, about."""
FIELDS_TOML = """
fields = [
    { name = "category", labels = ["card arrival", "refund", "exchange rate"] },
    { name = "urgent", kind = "yes_no" },
    { name = "score", kind = "number", min = 1, max = 5 },
]
"""
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
    extra: str = "printed"  # bills beyond one a question: as many as printed, none, or as were lost (see Oracle)
    copies: int = 1  # rows that ask the same question, each in its own writing
    loose: bool = False  # in one that is only loosely the same
    columns: bool = False  # each text stands under two topics, and the prompt asks for both
    second: str = ""  # another job in the same database over half the texts: begun when the first is "done", or "open"
    budget: bool = False  # one that grows from blow to blow
    verify: float = 0.0  # the --verify-sample
    fields: bool = False  # several answers a text
    settings: bool = False  # others at each run, of those that leave the task as it is
    between: bool = False  # between two runs labels are forgotten, and failed rows retried
    formats: bool = False  # the input in any format, or in several files
    readers: bool = False  # all commands that read, while it runs
    two: bool = False  # a second model, for every fifth question


# Few 429s: each slows the whole job down, as it should, and a storm has to end.
FAULTS = ("429=0.002", "500=0.02", "503=0.01", "html=0.01", "dropped=0.02", "cut=0.02", "null=0.02")
_FAULTY = (*(part for fault in FAULTS for part in ("--fault", fault)), "--retry-after", "0.05", "--poison", POISON)
SECOND = "n"
_SECOND = ("--second-model", SECOND)
_HARD = ("--poison", r"[05]\)", "--poison-fault", "off_list", "--poison-model", "m")
_HARD_AMONG_MANY = ("--poison", r"[05]5\)", *_HARD[2:])  # a request with one of them is off the list for all its rows
_FAULTS_TOO = tuple(part for fault in FAULTS for part in ("--fault", fault))
_PARTLY = (*_FAULTY, "--fault", "off_list=0.05")
_HOLD = ("--on-unconfirmed", "hold")
_MANY = ("--rows-per-request", "8")
_VERIFY = 0.2
_VERIFIED = (*_MANY, "--verify-sample", str(_VERIFY))
_ONCE = ("--idempotent",)
_LOOSE = ("--dedupe", "loose")
_TOPIC = ("--prompt", "{topic}\n{text}")
TOPICS = ("cards", "money (EU)")

MODES = {
    "resend": Mode(),
    "hold": Mode(run=_HOLD, extra="none"),
    "idempotent": Mode(sandbox=_ONCE, extra="none"),
    "resend, faults": Mode(sandbox=_FAULTY),
    "hold, faults": Mode(run=_HOLD, sandbox=_FAULTY, extra="none"),
    "idempotent, faults": Mode(sandbox=(*_ONCE, *_FAULTY), extra="none"),
    "many rows": Mode(run=_MANY),
    "many rows, hold": Mode(run=(*_MANY, *_HOLD), extra="none"),
    "many rows, idempotent": Mode(run=_MANY, sandbox=_ONCE, extra="none"),
    "duplicates": Mode(copies=5),
    "duplicates, hold": Mode(run=_HOLD, copies=5, extra="none"),
    "duplicates, many rows, hold": Mode(run=(*_MANY, *_HOLD), copies=5, extra="none"),
    "duplicates, idempotent": Mode(sandbox=_ONCE, copies=5, extra="none"),
    "duplicates, faults": Mode(sandbox=_FAULTY, copies=5),
    "duplicates, many rows": Mode(run=_MANY, copies=5),
    "loose": Mode(run=_LOOSE, copies=5, loose=True),
    "loose, hold": Mode(run=(*_LOOSE, *_HOLD), copies=5, loose=True, extra="none"),
    "loose, many rows, hold": Mode(run=(*_LOOSE, *_MANY, *_HOLD), copies=5, loose=True, extra="none"),
    "columns": Mode(start=_TOPIC, copies=3, columns=True),
    "columns, hold": Mode(run=_HOLD, start=_TOPIC, copies=3, columns=True, extra="none"),
    "columns, many rows, hold": Mode(run=(*_MANY, *_HOLD), start=_TOPIC, copies=3, columns=True, extra="none"),
    "columns, loose, many rows": Mode(run=(*_LOOSE, *_MANY), start=_TOPIC, copies=5, loose=True, columns=True),
    "cache": Mode(second="done"),
    "cache, idempotent": Mode(sandbox=_ONCE, second="done", extra="none"),
    "cache, hold": Mode(run=_HOLD, second="done", copies=2, extra="none"),
    "cache, two open": Mode(second="open", extra="lost"),  # the other job asks what a lost request asked
    "cache, two open, hold": Mode(run=_HOLD, second="open", copies=2, extra="none"),
    "budget": Mode(budget=True),
    "budget, hold": Mode(run=_HOLD, budget=True, extra="none"),
    "budget, faults": Mode(sandbox=_FAULTY, budget=True),
    "budget, many rows": Mode(run=_VERIFIED, budget=True, verify=_VERIFY),
    "fields": Mode(fields=True),
    "fields, hold, faults": Mode(run=_HOLD, sandbox=_PARTLY, fields=True, extra="none"),
    "fields, many rows": Mode(run=_MANY, sandbox=_PARTLY, fields=True),
    "fields, many rows, idempotent": Mode(run=_MANY, sandbox=_ONCE, fields=True, extra="none"),
    "second": Mode(start=_SECOND, sandbox=_HARD, two=True),
    "second, hold": Mode(run=_HOLD, start=_SECOND, sandbox=_HARD, two=True, extra="none"),
    "second, faults": Mode(start=_SECOND, sandbox=(*_HARD, *_FAULTS_TOO), two=True),
    "second, many rows": Mode(run=_MANY, start=_SECOND, sandbox=_HARD_AMONG_MANY, two=True),
    "second, many rows, hold, faults": Mode(
        run=(*_MANY, *_HOLD), start=_SECOND, sandbox=(*_HARD_AMONG_MANY, *_FAULTS_TOO), two=True, extra="none"
    ),
    "second, many rows, idempotent": Mode(
        run=_MANY, start=_SECOND, sandbox=(*_HARD_AMONG_MANY, *_ONCE), two=True, extra="none"
    ),
    "second, many rows, verify": Mode(run=_VERIFIED, start=_SECOND, sandbox=_HARD_AMONG_MANY, two=True, verify=_VERIFY),
    "second, duplicates, many rows, hold": Mode(
        run=(*_MANY, *_HOLD), start=_SECOND, sandbox=_HARD_AMONG_MANY, copies=5, two=True, extra="none"
    ),
    "second, fields, many rows": Mode(
        run=_MANY, start=_SECOND, sandbox=(*_HARD_AMONG_MANY, *_FAULTS_TOO), fields=True, two=True
    ),
    "verify": Mode(run=_VERIFIED, verify=_VERIFY),
    "verify, hold": Mode(run=(*_VERIFIED, *_HOLD), verify=_VERIFY, extra="none"),
    "verify, idempotent": Mode(run=_VERIFIED, sandbox=_ONCE, verify=_VERIFY, extra="none"),
    "settings": Mode(settings=True),
    "settings, hold": Mode(run=_HOLD, settings=True, extra="none"),
    "settings, idempotent": Mode(sandbox=_ONCE, settings=True, extra="none"),
    "settings, duplicates, faults": Mode(sandbox=_FAULTY, copies=5, settings=True),
    "between, faults": Mode(sandbox=_FAULTY, between=True),
    "between, duplicates, hold, faults": Mode(run=_HOLD, sandbox=_FAULTY, copies=5, between=True, extra="none"),
    "between, duplicates, idempotent": Mode(sandbox=_ONCE, copies=5, between=True, extra="none"),
    "formats": Mode(formats=True),
    "formats, hold": Mode(run=_HOLD, formats=True, extra="none"),
    "readers": Mode(readers=True),
    "readers, many rows, hold": Mode(run=(*_MANY, *_HOLD), readers=True, extra="none"),
    "readers, cache": Mode(second="done", readers=True),
    "all at once, faults": Mode(sandbox=_FAULTY, settings=True, between=True, formats=True, readers=True),
    "all at once, hold": Mode(run=_HOLD, settings=True, between=True, formats=True, readers=True, extra="none"),
}
VARIED = r"^(settings|between|formats|readers|all at once)"
"""The modes in which more than the blows changes from run to run: MODE, for these alone."""


# ---------------------------------------------------------------- what a seed chooses


class Blow(NamedTuple):
    """One run, and how it is interrupted."""

    signal: str  # kill, term, int, int twice, stop, output; or none
    after: str  # spawn, file, database, request: what is waited for first
    seconds: float  # and how long from there
    pause: float = 0.0  # between two Ctrl-C
    command: str = "start"  # or resume, or retry where rows failed
    export: bool = False  # one is taken while it runs
    cut_export: bool = False  # one is killed
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


SIGNALS = ("kill",) * 12 + ("term", "int", "int twice", "int twice", "stop", "output", "output")
"""`output`: Ctrl-C to a run with --output, and a kill while it writes that."""


def plan_storm(seed: int, mode: str, *, blows: int, rows: int | None = None) -> Plan:
    """The storm of this seed: always the same."""
    chance = random.Random(f"storm {seed}")
    concurrency = chance.choice((1, 2, 4, 8, 16, 24, 32, 40, chance.randint(1, 40)))
    latency = chance.choice(((0.0, 0.0), (0.002, 0.02), (0.02, 0.05)))
    mean = max(sum(latency) / 2, 0.002)
    # So long that it is still at work when the last blow falls, and no longer.
    wanted = int(min(concurrency / mean, 900) * chance.uniform(0.5, 0.9) * blows)
    # A job that meets 429s goes slowly, and so does one beside many commands.
    most = 800 if re.search(VARIED, mode) or "faults" in mode else 1500 if MODES[mode].two else 3000
    rows = rows or min(max(wanted, 200), most) * (2 if MODES[mode].copies > 1 else 1)
    seconds = rows / min(concurrency / mean, 900)
    suffix = chance.choice((".csv", ".csv.gz", ".jsonl"))
    if MODES[mode].formats:
        suffix = random.Random(f"format {seed}").choice(SUFFIXES)
    return Plan(
        seed,
        mode,
        rows,
        suffix,
        concurrency,
        latency,
        tuple(_blow(chance, seconds / blows, first=n == 0) for n in range(blows)),
    )


def _blow(chance: random.Random, seconds: float, *, first: bool) -> Blow:
    """`first`: there is no database yet, and half of these blows fall while it is made."""
    after = chance.choice(("spawn", "database", "request", "request", "request"))
    sent = chance.choice(SIGNALS)
    if first and chance.random() < 0.5:
        after, sent = "file", "kill"
    longest = {"spawn": 0.4, "file": 0.03, "database": 0.1, "request": max(seconds, 0.1) * 1.2}[after]
    return Blow(
        signal=sent,
        after="request" if sent == "output" else after,
        seconds=chance.uniform(0, longest),
        pause=chance.uniform(0, 0.05),
        command=chance.choice(("start", "resume", "resume", "retry")),
        export=chance.random() < 0.25,
        cut_export=chance.random() < 0.25,
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
                *(BATCHJOB, "sandbox", "--ledger", str(self._ledger)),
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


def make_rows(
    count: int, *, copies: int = 1, first: int = 0, loose: bool = False, columns: bool = False
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """(key, text) of rows that ask so many questions from the `first` on, and text -> question where they differ.

    With `columns` a text is two columns, topic and text, with a line break between, as the prompt has them.

    Questions are the example texts, again and again, each with its number so that no two are alike. Each stands there
    `copies` times: as it is, and in writings that are to be taken for the same.
    """
    with (EXAMPLES / "tickets.csv").open(newline="", encoding="utf-8") as file:
        examples = [row["text"] for row in csv.DictReader(file)]
    writings = LOOSE_WRITINGS if loose else WRITINGS
    ask = _question_of_columns if columns else _question
    asked = [ask(examples, n) for n in range(first, first + max(count // copies, 1))]
    texts = [writings[n // len(asked) % len(writings)](asked[n % len(asked)]) for n in range(count)]
    if copies > 1:
        random.Random(count).shuffle(texts)
    questions = {write(question): question for question in asked for write in writings} if copies > 1 else {}
    return [(f"R-{first + n:05}", text) for n, text in enumerate(texts)], questions


def _question(examples: Sequence[str], n: int) -> str:
    text = f"{examples[n % len(examples)]} ({n})"
    if n % 17 == 5:
        text += '\nand "again", з повагою ☂'
    if n % 97 == 11:
        text += f" {POISON}"
    return text


def _question_of_columns(examples: Sequence[str], n: int) -> str:
    return f"{TOPICS[n % 2]}\n{_question(examples, n // 2)}"


WRITINGS: tuple[Callable[[str], str], ...] = (
    str,
    lambda text: f"  {text.replace(' ', '   ')} ",
    lambda text: text.replace(" ", "\t"),
    lambda text: unicodedata.normalize("NFD", text) + "\u00a0",
    str,
)
"""What makes no difference: white space, Unicode's form; and none at all."""
LOOSE_WRITINGS = (*WRITINGS[:2], str.upper, lambda text: f"{text}!", lambda text: f"{text.title()} ?!")
"""And what makes none loosely: case and closing marks."""


SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".jsonl", ".jsonl.gz", ".parquet", ".xlsx", SEVERAL := ".several")


def write_input(path: Path, rows: Sequence[tuple[str, str]], *, columns: bool = False) -> list[Path]:
    """The rows in the format that the path's suffix says; the files that were written."""
    header = ("id", "topic", "text") if columns else ("id", "text")
    records = [(key, *text.split("\n", 1)) if columns else (key, text) for key, text in rows]
    if path.suffix == SEVERAL:
        middle = len(rows) // 2
        return [
            *write_input(path.with_suffix(".csv"), rows[:middle]),
            *write_input(path.with_suffix(".2.csv"), rows[middle:]),
        ]
    if path.suffix == ".parquet":
        _write_parquet(path, header, records)
    elif path.suffix == ".xlsx":
        _write_workbook(path, header, records)
    else:
        _write_lines(path, header, records)
    return [path]


def _write_parquet(path: Path, header: Sequence[str], records: Sequence[tuple[str, ...]]) -> None:
    import pyarrow
    import pyarrow.parquet

    columns = dict(zip(header, map(list, zip(*records, strict=True)), strict=True))
    pyarrow.parquet.write_table(pyarrow.table(columns), path, row_group_size=700)


def _write_workbook(path: Path, header: Sequence[str], records: Sequence[tuple[str, ...]]) -> None:
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for record in (header, *records):
        sheet.append(record)
    book.save(path)


def _write_lines(path: Path, header: Sequence[str], records: Sequence[tuple[str, ...]]) -> None:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "wt", newline="", encoding="utf-8") as file:
        if ".jsonl" in path.suffixes:
            file.writelines(json.dumps(dict(zip(header, record, strict=True))) + "\n" for record in records)
        else:
            tab = "\t" if ".tsv" in path.suffixes else ","
            quoting = csv.QUOTE_MINIMAL if tab == "," else csv.QUOTE_ALL  # without, a line break in a TSV ends the row
            csv.writer(file, delimiter=tab, quoting=quoting).writerows([header, *records])


class Work:
    """A job of a world: its input, the oracle that watches it, and what it said of itself when it was last judged."""

    def __init__(self, name: str, rows: list[tuple[str, str]], inputs: list[Path], oracle: Oracle) -> None:
        self.name, self.rows, self.inputs, self.oracle = name, rows, inputs, oracle
        self.requests: list[dict[str, Any]] = []
        self.printed = 0


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
        url: str | None = None,
        warm: bool = False,
    ) -> None:
        """`warm`: commands that nobody interrupts are forked from one that has imported all, not started."""
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.plan, self.mode = folder, plan, MODES[plan.mode]
        self.database = folder / "job.db"
        self.on_server = url is not None
        self._url = url
        self.works: list[Work] = []
        self.begin_work("tickets")
        if self.mode.budget:
            (folder / "job.toml").write_text('[prices."m"]\ninput = {}\noutput = {}\n'.format(*PRICES))
        if self.mode.fields:
            (folder / "job.toml").write_text(FIELDS_TOML)
        self.budget: float | None = None
        self.endpoint = endpoint or Sandbox(folder, plan)
        self.blows: Counter[str] = Counter()  # that hit a living process
        self.moments: Counter[str] = Counter()  # and what they hit it in
        self.runs = 0
        self.retried: Counter[str] = Counter()  # extra bills, and those printed, of what the user sent again
        self._command = list(command)
        self._environment = environment or {}
        self._warm = warm and sys.platform == "linux"
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """What --db is given."""
        return self._url or str(self.database)

    def begin_work(self, name: str) -> None:
        """One more job, which is at work from now on; half of its texts are the last half of the job before."""
        plan, mode = self.plan, self.mode
        rows, questions = make_rows(
            plan.rows,
            copies=mode.copies,
            first=len(self.works) * plan.rows // mode.copies // 2,
            loose=mode.loose,
            columns=mode.columns,
        )
        sources = ["model", *(["duplicate"] if mode.copies > 1 else []), *(["cache"] if mode.second else [])]
        sources += ["second"] if mode.two else []
        before = self.works[-1].oracle if self.works else None
        oracle = Oracle(rows, extra=mode.extra, questions=questions, sources=sources, before=before, fields=mode.fields)
        inputs = write_input(self.folder / f"{name}{plan.suffix}", rows, columns=mode.columns)
        self.at = Work(name, rows, inputs, oracle)
        self.works.append(self.at)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The input of the job at work."""
        return self.at.rows

    @property
    def oracle(self) -> Oracle:
        """That of the job at work."""
        return self.at.oracle

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
        name = [self.at.name] if len(self.works) > 1 else []
        given = {"start": [*map(str, self.at.inputs)], "resume": name, "retry": name}[command]
        if command == "start":
            given += [] if self.mode.fields else ["--labels-file", LABELS]
            given += ["--base-url", self.endpoint.url, "--model", "m"]
            given += self.mode.start
        given += ["--rpm", "0", "--concurrency", str(concurrency or self.plan.concurrency), *self.mode.run]
        if self.mode.settings:
            given += other_settings(random.Random(f"settings {self.plan.seed} {self.runs}"), self.mode)
        if self.budget is not None:
            given += ["--budget", f"{self.budget:.9f}"]
        return [command, *given, "--db", self.url, *more]

    def spawn(self, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
        """Begin a command; what it says goes to a file."""
        said = self.folder / f"run-{len(self._running):03}.err"
        with said.open("wb") as file:
            process = subprocess.Popen(
                self.called(*arguments),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.folder,
                env=self._surroundings(),
            )
        self._running.append(process)
        return process

    def _surroundings(self) -> dict[str, str]:
        keys = ("BATCHJOB_", "OPENAI_", "TOKENHUB_")
        clean = {name: value for name, value in os.environ.items() if not name.startswith(keys)}
        return {**clean, "PYTHONUTF8": "1", **self._environment}

    def _can_fork(self) -> bool:
        return self._warm and self._command == [BATCHJOB] and shared().can(self._surroundings())

    def said_by(self, process: subprocess.Popen[bytes]) -> str:
        """What a command has said."""
        return (self.folder / f"run-{self._running.index(process):03}.err").read_text(errors="replace")

    def run(self, arguments: Sequence[str]) -> tuple[int, str]:
        """A command from its start to its end: exit code and what it said."""
        if self._can_fork():
            code, out, err = self._forked(arguments, LONGEST_RUN_SECONDS)
            return code, out + err
        process = self.spawn(arguments)
        return self.ended(process), self.said_by(process)

    def _forked(self, arguments: Sequence[str], seconds: float) -> tuple[int, str, str]:
        """Exit code, stdout and stderr; one that takes too long is objected to, and killed."""
        try:
            return shared().run(self.called(*arguments), str(self.folder), self._surroundings(), None, seconds)
        except subprocess.TimeoutExpired:
            self.oracle.object(f"no end within {seconds:g} s: {' '.join(arguments)}")
            return -signal.SIGKILL, "", ""

    def ended(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for the end of a command; one that takes too long is objected to, and killed."""
        try:
            return process.wait(LONGEST_RUN_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            self.oracle.object(f"no end within {LONGEST_RUN_SECONDS:g} s: {self.said_by(process).strip()[-300:]}")
            return process.wait()

    def called(self, *command: str) -> list[str]:
        """A command line as it is started."""
        return [*self._command, *command]

    def ask(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command that reads, from its start to its end."""
        if self._can_fork():
            return subprocess.CompletedProcess(self.called(*command), *self._forked(command, 60))
        return subprocess.run(
            self.called(*command), capture_output=True, text=True, cwd=self.folder, timeout=60, check=False
        )

    def status(self) -> dict[str, Any] | None:
        """What `status --json` says; None while there is no job."""
        answer = self.ask("status", self.at.name, "--json", "--db", self.url)
        if answer.returncode == 0:
            return dict(json.loads(answer.stdout))
        nothing_yet = any(
            part in answer.stderr for part in ("no database", "no jobs", f"no job is named {self.at.name!r}")
        )
        if not nothing_yet:
            self.oracle.object(f"status: exit {answer.returncode}: {answer.stderr.strip()[-300:]}")
        return None

    def export(self, name: str, *, whole: bool, more: Sequence[str] = ("--details",)) -> Path:
        """An export, shown to the oracle."""
        path = self.folder / name
        code, said = self.run(["export", self.at.name, "--db", self.url, "-o", str(path), *more])
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
            if final or (self.endpoint.bills() and len(self.works) == 1):
                self.oracle.object("there is no job")
            return None
        oracle, ledger, work = self.oracle, self.endpoint.bills(), self.at
        suffix = ".csv" if self.plan.seed % 3 == 0 else ".jsonl"
        export = read_export(self.export(f"labels{suffix}", whole=status["ingested"]))
        listed = self.export("requests.jsonl", whole=True, more=("--requests",)).read_text()
        work.requests, work.printed = [json.loads(line) for line in listed.splitlines()], status["paid_twice_at_most"]
        oracle.see_status(status, final=final)
        oracle.see_labels(export, ledger)
        oracle.see_bills(
            ledger,
            [request for work in self.works for request in work.requests],
            sum(work.printed for work in self.works),
        )
        if any(bill.request_id for bill in ledger):
            oracle.see_usage(status, ledger, work.requests)
        if self.budget is not None:
            prices = PRICES[0] / 1e6, PRICES[1] / 1e6
            oracle.see_cost(status, ledger, work.requests, prices=prices, budget=self.budget)
        if self.mode.two:
            oracle.see_second(ledger, SECOND)
        if self.mode.verify:
            oracle.see_verifications(status, ledger, work.requests, self.mode.verify)
        oracle.see_database(self.url)
        return status

    def see_exit(self, process: subprocess.Popen[bytes], allowed: frozenset[int]) -> None:
        """The exit code, and that no defect was met on the way."""
        self.see_end(process.returncode, self.said_by(process), allowed)

    def see_end(self, code: int, said: str, allowed: frozenset[int]) -> None:
        """The same of a command that has said this."""
        # A signal may hit Python before the program has begun: then the last word, and exit code 1, are Python's own.
        too_early = said.rstrip().endswith("KeyboardInterrupt") and "/batchjob/" not in said
        if code not in allowed and not (too_early and code == 1):
            self.oracle.object(f"exit {code}, not one of {sorted(allowed)}: {said.strip()[-400:]}")
        if "defect:" in said or ("Traceback" in said and "KeyboardInterrupt" not in said):
            self.oracle.object(f"a defect: {said.strip()[-600:]}")


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
    """Other processes read all the while: the status, or all that can be read."""
    stopped, chance = threading.Event(), random.Random(f"readers {world.plan.seed} {world.runs}")

    def ask() -> None:
        try:
            while not stopped.is_set():
                status = world.status()
                if status is not None:
                    world.oracle.see_status(status)
                if world.mode.readers:
                    read_some(world, chance)
                stopped.wait(0.1)
        except Exception as error:  # nobody else would hear of it
            world.oracle.object(f"reading beside it: {type(error).__name__}: {error}")

    thread = threading.Thread(target=ask)
    wanted = wanted or world.mode.readers
    if wanted:
        thread.start()
    try:
        yield
    finally:
        stopped.set()
        if wanted:
            thread.join()


# ---------------------------------------------------------------- what else changes


def other_settings(chance: random.Random, mode: Mode) -> list[str]:
    """Settings that leave the task as it is; of a flag that is given twice the later counts."""
    given = {
        "--concurrency": chance.randint(1, 40),
        "--rpm": chance.choice((0, 0, 30_000, 120_000)),
        "--rows-per-request": chance.choice((1, 1, 3, 8)),
        "--timeout": chance.choice((5, 30, 120)),
        "--connect-timeout": chance.choice((2, 10)),
        "--max-attempts": chance.choice((4, 5, 9)),
        "--max-outage": chance.choice((60, 3600)),
        "--log-format": chance.choice(("console", "json")),
    }
    if mode.extra == "printed":
        given["--max-tokens"] = chance.choice((32, 64))  # another body, and so another key
    kept = chance.sample(sorted(given), chance.randint(2, len(given)))
    return [part for flag in kept for part in (flag, str(given[flag]))]


def between_runs(world: World) -> None:
    """What a user may do while nothing runs: forget labels, and retry what failed."""
    status = world.status()
    if status is None:
        return
    chance = random.Random(f"between {world.plan.seed} {world.runs}")
    for command in (("cache", "clear"), ("cache", "prune", "--older-than", "1h"), ("cache", "stats")):
        if chance.random() < 0.6:
            code, said = world.run([*command, "--db", world.url])
            if code != 0:
                world.oracle.object(f"{' '.join(command)}: exit {code}: {said.strip()[-300:]}")
    if chance.random() < 0.5 and _possible(world, "retry") == "retry":
        process = world.spawn(world.arguments("retry"))
        world.runs += 1
        world.ended(process)
        world.see_exit(process, _ends(world))
    world.judge()


# ---------------------------------------------------------------- blows

ENDS = {
    "kill": frozenset({-signal.SIGKILL}),
    "term": frozenset({130, -signal.SIGTERM}),
    "int": frozenset({130, -signal.SIGINT}),
    "int twice": frozenset({130, -signal.SIGINT}),
    "stop": frozenset({-signal.SIGKILL}),
    "output": frozenset({130, -signal.SIGINT, -signal.SIGKILL}),
    "none": frozenset(),
}
"""Signal -> the exit codes it may lead to. Negative ones are of a process that was hit before it could listen."""
FINISHED = frozenset({0, 4})
OVER_BUDGET = 5


def strike(world: World, blow: Blow) -> dict[str, Any] | None:
    """One run with its blow, judged; the status after it."""
    command = _possible(world, blow.command)
    more = ("--timeout", str(TIMEOUT_SECONDS)) if blow.signal == "stop" else ()
    output = world.folder / "output.csv"
    if blow.signal == "output":
        more = ("--output", str(output))
    before = world.endpoint.received()
    # What the log has grown by says more than that the file is there: it is there from the second run on.
    log = world.database.with_name(world.database.name + "-wal")
    process = world.spawn(world.arguments(command, *more))
    world.runs += 1
    reached = {
        "spawn": lambda: True,
        "file": lambda: world.on_server or world.database.exists(),
        "database": lambda: world.on_server or log.exists(),
        "request": lambda: world.endpoint.received() > before,
    }
    with watched(world, wanted=blow.watch):
        wait_for(lambda: process.poll() is not None or reached[blow.after](), seconds=20)
        if (
            blow.export
            and not world.mode.readers
            and (world.on_server or world.database.exists())
            and process.poll() is None
        ):
            _export_during(world)
        if blow.rival and process.poll() is None:
            see_rival(world, process)
        time.sleep(blow.seconds)
        hit = _hit(process, blow, output)
        world.ended(process)
    world.blows[blow.signal] += hit
    world.see_exit(process, ENDS[blow.signal] | _ends(world) if hit else _ends(world))
    status = world.judge()
    if hit and process.returncode == -signal.SIGKILL:
        world.moments[_moment(world, command, blow, status)] += 1
    if blow.cut_export and status is not None:
        _cut_export(world, blow)
    return status


def _ends(world: World) -> frozenset[int]:
    """The exit codes of a run that nobody interrupts."""
    return FINISHED if world.budget is None else FINISHED | {OVER_BUDGET}


def _hit(process: subprocess.Popen[bytes], blow: Blow, output: Path) -> bool:
    """Send the signals; whether the process was still there."""
    if blow.signal == "none" or process.poll() is not None:
        return False
    if blow.signal == "stop":
        process.send_signal(signal.SIGSTOP)
        time.sleep(TIMEOUT_SECONDS + 0.3)
        process.send_signal(signal.SIGCONT)
        time.sleep(blow.seconds / 2)
        process.kill()
    elif blow.signal == "output":
        output.write_text(OLD)
        process.send_signal(signal.SIGINT)
        _kill_writing(process, output, blow)
    elif blow.signal == "kill":
        process.kill()
    else:
        process.send_signal(signal.SIGTERM if blow.signal == "term" else signal.SIGINT)
        if blow.signal == "int twice":
            time.sleep(blow.pause)
            process.send_signal(signal.SIGINT)
    return True


OLD = "old\n"
"""What was in an output before."""


def _parts(output: Path) -> list[Path]:
    """New files that are to take the place of this one."""
    return list(output.parent.glob(f".{output.name}.*.part"))


def _kill_writing(process: subprocess.Popen[bytes], output: Path, blow: Blow) -> None:
    """Kill a process that will write `output` while it does so."""
    wait_for(lambda: process.poll() is not None or bool(_parts(output)), seconds=20)
    time.sleep(blow.pause / 5)
    process.kill()
    process.wait()


def _see_output(world: World, output: Path) -> bool:
    """An output that was cut is the old one or the whole new one; whether it is the old one still."""
    text = output.read_text(encoding="utf-8")
    if text == OLD:
        return True
    status = world.status()
    if status is not None and len(list(csv.DictReader(text.splitlines(keepends=True)))) != status["rows"]["total"]:
        world.oracle.object(f"output: neither the old file nor a whole one, {len(text)} characters")
    return False


def _cut_export(world: World, blow: Blow) -> None:
    """`export -o`, killed."""
    output = world.folder / "cut.csv"
    output.write_text(OLD)
    process = world.spawn(["export", world.at.name, "--db", world.url, "-o", str(output)])
    _kill_writing(process, output, blow)
    world.moments["export"] += _see_output(world, output) and process.returncode == -signal.SIGKILL


def _moment(world: World, command: str, blow: Blow, status: dict[str, Any] | None) -> str:
    """What the process was killed in."""
    if status is None:
        return "making the database" if world.on_server or world.database.exists() else "before a database"
    if blow.signal == "output":
        return "start --output" if _see_output(world, world.folder / "output.csv") else "labelling"
    if not status["ingested"]:
        return "reading"
    return "retry" if command == "retry" else "labelling"


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
    if first.poll() in _ends(world):
        return  # and then the second may run
    if code != 1 or f"process {first.pid}" not in said or f"job {world.at.name!r}" not in said:
        world.oracle.object(f"second runner: exit {code}, not refused by name: {said.strip()[-300:]}")


# ---------------------------------------------------------------- a whole storm


class Told(NamedTuple):
    """What a storm came to."""

    plan: Plan
    blows: Counter[str]
    moments: Counter[str]
    runs: int
    rows: int
    questions: int
    labels_lost: int
    billed_after_commit: int
    extra_bills: int  # of what the tool sent by itself,
    printed: int  # and the most that it printed
    retried_extra: int  # of what was held and then sent by the user's word,
    retried_printed: int  # and the most that was printed
    objections: list[str]


def storm(world: World) -> Told:
    """All blows of the plan, then the job to its end, then once more for nothing; so with a second job, if any."""
    blows = world.plan.blows
    if not world.mode.second:
        _blow_after_blow(world, blows)
    else:
        first, half = world.at, len(blows) // 2
        _blow_after_blow(world, blows[:half])
        if world.mode.second == "done":
            finish(world)
        world.begin_work("tomorrow")
        _blow_after_blow(world, blows[half:])
        if world.mode.second == "open":
            finish(world)
            world.at = first
    finish(world)
    return told_of(world)


def told_of(world: World) -> Told:
    """What a storm came to that is over."""
    oracle = world.oracle
    retried = world.retried
    return Told(
        world.plan,
        world.blows,
        world.moments,
        world.runs,
        sum(len(work.rows) for work in world.works),
        len({oracle.question(text) for bill in world.endpoint.bills() if bill.billed for text in bill.labels}),
        sum(work.oracle.labels_lost for work in world.works),
        oracle.billed_after_commit,
        oracle.extra_bills - retried["extra"],
        oracle.printed - retried["printed"],
        retried["extra"],
        retried["printed"],
        oracle.objections,
    )


def _blow_after_blow(world: World, blows: Sequence[Blow]) -> None:
    """Strike until nothing is left to do. A budget grows with each, and at last runs out by itself."""
    share = 0.25 * len(world.rows) * ROW_USD / max(len(blows), 1)
    for n, blow in enumerate(blows, start=1):
        if world.mode.budget:
            world.budget = n * share
        status = strike(world, blow)
        if world.mode.between:
            between_runs(world)
        if status is not None and status["ingested"]:
            rows = status["rows"]
            if not (rows["pending"] or rows["in_flight"] or rows["failed"]):
                break
    if world.mode.budget:
        _run_out_of_budget(world)


def _run_out_of_budget(world: World) -> None:
    """The job until it says that the budget is reached; then there is enough of it."""
    code = _to_the_end(world)
    world.judge()
    if code != OVER_BUDGET:
        world.oracle.object(f"budget: exit {code}, where it is far too small")
    world.moments["stopped by the budget"] += code == OVER_BUDGET
    world.budget = 100 * len(world.rows) * ROW_USD


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
    world.retried.subtract(extra=world.oracle.extra_bills, printed=world.oracle.printed)
    for work in world.works:
        if work.oracle.extra == "none":
            # What another job did not hear of is asked anew, and in neither job a request that is sent again.
            work.oracle.extra = "lost" if world.mode.second == "open" else "printed"
    if world.plan.blows:
        status = _kill_retry(world)
    for _ in range(8):
        if status is None or not status["rows"]["unconfirmed"]:
            break
        code, said = world.run(world.arguments("retry", "--kind", "unconfirmed"))
        if code not in FINISHED:
            world.oracle.object(f"retry: exit {code}: {said.strip()[-300:]}")
        status = world.judge(final=True)
    world.retried.update(extra=world.oracle.extra_bills, printed=world.oracle.printed)


def _kill_retry(world: World) -> dict[str, Any] | None:
    """The user sends what was held, and that is killed too; what has been put back by then is held again."""
    before = world.endpoint.received()
    process = world.spawn(world.arguments("retry", "--kind", "unconfirmed"))
    wait_for(lambda: process.poll() is not None or world.endpoint.received() > before, seconds=20)
    process.kill()
    if world.ended(process) == -signal.SIGKILL:
        world.moments["retry"] += 1
        world.blows["kill"] += 1
    world.judge()
    _to_the_end(world)
    return world.judge(final=True)


def _to_the_end(world: World) -> int:
    world.runs += 1
    with watched(world, wanted=any(blow.watch for blow in world.plan.blows)):
        code, said = world.run(world.arguments("start"))
    world.see_end(code, said, _ends(world))
    return code
