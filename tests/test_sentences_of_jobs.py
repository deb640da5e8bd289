"""Sentences about jobs, databases and endpoints that are met seldom, each met once."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

import batchjob as bj
from batchjob.cli import _run, main
from batchjob.endpoints.chat import ChatEndpoint
from batchjob.endpoints.transport import NotConnected
from batchjob.exchange.decide import ADVICE
from batchjob.model import NO_ROOM, NotSent
from tests import postgres

if TYPE_CHECKING:
    from tests.conftest import BatchJob

TASK = ("--labels", "refund,invoice", "--rpm", "0", "--quiet")
JOB = (*TASK, "--sandbox")
OURS = (*TASK, "--base-url", "http://127.0.0.1:9/v1", "--model", "m")


WIDE = ",".join(f"label {n}" for n in range(30))
FIELDS = """
[[fields]]
name = "topics"
kind = "several"
labels = ["a", "b"]

[[fields]]
name = "much"
kind = "number"
min = 0
max = 1
decimals = 2
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type[BatchJob]) -> Path:
    """A folder with four jobs: one is done, of two a row failed, three has a limit, piped was not read to its end."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "t.csv").write_text("id,text,gold\n1,a refund,refund\n2,my invoice,\n")
    (folder / "u.csv").write_text("id,text\n9,another text\n8,\n")
    (folder / "wide.csv").write_text("id,text,gold\n" + "".join(f"{n},text {n},gold {n}\n" for n in range(30)))
    (folder / "gold.csv").write_text("id,gold\n77,refund\n")
    (folder / "head.csv").write_text("id,text\n")
    (folder / "empty.db").touch()
    (folder / "semi.csv").write_text("id;text\n1;a refund\n2;b\n")
    (folder / "back.csv").write_text('id,text\n1,"a \\"b\\" c"\n2,"d"\n')
    (folder / "quoted.tsv").write_text('id\ttext\n1\t"a ""b"""\n2\t"c\td"\n')
    (folder / "tabs.tsv").write_text("id\ttext\n1\ta\tb\n2\tc\n")
    (folder / "fields.toml").write_text(FIELDS)
    command = batchjob_in(folder)
    assert command("start", "t.csv", *JOB, "--name", "one").code == 0
    assert command("start", "u.csv", *JOB, "--name", "two").code == 4
    assert command("start", "wide.csv", *TASK[2:], "--sandbox", "--labels", WIDE, "--name", "wide").code == 0
    assert command("start", "t.csv", "--config", "fields.toml", *JOB[2:], "--name", "fields", "--new").code == 0
    piped = "id,text\n" + "".join(f"{n},text {n}\n" for n in range(3000))
    assert command("start", "t.csv", *JOB, "--name", "three", "--new", "--limit", "1").code == 0
    assert command("start", "-", *JOB, "--name", "piped", "--limit", "1", input=piped).code == 0
    return folder


@pytest.fixture(autouse=True)
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, in which the test works."""
    for name in [name for name in os.environ if name.startswith(("BATCHJOB_", "OPENAI_", "TOKENHUB_"))]:
        monkeypatch.delenv(name)
    for file in made.iterdir():
        shutil.copy(file, tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "batchjob.db")) as db, db:
        db.execute("UPDATE job SET input_path = replace(input_path, ?, ?)", (str(made), str(tmp_path)))
        db.execute("UPDATE job SET source = replace(source, ?, ?)", (str(made), str(tmp_path)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command says on both streams."""
    _run(list(arguments))
    told = capsys.readouterr()
    return told.out + told.err


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("errors one --kind zzzz", "there is no error kind 'zzzz': this job has: none"),
        ("retry one --kind off_list", "no row of job 'one' failed with kind 'off_list'; there are: none"),
        ("score one --field mood --gold gold", "--field 'mood': the job has one label for each row, and no fields"),
        ("compare one two --gold gold", "agree     no row has a label from both"),
        ("compare one two --gold gold", "gold      no row that both have labelled has any in column gold"),
        ("compare one three", "no row went out in a request"),
        ("compare one three", "1 row not labelled yet by both"),
        (f"start - {' '.join(JOB)} --format xlsx", "a spreadsheet cannot be read from stdin; save it to a file"),
        ("doctor --base-url http://127.0.0.1:1234/v1 --model m", "by its address"),
        ("errors wide", "job wide: no failed rows"),
        ("score one --gold-file gold.csv", "job one: no finished row has gold"),
        ("score one --gold-file gold.csv", "no row    1 id of the gold file: no row of the job has them"),
        ("score wide --gold gold", " more values: --json has them"),
        (
            "score fields --field nope --gold gold",
            "the job has no field 'nope': name one of them with --field: topics, much",
        ),
        (
            "export one -o x.csv --only zzzz",
            "--only 'zzzz' is no state of a row and no kind of error: of this job there are",
        ),
        ("profile t.csv --limit 1", "; only the first 1 row"),
        (
            f"start t.csv {' '.join(OURS)} --dry-run --second-model large",
            "second    rows that are left to large are not",
        ),
        (
            f"start wide.csv {' '.join(OURS)} --examples 2 --gold gold",
            " more values. Mend them, or give these labels too",
        ),
        (f"try head.csv {' '.join(JOB[:-1])} --sandbox", "the input has no rows"),
        (f"try t.csv {' '.join(JOB[:-1])} --sandbox -n 1 --limit 2", "1 rows at random, seed 1, within the first 2"),
        (f"start t.csv {' '.join(OURS)} --rows-per-request 2 --show-prompt", "not one text but a JSON object of texts"),
        (
            "start t.csv --config fields.toml --sandbox --rows-per-request 2 --show-prompt",
            "Give each number its answer in",
        ),
        ("start t.csv --config fields.toml --sandbox --show-prompt", "with at most 2 decimals"),
        ("start semi.csv --labels a,b --sandbox", "semi.csv: its fields are separated by semicolons"),
        ("start back.csv --labels a,b --sandbox", "back.csv: a quote inside of quotes is written with a backslash"),
        ("start quoted.tsv --labels a,b --sandbox", "quoted.tsv: its fields are quoted as in CSV"),
        ("doctor --db empty.db", "empty.db is empty: batchjob start fills it"),
        ("compare one two", "paired    by text, for they have two inputs"),
        ("compare one two", "left out  4 rows in one of the two alone"),
        ('export one -o x.csv --columns "x', "--columns '\"x' is no list of names"),
        ("report one -o x.pdf", "-o x.pdf: a report is HTML or Markdown: name a file that ends in .html or .md"),
        ("move one --to x.db", "--to is the database a job moves to: postgresql://USER@HOST/DATABASE."),
        ("move one --db postgresql://h/d --to postgresql://h/e", "a job moves from a file to PostgreSQL, and not back"),
        ("resume piped", "job 'piped' was reading stdin and has 2,000 rows of it: pipe the same input again"),
        ("resume one --input t.csv u.csv", "Got unexpected extra argument (u.csv)"),
        ("example", "Count how many labels are right:\n  batchjob score --gold gold"),
        (f"start t.csv {' '.join(JOB)} --name two", "job 'two' has another input, "),
        (f"start u.csv {' '.join(JOB)} --name two --new", "there is a job named 'two' already: give"),
        (f"start t.csv {' '.join(JOB)} --name one --temperature 1", "job 'one' has other settings (temperature): give"),
        (f"start t.csv {' '.join(JOB)} --id-column gold", "' knows its rows by id, not by gold: to label them"),
        (f"start u.csv {' '.join(JOB)} --examples 1 --gold id --new --format xlsx", "u.csv is no spreadsheet"),
        ("doctor --db none/x.db", "/none; make it with: mkdir -p "),
        ("doctor --db new.db", "new.db is not there yet: batchjob start makes it"),
        ("cache stats", "next      batchjob cache prune --older-than 90d"),
    ],
)
def test_what_a_command_says(capsys: pytest.CaptureFixture[str], command: str, told: str) -> None:
    assert told in said(capsys, *command.split())


def change(statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect("batchjob.db")) as db, db:
        db.execute(statement, values)


def test_every_kind_of_error_has_its_advice(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, advice in ADVICE.items():
        change("UPDATE row SET error_kind = ?, error = 'as it was heard' WHERE state = 'failed'", kind)
        change("UPDATE tally SET name = ? WHERE kind = 'error'", kind)
        assert advice in said(capsys, "errors", "two"), kind


def test_a_kind_of_a_later_version_is_shown_with_its_message(capsys: pytest.CaptureFixture[str]) -> None:
    change("UPDATE row SET error_kind = 'later', error = 'as it was heard' WHERE state = 'failed'")
    change("UPDATE tally SET name = 'later' WHERE kind = 'error'")
    assert "1 later: see its message" in said(capsys, "errors", "two")


def test_a_tab_in_a_text_is_told_where_no_quotes_are(capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, "start", "tabs.tsv", *JOB)
    assert "a text must hold no tab and no line break" in said(capsys, "errors", "tabs")


def test_a_command_that_is_broken_off_or_broken_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for error, told in (
        (KeyboardInterrupt(), "batchjob: interrupted"),
        (KeyError("x"), "defect: KeyError: 'x'. Please"),
    ):
        monkeypatch.setattr("batchjob.cli.jobs.open_reader", Mock(side_effect=error))
        assert told in said(capsys, "jobs")
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(SystemExit) as ended:
        main(["jobs"])
    wsl = "batchjob: Windows is not supported; WSL is (wsl --install): there batchjob runs as on Linux"
    assert ended.value.code == wsl


def test_what_is_not_installed_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("t.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    assert "spreadsheets need python-calamine; install it with: pip" in said(capsys, "start", "t.xls", *JOB)
    monkeypatch.setattr("importlib.util.find_spec", Mock(return_value=None))
    assert "not installed: jobs run a little slower without. pip install uvloop" in said(capsys, "doctor")


def test_a_job_that_is_not_the_only_one_unfinished_has_to_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert "2 jobs are unfinished (three, piped): say which one" in said(capsys, "resume")


def test_an_input_that_went_away_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    change("UPDATE job SET ingested = 0 WHERE name = 'one'")
    Path("t.csv").unlink()
    told = said(capsys, "resume", "one")
    assert "is gone and was not read to its end: put it back, or if it was moved say where it is" in told
    assert "next      batchjob resume one --input PATH" in told


def test_a_folder_is_no_database(capsys: pytest.CaptureFixture[str]) -> None:
    Path("folder.db").mkdir()
    assert "is no regular file, and a database needs one there" in said(
        capsys, "start", "t.csv", *JOB, "--db", "folder.db"
    )


# ---------------------------------------------------------------- endpoints

MODELS: dict[str, tuple[int, str, str]] = {
    "403": (403, "{}", "does not show its models with this key (403): it may still label; try --limit 1"),
    "402": (402, "{}", "wants credit first (402): top up the account"),
    "429": (429, "{}", "answers that its rate limit is reached (429): wait, or give --rpm"),
    "302": (302, "", "sends elsewhere (302; "),
    "418": (418, '{"error": "tea"}', "answers HTTP 418: tea"),
    "503": (503, "", "is in trouble (HTTP 503): try again later; a job would wait for it"),
    "page": (200, "<html>", "answers, but not with a list of models: base_url usually ends in /v1"),
    "201": (201, "{}", "answers, but not with a list of models: base_url usually ends in /v1"),
    "cut": (-1, "", "the connection broke ("),
    "none": (200, '{"data": []}', "m: the endpoint's list is empty, so nobody can tell"),
    "other": (200, '{"data": [{"id": "m-large"}]}', "m is not among the 1 listed. Near: m-large"),
}
"""Last word of an address -> the status and body of its list of models, and what doctor makes of it."""


def answer(text: str, finish: str = "stop", **message: Any) -> str:
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return json.dumps({"id": "x", "choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 1}})


ANSWERS: dict[str, tuple[int, str, str]] = {
    "refuses": (200, answer("", refusal="I will not"), "the model refused to answer"),
    "withholds": (200, answer("", "content_filter"), "the answer was withheld by a content filter"),
    "is cut": (200, answer("ref", "length"), "the answer was cut at max_tokens"),
    "thinks": (200, answer("", reasoning_content="let me see"), "went into thinking: 'let me see'"),
    "is empty": (200, answer(""), "the answer is empty"),
    "is huge": (200, answer("x" * 9_000_000), "the answer is larger than any completion, so it was not read"),
    "strays": (200, answer("maybe"), "the answer is none of the labels"),
    "breaks off": (200, answer("re", "error"), "the provider broke the answer off (finish_reason error)"),
    "is odd": (200, "[1]", "HTTP 200 whose body is JSON, but no completion"),
    "is half": (200, '{"choices": [', "HTTP 200 whose body is not whole JSON"),
    "streams": (200, 'data: {"choices": []}\n\n', "HTTP 200 with a stream of events that has no end"),
    "is put off": (
        202,
        "{}",
        "HTTP 202: the endpoint is still at work and wants to be asked again elsewhere, which is not",
    ),
    "is unsure": (
        200,
        answer("refund, or not", "who knows"),
        "no label letter for letter, and nobody knows whether it",
    ),
    "is a thought": (
        200,
        answer("", reasoning_content="hm").replace('"usage"', '"used"'),
        "nothing but thoughts came back",
    ),
}
"""A word of a row's text -> the status and body of its answer, and what its error says."""


REFUSALS = (
    ("/system/", '"system"', "System role not supported", "unsupported_value"),
    ("/thinking/", "enable_thinking", "no enable_thinking here", "unsupported_parameter"),
    ("/shape/", "response_format", "no", ""),
)
"""In an address, what a request must not hold, and what is said of it, with a code."""


class Endpoint(BaseHTTPRequestHandler):
    """Answers as the address or the row's text says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        status, body, _ = MODELS[self.path.split("/")[1]]
        self._answer(status, body)

    def do_POST(self) -> None:
        asked = self.rfile.read(int(self.headers["Content-Length"])).decode()
        status, body, _ = next(
            (ANSWERS[word] for word in ANSWERS if f"it {word}" in asked), (200, answer("refund"), "")
        )
        for path, sign, refusal, code in REFUSALS:
            if path in self.path and sign in asked:
                status, body = 400, json.dumps({"error": {"message": refusal, "code": code}})
        if "slow" in self.path:
            time.sleep(0.5)
        if "fields" in self.path:
            body = answer('{"topics": 5, "much": 0.5}')
        self._answer(status, body)

    def _answer(self, status: int, body: str) -> None:
        if status < 0:
            self.close_connection = True
            return
        with contextlib.suppress(OSError):
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/v1/models") if status == 302 else None
            self.send_header("Content-Type", "text/event-stream" if body.startswith("data:") else "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is said of a request."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The address of it, without a path."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endpoint)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_doctor_says_by_what_a_provider_is_known(capsys: pytest.CaptureFixture[str], endpoint: str) -> None:
    told = said(capsys, "doctor", "--base-url", f"{endpoint}/none", "--model", "m", "--provider", "vllm")
    assert "by --provider" in told


@pytest.mark.parametrize("word", MODELS)
def test_doctor_says_what_an_endpoint_answered_instead_of_its_models(
    capsys: pytest.CaptureFixture[str], endpoint: str, word: str
) -> None:
    assert MODELS[word][2] in said(capsys, "doctor", "--base-url", f"{endpoint}/{word}", "--model", "m")


def test_a_row_says_what_was_wrong_with_its_answer(batchjob: BatchJob, endpoint: str) -> None:
    lines = ["id,text", *(f"{n},a refund {n}" for n in range(5)), *(f"{word},it {word}" for word in ANSWERS)]
    Path("a.csv").write_text("\n".join(lines) + "\n")
    asks = ("--base-url", f"{endpoint}/v1", "--model", "m", "--max-attempts", "1", "--concurrency", "1", "--no-adapt")
    ended = batchjob("start", "a.csv", *TASK, *asks)
    assert ended.code == 4, ended.err
    kinds = json.loads(batchjob("errors", "a", "--json", "--limit", "9").out)["kinds"]
    errors = {row["key"]: row["error"] for kind in kinds for row in kind["rows"]}
    assert {word: told in errors.get(word, "") for word, (_, _, told) in ANSWERS.items()} == dict.fromkeys(
        ANSWERS, True
    )
    shown = batchjob("errors", "a", "--limit", "9").out
    assert all(told in shown for _, _, told in ANSWERS.values())


def test_a_proxy_that_lets_nobody_through_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", endpoint)
    monkeypatch.delenv("NO_PROXY", raising=False)
    told = said(capsys, "doctor", "--base-url", "https://far.invalid/v1", "--model", "m")
    assert (
        "no way through the proxy: 501 Unsupported method ('CONNECT'): check base_url, and that it is running" in told
    )


@pytest.mark.parametrize(
    ("path", "flags", "told"),
    [
        ("system", ("--no-adapt",), "What to do: give --prompt with {text} in it, or leave out --no-adapt"),
        ("thinking", ("--no-adapt",), "What to do: give --thinking default, or leave out --no-adapt"),
        ("thinking", (), "asked_otherwise      because='HTTP 400 unsupported_parameter: no enable_thinking here'"),
        ("shape", ("--rows-per-request", "2"), "now='many rows are asked for without it'"),
        ("slow", ("--timeout", "0.2", "--max-attempts", "1"), "no whole answer within 0.2 s (--timeout)"),
    ],
)
def test_what_an_endpoint_does_not_take_is_told_with_what_meets_it(
    capsys: pytest.CaptureFixture[str], endpoint: str, path: str, flags: tuple[str, ...], told: str
) -> None:
    asks = ("--base-url", f"{endpoint}/{path}", "--model", "m", "--provider", "vllm")
    shown = said(capsys, "start", "t.csv", *TASK[:-1], *asks, "--no-cache", "--new", *flags) + said(capsys, "errors")
    assert told in shown
    assert ("now='no switch for thinking'" in shown) == (path == "thinking" and not flags)


async def test_where_no_more_files_may_be_open_nothing_was_sent() -> None:
    endpoint = ChatEndpoint("http://127.0.0.1:9/v1", key=None, timeout=1.0, connect_timeout=1.0)
    heard = endpoint._translate(NotConnected(OSError(errno.EMFILE, "too many")))
    assert heard == NotSent(NO_ROOM, "no connection: this machine allows no more open files")
    await endpoint.close()


def test_a_field_that_is_answered_otherwise_says_what_it_should_be(
    capsys: pytest.CaptureFixture[str], endpoint: str
) -> None:
    asks = ("--base-url", f"{endpoint}/fields", "--model", "m", *TASK[2:])
    said(capsys, "start", "t.csv", "--config", "fields.toml", *asks, "--name", "asked", "--new")
    assert "topics: '5' is not an array of its labels" in said(capsys, "errors", "asked")


# ---------------------------------------------------------------- Python


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: bj.label("-", labels=["a"], sandbox=True), "data is '-': give the path of a file, or the texts"),
        (
            lambda: bj.label([{1: "x"}], labels=["a"], sandbox=True),
            "data has a key 1 that is no text: name its columns",
        ),
        (lambda: bj.label(["a"], labels=["a"], labels_file="x", sandbox=True), "the arguments: give labels or labels_"),
        (lambda: bj.open().job("one").export("-"), "path is '-': name a file"),
        (lambda: bj.open().job("one").compare(_elsewhere()), "job 'one' is in another database: jobs can be compared"),
        (
            lambda: bj.label(["a"], labels=["a"], sandbox=True, delimiter=";"),
            "data is no file: leave out what says how",
        ),
    ],
)
def test_a_call_that_cannot_be_carried_out_says_why(wrong: Any, told: str) -> None:
    with pytest.raises(bj.BatchjobError) as error:
        wrong()
    assert told in str(error.value)


def _elsewhere() -> bj.Job:
    shutil.copy("batchjob.db", "elsewhere.db")
    return bj.open("elsewhere.db").job("one")


def test_rows_that_a_program_held_go_on_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(bj.label([f"text {n}" for n in range(3000)], labels=["a"], sandbox=True, limit=1, progress=False).labels)
    assert "rows of a list or frame that a program held: it goes on where that calls" in said(capsys, "resume", "data")
    told = said(capsys, "resume", "data", "--input", "t.csv")
    assert "the rows of job 'data' come from a program and no file: leave --input out" in told


def test_what_python_shows_of_a_job_and_a_database_names_them() -> None:
    assert repr(bj.open()).startswith("<batchjob database ")
    assert repr(bj.open().job("two")).startswith("<batchjob job 'two' in ")


# ---------------------------------------------------------------- PostgreSQL


@pytest.mark.skipif(bool(postgres.WHY_NOT), reason=postgres.WHY_NOT)
def test_a_server_that_cannot_be_used_is_told_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    url = postgres.new_database()
    beginning, _, query = url.partition("?")
    none = f"{beginning.rpartition('/')[0]}/nowhere{'?' + query if query else ''}"
    nobody = url.replace("postgres:@", "nobody:@", 1)
    assert "the server refuses this user (" in said(capsys, "status", "--db", nobody)
    assert "Make it first: createdb nowhere" in said(capsys, "status", "--db", none)
    postgres.execute(url, "CREATE SCHEMA batchjob")
    assert "has a schema `batchjob` of another program" in said(capsys, "start", "t.csv", *JOB, "--db", url)
