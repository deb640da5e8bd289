"""README and the guides: what they tell to type is typed here in its order, and prints what they show.

A block of `sh` is given to a shell, line by line, and a block of `toml` becomes the job.toml. A line whose comment
begins with "or:" finds the folder as the line before found it. What a block of `text` shows must have been printed,
whatever its numbers. Addresses of providers are those of a sandbox on this machine.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from test_docs import CODE
from warm import shared

from tests import postgres

if TYPE_CHECKING:
    from tests.conftest import BatchJob

ROOT = Path(__file__).resolve().parent.parent
GUIDES = ROOT / "docs" / "guides"
DOCUMENTS = [ROOT / "README.md", *sorted(GUIDES.glob("*.md"))]
ENDPOINTS = re.compile(r"https?://(?:host|api\.openai\.com|localhost:8000)/v1")
DATABASE = "postgresql://me@db.example.org/labels"
FEWER = ("--limit 100", "--limit 5")
"""At 600 requests a minute, a hundred would take ten seconds."""
NOT_RUN = {
    "pipx install .": "it would install into the home of who runs the tests; test_wheel.py installs what is built",
    "make run": "test_wheel.py and release_check.py run that example",
    "make test": "it is what runs this",
    "pip install 'batchjob[postgres]'": "the package is not on PyPI yet",
    "pip install 'batchjob[postgres,ray]'": "the package is not on PyPI yet",
    "batchjob work tickets --on ray:8": "it needs Ray, where test_ray.py runs it",
    "createdb labels": "the tests make their database themselves",
}
"""Commands that are only looked at, and why."""
SERVES = re.compile(r"batchjob (sandbox|view)\b")
"""Commands that go on until Ctrl-C."""
STANDINS = ("curl", "mail", "notify-send")
"""Programs that would tell people: each writes down what it is given."""
CODES = {
    ("errors-and-retries.md", "batchjob start"): 4,  # rows fail
    ("errors-and-retries.md", "batchjob retry"): 4,  # they fail again
    ("errors-and-retries.md", "batchjob retry --labels-file"): 0,
    ("errors-and-retries.md", "batchjob retry --kind off_list --"): 0,
    ("fields.md", "batchjob retry"): 1,  # no row lacks its score
    ("nightly-job.md", "batchjob retry"): 1,  # no row failed with a timeout
}
"""Exit codes other than 0, by how the command begins; the longest that fits counts."""
START = "batchjob start tickets.csv --base-url https://host/v1 --model NAME --labels billing,refund,other --rpm 0"
DIES = "BATCHJOB_FAILPOINT=results.after_commit=kill@2"
BEFORE = {
    "README.md": (
        "batchjob sandbox --port 8123",
        f"{DIES} batchjob start examples/tickets.csv --labels-file examples/labels.txt --rpm 0"
        " --base-url http://127.0.0.1:8123/v1 --model demo || true",
        "batchjob status",
        "batchjob resume",
        "rm batchjob.db*",
    ),
    "postgresql.md": (f"{DIES} {START} --concurrency 3 || true",),
    "crash-and-hold.md": (f"{DIES} {START} --concurrency 3 || true",),
}
"""What has happened where a guide begins."""
AFTER = {
    "crash-and-hold.md": (f'echo "99,Nobody answers,Help,other" >> tickets.csv; {START} || true',),
    "first-job.md": (
        "batchjob sandbox --port 8123 --require-key another",
        f"{START.replace('https://host', 'http://127.0.0.1:8123')} --db refused.db || true",
    ),
    "prompts.md": (
        "batchjob start tickets.csv --base-url https://host/v1 --model NAME --labels billing,other --rows-per-request 2"
        " --prompt 'Subject: {subject}. Is it about billing or other? {text}' --show-prompt",
    ),
    "saving.md": (
        "sed -i '$p' tickets.csv",  # its last line twice
        """printf '[prices."NAME"]\ninput=1\noutput=1\n' > job.toml""",
        """printf '[[rules]]\nname="r"\nlabel="other"\nwords=["(2)"]\n' >> job.toml""",
        START,
    ),
}
"""What makes a guide's outputs that its commands do not."""
ELSEWHERE = ("eval ", "MAILTO", "_BATCHJOB")
"""How blocks of text begin that are no output."""
FILE_ALONE = {"job-file.md", "endpoints.md", "prompts.md"}
"""Guides whose blocks of toml show what may stand in a file, not the one their commands read."""


class Shell:
    """A folder with what the guides speak of, in which their commands are typed."""

    def __init__(self, batchjob: BatchJob, endpoint: str) -> None:
        self.folder = batchjob.folder / "here"
        self.tools = batchjob.folder / "bin"
        self._forked = batchjob.folder / "forked"
        self.said: list[str] = []
        self._before = batchjob.folder / "before"
        self._serving: list[subprocess.Popen[str]] = []
        self.open()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self._places = [(FEWER[0], FEWER[1]), ("127.0.0.1:8123", f"127.0.0.1:{port}"), ("port 8123", f"port {port}")]
        self._endpoint = endpoint
        self.folder.mkdir()
        self.tools.mkdir()
        self._forked.mkdir()
        linux = sys.platform == "linux"
        self._warm = shared().program(self._forked / "batchjob", batchjob.command) if linux else None
        for name in STANDINS:
            told = self.tools / f"{name}.told"
            (self.tools / name).write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$@"; cat; }} > {told}\n')
            (self.tools / name).chmod(0o755)
        path = os.pathsep.join([str(self.tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        self._environment = {
            **batchjob.environment,
            "PATH": path,
            "WORKSPACE": "w",
            "DISPLAY": "",
            "WAYLAND_DISPLAY": "",
            "SLACK_URL": "http://127.0.0.1:9",
        }
        os.symlink(ROOT / "examples", self.folder / "examples")
        asked, meant = ("I was charged twice", "I want my money back", "How do I top up?"), ("billing", "refund")
        rows = [f"{n},{asked[n % 3]} ({n}),Invoice,{meant[n % 2]}" for n in range(1, 13)]
        for name in ("tickets.csv", "more.csv", "in.csv", "monday.csv", "tuesday.csv"):
            (self.folder / name).write_text("\n".join(["id,text,subject,checked", *rows]) + "\n")
        labels = (ROOT / "examples" / "labels.txt").read_text()
        (self.folder / "more-labels.txt").write_text(f"{labels}\nsomething_else_entirely\n")

    def open(self) -> None:
        """A new shell, and a PostgreSQL of its own."""
        self._exports, self._database = "", ""

    def type(self, command: str, code: int = 0) -> None:
        """Have it done. What serves is left to run as soon as it has said where."""
        here = ENDPOINTS.sub(self._endpoint, command)
        for place, meant in self._places:
            here = here.replace(place, meant)
        if DATABASE in here:
            self._database = self._database or postgres.new_database()
            here = here.replace(DATABASE, self._database)
        if here.startswith("export "):
            self._exports += f"{here}\n"
            return
        path = "" if self._warm is None or SERVES.match(here) else f"PATH={self._forked}:$PATH\n"
        asked = ["bash", "-c", path + self._exports + here]
        told: dict[str, Any] = {"cwd": self.folder, "env": self._environment, "stdin": subprocess.DEVNULL, "text": True}
        if SERVES.match(here):
            serves = subprocess.Popen(asked, stdout=subprocess.PIPE, start_new_session=True, **told)
            self._serving.append(serves)
            assert serves.stdout is not None
            self.said.append(serves.stdout.readline())
            assert "http://127.0.0.1:" in self.said[-1], command
            return
        open_files = () if self._warm is None else (self._warm,)
        ended = subprocess.run(asked, capture_output=True, timeout=60, pass_fds=open_files, **told)
        self.said.append(ended.stdout + ended.stderr)
        assert ended.returncode == code, f"{command}\n{ended.stdout}{ended.stderr}"

    def instead(self, command: str, code: int = 0) -> None:
        """Have it done in the folder as the command before found it."""
        shutil.rmtree(self.folder)
        shutil.copytree(self._before, self.folder, symlinks=True)
        self.type(command, code)

    def keep(self) -> None:
        """The folder as it is, for a command instead of the next."""
        shutil.rmtree(self._before, ignore_errors=True)
        shutil.copytree(self.folder, self._before, symlinks=True)

    def close(self) -> None:
        """Ctrl-C for what still runs."""
        for process in self._serving:
            os.killpg(process.pid, signal.SIGINT)
            process.communicate(timeout=20)
            assert process.returncode in (0, 130)


@pytest.fixture(scope="module")
def endpoint(batchjob_in: type[BatchJob], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the sandbox that all guides ask."""
    sandbox = batchjob_in(tmp_path_factory.mktemp("sandbox")).begin("sandbox", "--latency", "0")
    assert sandbox.stdout is not None
    yield sandbox.stdout.readline().split()[-1]
    sandbox.terminate()
    sandbox.communicate(timeout=10)


@pytest.fixture
def shell(batchjob: BatchJob, endpoint: str) -> Iterator[Shell]:
    begun = Shell(batchjob, endpoint)
    yield begun
    begun.close()


def typed(code: str) -> Iterator[tuple[str, bool]]:
    """The commands of a block, each in one line, and whether it stands for the one before."""
    for line in code.replace("\\\n", " ").splitlines():
        if shlex.split(line, comments=True):
            command, _, comment = re.sub(r" +# ", "\0", line).partition("\0")
            yield command.strip(), comment.startswith("or:")


def code_of(name: str, command: str) -> int:
    """The exit code that a guide tells of."""
    fits = [begins for guide, begins in CODES if guide == name and command.startswith(begins)]
    return CODES[name, max(fits, key=len)] if fits else 0


def as_printed(line: str) -> re.Pattern[str]:
    """A line that a document shows, its white space made single: any numbers, anything where `...` stands."""
    parts = ENDPOINTS.sub("...", " ".join(line.split())).split("...")
    return re.compile(".*".join(re.sub(r"\d[\d.,]*", r"\\d[\\d.,]*", re.escape(part)) for part in parts))


def walk(shell: Shell, document: Path) -> None:
    """Do as a document says."""
    for command in BEFORE.get(document.name, ()):
        shell.type(command)
    for language, code in CODE.findall(document.read_text(encoding="utf-8")):
        if language == "toml" and document.name not in FILE_ALONE:
            (shell.folder / "job.toml").write_text(code, encoding="utf-8")
        shell.open()
        for command, instead in typed(code) if language == "sh" else ():
            if command not in NOT_RUN:
                if not instead:
                    shell.keep()
                (shell.instead if instead else shell.type)(command, code_of(document.name, command))
    for command in AFTER.get(document.name, ()):
        shell.type(command)


@pytest.mark.parametrize("document", DOCUMENTS, ids=[document.name for document in DOCUMENTS])
def test_every_command_of_a_guide_does_what_the_guide_shows(shell: Shell, document: Path) -> None:
    if document.name in ("postgresql.md", "many-machines.md") and postgres.WHY_NOT:
        pytest.skip(postgres.WHY_NOT)
    walk(shell, document)
    files = [file.read_text() for file in shell.folder.glob("*.csv")]
    said = " ".join("\n".join([*shell.said, *files]).split())
    for language, code in CODE.findall(document.read_text(encoding="utf-8")):
        if language == "text" and not code.startswith(ELSEWHERE):
            shown = [line for line in code.splitlines() if not line.startswith("$ ")]
            assert [line for line in shown if not as_printed(line).search(said)] == [], "\n".join(shell.said)
    LOOKED_AT.get(document.name, lambda _: None)(shell)


def model_was_chosen(shell: Shell) -> None:
    """What the guide to a model promises of its numbers."""
    tried, jobs, _, score, by_file, _, compared, *_ = shell.said
    assert "A         small, job try-tickets" in tried
    assert re.search(r"A +accuracy [\d.]+ % .*n=30", tried)
    assert "try-tickets-2" in jobs
    assert score.splitlines()[0] == by_file.splitlines()[0] == "job small: accuracy 93.0 % (89.5 to 95.4), n=300"
    costs = [float(cost) for cost in re.findall(r"([\d.]+) USD and", compared)]
    assert costs[1] / costs[0] == pytest.approx(3, rel=0.02)
    assert "93.0 % of the labels are right" in (shell.folder / "report.html").read_text(encoding="utf-8")
    assert "only A 0, only B 0" in compared
    assert (shell.folder / "differ.csv").read_text().splitlines() == ["id,text,label_small,label_large,gold"]


def people_were_told(shell: Shell) -> None:
    """What reaches Slack is JSON, what reaches a mail is the summary."""
    body = (shell.tools / "curl.told").read_text().splitlines()[4]
    assert json.loads(body)["text"] == "tickets: finished, 300 of 300 rows, 0.000000 USD"
    subject, mail = (shell.tools / "mail.told").read_text().split("me@example.com\n")
    assert "batchjob: tickets is finished" in subject
    assert mail.startswith("job tickets: finished\n")
    assert (shell.tools / "notify-send.told").read_text() == "batchjob: finished\n300 of 300 rows\n"


def a_row_was_corrected(shell: Shell) -> None:
    """One of the two corrections was taken back."""
    assert "by hand   1 row\n" in shell.said[-1]


LOOKED_AT = {
    "choosing-a-model.md": model_was_chosen,
    "when-a-run-ends.md": people_were_told,
    "look-and-correct.md": a_row_was_corrected,
}


def test_what_is_not_run_is_in_a_document_and_exists() -> None:
    blocks = [code for path in DOCUMENTS for language, code in CODE.findall(path.read_text()) if language == "sh"]
    assert set(NOT_RUN) <= {command for code in blocks for command, _ in typed(code)}
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {command.split()[1] for command in NOT_RUN if command.startswith("make ")} <= set(targets)
    assert "\npostgres = [" in (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def test_a_line_that_was_never_printed_is_noticed() -> None:
    said = "rows 300 of 300 rows labelled cost 0.0036 USD, by usage"
    assert as_printed("rows      91 of 300 rows labelled").search(said)
    assert as_printed("cost      ... by usage").search(said)
    assert not as_printed("rows      91 of 300 rows labelled, 10 in flight").search(said)


def test_the_guide_to_python_prints_what_it_promises(batchjob: BatchJob) -> None:
    os.symlink(ROOT / "examples", batchjob.folder / "examples")
    text = (GUIDES / "python.md").read_text(encoding="utf-8")
    code = "\n".join(code for language, code in CODE.findall(text) if language == "python")
    more = {"cwd": batchjob.folder, "env": batchjob.environment}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **more)
    assert ended.returncode == 0, ended.stderr
    labels, one, two, failed, rows, accuracy, jobs, outcome, misspelt = ended.stdout.splitlines()
    assert labels == "['card_arrival', 'request_refund', 'top_up']"
    assert (one, two) == ("T-1 card", "T-2 None")
    assert failed.startswith("T-2 blank_text ")
    assert "'total': 300" in rows
    assert "'hits': 279" in accuracy
    assert (jobs, outcome) == ("['data', 'data-2', 'tickets']", "answered")
    assert misspelt == "there is no setting 'modle'. Did you mean 'model'? 2"
    assert {"labels.csv", "report.html"} <= {file.name for file in batchjob.folder.iterdir()}
