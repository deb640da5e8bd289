"""Sentences about the machine, its disks and its rights, about odd tables, money and counts, each met once."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import shutil
import sqlite3
import subprocess
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

import batchjob as bj
from batchjob.cli import _run, example, on_end
from batchjob.cli.doctor import disk, endpoint, machine
from batchjob.endpoints import fast, key
from batchjob.errors import JobBusy, StoreError
from batchjob.jobs.plans import plan_resume
from batchjob.jobs.run import run
from batchjob.logs import make_logger
from batchjob.model import Claim, Limits, Quota
from batchjob.pace.hold import Hold
from batchjob.pace.pacer import Pacer
from batchjob.records import Worker
from batchjob.states import JobState
from batchjob.stores import open_reader, open_store
from batchjob.stores.sqlite.leaving import Leaving
from batchjob.stores.sqlite.lock import NOTICE_SECONDS, WriterLock
from batchjob.views.next_steps import next_command
from batchjob.views.status import settings_of, status_of
from batchjob.views.summary import summary_lines
from tests.stores.test_store import make_job

if TYPE_CHECKING:
    from tests.conftest import BatchJob

JOB = ("--labels", "refund,invoice", "--sandbox", "--rpm", "0", "--quiet")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a job of two rows that is done, one of several answers a text, one of which a row is left, and one
    of which a row failed.
    """
    folder = tmp_path_factory.mktemp("made")
    (folder / "t.csv").write_text("id,text,gold\n1,a refund,refund\n2,my invoice,invoice\n")
    (folder / "u.csv").write_text("id,text\n1,\n")
    (folder / "fields.toml").write_text('[[fields]]\nname = "topics"\nkind = "several"\nlabels = ["a", "b"]\n')
    with contextlib.chdir(folder):
        assert _run(["start", "t.csv", *JOB]) == 0
        assert _run(["start", "t.csv", "--config", "fields.toml", *JOB[2:], "--name", "fields", "--new"]) == 0
        assert _run(["start", "t.csv", *JOB, "--name", "part", "--new", "--limit", "1"]) == 0
        assert _run(["start", "u.csv", *JOB]) == 4
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


Say = Callable[..., str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    """What a command says on both streams."""

    def say(*arguments: str) -> str:
        _run(list(arguments))
        told = capsys.readouterr()
        return told.out + told.err

    return say


def change(statement: str, *values: object) -> None:
    with contextlib.closing(sqlite3.connect("batchjob.db")) as db, db:
        db.execute(statement, values)


# ---------------------------------------------------------------- commands and settings


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("status --db postgresql:host=x", "db is no path of a file, and is not shown, for it may hold a password"),
        (
            "start t.csv --labels a,b --sandbox --rows-per-request 2 --prompt {text} --show-prompt",
            "What stands in the place of the text is not one text but a JSON object of texts by number.",
        ),
        (
            "start t.csv --config fields.toml --sandbox --describe a=x",
            "descriptions cannot be given with [[fields]]: each field has its own",
        ),
        (
            "correct fields 1 zz --field topics",
            "'zz' is no value of field topics: it is an array of its labels, with commas between: a",
        ),
        ("work t", "job 't' asks the built-in sandbox, which is each process's own. To try several workers, start one"),
        ("work t --on ray:2 --json", "--json and --on-end are of one worker: with --on, ask status when it has ended"),
        ("stop t", "nobody is working on job 't'"),
        (
            "start t.csv --labels a,b --sandbox --new --name \udcff",
            "is not UTF-8. If it is a file's name, rename that; if it",
        ),
    ],
)
def test_what_a_command_says(said: Say, command: str, told: str) -> None:
    assert told in said(*command.split())


def test_a_job_of_a_sandbox_that_others_can_reach_needs_a_database_that_they_can_reach(said: Say) -> None:
    change("UPDATE job SET settings = json_set(settings, '$.base_url', 'http://127.0.0.1:9/v1')")
    told = said("work", "part")
    assert "several workers on job 'part' need a database that several machines may write to" in told


def test_a_command_that_gives_a_key_has_a_minute(said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(key, "COMMAND_SECONDS", 0.01)
    command = ("start", "t.csv", "--labels", "a,b", "--base-url", "http://127.0.0.1:9/v1", "--model", "m")
    assert "--api-key-command gave no key within 0 s" in said(*command, "--api-key-command", "sleep 9", "--new")


def test_a_command_at_the_end_that_cannot_be_run_or_hangs_is_told(said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_end, "MOST_SECONDS", 0.01)
    run_again = ("start", "t.csv", *JOB, "--on-end")
    assert "--on-end took more than 0 s and was ended; the job is as it was said above" in said(*run_again, "sleep 9")
    assert "--on-end could not be run: Argument list too long" in said(*run_again, ":" * 300_000)


def test_labels_that_other_rows_may_get_stay(said: Say) -> None:
    change("UPDATE label_cache SET job_id = (SELECT id FROM job WHERE name = 'part')")
    told = said("cache", "clear")
    assert "those stay that rows without a label may still get: in jobs that are not finished, or by a retry" in told


def test_examples_are_not_drawn_from_what_is_piped_in(batchjob: BatchJob) -> None:
    ended = batchjob("start", "-", *JOB, "--examples", "1", "--gold", "gold", input="id,text,gold\n1,a,refund\n")
    assert "--examples reads the input twice, which stdin cannot be: give a file, or [[examples]]" in ended.err


def test_an_installation_without_the_example_says_so(said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_PACKAGED", "_CHECKOUT"):
        monkeypatch.setattr(example, name, Path("nowhere"))
    assert "the example is not in this installation: it was packed without batchjob/examples" in said("example")


def test_who_works_in_a_file_is_named_by_what_cannot_be_done_meanwhile(said: Say, place: Path) -> None:
    lock = WriterLock(place / "batchjob.db", "t")
    mine = f"process {os.getpid()}"
    assert f"but       {mine} is working in this database: start is refused until it has" in said(
        "start", "t.csv", *JOB, "--dry-run"
    )
    assert f"job 't' is run by {mine} of this machine: stop it with Ctrl-C, or: kill {os.getpid()}" in said("stop", "t")
    (place / "batchjob.db.lock").unlink()
    other = WriterLock(place / "batchjob.db", "another")
    for _ in range(NOTICE_SECONDS):
        lock.keep()
    with pytest.raises(JobBusy, match=r"the lock file of .*batchjob\.db was removed, and process \d+ is working on"):
        lock.keep()
    other.release()
    lock.release()


def test_a_job_that_another_process_has_gone_on_with_is_not_gone_on_with_by_an_old_plan(place: Path) -> None:
    rows = "".join(f"{n},text {n}\n" for n in range(3000))
    (place / "many.csv").write_text(f"id,text\n{rows}")
    assert _run(["start", "many.csv", *JOB, "--limit", "1"]) == 0
    old = plan_resume("many", {"limit": 1}, db=str(place / "batchjob.db"))
    assert _run(["resume", "many", "--limit", "2", "--quiet"]) == 0
    with pytest.raises(JobBusy, match="another process has worked on job 'many' meanwhile: give the same command agai"):
        asyncio.run(run(old, key=None, log=make_logger(format="json", file=None, quiet=True)))


def test_a_text_that_would_be_paid_again_is_counted_by_what_was_read(said: Say, place: Path) -> None:
    rows = "".join(f"{n},text {n}\n" for n in range(2500))
    (place / "many.csv").write_text(f"id,text\n{rows}")
    said("start", "many.csv", *JOB, "--limit", "1")
    assert "every one of its first 2,000 is paid for (it had 2,000 when it was last read)" in said(
        "start",
        "many.csv",
        "--labels",
        "x,y",
        "--base-url",
        "http://127.0.0.1:9/v1",
        "--model",
        "m",
        "--max-outage",
        "0.1",
    )


# ---------------------------------------------------------------- tables


def test_odd_tables_are_called_what_they_are(said: Say, place: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    openpyxl = pytest.importorskip("openpyxl")
    openpyxl.Workbook().save("e.xlsx")
    assert "e.xlsx: its first sheet, 'Sheet', is empty; it needs a header and rows" in said("start", "e.xlsx", *JOB)
    with zipfile.ZipFile("e.xlsx") as whole, zipfile.ZipFile("none.xlsx", "w") as without:
        for member in whole.namelist():
            content = whole.read(member)
            if member == "xl/workbook.xml":
                content = content[: content.index(b"<sheets>")] + content[content.index(b"</sheets>") + 9 :]
            without.writestr(member, content)
    assert "none.xlsx has no sheet" in said("start", "none.xlsx", *JOB)

    parquet.write_table(pyarrow.table({"id": ["1", "2"], "text": [b"\xff\xfe", b"plain"]}), "bytes.parquet")
    assert '"text" holds bytes that are no UTF-8; make it a string' in said("start", "bytes.parquet", *JOB[:-1]) + said(
        "errors", "bytes"
    )
    parquet.write_table(pyarrow.table({"text": [os.urandom(40).hex() for _ in range(999)]}), "bad.parquet")
    content = bytearray(Path("bad.parquet").read_bytes())
    content[4:3000] = bytes(2996)
    Path("bad.parquet").write_bytes(content)
    told = said("start", "bad.parquet", *JOB)
    assert "bad.parquet cannot be read on: " in told
    assert "; write it anew" in told

    parquet.write_table(pyarrow.table({"id": ["1", "2"], "text": ["a", "b"], "n": [1, 2]}), "typed.parquet")
    said("start", "typed.parquet", *JOB)
    change("UPDATE input SET rest = '{\"n\":\"many\"}' WHERE text = 'a'")
    told = said("export", "typed", "-o", "out.parquet")
    assert "column 'n' does not fit the type int64 of the input (" in told
    assert "): export as .jsonl" in told


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", 'a;b\n1;2\n3;"x\n', "looks separated by semicolons, but not every row below is; mend the rows, give"),
        (
            "a.csv",
            "Remark\n" + "a text that is long enough\n" * 3,
            "is taken for the header; if it is a text, add --no-",
        ),
        ("a.jsonl", "{}\n", "a.jsonl has no column text"),
        (
            "a.csv",
            "id,text\n" + "".join(f'{n},"a\n{n},b\n{n},c"\n' for n in range(12)),
            "; others behind it are not told",
        ),
    ],
)
def test_a_table_that_is_read_with_a_doubt_says_which(said: Say, name: str, content: str, told: str) -> None:
    Path(name).write_text(content)
    shown = said("start", name, *JOB[:-1])
    assert told in shown + said("status", "a"), shown


def test_a_disk_that_cannot_be_read_is_named(said: Say) -> None:
    told = said("start", "/proc/self/mem", "--format", "csv", *JOB)
    why = os.strerror(errno.EIO)
    assert f"/proc/self/mem cannot be read: {why}; check the disk it is on, then resume" in told


def test_an_export_of_more_columns_than_a_table_has_wants_them_named(said: Say, place: Path) -> None:
    row = {"text": "a"} | {f"k{n}": n for n in range(10_000)}
    Path("w.jsonl").write_text(json.dumps(row) + "\n" + json.dumps({**row, "more": 1}) + "\n")
    said("start", "w.jsonl", *JOB)
    assert "job 'w' has more than 10,000 columns: name those you want with --columns" in said(
        "export", "w", "-o", "x.csv"
    )


def test_values_behind_the_most_frequent_ones_are_one_in_a_report(said: Say) -> None:
    Path("v.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(30)))
    said("start", "v.csv", *JOB)
    said("report", "v", "--by", "id", "-o", "v.md")
    assert "(all others)" in Path("v.md").read_text()


# ---------------------------------------------------------------- rights and disks


def bound_by_modes() -> list[str]:
    """What goes before a command so that file modes hold for it: for root they do not."""
    if os.geteuid() != 0:
        return []
    setpriv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    if shutil.which("setpriv") is None or subprocess.run([*setpriv, "true"], capture_output=True).returncode:
        pytest.skip("root cannot give up its powers here")
    return setpriv


def test_what_the_user_may_not_do_is_said_with_the_file(batchjob: BatchJob, made: Path) -> None:
    commands = [
        ("start", "shut/t.csv", *JOB),
        ("export", "t", "-o", "held/x.csv"),
        ("start", "t.csv", *JOB, "--new", "--db", "held/batchjob.db"),
        ("start", "t.csv", *JOB, "--db", "held/none.db"),
        ("doctor", "--db", "held/batchjob.db"),
        ("start", "t.csv", *JOB, "--new", "--db", "kept/batchjob.db"),
        ("status", "--db", "shut/batchjob.db"),
        ("doctor", "--db", "shut/batchjob.db"),
    ]
    folder = batchjob.folder
    for name, mode in (("held", 0o400), ("shut", 0), ("kept", 0o600)):
        shutil.copytree(made, folder / name)
        for file in (folder / name).iterdir():
            file.chmod(mode)
    (folder / "kept" / "batchjob.db").chmod(0o400)
    (folder / "held").chmod(0o500)
    script = "import sys; from batchjob.cli import _run; [_run(line.split()) for line in sys.stdin]"
    python = batchjob.command.replace("bin/batchjob", "bin/python")
    try:
        told = subprocess.run(
            [*bound_by_modes(), python, "-P", "-c", script],
            cwd=folder, env=batchjob.environment, text=True, capture_output=True,
            input="\n".join(map(" ".join, commands)),
        )  # fmt: skip
    finally:
        (folder / "held").chmod(0o700)
    said = told.stdout + told.stderr
    held = folder / "held"
    for sentence in (
        "shut/t.csv may not be read by this user; allow it with: chmod u+r shut/t.csv",
        f"cannot write held/x.csv: no file may be made in {held} by this user; name another folder",
        f"cannot write beside {held}/batchjob.db: Permission denied",
        f"cannot write beside {held}/none.db: Permission denied",
        f"{held}/batchjob.db cannot be written by this user: it can only be looked at",
        f"no file may be made in {held} by this user: give another --db",
        f"{folder}/kept/batchjob.db cannot be written: it, or its folder, is read-only",
        f"{folder}/shut/batchjob.db may not be read by this user; allow it with: chmod u+rw {folder}/shut/batchjob.db",
        f"{folder}/shut/batchjob.db can neither be read nor be written by this user",
    ):
        assert sentence in said, said


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("_head", lambda request: "", "the head of a request"),
        ("ANSWER", b"HTTP/1.1 500 No\r\nContent-Length: 2\r\n\r\n{}", "how an answer is read"),
        ("_whole", lambda content: None, "how a body is kept that came in one piece"),
        ("_is_clean", lambda connection: False, "when a connection can be used again"),
    ],
)
def test_doctor_says_why_connections_are_not_kept(
    said: Say, monkeypatch: pytest.MonkeyPatch, name: str, value: object, told: str
) -> None:
    monkeypatch.setattr(fast, name, value)
    assert f" is not as expected (RuntimeError: {told}): a connection for each request, which is" in said("doctor")


def test_a_database_on_a_network_disk_is_refused(said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchjob.stores.sqlite.files.kind_of_disk", lambda path, mounts: "nfs4")
    sentence = "lies on a network file system (nfs4), where SQLite is not safe. Use a local --db"
    assert sentence in said("start", "t.csv", *JOB, "--new")
    assert sentence in said("doctor")


def test_doctor_says_what_is_too_old_too_full_or_too_slow(said: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    assert disk._room(1, 0).text.endswith(" free; the database has 0 bytes. Make room before the next run")
    assert ". A job may need more: make room, or give a --db on another disk" in disk._room(20 << 20, 0).text
    assert machine._sqlite((3, 7, 0)).text == "3.7.0: 3.38.0 is needed. Use a Python that brings a newer one"
    monkeypatch.setattr(machine, "PYTHON_NEEDED", (9, 0))
    monkeypatch.setattr(endpoint, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: time.sleep(0.5))
    told = said("doctor", "--base-url", "http://slow.invalid/v1", "--model", "m")
    assert ": batchjob needs 3.11 or newer" in told
    assert "slow.invalid is not resolved (no answer from DNS within 0.01 s): check --base-url and the network" in told


def test_doctor_says_how_to_save_what_is_left_of_a_damaged_database(said: Say, place: Path) -> None:
    content = bytearray((place / "batchjob.db").read_bytes())
    content[2 * 4096 :] = b"\xaa" * len(content[2 * 4096 :])
    (place / "batchjob.db").write_bytes(content)
    assert f"Restore a backup, or save what is left: sqlite3 {place}/batchjob.db .recover > saved.sql" in said("doctor")


def test_what_a_model_taught_that_cannot_be_read_is_damage(said: Say) -> None:
    change("INSERT INTO learned SELECT json_extract(settings, '$.base_url'), 'x', '[]', 1.0 FROM job LIMIT 1")
    assert "the database holds facts about an endpoint that batchjob did not write (" in said("status", "t")


def test_a_correction_that_is_no_value_of_its_field_is_damage(said: Say, place: Path) -> None:
    assert "row 1" in said("correct", "fields", "1", "a", "--field", "topics")
    log = place / "batchjob.db.corrections"
    line = json.loads(log.read_text())
    log.write_text(json.dumps({**line, "label": "[1"}) + "\n")
    assert "a correction of a field is no value (" in said("export", "fields", "-o", "-")


async def test_a_job_that_waits_for_a_provider_stays_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "job.db"
    store = await open_store(str(path), job="job")
    begun = await make_job(store)
    await store.commit([Claim(begun.first_request_id, "key", (1,), "m", 2.0, 77, outlives_run=True)])
    await store.close()
    leaving = Leaving(path, "job")
    with pytest.raises(
        StoreError, match="has 1 request at a provider that answers later: move it when the answers are"
    ):
        leaving.begin()
    leaving.close()


async def test_rows_that_were_put_back_and_not_asked_yet_are_told(said: Say, place: Path) -> None:
    store = await open_store(str(place / "batchjob.db"), job="u")
    await store.choose("u")
    await store.retry(["blank_text"], at=1.0)
    await store.close()
    assert "job u: stopped - failed rows were put back" in said("status", "u")


# ---------------------------------------------------------------- figures


def count(kind: str, name: str, n: int) -> None:
    change(
        "INSERT INTO tally SELECT id, ?1, ?2, ?3 FROM job WHERE name = 't'"
        " ON CONFLICT DO UPDATE SET n = excluded.n",
        kind, name, n,
    )  # fmt: skip


def test_what_a_cost_rests_on_is_said(said: Say) -> None:
    change("UPDATE job SET settings = json_set(settings, '$.second_model', 'large')")
    count("request", "answered", 9)
    count("request", "sent", 9)
    count("cost", "answered", 4_000_000_000_000)
    count("cost", "reported", 1)
    count("cost", "unknown", 2)
    count("second", "answered", 4)
    count("second", "unknown", 3)
    count("second", "cost", 1_000_000_000)
    told = said("status", "t")
    assert "for 1 request as the endpoint reported it, else by usage as reported and the sandbox is free" in told
    assert "(besides 2 requests of unknown cost)" in told
    assert " of the cost (3 of unknown cost)" in told


def test_requests_in_flight_are_not_said_to_be_none(said: Say) -> None:
    count("row", "in_flight", 2)
    assert " sent, besides those in flight: " in said("status", "t")
    change("UPDATE tally SET n = 0 WHERE kind = 'request'")
    assert "requests  none were sent but those in flight" in said("status", "t")


def test_workers_that_give_no_sign_are_told(place: Path) -> None:
    with open_reader(str(place / "batchjob.db")) as reader:
        snapshot = reader.snapshot("t")
    two = tuple(Worker(f"host-{n}", n, 1.0, 2.5, "", 3.0 + 9 * n) for n in range(2))
    status = msgspec.structs.replace(status_of(snapshot), workers=two)
    lines = summary_lines(status, seconds=None, next_command=None)
    assert "workers   2" in lines
    assert lines[-2].endswith("2.5 rows/s")
    assert lines[-1].endswith("2.5 rows/s, silent for 12.0 s")
    refused = msgspec.structs.replace(
        status, state=JobState.REFUSED, reason_kind="bad_setting", reason="Unsupported: max_completion_tokens"
    )
    assert "--param max_completion_tokens=omit" in next_command(refused, settings_of(snapshot.job), "")


def test_what_holds_a_run_back_is_said() -> None:
    pacer = Pacer(rpm=0, tpm=0, concurrency=8, now=0.0)
    pacer.rate_limited(None, 0.0, 0.0)
    assert pacer.describe(0.0, 1) == "waiting 1.0 s, because the endpoint has too many requests (429)"
    pacer = Pacer(rpm=0, tpm=0, concurrency=8, now=0.0)
    pacer.learn(Limits(requests=Quota(limit=60, remaining=0, reset_seconds=60)), 0.0)
    assert pacer.admit(0.0, 1.0) > 0.0
    assert pacer.describe(1.0, 1) == "held to 60 requests a minute, the endpoint's limit"


def test_who_waits_for_another_worker_says_so() -> None:
    hold = Hold()
    hold.wait_for_first(True)
    assert hold.describe(0.0) == "waiting for the first answer to another worker"


def test_the_cache_of_many_jobs_says_which_it_leaves_out(said: Say) -> None:
    change(
        "WITH RECURSIVE n(i) AS (VALUES (100) UNION ALL SELECT i + 1 FROM n WHERE i < 122)"
        " INSERT INTO label_cache (id, code, label, off_list, job_id, at)"
        " SELECT i, i, 'refund', 1, i, 1.0 FROM n"
    )
    told = said("cache", "stats")
    assert " of them the fallback" in told
    assert " more jobs: --json lists all" in told


def test_labels_behind_the_worst_ones_are_counted(said: Say) -> None:
    labels = ",".join(f"label {n}" for n in range(40))
    Path("g.csv").write_text("id,text,gold\n" + "".join(f"{n},text {n},label {n}\n" for n in range(40)))
    said("start", "g.csv", "--labels", labels, *JOB[2:])
    assert "and 10 better labels: --json has them" in said("score", "g", "--gold", "gold")


def test_rows_of_a_program_are_called_so(said: Say) -> None:
    bj.label(["a refund"], labels=["refund", "invoice"], sandbox=True, progress=False)
    assert "input     rows of a program" in said("status", "data")


def test_a_job_whose_price_nobody_knows_has_an_unknown_cost(said: Say) -> None:
    change("UPDATE job SET prices = '{}'")
    count("cost", "unknown", 2)
    shutil.copy("t.csv", "u.csv")
    said("start", "u.csv", *JOB)
    assert ", an unknown cost and " in said("compare", "t", "u")
