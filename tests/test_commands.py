"""The commands that look and do not touch: status, errors, jobs, init, doctor, as installed, on real files."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from batchjob.errors import BatchjobError
from batchjob.settings.config import JobConfig, merge
from batchjob.settings.declared import declared
from batchjob.settings.jobfile import PROGRAMS, read_job_toml
from batchjob.stores import open_reader
from batchjob.stores.sqlite.check import SqliteCheck
from tests.terminals import in_terminal
from tests.waiting import is_under_way, processor_seconds, until

if TYPE_CHECKING:
    from tests.conftest import BatchJob

Sandbox = Callable[..., str]
LABELS = ("--labels", "billing,refund,other", "--model", "m", "--rpm", "0", "--quiet")
ESCAPE = "\x1b[2J\x9b2J"


def write_tickets(folder: Path, rows: int = 30, *, name: str = "tickets.csv") -> None:
    lines = [f't{n},"{"" if n % 10 == 7 else f"ticket {n}: a refund please"}"' for n in range(1, rows + 1)]
    (folder / name).write_text("\n".join(["id,text", *lines]) + "\n")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type[BatchJob]) -> Path:
    """A folder with a finished job of 30 rows, three of which are blank and failed."""
    folder = tmp_path_factory.mktemp("finished")
    write_tickets(folder)
    ended = batchjob_in(folder)("start", "tickets.csv", "--sandbox", *LABELS)
    assert ended.code == 4, ended.err
    return folder


@pytest.fixture
def job(finished: Path, batchjob: BatchJob) -> BatchJob:
    """The command in a folder with a copy of that job."""
    for file in finished.iterdir():
        shutil.copy(file, batchjob.folder)
    return batchjob


@pytest.fixture
def running(batchjob: BatchJob, sandbox: Sandbox) -> Iterator[BatchJob]:
    """The command in a folder where a slow job is running."""
    write_tickets(batchjob.folder, 400)
    url = sandbox("--latency", "0.2")
    process = batchjob.begin("start", "tickets.csv", "--base-url", url, *LABELS, "--concurrency", "2")
    until(lambda: (batchjob.folder / "batchjob.db").exists() and is_under_way(batchjob))
    yield batchjob
    process.kill()
    process.communicate()


def change(folder: Path, *statements: str) -> None:
    """The database changed by a foreign hand."""
    with sqlite3.connect(folder / "batchjob.db", timeout=10) as db:
        for statement in statements:
            db.execute(statement)
    db.close()


def copy_records(folder: Path, table: str, numbers: str = "WITH n (i) AS (SELECT 1)", **other: str) -> None:
    """The records of a table once more for each number i, with other values in some columns."""
    with sqlite3.connect(folder / "batchjob.db") as db:
        columns = [name for (name,) in db.execute("SELECT name FROM pragma_table_info(?)", (table,))]
    db.close()
    values = ", ".join(other.get(name, name) for name in columns)
    change(folder, f"INSERT INTO {table} {numbers} SELECT {values} FROM {table}, n")


def files(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


# ---------------------------------------------------------------- status


def test_status_says_how_the_latest_job_stands_and_what_to_type_next(job: BatchJob) -> None:
    ended = job("status")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "job tickets: finished"
    assert "rows      27 of 30 rows labelled, 3 failed" in lines
    assert lines[-1] == "next      batchjob errors tickets"


def test_blank_rows_that_are_skipped_are_told_apart_and_are_no_failure(job: BatchJob) -> None:
    again = job("resume", "tickets", "--quiet", "--blank", "skip")
    assert (again.code, again.err) == (0, "")
    said = job("status")
    assert "27 of 30 rows labelled, 3 blank, skipped" in said.out
    assert "3 blank_text: skipped, as --blank skip says" in said.out
    assert "next      batchjob export tickets" in said.out
    assert "3 blank_text: skipped" in job("errors").out
    document = json.loads(job("status", "--json").out)
    assert (document["rows"]["failed"], document["skipped"]) == (3, 3)
    put_back = job("retry", "--log-format", "json")
    assert (put_back.code, "rows_put_back" in put_back.err) == (0, False)
    assert "there is nothing to retry: no row of job tickets failed" in job("retry", "--no-quiet").err
    assert job("retry", "--kind", "blank_text", "--fallback", "other", "--labels", "billing,refund,other").code == 0
    assert json.loads(job("status", "--json").out)["rows"]["done"] == 30


def test_failed_rows_that_are_let_pass_are_told_and_give_exit_code_0(job: BatchJob) -> None:
    again = job("resume", "tickets", "--no-quiet", "--allow-failed", "10%", "--output", "labels.csv")
    assert again.code == 0
    assert "finished - 3 failed rows let pass by --allow-failed 10%" in again.err
    assert "3 failed" in again.err
    assert "next      the labels are in labels.csv" in again.err
    assert job("resume", "tickets", "--allow-failed", "2").code == 4
    wrong = job("resume", "tickets", "--allow-failed", "two")
    assert (wrong.code, "allow_failed 'two' is no number of rows" in wrong.err) == (2, True)


def test_what_status_says_to_type_next_works_as_it_is_also_with_a_strange_name_and_database(job: BatchJob) -> None:
    change(job.folder, "UPDATE job SET name = 'it''s; a job'")
    (job.folder / "batchjob.db").rename(job.folder / "my jobs.db")
    typed = job("status", "--db", "my jobs.db").out.splitlines()[-1].removeprefix("next      batchjob ")
    ended = subprocess.run(f"{job.command} {typed}", shell=True, cwd=job.folder, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout.splitlines()[0]) == (0, "job it's; a job: 3 failed")


def test_status_json_is_one_document_with_the_promised_keys(job: BatchJob) -> None:
    document = json.loads(job("status", "tickets", "--json").out)
    promised = "job name state reason rows labels sources requests usage cost rate errors started_at updated_at"
    assert set(promised.split()) <= set(document)
    assert document["rows"] == {"total": 30, "pending": 0, "in_flight": 0, "done": 27, "failed": 3, "unconfirmed": 0}
    assert document["errors"][0]["kind"] == "blank_text"
    assert "t7" in document["errors"][0]["example"]


def test_status_survives_a_counter_of_failures_without_a_failed_row(job: BatchJob) -> None:
    change(job.folder, "INSERT INTO tally VALUES (1, 'error', 'timeout', 2)")
    ended = job("status", "--json")
    assert [error["example"] for error in json.loads(ended.out)["errors"] if error["kind"] == "timeout"] == [None]


def test_watching_a_job_that_is_not_running_shows_it_once_and_ends(job: BatchJob) -> None:
    ended = job("status", "--watch", "--json", "--interval", "60")
    assert ended.code == 0
    assert [json.loads(line)["state"] for line in ended.out.splitlines()] == ["finished"]


def test_watching_prints_a_document_a_line_until_the_job_ends(running: BatchJob) -> None:
    watching = running.begin("status", "--watch", "--json", "--interval", "0.1")
    assert watching.stdout is not None
    first = json.loads(watching.stdout.readline())
    assert first["state"] == "running"
    os.kill(first["pid"], 2)  # Ctrl-C
    out, err = watching.communicate(timeout=20)
    states = [json.loads(line)["state"] for line in out.splitlines()]
    assert (states[-1], states.count("stopped"), watching.returncode, err) == ("stopped", 1, 0, "")


def test_a_job_whose_process_was_killed_is_interrupted_and_can_be_resumed(running: BatchJob) -> None:
    os.kill(json.loads(running("status", "--json").out)["pid"], 9)
    until(lambda: json.loads(running("status", "--json").out)["state"] == "interrupted")
    assert running("status").out.splitlines()[-1] == "next      batchjob resume tickets"
    assert running("jobs").out.splitlines()[1].split()[:2] == ["tickets", "interrupted"]


def test_a_dead_job_is_interrupted_also_while_another_runs_in_its_database(running: BatchJob) -> None:
    copy_records(running.folder, "job", id="9", uid="'u'", name="'dead'", state="'running'")
    copy_records(running.folder, "run", id="9", job_id="9", pid="1")
    assert json.loads(running("status", "dead", "--json").out)["state"] == "interrupted"
    assert {line["job"]: line["state"] for line in json.loads(running("jobs", "--json").out)} == {
        "tickets": "running",
        "dead": "interrupted",
    }


def test_a_running_job_says_so_and_how_to_watch_it(running: BatchJob) -> None:
    assert running("status").out.splitlines()[-1] == "next      batchjob status tickets --watch"
    assert "working on job tickets" in running("doctor").out


@pytest.mark.parametrize("command", ["status", "errors", "jobs", "cache stats"])
def test_nothing_is_wider_than_a_narrow_terminal_but_commands_to_copy(job: BatchJob, command: str) -> None:
    code, out = in_terminal(job, 40, *command.split())
    assert code == 0
    lines = out.replace("\r", "").splitlines()
    assert len(lines) > 3
    assert [line for line in lines if len(line) > 40 and "batchjob " not in line] == []


def test_watching_in_a_terminal_ends_with_the_job_on_the_screen(job: BatchJob) -> None:
    code, out = in_terminal(job, 60, "status", "--watch")
    assert code == 0
    assert "rows      27 of 30 rows labelled, 3 failed" in out


def test_the_summary_of_a_run_fits_a_terminal_too(job: BatchJob) -> None:
    code, out = in_terminal(job, 40, "retry")
    assert code == 4
    lines = out[out.index("job tickets") :].replace("\r", "").splitlines()
    assert any(line.startswith("rows ") for line in lines)
    assert all(len(line) <= 40 or "batchjob " in line for line in lines), lines


def test_status_that_is_read_for_one_line_ends_quietly(job: BatchJob) -> None:
    for arguments in ("status", "errors --json", "status --watch --json", "jobs", "init - ", "doctor"):
        read = f"({job.command} {arguments}; echo $? >&2) | head -c 1"
        ended = subprocess.run(read, shell=True, cwd=job.folder, env=job.environment, capture_output=True, text=True)
        assert ended.stderr.strip() == "0", arguments


def test_a_closed_reader_is_no_error_also_when_it_closed_before_the_first_line(job: BatchJob) -> None:
    for command in ("status", "errors", "jobs", "doctor"):
        read, write = os.pipe()
        os.close(read)
        process = job.begin(command, stdout=write)
        os.close(write)
        assert process.communicate(timeout=20)[1] == "", command
        assert process.returncode == 0, command


@pytest.mark.parametrize("command", [["status"], ["--help"], ["start", "--help"]])
def test_a_full_disk_behind_stdout_is_one_sentence(job: BatchJob, command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        process = job.begin(*command, stdout=full)
        assert process.communicate()[1] == "batchjob: cannot write to stdout: No space left on device\n"
        assert process.returncode == 1


def test_a_terminal_without_unicode_gets_what_it_can_show(job: BatchJob) -> None:
    change(job.folder, "UPDATE tally SET name = 'Rückgabe' WHERE kind = 'label'")
    plain = {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    assert "R\\xfcckgabe" in job("status", env=plain).out
    assert "Rückgabe" in json.loads(job("status", "--json", env=plain).out)["labels"]


@pytest.mark.parametrize("command", ["status", "errors", "jobs"])
def test_a_wrong_database_is_one_sentence_and_makes_no_file(batchjob: BatchJob, command: str) -> None:
    folder = batchjob.folder
    (folder / "text.db").write_text("this is no database at all\n" * 100)
    (folder / "empty.db").touch()
    with sqlite3.connect(folder / "other.db") as other:
        other.execute("CREATE TABLE t (a)")
    with sqlite3.connect(folder / "newer.db") as newer:
        newer.executescript("CREATE TABLE t (a); PRAGMA application_id = 0x626A6F62; PRAGMA user_version = 999;")
    before = files(folder)
    said = {
        name: batchjob(command, "--db", f"{name}.db") for name in ("missing", "text", "empty", "other", "newer", ".")
    }
    assert [ended.code for ended in said.values()] == [1] * 6
    assert [ended.out for ended in said.values()] == [""] * 6
    sentences = [[line for line in ended.err.splitlines() if not line.startswith("next ")] for ended in said.values()]
    assert [len(lines) for lines in sentences] == [1] * 6
    words = ("begin a job", "no SQLite file", "holds no jobs yet", "another program", "newer batchjob", "begin a job")
    assert [word for word, ended in zip(words, said.values(), strict=True) if word not in ended.err] == []
    assert files(folder) == before


@pytest.mark.parametrize("content", ["", "this is no database at all\n" * 100])
def test_a_database_that_is_refused_is_closed(tmp_path: Path, content: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.db").write_text(content)
    opened: list[sqlite3.Connection] = []
    connect = sqlite3.connect

    def watched(*given: Any, **more: Any) -> sqlite3.Connection:
        opened.append(connect(*given, **more))
        return opened[-1]

    monkeypatch.setattr(sqlite3, "connect", watched)
    with pytest.raises(BatchjobError):
        open_reader(str(tmp_path / "x.db"))
    assert opened
    for db in opened:
        with pytest.raises(sqlite3.ProgrammingError):
            db.execute("SELECT 1")


@pytest.mark.parametrize("command", ["status", "errors"])
def test_an_unknown_job_names_the_nearest(job: BatchJob, command: str) -> None:
    ended = job(command, "ticket")
    assert (ended.code, ended.out) == (1, "")
    assert "Did you mean 'tickets'?" in ended.err


@pytest.mark.parametrize(
    "arguments",
    ["status --interval 0", "errors --limit 0", "errors --limit x", "errors --kind blank", "jobs x", "init a b"],
)
def test_a_wrong_flag_is_a_usage_error(job: BatchJob, arguments: str) -> None:
    before = files(job.folder)
    ended = job(*arguments.split())
    assert (ended.code, ended.out) == (2, "")
    assert files(job.folder) == before


def test_status_and_help_load_no_library_they_do_not_use(job: BatchJob) -> None:
    for arguments in (["--help"], ["status"], ["status", "--help"], ["errors"], ["jobs"]):
        code = (
            f"import sys; from batchjob.cli import _run; code = _run({arguments!r});"
            "print(code, *{'aiohttp', 'aiosqlite', 'structlog', 'wcwidth', 'asyncio', 'uvloop'} & set(sys.modules))"
        )
        ended = subprocess.run([sys.executable, "-c", code], cwd=job.folder, capture_output=True, text=True)
        assert ended.stdout.splitlines()[-1] == "0", arguments


# ---------------------------------------------------------------- errors


def test_errors_shows_the_rows_of_each_kind_and_what_to_do(job: BatchJob) -> None:
    ended = job("errors", "--limit", "2")
    assert ended.code == 0
    assert "3 blank_text: there is nothing to label" in ended.out
    assert re.findall(r"row (t\d+) \(line (\d+)\)", ended.out) == [("t7", "8"), ("t17", "18")]
    assert "and 1 more: batchjob errors tickets --kind blank_text --limit 3" in ended.out
    assert ended.out.splitlines()[-1] == "next      batchjob export tickets -o tickets-labels.csv"


def test_errors_of_one_kind_shows_them_all(job: BatchJob) -> None:
    kinds = json.loads(job("errors", "--kind", "blank_text", "--json").out)["kinds"]
    assert [(kind["kind"], kind["count"], [row["key"] for row in kind["rows"]]) for kind in kinds] == [
        ("blank_text", 3, ["t7", "t17", "t27"])
    ]


def test_a_known_kind_that_no_row_has_is_no_error(job: BatchJob) -> None:
    ended = job("errors", "--kind", "timeout")
    assert (ended.code, ended.err) == (0, "")
    assert "none of kind timeout" in ended.out


def test_a_job_without_failed_rows_is_no_error(batchjob: BatchJob) -> None:
    write_tickets(batchjob.folder, 5)
    assert batchjob("start", "tickets.csv", "--sandbox", *LABELS).code == 0
    ended = batchjob("errors")
    assert (ended.code, ended.out.splitlines()[0]) == (0, "job tickets: no failed rows")


def test_errors_shows_what_the_endpoint_said_and_the_request_to_ask_it_about(
    batchjob: BatchJob, sandbox: Sandbox
) -> None:
    write_tickets(batchjob.folder, 3)
    url = sandbox("--fault", "off_list=1")
    assert batchjob("start", "tickets.csv", "--base-url", url, *LABELS).code == 4
    row = json.loads(batchjob("errors", "--json").out)["kinds"][0]["rows"][0]
    assert row["answer"]
    assert row["request_id"]
    assert row["attempts"] == 1
    ended = batchjob("errors", "--kind", "off_list")
    assert f"row t1 (line 2), 1 attempt, request {row['request_id']}" in ended.out
    assert ended.out.splitlines()[-1] == "next      batchjob retry tickets --kind off_list --fallback LABEL"


def test_nothing_from_a_file_or_endpoint_reaches_the_terminal_unchecked(job: BatchJob) -> None:
    change(
        job.folder,
        f"UPDATE input SET key = 'k{ESCAPE}', text = 't{ESCAPE}'",
        f"UPDATE row SET error = 'e{ESCAPE}', answer = 'a{ESCAPE}' WHERE state = 'failed'",
        f"UPDATE tally SET name = 'l{ESCAPE}' WHERE kind = 'label'",
        f"UPDATE job SET name = 'n{ESCAPE}', reason = 'r{ESCAPE}'",
    )
    for arguments in ("status", "errors", "errors --json", "jobs", "doctor", "status --json"):
        ended = job(*arguments.split())
        assert "\x1b" not in ended.out + ended.err, arguments
        # In JSON the names that the user gave are as they are, so that they can be used.
        assert "--json" in arguments or "\x9b" not in ended.out, arguments
    rows = json.loads(job("errors", "--json").out)["kinds"][0]["rows"]
    assert [value for row in rows for value in row.values() if not str(value).isprintable()] == []


# ---------------------------------------------------------------- jobs


def test_jobs_lists_each_job_with_how_it_stands(job: BatchJob) -> None:
    document = json.loads(job("jobs", "--json").out)
    assert [(line["job"], line["state"], line["rows"]["done"], line["rows"]["failed"]) for line in document] == [
        ("tickets", "finished", 27, 3)
    ]
    header, line, next_ = job("jobs").out.splitlines()
    assert header.split() == ["JOB", "STATE", "DONE", "FAILED", "STARTED", "INPUT"]
    assert line.split()[:4] == ["tickets", "finished", "27/30", "3"]
    assert line.endswith(document[0]["input"])
    assert next_ == "next      batchjob status tickets"


def test_ten_thousand_jobs_are_listed_in_a_moment(job: BatchJob) -> None:
    numbers = "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
    copy_records(job.folder, "job", numbers, id="i", uid="'u' || i", name="'job-' || i")
    copy_records(job.folder, "tally", numbers, job_id="i")
    copy_records(job.folder, "run", numbers, id="i", job_id="i")
    began = processor_seconds()
    lines = job("jobs").out.splitlines()
    assert len(lines) == 10_002
    assert processor_seconds() - began < 4  # about 0.5 s


def test_among_ten_thousand_jobs_another_is_begun_looked_at_and_exported_in_a_moment(job: BatchJob) -> None:
    numbers = "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)"
    # All of the same input: the next name is to be found among them, and so is the next cached label.
    copy_records(job.folder, "job", numbers, id="i", uid="'u' || i", name="'tickets-' || i")
    copy_records(job.folder, "tally", numbers, job_id="i")
    copy_records(job.folder, "run", numbers, id="i", job_id="i")
    began = processor_seconds()
    started = job("start", "tickets.csv", "--sandbox", *LABELS[:4], "--quiet", "--new")
    assert started.code == 4, started.err
    assert processor_seconds() - began < 4  # about 0.8 s
    began = processor_seconds()
    status = json.loads(job("status", "--json").out)
    assert (status["job"], status["rows"]["done"], status["sources"]["cache"]) == ("tickets-10001", 27, 27)
    assert job("status", "tickets-5000").code == 0
    assert job("export", "-o", "-").out.count(",cache,done,") == 27
    assert job("resume").err.startswith("batchjob: no job is unfinished")
    assert processor_seconds() - began < 6  # about 1.3 s


# ---------------------------------------------------------------- init


def uncommented(text: str) -> str:
    return re.sub(r"(?m)^#(?=\w+ = |\[)", "", text)


def test_init_writes_every_setting_with_its_default(batchjob: BatchJob) -> None:
    ended = batchjob("init")
    assert ended.code == 0
    assert ended.out.splitlines()[-1] == "next      batchjob start INPUT"
    written = batchjob.folder / "job.toml"
    assert read_job_toml(written).settings == {}
    written.write_text(uncommented(written.read_text()))
    settings = read_job_toml(written).settings
    in_file = {setting.name for setting in declared(JobConfig) if setting.about.in_file}
    assert set(settings) == {*in_file, "db", *PROGRAMS}
    config = merge(settings)
    defaults = {field.name: field.default for field in msgspec.structs.fields(JobConfig)}
    unlike: dict[str, Any] = {
        name: (getattr(config, name), default)
        for name, default in defaults.items()
        if default not in (None, "", (), msgspec.NODEFAULT) and getattr(config, name) != default
    }
    assert unlike == {}


def test_every_setting_in_a_written_job_toml_is_explained(batchjob: BatchJob) -> None:
    lines = batchjob("init", "-").out.split("# ---- Tables")[0].splitlines()
    keys = [n for n, line in enumerate(lines) if re.match(r"#\w+ = ", line)]
    assert [lines[n] for n in keys if not re.match(r"# [A-Z0-9].{6,}\.$", lines[n - 1])] == []


def test_a_job_toml_is_replaced_only_by_force(batchjob: BatchJob) -> None:
    file = batchjob.folder / "my job.toml"
    file.write_text('model = "mine"\n')
    ended = batchjob("init", "my job.toml")
    assert (ended.code, ended.out, file.read_text()) == (1, "", 'model = "mine"\n')
    assert "--force" in ended.err
    assert batchjob("init", "my job.toml", "--force").out.endswith("batchjob start INPUT --config 'my job.toml'\n")
    assert file.read_text() != 'model = "mine"\n'


@pytest.mark.parametrize("file", [".", "no/such/folder.toml"])
def test_init_where_no_file_can_be_leaves_nothing(batchjob: BatchJob, file: str) -> None:
    ended = batchjob("init", file)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (1, "", 1)
    assert files(batchjob.folder) == set()


# ---------------------------------------------------------------- doctor


def findings(out: str) -> dict[str, tuple[str, str]]:
    """What doctor said: about -> (level, text)."""
    lines = [line.split(None, 2) for line in out.split("\n\n")[0].splitlines()]
    return {about: (level, text) for level, about, text in lines}


def test_doctor_finds_nothing_wrong_with_a_good_job_and_changes_nothing(job: BatchJob) -> None:
    before = files(job.folder)
    ended = job("doctor")
    assert (ended.code, ended.err) == (0, "")
    lacking = set() if importlib.util.find_spec("uvloop") else {"uvloop"}  # slower without, and said
    assert {about for about, (level, _) in findings(ended.out).items() if level != "ok"} == lacking
    assert ended.out.endswith("\n1 warning\n" if lacking else "\nall is well\n")
    assert files(job.folder) == before | {"batchjob.db-shm", "batchjob.db-wal"}


def test_doctor_before_the_first_job_is_content(batchjob: BatchJob) -> None:
    ended = batchjob("doctor")
    assert ended.code == 0
    assert "batchjob start makes it" in ended.out
    assert files(batchjob.folder) == set()


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE tally SET n = n + 1 WHERE kind = 'row' AND name = 'done'", "row done is kept as 28 and counted as 27"),
        ("DELETE FROM tally WHERE kind = 'label'", "label refund is kept as 0 and counted as 27"),
        ("UPDATE tally SET n = 1 WHERE kind = 'source'", "source model is kept as 1 and counted as 27"),
        ("UPDATE row SET error_kind = 'x' WHERE id & 255 = 7", "error x is kept as 0 and counted as 1"),
        ("DELETE FROM request WHERE id & 255 = 1", "request answered is kept as 27 and counted as 26"),
        ("UPDATE request SET outcome = 'not_sent' WHERE id & 255 = 1", "request sent is kept as 27 and counted as 26"),
        ("UPDATE request SET repeats = id WHERE id & 255 = 2", "request resent is kept as 0 and counted as 1"),
        ("UPDATE request SET output_tokens = 1000 WHERE id & 255 = 1", "usage output_tokens is kept as"),
        ("DELETE FROM input WHERE id & 255 = 1", "job rows read is kept as 30 and counted as 29"),
        ("DELETE FROM row WHERE id & 255 = 1", "job rows to label is kept as 30 and counted as 29"),
        ("UPDATE job SET rows = 31", "job rows to label is kept as 31 and counted as 30"),
        ("UPDATE row SET id = id + (1 << 40) WHERE id & 255 = 1", "number 2, which is no job"),
    ],
)
def test_doctor_finds_every_counter_that_is_not_what_it_counts(job: BatchJob, statement: str, said: str) -> None:
    change(job.folder, statement)
    ended = job("doctor")
    assert ended.code == 1
    assert said in ended.out


def test_the_check_of_counters_agrees_with_every_moment_of_a_running_job(running: BatchJob) -> None:
    with SqliteCheck(running.folder / "batchjob.db") as store:
        for _ in range(20):
            assert store.differences() == []
            time.sleep(0.05)
        assert store.damages() == []


@pytest.mark.parametrize(
    ("place", "content"),
    [(4096 * 8, b"\xff" * 4096 * 3), (32, b"\xff" * 4)],
    ids=["pages in use", "the list of free pages"],
)
def test_doctor_finds_a_damaged_file(job: BatchJob, place: int, content: bytes) -> None:
    with open(job.folder / "batchjob.db", "r+b") as file:
        file.seek(place)
        file.write(content)
    ended = job("doctor")
    assert ended.code == 1
    assert "damaged" in ended.out


def test_doctor_warns_of_a_database_that_others_may_read(job: BatchJob) -> None:
    (job.folder / "batchjob.db").chmod(0o644)
    ended = job("doctor")
    assert ended.code == 0
    assert findings(ended.out)["permissions"][0] == "warning"


def test_doctor_of_a_foreign_file_says_so(batchjob: BatchJob) -> None:
    (batchjob.folder / "notes.txt").write_text("no database\n" * 50)
    ended = batchjob("doctor", "--db", "notes.txt")
    assert ended.code == 1
    assert findings(ended.out)["database"][0] == "problem"


def test_doctor_of_a_broken_job_toml_goes_on_with_the_rest(job: BatchJob) -> None:
    (job.folder / "job.toml").write_text("modle = 'm'\n")
    ended = job("doctor")
    assert ended.code == 1
    assert "Did you mean 'model'?" in findings(ended.out)["settings"][1]
    assert findings(ended.out)["counters"][0] == "ok"


@pytest.mark.parametrize(
    "arguments", [("--config", "none.toml"), ("--base-url", "nowhere"), ("--base-url", "http://[")]
)
def test_doctor_with_a_wrong_flag_says_so_alone(batchjob: BatchJob, arguments: tuple[str, str]) -> None:
    ended = batchjob("doctor", *arguments)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)


def test_doctor_asks_the_endpoint_with_the_key_and_never_shows_it(batchjob: BatchJob, sandbox: Sandbox) -> None:
    url = sandbox("--require-key", "sesame-3f9a", "--model", "small", "--ledger", "ledger.jsonl")
    flags = ("doctor", "--base-url", url, "--model")
    right = {"MY_KEY": "sesame-3f9a", "OPENAI_API_KEY": "wrong-77c1"}
    good = batchjob(*flags, "small", "--api-key-env", "MY_KEY", env=right)
    near = batchjob(*flags, "smal", "--api-key-env", "MY_KEY", env=right)
    wrong = batchjob(*flags, "small", env=right)
    none = batchjob(*flags, "small")
    unset = batchjob(*flags, "small", "--api-key-env", "NOT_SET")
    assert [ended.code for ended in (good, near, wrong, none, unset)] == [0, 0, 1, 1, 1]
    assert findings(good.out)["model"] == ("ok", "small is listed")
    assert findings(near.out)["model"][0] == "warning"
    assert "refuses the key in OPENAI_API_KEY (401)" in wrong.out
    assert "wants a key (401)" in none.out
    assert "NOT_SET is not set" in unset.out
    assert not any(key in ended.out + ended.err for key in right.values() for ended in (good, near, wrong, none, unset))
    ledger = batchjob.folder / "ledger.jsonl"
    assert not ledger.exists() or ledger.read_text() == ""  # nothing was billed


def test_doctor_explains_an_endpoint_without_a_list_of_models(batchjob: BatchJob, sandbox: Sandbox) -> None:
    ended = batchjob("doctor", "--base-url", sandbox().removesuffix("/v1"))
    assert ended.code == 0
    assert "usually ends in /v1" in findings(ended.out)["endpoint"][1]


def test_doctor_waits_five_seconds_for_an_endpoint_that_is_silent(batchjob: BatchJob) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        ended = batchjob("doctor", "--base-url", f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        assert 4.9 < time.monotonic() - began < 9
    assert ended.code == 1
    assert "no answer within 5 s" in ended.out


def test_doctor_explains_an_endpoint_that_is_not_there(batchjob: BatchJob) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    absent = batchjob("doctor", "--base-url", f"http://127.0.0.1:{port}/v1")
    unknown = batchjob("doctor", "--base-url", "http://no-such-host.invalid/v1")
    assert (absent.code, unknown.code) == (1, 1)
    assert "that it is running" in absent.out
    assert "no-such-host.invalid is not resolved" in unknown.out


def test_doctor_names_a_key_that_no_header_can_hold(batchjob: BatchJob) -> None:
    ended = batchjob("doctor", "--base-url", "http://127.0.0.1:9/v1", env={"BATCHJOB_API_KEY": "sk-secret\x07bell"})
    assert ended.code == 1
    assert "problem   key         the key in BATCHJOB_API_KEY holds characters" in ended.out
    assert "secret" not in ended.out + ended.err


def test_doctor_names_a_proxy_that_cannot_be_used(batchjob: BatchJob) -> None:
    proxy = {"https_proxy": "socks5://me:secret@127.0.0.1:9"}
    ended = batchjob("doctor", "--base-url", "https://endpoint.invalid/v1", env=proxy)
    assert ended.code == 1
    assert "problem   endpoint    https_proxy in the environment is no proxy" in ended.out
    assert "secret" not in ended.out + ended.err
