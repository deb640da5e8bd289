"""The log of corrections: nothing that was told to be saved is lost, and nothing else is in it."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchjob.corrections import log
from batchjob.corrections.standing import SAMPLE, Corrections, by_hand
from batchjob.errors import DiskFull, SettingError, StoreError
from batchjob.records import Correction

WRITER = """
import sys
from pathlib import Path
from batchjob.corrections import log
from batchjob.records import Correction
for row in range(1, 1000):
    log.add(Path(sys.argv[1]), [Correction(1.0, sys.argv[2], "job", row, "x" * 200, None, None, "test")])
    print(row, flush=True)
"""


def said(
    row: int, label: str | None = "yes", *, job: str = "job", model: str | None = "no", why: str = "t"
) -> Correction:
    return Correction(1.0, "ana", job, row, label, model, model, why)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "j.db.corrections"


def rows(path: Path) -> list[int]:
    return [one.row for one in log.read(path)[0]]


def test_what_is_added_is_read_in_its_order_and_a_reader_goes_on_where_it_was(path: Path) -> None:
    assert log.read(path) == ([], 0)
    log.add(path, [said(1), said(2)])
    first, end = log.read(path)
    log.add(path, [said(3)])
    assert first == [said(1), said(2)]
    assert log.read(path, end) == ([said(3)], path.stat().st_size)
    assert path.read_bytes().startswith(b'{"at":'), "that is how a side file of a database is known as ours"
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cut", [1, 20, 80])
def test_a_line_that_a_crash_cut_off_is_none_and_the_next_one_is_whole(path: Path, cut: int) -> None:
    log.add(path, [said(1), said(2)])
    os.truncate(path, path.stat().st_size - cut)
    assert rows(path) == [1]
    log.add(path, [said(3)])
    assert rows(path) == [1, 3]
    os.truncate(path, 10)
    log.add(path, [said(4)])
    assert rows(path) == [4]


def test_a_line_that_nobody_of_ours_wrote_is_told(path: Path) -> None:
    log.add(path, [said(1)])
    with path.open("ab") as file:
        file.write(b'{"at":2}\n')
    with pytest.raises(StoreError, match="a line that batchjob did not write"):
        log.read(path)


@pytest.mark.parametrize("call", ["pwrite", "fsync"])
def test_what_could_not_be_saved_is_not_there_and_the_next_is(
    path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.add(path, [said(1)])
    whole = os.pwrite
    left = [30]

    def full(file: int, *given: Any) -> int:
        if call == "fsync" or not left:
            raise OSError(errno.ENOSPC, "no room")
        content, at = given
        return whole(file, content[: left.pop()], at)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(DiskFull, match="not saved"):
            log.add(path, [said(2), said(3)])
    assert rows(path) == [1]
    log.add(path, [said(4)])
    assert rows(path) == [1, 4]


def test_a_folder_that_cannot_be_flushed_keeps_them_all_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = os.fsync

    def no_folder(file: int) -> None:
        if stat.S_ISDIR(os.fstat(file).st_mode):
            raise OSError(errno.EINVAL, "as some file systems say")
        flush(file)

    monkeypatch.setattr(os, "fsync", no_folder)
    log.add(path, [said(1)])
    assert rows(path) == [1]


@pytest.mark.parametrize("kind", ["link", "second name", "pipe"])
def test_no_link_is_followed(path: Path, tmp_path: Path, kind: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("precious\n")
    if kind == "link":
        path.symlink_to(theirs)
    elif kind == "second name":
        path.hardlink_to(theirs)
    else:
        os.mkfifo(path)
    for use in (lambda: log.add(path, [said(1)]), lambda: log.read(path)):
        with pytest.raises((SettingError, StoreError)):
            use()
    assert theirs.read_text() == "precious\n"


def test_two_processes_write_at_once_and_a_kill_loses_nothing_that_was_told(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), who], stdout=subprocess.PIPE, text=True, env=environment
        )
        for who in ("ana", "ben")
    ]
    told = {}
    for writer in writers:
        assert writer.stdout is not None
        for _ in range(20):
            writer.stdout.readline()
    for who, writer in zip(("ana", "ben"), writers, strict=True):
        writer.kill()
        assert writer.stdout is not None
        rest = writer.stdout.read().split()
        writer.communicate(timeout=20)
        told[who] = int(rest[-1]) if rest else 20
    found = log.read(path)[0]
    for who, last in told.items():
        mine = [one.row for one in found if one.who == who]
        assert mine == list(range(1, len(mine) + 1))
        assert last <= len(mine) <= last + 1
    log.add(path, [said(7)])
    assert log.read(path)[0] == [*found, said(7)]


def test_a_job_is_forgotten_and_others_stay(path: Path) -> None:
    log.add(path, [said(1), said(2, job="other"), said(3)])
    reading = Corrections(str(path).removesuffix(".corrections"))
    assert list(reading.of("job")) == [1, 3]
    assert log.forget(path, "job") == 2
    assert log.forget(path, "job") == 0
    assert log.read(path)[0] == [said(2, job="other")]
    assert (reading.of("job"), list(reading.of("other"))) == ({}, [2])
    log.add(path, [said(4)])
    assert list(reading.of("job")) == [4]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_last_word_counts_and_can_be_taken_back_word_by_word(path: Path) -> None:
    reading = Corrections(str(path).removesuffix(".corrections"))
    log.add(path, [said(1, "a"), said(1, "b"), said(2, "c"), said(3, "d", job="other")])
    assert {row: one.label for row, one in reading.of("job").items()} == {1: "b", 2: "c"}
    log.add(path, [said(1, None)])
    assert {row: one.label for row, one in reading.of("job").items()} == {1: "a", 2: "c"}
    log.add(path, [said(1, None), said(1, None), said(2, "e")])
    assert {row: one.label for row, one in reading.of("job").items()} == {2: "e"}


def test_only_the_random_sample_says_how_good_the_labels_are(path: Path) -> None:
    reading = Corrections(str(path).removesuffix(".corrections"))
    right = [said(row, "yes", model="yes", why=SAMPLE) for row in range(1, 94)]
    wrong = [said(row, "yes", model="no", why=SAMPLE) for row in range(94, 101)]
    failed = said(101, "yes", model=None, why=SAMPLE)
    log.add(path, [*right, *wrong, failed, said(102, "x", model="y", why="near")])
    hand = by_hand(reading.of("job"))
    assert hand is not None
    assert (hand.rows, hand.changed, hand.unlabelled) == (102, 8, 1)
    assert hand.sample is not None
    assert (hand.sample.hits, hand.sample.n) == (93, 100)
    assert (round(hand.sample.low, 4), round(hand.sample.high, 4)) == (0.8625, 0.9657)  # Wilson 1927, by hand
    log.add(path, [said(1, None), said(94, "no", model="no")])
    hand = by_hand(reading.of("job"))
    assert hand is not None
    assert hand.sample is not None
    assert (hand.sample.hits, hand.sample.n) == (93, 99), "taken back, and thought better of"
