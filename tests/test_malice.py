"""Files made to deceive: whatever a database or a file of settings holds, each command says it in a sentence, soon."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest

from batchjob.cli import _run
from batchjob.settings.config import MOST_LABELS
from batchjob.stores import open_reader
from batchjob.stores.sqlite import reader
from tests.faults.server import Exchange, FaultServer, completion, http, label_of

pytestmark = pytest.mark.timeout(60)

READING = (
    ("status", "j"),
    ("status", "j", "--json"),
    ("errors", "j"),
    ("jobs",),
    ("export", "j", "-o", "-"),
    ("export", "j", "--requests", "-o", "-"),
    ("cache", "stats"),
    ("doctor",),
    ("start", "in.csv", "--dry-run", "--labels", "alpha,beta", "--model", "m", "--base-url", "http://127.0.0.1:9/v1"),
    ("resume", "j", "--max-outage", "1"),
)


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a job of ten rows, of which two have failed."""
    folder = tmp_path_factory.mktemp("labelled")

    async def act(x: Exchange) -> None:
        refused = http(json.dumps({"error": {"message": "no"}}).encode(), 400)
        await x.send(refused if x.row % 5 == 0 else http(completion(label_of(x.row))))

    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("in.csv").write_text("text,more\n" + "".join(f"row {n},x\n" for n in range(1, 11)))
        with FaultServer(act).running() as server:
            asked = ("--base-url", server.url, "--model", "m", "--labels", "alpha,beta", "--rpm", "0", "--name", "j")
            assert _run(["start", "in.csv", *asked]) == 4
    finally:
        os.chdir(before)
    with sqlite3.connect(folder / "batchjob.db") as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return folder


@pytest.fixture
def copy(labelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], sqlite3.Connection]]:
    """Makes a fresh copy of its database here, to be changed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BATCHJOB_API_KEY", "sk-a-key-of-some-length")
    shutil.copy(labelled / "in.csv", "in.csv")
    opened: list[sqlite3.Connection] = []

    def make() -> sqlite3.Connection:
        for file in Path().glob("batchjob.db*"):
            file.unlink()
        shutil.copy(labelled / "batchjob.db", "batchjob.db")
        opened.append(sqlite3.connect("batchjob.db", isolation_level=None))
        opened[-1].execute("PRAGMA ignore_check_constraints = ON")
        return opened[-1]

    yield make
    for db in opened:
        db.close()


DEEP = "replace(hex(zeroblob(6000)), '00', '{\"a\":') || '1'"
EVIL = {
    "job": {
        "id": ("9223372036854775807", "-1"),
        "uid": ("CAST(x'fffe41' AS TEXT)",),
        "name": ("CAST(x'fffe41' AS TEXT)",),
        "source": ("''", "'null'", DEEP, "'{}'"),
        "settings": ("'odd'", "'[]'", '\'{"concurrency": "x"}\'', DEEP, "'{\"rpm\": 1e999}'"),
        "prices": ("''", "'{\"m\": 3}'"),
        "state": ("'odd'",),
        "created_at": ("9e999", "-1e300"),
        "rows": ("-1", "9223372036854775807"),
        "updated_at": ("9e999",),
    },
    "run": {"id": ("9223372036854775807",), "updated_at": ("9e999", "-9e999"), "outage": ("'odd'", DEEP)},
    "tally": {"name": ("'odd' || name",), "n": ("-1", "9223372036854775807")},
    "input": {"text": ("CAST(x'fffe41' AS TEXT)",), "rest": ("'odd'", "'null'", "'[1e999]'", DEEP)},
    "row": {"state": ("'odd'",), "source": ("'odd'",)},
    "request": {"rows": ("'odd'", "'[\"x\"]'"), "sent_at": ("9e999",), "cost_picousd": ("-1",)},
}


@pytest.mark.parametrize("table", EVIL)
def test_what_batchjob_would_not_write_is_said_in_a_sentence_by_every_command(
    table: str, copy: Callable[[], sqlite3.Connection], capfd: pytest.CaptureFixture[str]
) -> None:
    for column, values in EVIL[table].items():
        for value in values:
            db = copy()
            if table == "run" and column == "id":
                db.execute("DELETE FROM run WHERE id > (SELECT min(id) FROM run)")
            db.execute(f"UPDATE {table} SET {column} = {value}")
            db.close()
            for command in READING:
                code = _run(list(command))
                said = "".join(capfd.readouterr())
                assert code in (0, 1, 2, 3, 4), (column, value, command)
                assert "batchjob: defect" not in said, (column, value, command, said)


def test_an_index_that_somebody_added_to_a_table_is_not_kept_up(
    copy: Callable[[], sqlite3.Connection], capfd: pytest.CaptureFixture[str]
) -> None:
    db = copy()
    db.execute("CREATE INDEX slow ON row (abs(id))")
    db.close()
    assert _run(["resume", "j"]) == 1
    assert "has other tables than this version of batchjob makes" in "".join(capfd.readouterr())


def test_pages_that_lead_round_in_circles_end_in_a_sentence(
    copy: Callable[[], sqlite3.Connection], capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is counted grows by a hundred times with each level of pages: no disk holds so many rows."""
    monkeypatch.setattr(reader, "QUERY_SECONDS", 0.5)
    db = copy()
    db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) "
               "INSERT INTO label_cache SELECT i, i, 'alpha', 0, 1, 0, NULL FROM n")  # fmt: skip
    ((root,),) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'label_cache'").fetchall()
    ((size,),) = db.execute("PRAGMA page_size").fetchall()
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    _knot(Path("batchjob.db"), root, size)
    assert _run(["cache", "stats"]) == 1
    assert "batchjob.db is damaged" in "".join(capfd.readouterr())


def test_a_reader_that_was_left_alone_for_long_has_its_time_for_the_next_question(
    copy: Callable[[], sqlite3.Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As that of `profile` and a long input, which asks for remembered labels for many minutes."""
    hours = count(3600, 3600)
    monkeypatch.setattr(reader, "STEPS", 1)
    copy().close()
    with open_reader("batchjob.db") as opened:
        for ask in (lambda: opened.cached_labels([(1, 1)]), lambda: opened.job("j")):
            opened.names()
            monkeypatch.setattr(
                reader, "time", SimpleNamespace(monotonic=partial(float, time.monotonic() + next(hours)))
            )
            ask()


def _knot(file: Path, root: int, size: int) -> None:
    """Put five inner pages one below the other, each of which has the next for all of its children."""
    pages = bytearray(file.read_bytes())

    def start(page: int) -> int:
        return (page - 1) * size

    cells = int.from_bytes(pages[start(root) + 3 : start(root) + 5])
    where = [int.from_bytes(pages[start(root) + 12 + 2 * n : start(root) + 14 + 2 * n]) for n in range(cells)]
    children = [int.from_bytes(pages[start(root) + at : start(root) + at + 4]) for at in where[:6]]
    inner = bytes(pages[start(root) : start(root) + size])
    for page, child in pairwise((root, *children)):
        pages[start(page) : start(page) + size] = inner
        for place in (*where, 8):
            pages[start(page) + place : start(page) + place + 4] = child.to_bytes(4)
    file.write_bytes(pages)


# ---------------------------------------------------------------- settings

LIMITLESS = ("--budget", "--rpm", "--tpm", "--timeout", "--connect-timeout", "--max-outage", "--temperature")
FILES: dict[str, Callable[[], str]] = {
    "nested": lambda: "params = " + "[" * 5000 + "]" * 5000,
    "tables": lambda: "params = " + "{a=" * 5000 + "1" + "}" * 5000,
    "digits": lambda: "concurrency = " + "9" * 5000,
    "infinite": lambda: "params.top_p = inf",
    "large": lambda: "labels = " + json.dumps([f"label {n}" for n in range(200_000)]),
    "types": lambda: "labels = 3",
    "bytes": lambda: "\0" * 100,
}


def dry(*more: str) -> int:
    asked = ("--dry-run", "--model", "m", "--base-url", "http://127.0.0.1:9/v1")
    return _run(["start", "in.csv", *asked, *more])


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in.csv").write_text("text\na\n")


@pytest.mark.usefixtures("place")
@pytest.mark.timeout(10)
@pytest.mark.parametrize("kind", FILES)
def test_settings_that_are_none_are_refused_in_a_sentence(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("x.toml").write_text(FILES[kind]())
    assert dry("--config", "x.toml") == 2
    assert "defect" not in "".join(capfd.readouterr())


@pytest.mark.usefixtures("place")
@pytest.mark.parametrize("option", LIMITLESS)
@pytest.mark.parametrize("value", ["inf", "1e999", "nan"])
def test_a_number_that_is_not_finite_is_refused(option: str, value: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert dry("--labels", "a,b", option, value) == 2
    assert f"setting {option[2:].replace('-', '_')}: expected" in "".join(capfd.readouterr())


@pytest.mark.usefixtures("place")
@pytest.mark.timeout(10)
@pytest.mark.parametrize("option", ["--config", "--labels-file", "--prompt-file"])
@pytest.mark.parametrize("file", ["/dev/zero", "pipe", "."])
def test_a_device_or_a_pipe_that_nobody_writes_to_is_refused_at_once(
    option: str, file: str, capfd: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")
    labels = () if option == "--labels-file" else ("--labels", "a,b")
    assert dry(*labels, option, file) == 2
    assert "cannot read" in "".join(capfd.readouterr())


@pytest.mark.usefixtures("place")
def test_what_a_shell_writes_into_a_pipe_is_read(capfd: pytest.CaptureFixture[str]) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"billing\nrefund\n")
    os.close(writing)
    assert dry("--labels-file", f"/dev/fd/{reading}") == 0
    os.close(reading)


@pytest.mark.usefixtures("place")
@pytest.mark.timeout(10)
def test_more_labels_than_a_model_can_be_told_are_refused_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    Path("labels.txt").write_text("".join(f"{n}\n" for n in range(200_000)))
    assert dry("--labels-file", "labels.txt") == 2
    assert f"200,000 are more than a model can be told, {MOST_LABELS:,} at most" in "".join(capfd.readouterr())


@pytest.mark.usefixtures("place")
@pytest.mark.timeout(10)
def test_a_label_of_a_million_characters_is_refused_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    Path("labels.txt").write_text("x" * 1_000_000 + "\ny\n")
    assert dry("--labels-file", "labels.txt") == 2
    assert "label 'xxxxxxxxxxxxxxxxxxxx...' has 1,000,000 characters, 1,000 at most" in "".join(capfd.readouterr())


@pytest.mark.usefixtures("place")
def test_a_job_toml_may_begin_with_a_byte_order_mark(capfd: pytest.CaptureFixture[str]) -> None:
    Path("job.toml").write_bytes(b'\xef\xbb\xbflabels = ["a", "b"]\n')
    assert dry("--config", "job.toml") == 0, "".join(capfd.readouterr())


@pytest.mark.usefixtures("place")
@pytest.mark.timeout(10)
def test_parameters_of_parameters_have_an_end(capfd: pytest.CaptureFixture[str]) -> None:
    assert dry("--labels", "a,b", "--param", ".".join("a" * 5000) + "=1") == 2
    assert "setting params: it is nested too deeply" in "".join(capfd.readouterr())


@pytest.mark.usefixtures("place")
def test_a_job_toml_that_nobody_named_runs_no_command(capfd: pytest.CaptureFixture[str]) -> None:
    Path("job.toml").write_text('api_key_command = "touch ran"\nlabels = ["a", "b"]\nmodel = "m"\n')
    for command in (["start", "in.csv"], ["resume"], ["retry"], ["doctor"], ["profile", "in.csv"]):
        _run([*command, "--base-url", "http://127.0.0.1:9/v1"])
    assert not Path("ran").exists()
