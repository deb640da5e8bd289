"""A file of the user's is never harmed: whatever a command is told to write, what it reads and needs stays whole."""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from batchjob.errors import SettingError
from batchjob.files import Named, Target, keep_apart
from batchjob.stores import open_store

if TYPE_CHECKING:
    from tests.conftest import BatchJob

JOB = ("--labels", "a,b", "--sandbox", "--rpm", "0", "--quiet")
ROWS = 2500
"""More than a chunk, so that a limit leaves rows unread."""


@pytest.fixture
def folder(batchjob: BatchJob) -> Path:
    lines = [f"{n},ticket {n}" for n in range(1, ROWS + 1)]
    (batchjob.folder / "t.csv").write_text("\n".join(["id,text", *lines]) + "\n")
    (batchjob.folder / "labels.csv").write_text("a\nb\n")
    (batchjob.folder / "prompt.csv").write_text("Which of {labels}? {text}\n")
    (batchjob.folder / "mine.toml").write_text("rpm = 0\n")
    return batchjob.folder


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type[BatchJob]) -> Path:
    """A folder with a job of which ten rows are labelled, begun with a file for everything."""
    folder = tmp_path_factory.mktemp("begun")
    lines = [f"{n},ticket {n}" for n in range(1, ROWS + 1)]
    (folder / "t.csv").write_text("\n".join(["id,text", *lines]) + "\n")
    (folder / "labels.csv").write_text("a\nb\n")
    (folder / "prompt.csv").write_text("Which of {labels}? {text}\n")
    (folder / "job.toml").write_text('labels_file = "labels.csv"\nprompt_file = "prompt.csv"\n')
    ended = batchjob_in(folder)("start", "t.csv", "--sandbox", "--rpm", "0", "--quiet", "--limit", "10")
    assert ended.code == 0, ended.err
    return folder


@pytest.fixture
def job(begun: Path, tmp_path: Path, batchjob_in: type[BatchJob]) -> BatchJob:
    """The command in a folder with a copy of that job."""
    folder = tmp_path / "copy"
    shutil.copytree(begun, folder)
    with sqlite3.connect(folder / "batchjob.db") as db:
        db.execute(
            "UPDATE job SET input_path = ?, source = replace(source, ?, ?)", (str(folder), str(begun), str(folder))
        )
    db.close()
    return batchjob_in(folder)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file; what a reader touches of a database without changing it is left out."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".db-shm"}


def refused(batchjob: BatchJob, *arguments: str, names: tuple[str, ...] = ()) -> None:
    """The command ends with exit code 2 and a sentence with these names; no file is another than before."""
    before = contents(batchjob.folder)
    ended = batchjob(*arguments)
    assert ended.code == 2, (ended.code, ended.err)
    for name in names:
        assert name in ended.err
    assert len([line for line in ended.err.splitlines() if line.startswith("batchjob: ")]) == 1
    after = contents(batchjob.folder)
    assert {name: after.get(name) for name in before} == before


def plain(target: Path, link: Path) -> None:
    shutil.copy(target, link)


LINKS: dict[str, Callable[[Path, Path], None]] = {
    "the same name": lambda target, link: None,
    "a symbolic link": lambda target, link: link.symlink_to(target),
    "a hard link": lambda target, link: link.hardlink_to(target),
    "a way round": lambda target, link: (link.parent / "sub").symlink_to(target.parent),
}


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("option", ["--output", "--log-file", "--db"])
def test_start_writes_nothing_over_its_input(batchjob: BatchJob, folder: Path, option: str, link: str) -> None:
    LINKS[link](folder / "t.csv", folder / "link.csv")
    written = {"the same name": "t.csv", "a way round": "sub/t.csv"}.get(link, "link.csv")
    refused(batchjob, "start", "t.csv", *JOB, "--limit", "10", option, written, names=(option.strip("-")[:2], "t.csv"))


@pytest.mark.parametrize("file", ["labels.csv", "prompt.csv", "mine.toml"])
@pytest.mark.parametrize("option", ["--output", "--log-file", "--db"])
def test_start_writes_nothing_over_a_file_of_its_settings(
    batchjob: BatchJob, folder: Path, option: str, file: str
) -> None:
    given = ("--labels-file", "labels.csv", "--prompt-file", "prompt.csv", "--config", "mine.toml", "--sandbox")
    name = file
    if file == "mine.toml" and option == "--output":
        (folder / "mine.csv").symlink_to("mine.toml")
        name = "mine.csv"
    refused(batchjob, "start", "t.csv", *given, option, name, names=(file,))


@pytest.mark.parametrize("side", ["", "-wal", "-shm", "-journal", ".lock", ".reserve", ".corrections"])
@pytest.mark.parametrize("option", ["--output", "--log-file"])
def test_a_database_and_what_lies_beside_it_is_no_output_and_no_log(
    batchjob: BatchJob, folder: Path, option: str, side: str
) -> None:
    (folder / "link.csv").symlink_to(f"new.db{side}")  # not there yet
    refused(batchjob, "start", "t.csv", *JOB, "--db", "new.db", option, "link.csv", names=("new.db", "link.csv"))
    assert not (folder / "new.db").exists()


@pytest.mark.parametrize("side", ["-wal", "-shm", "-journal", ".lock", ".reserve", ".corrections"])
def test_an_input_that_lies_beside_the_database_is_refused(batchjob: BatchJob, folder: Path, side: str) -> None:
    (folder / "t.csv").rename(folder / f"new.db{side}")
    refused(batchjob, "start", f"new.db{side}", "--format", "csv", *JOB, "--db", "new.db", names=(f"new.db{side}",))
    assert not (folder / "new.db").exists()


def test_output_and_log_are_two_files(batchjob: BatchJob, folder: Path) -> None:
    refused(batchjob, "start", "t.csv", *JOB, "--output", "o.csv", "--log-file", "./o.csv", names=("--output o.csv",))
    (folder / "null.csv").symlink_to("/dev/null")
    ended = batchjob("start", "t.csv", *JOB, "--limit", "1", "--output", "null.csv", "--log-file", "/dev/null")
    assert ended.code == 0, ended.err  # a device loses nothing


def test_a_job_that_reads_stdin_does_not_write_over_the_file_behind_it(batchjob: BatchJob, folder: Path) -> None:
    before = (folder / "t.csv").read_bytes()
    with (folder / "t.csv").open("rb") as stdin:
        ended = batchjob("start", "-", *JOB, "--limit", "10", "--output", "t.csv", stdin=stdin)
    assert ended.code == 2, ended.err
    assert (folder / "t.csv").read_bytes() == before


def test_an_input_named_like_a_part_of_the_output_is_not_taken_for_one(batchjob: BatchJob, folder: Path) -> None:
    (folder / "t.csv").rename(folder / ".o.csv.abcdefgh.part")
    given = (".o.csv.abcdefgh.part", "--format", "csv", *JOB)
    refused(batchjob, "start", *given, "--output", "o.csv", names=(".o.csv.abcdefgh.part", "o.csv"))


@pytest.mark.parametrize("command", ["resume", "retry"])
@pytest.mark.parametrize("option", ["--output", "--log-file"])
@pytest.mark.parametrize("file", ["t.csv", "labels.csv", "prompt.csv", "batchjob.db", "batchjob.db.lock", "job.toml"])
def test_a_later_run_writes_nothing_over_what_the_job_began_with(
    job: BatchJob, command: str, option: str, file: str
) -> None:
    with sqlite3.connect(job.folder / "batchjob.db") as db:  # something to retry
        db.execute("UPDATE row SET state = 'failed', label = NULL, source = NULL, error_kind = 'x' WHERE id & 255 = 1")
        db.execute("INSERT INTO tally VALUES (1, 'error', 'x', 1)")
    db.close()
    name = file
    if not file.endswith(".csv"):
        (job.folder / "link.csv").symlink_to(file)
        name = "link.csv"
    refused(job, command, option, name, names=(file, name))


@pytest.mark.parametrize("more", [(), ("--requests",)])
@pytest.mark.parametrize(
    "file", ["t.csv", "labels.csv", "prompt.csv", "batchjob.db", "batchjob.db.reserve", "job.toml"]
)
def test_an_export_replaces_nothing_that_is_needed(job: BatchJob, file: str, more: tuple[str, ...]) -> None:
    refused(job, "export", "-o", file, "--format", "csv", *more, names=(f"-o {file}",))


def test_an_export_to_a_stdout_that_is_the_input_is_refused(job: BatchJob) -> None:
    before = (job.folder / "t.csv").read_bytes()
    with (job.folder / "t.csv").open("ab") as stdout:
        ended = subprocess.run([job.command, "export", "-o", "-"], cwd=job.folder, stdout=stdout, env=job.environment)
    assert ended.returncode == 2
    assert (job.folder / "t.csv").read_bytes() == before


def test_the_input_of_a_job_that_still_has_to_read_it_is_no_output_of_another(job: BatchJob) -> None:
    (job.folder / "other.csv").write_text("id,text\n1,x\n")
    given = ("--sandbox", "--rpm", "0", "--quiet", "--output", "t.csv")
    refused(job, "start", "other.csv", *given, names=("--output t.csv", "the input of job 't'"))


@pytest.mark.parametrize("file", ["batchjob.db", "batchjob.db.lock", "t.csv"])
def test_init_replaces_no_database_and_no_input(job: BatchJob, file: str) -> None:
    refused(job, "init", "--force", file, names=(file,))


@pytest.mark.parametrize("side", ["", ".lock"])
def test_a_database_that_nobody_named_is_not_replaced_either(job: BatchJob, side: str) -> None:
    (job.folder / "link.csv").symlink_to(f"batchjob.db{side}")
    (job.folder / "other.csv").write_text("id,text\n1,x\n")
    name = f"batchjob.db{side}"
    given = ("--sandbox", "--rpm", "0", "--db", "other.db")
    for option in (("--output", "link.csv"), ("--log-file", name)):
        if option == ("--output", "link.csv") and side:
            continue
        refused(job, "start", "other.csv", *given, *option, names=(option[1],))
    refused(job, "export", "--db", "batchjob.db", "-o", name, "--format", "csv", names=(name,))


def test_a_ledger_is_no_database(job: BatchJob) -> None:
    refused(job, "sandbox", "--ledger", "batchjob.db", names=("--ledger batchjob.db",))


# ---------------------------------------------------------------- what lies beside a database


@pytest.mark.parametrize("side", ["-wal", "-shm", "-journal", ".lock", ".reserve", ".corrections"])
@pytest.mark.parametrize("link", ["a symbolic link", "a hard link", "a dangling link", "somebody else's", "a pipe"])
async def test_no_side_file_of_a_database_is_a_link_or_somebody_elses(tmp_path: Path, side: str, link: str) -> None:
    mine, beside = tmp_path / "mine", tmp_path / f"j.db{side}"
    mine.write_text("my own text\n" * 500_000)
    before = mine.read_bytes()
    if link == "a pipe":
        os.mkfifo(beside)
    elif link == "somebody else's":
        mine.rename(beside)
        mine = beside
    elif link == "a dangling link":
        beside.symlink_to(tmp_path / "made by following")
    else:
        LINKS[link](mine, beside)
    with pytest.raises(SettingError, match=beside.name):
        await open_store(str(tmp_path / "j.db"), job="job")
    assert mine.read_bytes() == before
    assert not (tmp_path / "made by following").exists()
    assert not (tmp_path / "j.db").exists()


async def test_a_link_to_a_database_leads_to_it_and_its_side_files_lie_there(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "j.db")
    store = await open_store(str(tmp_path / "link.db"), job="job")
    await store.close()
    assert {path.name for path in tmp_path.iterdir()} == {"real", "link.db"}
    assert (tmp_path / "real" / "j.db.lock").is_file()


async def test_a_database_with_a_second_name_is_not_written(tmp_path: Path) -> None:
    store = await open_store(str(tmp_path / "j.db"), job="job")
    await store.close()
    (tmp_path / "copy.db").hardlink_to(tmp_path / "j.db")
    with pytest.raises(SettingError, match="second name"):
        await open_store(str(tmp_path / "copy.db"), job="job")


def test_looking_at_a_job_does_not_write_through_a_link_beside_its_database(job: BatchJob) -> None:
    mine = job.folder / "mine"
    mine.write_bytes(b"my own" * 10_000)
    (job.folder / "batchjob.db-shm").unlink(missing_ok=True)
    (job.folder / "batchjob.db-shm").symlink_to(mine)
    assert job("status").code == 2
    assert mine.read_bytes() == b"my own" * 10_000


# ---------------------------------------------------------------- one function


def test_files_that_are_not_there_yet_are_told_apart_by_folder_and_name(tmp_path: Path) -> None:
    (tmp_path / "sub").symlink_to(tmp_path)
    keep_apart([Target("-o", str(tmp_path / "a"))], [Named("the input", str(tmp_path / "b"))])
    with pytest.raises(SettingError, match="one file"):
        keep_apart([Target("-o", str(tmp_path / "a"))], [Named("the input", str(tmp_path / "sub" / "a"))])


def test_a_circle_of_links_is_no_defect(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    keep_apart([Target("-o", str(tmp_path / "a"))], [Named("the input", str(tmp_path / "c"))])


# ---------------------------------------------------------------- an export is labelled again


def test_an_export_that_is_labelled_again_and_again_loses_no_value_and_has_no_name_twice(batchjob: BatchJob) -> None:
    (batchjob.folder / "r0.csv").write_text("id,text,label,input_label,attempts\n1,x,mine,yours,7\n")
    for n in range(3):
        labels = ",".join("abcde"[: n + 2])
        given = ("--labels", labels, "--sandbox", "--rpm", "0", "--quiet")
        assert batchjob("start", f"r{n}.csv", *given, "--output", f"r{n + 1}.csv").code == 0
    seen: set[str] = set()
    for n in range(4):
        with (batchjob.folder / f"r{n}.csv").open(newline="") as file:
            header, row = csv.reader(file)
        assert len(header) == len(set(header))
        assert seen <= set(row), "a value is lost"
        seen |= set(row)
    assert {"mine", "yours", "7"} <= seen
    assert batchjob("export", "r2", "--details", "-o", "details.csv").code == 0
    with (batchjob.folder / "details.csv").open(newline="") as file:
        header, row = csv.reader(file)
    assert len(header) == len(set(header))
    assert dict(zip(header, row, strict=True))["input_attempts"] == "7"


@pytest.mark.parametrize("setting", ["--labels-file", "--prompt-file"])
def test_an_input_is_not_read_as_labels_or_prompt_too(batchjob: BatchJob, setting: str) -> None:
    (batchjob.folder / "same.csv").symlink_to("t.csv")
    (batchjob.folder / "t.csv").write_text("text\na\nb\n")
    labels = () if setting == "--labels-file" else ("--labels", "a,b")
    ended = batchjob("start", "t.csv", "--sandbox", setting, "same.csv", *labels)
    assert "the input t.csv and the settings' file" in ended.err
    assert "are one file: labels, prompt and settings stand in files of their own" in ended.err
    assert (ended.code, (batchjob.folder / "batchjob.db").exists()) == (2, False)
