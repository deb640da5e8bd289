"""What may happen to the disk and the clock under a job: it ends with one sentence, and goes on when all is well."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from storm.harness import FINISHED, Plan, World, finish, wait_for

from batchjob import failpoints
from batchjob.errors import CommitUnknown, DiskFull
from batchjob.model import AddRows, Beat, Chunk, Claim, InputSource, RowResult, Settle, TaskRecord
from batchjob.run.group_commit import GroupCommit
from batchjob.states import Event, Outcome, Source
from batchjob.stores.sqlite import store as stored
from batchjob.stores.sqlite.files import is_far, kind_of_disk, refuse_network_disk
from batchjob.stores.sqlite.schema import translate
from batchjob.stores.sqlite.store import open_store

SLOW = (0.02, 0.04)
TASK = TaskRecord("t", "q", b"{}")
COMMAND = "from batchjob.cli import main; main()"
NO_ROOM = """
import sqlite3, time
groups = 0
class Limited(sqlite3.Connection):
    def execute(self, query, *values):
        global groups
        groups += query.startswith("INSERT INTO temp.work_group")
        if groups == 15:
            used = super().execute("PRAGMA page_count").fetchone()[0]
            super().execute(f"PRAGMA max_page_count = {used}")
        return super().execute(query, *values)
connect = sqlite3.connect
sqlite3.connect = lambda *given, **more: connect(*given, **{"factory": Limited, **more})
"""
"""A database that from its 15th group on cannot grow: room that no reserve gives back."""
CLOCKS = {
    "set back by a day": "import time; real = time.time; time.time = lambda: real() - 86400",
    "running backwards": "import time; began = time.time(); time.time = lambda: 2 * began - 10 - time.monotonic()",
}


@contextlib.contextmanager
def mounted(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of this size."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    with mounted(tmp_path / "small", 48) as folder:
        yield folder


def fill(folder: Path) -> Path:
    """A file that takes all the room that is left."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler


def patched(code: str) -> tuple[str, ...]:
    """The command after this code."""
    return (sys.executable, "-c", f"{code}\n{COMMAND}")


def check_sentence(said: str, part: str) -> None:
    """The last word is one sentence that says so."""
    assert "Traceback" not in said
    assert "defect" not in said
    sentences = [line for line in said.splitlines() if line.startswith("batchjob: ")]
    assert len(sentences) == 1, said
    assert part in sentences[0]


# ---------------------------------------------------------------- full


def test_a_full_disk_stops_the_run_the_answers_in_hand_are_kept_and_with_room_it_ends(
    tmp_path: Path, small: Path
) -> None:
    plan = Plan(1, "resend", 300, ".csv", 8, SLOW, ())
    with World(tmp_path / "job", plan, warm=True) as world:
        world.database = small / "job.db"
        process = world.spawn(world.arguments("start"))
        assert wait_for(lambda: len(world.endpoint.bills()) > 20, seconds=60)
        filler = fill(small)
        assert world.ended(process) == 1
        check_sentence(world.said_by(process), "is full. Make room and resume: every committed label is kept")
        answered = len(world.endpoint.bills())
        filler.unlink()
        status = world.judge()
        assert status is not None
        assert answered < 300
        assert status["rows"]["done"] == answered  # thanks to the reserve
        assert status["rows"]["in_flight"] == 0
        finish(world)
    assert world.oracle.objections == []
    assert world.oracle.printed == world.oracle.extra_bills == 0


def test_a_disk_too_small_for_the_input_says_so_and_reads_on_with_more_room(tmp_path: Path, small: Path) -> None:
    plan = Plan(1, "resend", 3000, ".csv", 40, (0.0, 0.0), ())
    with World(tmp_path / "job", plan, warm=True) as world:
        world.database = small / "job.db"
        filler = small / "filler"
        filler.write_bytes(bytes(43_300_000))  # the reserve has 4 MiB of the 48
        code, said = world.run(world.arguments("start"))
        assert code == 1
        check_sentence(said, "is full")
        filler.unlink()
        finish(world)
    assert world.oracle.objections == []


def test_without_room_even_for_the_answers_they_are_counted_and_asked_again(tmp_path: Path) -> None:
    plan = Plan(1, "resend", 100, ".csv", 4, SLOW, ())
    with World(tmp_path / "job", plan, command=patched(NO_ROOM)) as world:
        code, said = world.run(world.arguments("start"))
        assert code == 1
        check_sentence(said, "is full")
        world._command = [*patched("")]
        assert len(world.endpoint.bills()) > 5
        finish(world)
    assert world.oracle.objections == []


def test_a_limit_on_the_size_of_files_is_a_full_disk(tmp_path: Path) -> None:
    plan = Plan(1, "resend", 120, ".csv", 4, SLOW, ())
    limited = patched("import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1_300_000, 1_300_000))")
    with World(tmp_path / "job", plan, command=limited) as world:
        code, said = world.run(world.arguments("start"))
        assert code == 1
        check_sentence(said, "cannot grow: a quota, ulimit -f or the disk is full. Make room and resume")
        world._command = [*patched("")]
        assert len(world.endpoint.bills()) > 5
        finish(world)
    assert world.oracle.objections == []


@pytest.mark.parametrize(
    ("number", "what"), [(errno.EDQUOT, DiskFull), (errno.EFBIG, DiskFull), (errno.EIO, CommitUnknown)]
)
def test_a_write_that_failed_is_asked_for_its_reason(
    number: int, what: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "posix_fallocate", refused)
    assert type(translate(unwritten(), tmp_path / "job.db")) is what


def unwritten() -> sqlite3.Error:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_WRITE
    return error


def test_the_reason_is_asked_for_where_space_cannot_be_set_aside_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate")  # as on macOS
    assert type(translate(unwritten(), tmp_path / "job.db")) is CommitUnknown


async def test_a_copy_without_the_log_lacks_only_what_came_lately(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "BEATS_A_CHECKPOINT", 2)
    store = await open_store(tmp_path / "job.db", job="job")
    await store.create_job(
        uid="u",
        name="job",
        source=InputSource("/t.csv", "csv", "utf-8", ("text",), None, "text", 0, 0),
        settings=b"{}",
        task=TASK,
        at=1.0,
    )
    for _ in range(2):
        await store.begin_run(TASK, fresh=True, up_to=None, at=1.0)
        await store.commit([Beat(None, "", time.time())])
    shutil.copy(tmp_path / "job.db", tmp_path / "copy.db")
    await store.close()
    with sqlite3.connect(tmp_path / "copy.db") as copy:
        assert copy.execute("SELECT name FROM job").fetchall() == [("job",)]
    copy.close()


# ---------------------------------------------------------------- taken away


def test_a_folder_that_cannot_be_written_is_named_and_can_still_be_read(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", 16) as disk:
        plan = Plan(1, "resend", 10, ".csv", 4, (0.0, 0.0), ())
        with World(tmp_path / "job", plan, warm=True) as world:
            world.database = disk / "job.db"
            assert world.run(world.arguments("start"))[0] == 0
            subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
            code, said = world.run(world.arguments("start"))
            assert code == 1
            check_sentence(said, "Read-only file system")
            status = world.status()
            assert status is not None
            assert status["rows"]["done"] == 10
            world.export("labels.csv", whole=True)
    assert world.oracle.objections == []


@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_database_that_is_taken_away_under_a_run_stops_it_and_put_back_loses_nothing(
    tmp_path: Path, how: str
) -> None:
    plan = Plan(1, "resend", 400, ".csv", 4, SLOW, ())
    with World(tmp_path / "job", plan, warm=True) as world:
        process = world.spawn(world.arguments("start"))
        assert wait_for(lambda: len(world.endpoint.bills()) > 5, seconds=60)
        kept = world.database.with_name("kept.db")
        world.database.rename(kept)
        if how == "replaced":
            sqlite3.connect(world.database).close()
            world.database.touch()
        assert world.ended(process) == 1
        check_sentence(world.said_by(process), "was deleted or replaced while it was in use")
        kept.rename(world.database)
        world.judge()
        finish(world)
    assert world.oracle.objections == []


# ---------------------------------------------------------------- held, and set back


def test_a_reader_that_never_lets_go_stops_nobody(tmp_path: Path) -> None:
    plan = Plan(1, "resend", 300, ".csv", 8, (0.0, 0.01), ())
    with World(tmp_path / "job", plan, warm=True) as world:
        process = world.spawn(world.arguments("start"))
        assert wait_for(lambda: len(world.endpoint.bills()) > 5, seconds=60)
        reader = sqlite3.connect(f"file:{world.database}?mode=ro", uri=True, isolation_level=None)
        reader.execute("BEGIN")
        seen = reader.execute("SELECT count(*) FROM row WHERE state = 'done'").fetchone()
        assert world.ended(process) in FINISHED
        assert reader.execute("SELECT count(*) FROM row WHERE state = 'done'").fetchone() == seen
        log = world.database.with_name(world.database.name + "-wal")
        assert 0 < log.stat().st_size < 64 * 2**20  # as long as somebody reads what is behind it
        status = world.judge(final=True)
        assert status is not None
        assert status["rows"]["done"] == 300
        reader.close()
        finish(world)
        assert not log.exists() or log.stat().st_size == 0
    assert world.oracle.objections == []


@pytest.mark.parametrize("clock", CLOCKS)
def test_a_clock_that_is_wrong_costs_nothing(tmp_path: Path, clock: str) -> None:
    plan = Plan(1, "resend, faults", 60, ".csv", 8, (0.005, 0.02), ())
    with World(tmp_path / "job", plan, warm=True) as world:
        process = world.spawn(world.arguments("start"))
        assert wait_for(lambda: len(world.endpoint.bills()) > 5, seconds=60)
        process.kill()
        process.wait()
        world.judge()
        world._command = [*patched(CLOCKS[clock])]
        began = time.monotonic()
        finish(world)
        assert time.monotonic() - began < 60
    assert world.oracle.objections == []


@pytest.mark.parametrize("between", [0, 1])
async def test_a_group_behind_one_that_found_the_disk_full_tells_the_same_and_keeps_its_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, between: int
) -> None:
    """Groups are with the store at once. The last needs what one before it would have done; those between do not."""
    store = await open_store(tmp_path / "job.db", job="job")
    source = InputSource("/in.csv", "csv", "utf-8", ("id", "text"), "id", "text", 1, 1)
    await store.create_job(uid="u", name="job", source=source, settings=b"{}", task=TASK, at=1.0)
    run = await store.begin_run(TASK, fresh=True, up_to=None, at=1.0)
    first = run.first_request_id - 1
    read = [(n, str(n), f"text {n}", None, None) for n in range(1, 6)]
    await store.commit([AddRows(1, Chunk(1, read, 1, "digest", True))])
    await store.commit([Claim(first + n, f"k{n}", (n,), "m", 2.0) for n in (1, 2)])
    monkeypatch.setattr(failpoints, "armed", failpoints.read("group.before_commit=enospc@2"))
    monkeypatch.setattr(failpoints, "_reached", 0)
    told: list[BaseException] = []
    commits = GroupCommit(store, most_claims=1, failed=told.append, told=lambda _: None)
    running = asyncio.create_task(commits.run())
    released = RowResult(1, Event.RELEASE, 1, 0, error_kind="bad", error="?")
    labelled = RowResult(2, Event.COMPLETE, 1, 1, "yes", Source.MODEL)
    commits.submit(Claim(first + 3, "k3", (3,), "m", 3.0))
    commits.submit(Settle(first + 1, Outcome.REJECTED, (released,), 3.0, error_kind="bad", error="?"))
    full = commits.submit(Claim(first + 4, "k4", (4,), "m", 3.0))
    if between:
        commits.submit(Claim(first + 5, "k5", (5,), "m", 3.0))
    commits.submit(Settle(first + 2, Outcome.ANSWERED, (labelled,), 3.0))
    last = commits.submit(Claim(first + 6, "k6", (1,), "m", 3.0))  # of the row that is given back
    commits.close()
    await running
    counts = await store.counts()
    await store.close()
    assert [type(error) for error in (*told, full.exception(), last.exception())] == [DiskFull] * 3
    assert counts == {"pending": 3 - between, "in_flight": 1 + between, "done": 1, "failed": 0, "unconfirmed": 0}


MOUNTS = rb"""/dev/sda1 / ext4 rw 0 0
/dev/sdb1 /mnt/caf\351\040disk\134x ext4 rw 0 0
server:/x /mnt/far nfs4 rw 0 0
s3 /mnt/s3 fuse.rclone rw 0 0
over /mnt/over fuse.fuse-overlayfs rw 0 0
host /mnt/host vboxsf rw 0 0
/dev/sdc1 /mnt/host/own xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (b"/home/me/j.db", "ext4"),
        (b"/mnt/caf\xe9 disk\\x/j.db", "ext4"),
        (b"/mnt/far/deep/j.db", "nfs4"),
        (b"/mnt/s3/j.db", "fuse.rclone"),
        (b"/mnt/over/j.db", "fuse.fuse-overlayfs"),
        (b"/mnt/host/j.db", "vboxsf"),
        (b"/mnt/host/own/j.db", "xfs"),
        (b"/mnt/farther/j.db", "ext4"),
    ],
)
def test_the_disk_of_a_path_is_known_whatever_its_mounts_are_called(path: bytes, kind: str) -> None:
    mounts = MOUNTS.replace(rb"\351", b"\xe9")  # the kernel escapes spaces and the like, and nothing else
    assert kind_of_disk(Path(os.fsdecode(path)), mounts) == kind
    refused = kind in ("nfs4", "fuse.rclone", "vboxsf")
    assert is_far(kind) is refused


def test_a_disk_that_is_mounted_under_a_name_that_is_not_utf8_stops_no_job_elsewhere(tmp_path: Path) -> None:
    with mounted(tmp_path / os.fsdecode(b"caf\xe9 disk"), 1):
        refuse_network_disk(tmp_path / "j.db")
