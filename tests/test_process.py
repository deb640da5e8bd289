"""A run as people start it: under nohup, without streams, stopped for a while, with few open files, anywhere."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchjob.cli import main
from batchjob.cli.process import trouble_of

LABELS = ("--labels", "refund,invoice", "--rpm", "0", "--model", "m")
Start = Callable[..., str]


def write(folder: Path, rows: int, name: str = "in.csv") -> None:
    (folder / name).write_text("id,text\n" + "".join(f"{n},invoice {n}\n" for n in range(rows)))


def status(batchjob: Any, *options: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(batchjob("status", "--json", *options).out)
    return document


def wait_for_rows(batchjob: Any, least: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (batchjob.folder / "batchjob.db").exists():
            said = subprocess.run(
                [batchjob.command, "status", "--json"],
                cwd=batchjob.folder, env=batchjob.environment, capture_output=True, text=True,
            )  # fmt: skip
            if said.returncode == 0 and json.loads(said.stdout)["rows"]["done"] >= least:
                return
        time.sleep(0.05)
    raise AssertionError("no row was labelled")


# ---------------------------------------------------------------- signals


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(
    batchjob: Any, sandbox: Start, number: signal.Signals
) -> None:
    write(batchjob.folder, 60)
    address = ("--base-url", sandbox("--latency", "0.05"))
    process = batchjob.begin(
        "start", "in.csv", *address, *LABELS, "--concurrency", "4",
        preexec_fn=lambda: signal.signal(number, signal.SIG_IGN),
    )  # fmt: skip
    wait_for_rows(batchjob, 1)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert status(batchjob)["rows"]["done"] == 60


def test_a_hang_up_of_the_terminal_stops_a_run_that_was_not_to_ignore_it(batchjob: Any, sandbox: Start) -> None:
    write(batchjob.folder, 200)
    process = batchjob.begin("start", "in.csv", "--base-url", sandbox("--latency", "0.1"), *LABELS)
    wait_for_rows(batchjob, 1)
    process.send_signal(signal.SIGHUP)
    assert any("batchjob: stopping" in line for line in iter(process.stderr.readline, ""))
    process.send_signal(signal.SIGHUP)  # the kernel's, and then the shell's
    said = process.communicate(timeout=30)[1]
    assert (process.returncode, "left at once" in said) == (130, False)
    assert status(batchjob)["rows"]["in_flight"] == 0


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest, batchjob: Any, tmp_path: Path) -> None:
    """The run's event loop."""
    if request.param == "asyncio":
        hidden = tmp_path / "hidden"
        hidden.mkdir()
        (hidden / "uvloop.py").write_text("raise ImportError('hidden')")
        path = os.pathsep.join(filter(None, (str(hidden), batchjob.environment.get("PYTHONPATH"))))
        batchjob.environment["PYTHONPATH"] = path


@pytest.mark.usefixtures("loop")
def test_a_process_stopped_for_longer_than_its_timeout_hears_what_was_answered_meanwhile(
    batchjob: Any, sandbox: Start
) -> None:
    write(batchjob.folder, 30)
    address = ("--base-url", sandbox("--latency", "0.4"))
    process = batchjob.begin("start", "in.csv", *address, *LABELS, "--timeout", "1.2", "--on-unconfirmed", "hold")
    wait_for_rows(batchjob, 1)
    process.send_signal(signal.SIGSTOP)
    time.sleep(1.8)
    process.send_signal(signal.SIGCONT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 0, said
    told = status(batchjob)
    assert (told["rows"]["done"], told["requests"]["sent"], told["requests"]["lost"]) == (30, 30, 0)


def in_a_container(*command: str) -> list[str]:
    """A command as process 1 of a PID namespace."""
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    if subprocess.run([*unshare, "true"], capture_output=True).returncode:
        pytest.skip("no PID namespace may be made here")
    return [*unshare, *command]


def test_process_1_of_a_container_ends_on_a_signal(batchjob: Any, sandbox: Start) -> None:
    write(batchjob.folder, 500)
    running = batchjob.begin("start", "in.csv", "--base-url", sandbox("--latency", "0.2"), *LABELS)
    wait_for_rows(batchjob, 1)
    watching = subprocess.Popen(
        in_a_container(batchjob.command, "status", "--watch"),
        cwd=batchjob.folder, env=batchjob.environment, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watching.stdout is not None
    watching.stdout.readline()
    (inside,) = map(int, Path(f"/proc/{watching.pid}/task/{watching.pid}/children").read_text().split())
    os.kill(inside, signal.SIGTERM)
    watching.communicate(timeout=10)
    running.terminate()
    running.communicate(timeout=20)


# ---------------------------------------------------------------- streams and folders


@pytest.mark.parametrize("closed", [(0,), (1,), (2,)])
def test_closed_standard_streams_are_nobody(batchjob: Any, closed: tuple[int, ...]) -> None:
    write(batchjob.folder, 3)

    def close() -> None:
        for number in closed:
            os.close(number)

    for arguments in (("start", "in.csv", "--sandbox", *LABELS), ("status",)):
        ended = subprocess.run(
            [batchjob.command, *arguments],
            cwd=batchjob.folder, env=batchjob.environment, preexec_fn=close, capture_output=True, timeout=60,
        )  # fmt: skip
        assert ended.returncode == 0, (arguments, ended.stderr)
    assert status(batchjob)["rows"]["done"] == 3


def test_a_run_needs_no_home_and_no_terminal(batchjob: Any) -> None:
    write(batchjob.folder, 3)
    batchjob.environment.pop("HOME", None)
    assert batchjob("start", "in.csv", "--sandbox", *LABELS, stdin=subprocess.DEVNULL, start_new_session=True).code == 0


def test_a_folder_that_is_gone_is_said_so(batchjob: Any) -> None:
    gone = batchjob.folder / "gone"
    gone.mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); os.execv(sys.argv[1], sys.argv[1:])"
    for arguments in (["start", "in.csv", "--sandbox", *LABELS], ["status"]):
        gone.mkdir(exist_ok=True)
        ended = subprocess.run(
            [sys.executable, "-c", code, batchjob.command, *arguments],
            cwd=gone, env=batchjob.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert ended.returncode == 1
        assert ended.stderr == "batchjob: the folder this was called in is gone: cd to one that is there\n"


@pytest.mark.parametrize("name", [b"caf\xe9.csv", b"dir\xff/in.csv"])
def test_a_name_that_is_not_utf8_is_refused_before_anything_is_made(batchjob: Any, name: bytes) -> None:
    write(batchjob.folder, 1)
    odd = batchjob.folder / os.fsdecode(name)
    odd.parent.mkdir(exist_ok=True)
    (batchjob.folder / "in.csv").rename(odd)
    ended = batchjob("start", str(odd), "--sandbox", *LABELS)
    assert ended.code == 2
    assert "has a name that is not UTF-8" in ended.err
    assert name.decode("utf-8", "backslashreplace") in ended.err
    assert not (batchjob.folder / "batchjob.db").exists()
    with odd.open() as piped:
        assert batchjob("start", "-", "--sandbox", *LABELS, "--format", "csv", stdin=piped).code == 0


@pytest.mark.parametrize("command", [("export", "-o", "-", "--format", "jsonl", "--details"), ("try", "--json")])
def test_a_process_that_is_stopped_while_it_prints_prints_all_when_it_goes_on(
    batchjob: Any, command: tuple[str, ...]
) -> None:
    rows = "".join(f'{{"text": "row {n} {"x" * 400}"}}\n' for n in range(300))
    (batchjob.folder / "in.jsonl").write_text(rows)
    task = ("in.jsonl", "--sandbox", *LABELS, "--rpm", "0", "--quiet")
    if command[0] == "export":
        assert batchjob("start", *task).code == 0
    else:
        command = (*command, *task, "-n", "300")
    environment = {**batchjob.environment, "PYTHONUNBUFFERED": "1"}
    process = batchjob.begin(*command, env=environment)
    until, there = time.monotonic() + 30, b"\0" * 4
    while struct.unpack("i", there)[0] < 1 << 16 and time.monotonic() < until:  # the pipe is full
        there = fcntl.ioctl(process.stdout, termios.FIONREAD, b"\0" * 4)
        time.sleep(0.01)
    process.send_signal(signal.SIGSTOP)
    os.waitpid(process.pid, os.WUNTRACED)
    process.send_signal(signal.SIGCONT)
    printed, _ = process.communicate(timeout=30)
    assert (process.returncode, printed.count("x" * 400) >= 300) == (0, True)


def test_half_a_character_that_stands_in_no_name_is_not_called_one() -> None:
    assert trouble_of(UnicodeEncodeError("utf-8", "a\ud83d", 1, 2, "surrogates not allowed")) == ""


def test_in_a_folder_whose_name_is_not_utf8_commands_have_their_sentence(
    batchjob: Any,
) -> None:
    batchjob.folder = batchjob.folder / os.fsdecode(b"dir\xff")
    batchjob.folder.mkdir()
    write(batchjob.folder, 1)
    assert batchjob("start", "in.csv", "--sandbox", *LABELS).code == 2
    assert batchjob("profile", "in.csv").code == 0
    for command in ("status", "jobs", "errors"):
        assert batchjob(command).code == 1


def bound_by_modes() -> list[str]:
    """What goes before a command so that file modes hold for it: for root they do not."""
    if os.geteuid() != 0:
        return []
    setpriv = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all"]
    if shutil.which("setpriv") is None or subprocess.run([*setpriv, "true"], capture_output=True).returncode:
        pytest.skip("root cannot give up its powers here")
    return setpriv


@pytest.mark.parametrize(
    "arguments",
    [
        ("start", "in.csv", "--sandbox", *LABELS, "--db", "locked/j.db"),
        ("start", "in.csv", "--sandbox", *LABELS, "--output", "locked/o.csv"),
        ("start", "locked/in.csv", "--sandbox", *LABELS),
        ("status", "--db", "locked/j.db"),
    ],
)
def test_a_folder_that_may_not_be_entered_is_named(batchjob: Any, arguments: tuple[str, ...]) -> None:
    write(batchjob.folder, 1)
    locked = batchjob.folder / "locked"
    locked.mkdir(0o000)
    ended = subprocess.run(
        [*bound_by_modes(), batchjob.command, *arguments],
        cwd=batchjob.folder, env=batchjob.environment, capture_output=True, text=True,
    )  # fmt: skip
    locked.chmod(0o700)
    assert ended.returncode == 1
    assert f"this user may not enter the folder {locked}" in ended.stderr


def test_a_name_that_is_too_long_gets_a_sentence(batchjob: Any) -> None:
    write(batchjob.folder, 1)
    for arguments in (("status",), ("start", "in.csv", "--sandbox", *LABELS)):
        ended = batchjob(*arguments, "--db", "x" * 300)
        assert ended.code == 1
        assert f"xx: {os.strerror(errno.ENAMETOOLONG).lower()}. Name another place" in ended.err


@pytest.mark.parametrize("command", [(), ("start",), ("cache",), ("cache", "prune")])
def test_the_help_is_the_same_where_python_drops_docstrings(batchjob: Any, command: tuple[str, ...]) -> None:
    said = batchjob(*command, "--help", env={"PYTHONOPTIMIZE": "2", "PYTHONDONTWRITEBYTECODE": "1"})
    assert said == batchjob(*command, "--help")


def test_windows_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(SystemExit, match="Windows is not supported; WSL is"):
        main(["--help"])


def test_a_python_without_sqlite_gets_a_sentence(batchjob: Any, tmp_path: Path) -> None:
    write(batchjob.folder, 3)
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "_sqlite3.py").write_text("raise ImportError('hidden', name='_sqlite3')")
    batchjob.environment["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(hidden), batchjob.environment.get("PYTHONPATH")))
    )
    for arguments in (["start", "in.csv", "--sandbox", *LABELS], ["status"], ["doctor"]):
        ended = batchjob(*arguments)
        assert ended.code == 1
        assert ended.err.startswith("batchjob: this Python has no SQLite"), ended.err
    assert batchjob("--help").code == 0


@pytest.mark.parametrize("arguments", [("status",), ("start", "in.csv", "--sandbox", *LABELS), ("jobs",)])
def test_an_sqlite_that_is_too_old_gets_a_sentence(
    batchjob: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    write(batchjob.folder, 1)
    assert batchjob("start", "in.csv", "--sandbox", *LABELS).code == 0
    monkeypatch.chdir(batchjob.folder)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 37, 2))
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert ended.value.code == 1
    assert "is too old: batchjob needs 3.38. Use a newer Python" in capsys.readouterr().err


# ---------------------------------------------------------------- open files


def test_more_connections_than_open_files_are_fewer_in_flight_and_said_so(batchjob: Any, sandbox: Start) -> None:
    write(batchjob.folder, 150)
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))  # noqa: E731
    ended = batchjob(
        "start", "in.csv", "--base-url", sandbox("--latency", "0.05"), *LABELS, "--concurrency", "200",
        preexec_fn=limit,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "concurrency_lowered" in ended.err
    assert status(batchjob)["rows"]["done"] == 150


def test_the_soft_limit_of_open_files_is_raised_as_far_as_is_needed(batchjob: Any, sandbox: Start) -> None:
    write(batchjob.folder, 150)
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 512))  # noqa: E731
    ended = batchjob(
        "start", "in.csv", "--base-url", sandbox("--latency", "0.05"), *LABELS, "--concurrency", "200",
        preexec_fn=limit,
    )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "concurrency_lowered" not in ended.err
    assert status(batchjob)["requests"]["not_sent"] == 0
