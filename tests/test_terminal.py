"""What a run shows where: in terminals of three widths, a dumb one, without colours, in a pipe, and to a program."""

from __future__ import annotations

import io
import json
import re
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from batchjob.cli.screen import Above, Screen
from tests.terminals import Terminal, in_terminal
from tests.waiting import is_under_way, until

if TYPE_CHECKING:
    from tests.conftest import BatchJob

Sandbox = Callable[..., str]
LABELS = ("--labels", "billing,refund,other", "--model", "m", "--rpm", "0")
CLEARED = re.compile(r"\r(\x1b\[A)*\x1b\[J")


def write_tickets(job: BatchJob, rows: int) -> None:
    lines = [f"t{n},ticket {n}: a refund please" for n in range(1, rows + 1)]
    (job.folder / "t.csv").write_text("\n".join(["id,text", *lines]) + "\n")


@pytest.mark.parametrize("columns", [120, 80, 40])
def test_live_lines_fit_and_are_cleared_before_a_log_line(batchjob: BatchJob, sandbox: Sandbox, columns: int) -> None:
    write_tickets(batchjob, 30)
    url = sandbox("--latency", "0.1", "--poison", "ticket 7:")
    out = in_terminal(batchjob, columns, "start", "t.csv", "--base-url", url, *LABELS, "--concurrency", "4").out
    painted = [line for part in CLEARED.split(out) for line in (part or "").replace("\r", "").split("\n")]
    live = [line for line in painted if "rows  " in line or "in flight" in line]
    assert live
    assert max(map(len, live)) < columns
    assert "content_filter" in out
    assert "request_rejected" not in out  # of one row: in a log file, not on the screen
    assert out.rstrip().splitlines()[-1].startswith("next ")


def test_what_scrolls_is_written_where_the_live_lines_were() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    screen.paint(["one", "two"])
    Above(screen, stream).write("a log line\n")
    screen.paint(["three"])
    screen.leave()
    assert stream.getvalue() == "one\ntwo\r\x1b[A\x1b[Ja log line\nthree\n"


def test_a_dumb_terminal_gets_no_escapes_and_colours_only_who_wants_them(batchjob: BatchJob, sandbox: Sandbox) -> None:
    write_tickets(batchjob, 12)
    begin = ("start", "t.csv", "--base-url", sandbox("--latency", "0.05"), *LABELS, "--concurrency", "2")
    assert "\x1b" not in in_terminal(batchjob, 80, *begin, TERM="dumb").out
    plain = in_terminal(batchjob, 80, *begin, "--new", "--no-cache", NO_COLOR="1").out
    assert CLEARED.search(plain)
    assert not re.search(r"\x1b\[\d*m", plain)
    assert "\x1b" not in in_terminal(batchjob, 80, "status", "--watch", TERM="dumb").out


def test_a_run_whose_terminal_is_closed_goes_on_to_its_end(batchjob: BatchJob, sandbox: Sandbox) -> None:
    write_tickets(batchjob, 60)
    terminal = Terminal(batchjob, 80, "start", "t.csv", "--base-url", sandbox("--latency", "0.1"), *LABELS)
    terminal.read_until("in flight")
    assert terminal.close() == 0
    assert json.loads(batchjob("status", "--json").out)["rows"]["done"] == 60


def test_a_limit_is_the_whole_that_is_shown(batchjob: BatchJob, sandbox: Sandbox) -> None:
    write_tickets(batchjob, 60)
    url = sandbox("--latency", "0.1")
    begin = ("start", "t.csv", "--base-url", url, *LABELS, "--limit", "20", "--concurrency", "4")
    out = in_terminal(batchjob, 80, *begin).out
    totals = set(re.findall(r"\d+/(\d+\+?) rows", out))
    assert totals <= {"0", "0+", "20", "20+", "60+"}
    assert "20" in totals


def test_quiet_says_nothing_of_a_run_without_trouble_and_only_that_of_one_with(batchjob: BatchJob) -> None:
    write_tickets(batchjob, 5)
    (batchjob.folder / "job.toml").write_text('labels = ["billing", "refund"]\nsandbox = true\nrpm = 0\n')
    assert batchjob("start", "t.csv", "--quiet") == (0, "", "")
    assert batchjob("start", "t.csv", "--quiet") == (0, "", "")
    (batchjob.folder / "t.csv").write_text("id,text\na,refund\nb,\n")
    failed = batchjob("start", "t.csv", "--quiet", "--new")
    assert (failed.code, failed.out) == (4, "")
    assert [line.split()[0] for line in failed.err.splitlines()] == ["job", "rows", "1", "next"]


def test_the_summary_is_a_document_for_a_program(batchjob: BatchJob) -> None:
    write_tickets(batchjob, 5)
    begin = ("start", "t.csv", "--sandbox", *LABELS, "--json")
    ended = batchjob(*begin, "--limit", "2")
    document = json.loads(ended.out)
    assert document["run"]["exit_code"] == ended.code == 0
    assert (document["state"], document["rows"]["done"], document["run"]["requests"]) == ("stopped", 2, 2)
    assert "rows      " not in ended.err
    resumed = json.loads(batchjob("resume", "--json", "--quiet").out)
    assert (resumed["state"], resumed["rows"]["done"]) == ("finished", 5)
    assert resumed["run"]["next"] == "batchjob export t -o t-labels.csv"
    refused = batchjob(*begin, "--dry-run")
    assert (refused.code, "--json is for the summary of a run" in refused.err) == (2, True)


def test_a_log_that_cannot_be_written_is_told_once(batchjob: BatchJob) -> None:
    (batchjob.folder / "t.csv").write_text("text\na refund\n")
    ended = batchjob("start", "t.csv", "--labels", "refund,other", "--sandbox", "--log-file", "/dev/full")
    assert (ended.code, ended.err.count("the log cannot be written: No space left on device")) == (0, 1)


def test_stdout_gets_the_labels_or_the_summary(batchjob: BatchJob) -> None:
    (batchjob.folder / "t.csv").write_text("text\na refund\n")
    start = ("start", "t.csv", "--labels", "refund,other", "--sandbox", "--output", "-")
    refused = batchjob(*start, "--json")
    assert (refused.code, refused.out, "name a file for them" in refused.err) == (2, "", True)
    assert not (batchjob.folder / "batchjob.db").exists()
    ended = batchjob(*start)
    assert (ended.code, "next      the labels are on stdout" in ended.err) == (0, True)


def test_status_names_input_model_endpoint_and_when_it_began(batchjob: BatchJob, sandbox: Sandbox) -> None:
    write_tickets(batchjob, 2)
    url = sandbox()
    assert batchjob("start", "t.csv", "--base-url", url, *LABELS, "--quiet").code == 0
    said = batchjob("status").out
    assert f"input     {batchjob.folder / 't.csv'}\n" in said
    assert re.search(rf"asks      m at {re.escape(url)}, since 20\d\d-\d\d-\d\d \d\d:\d\d\n", said)


def test_ctrl_c_clears_the_live_lines_and_says_what_is_waited_for(batchjob: BatchJob, sandbox: Sandbox) -> None:
    write_tickets(batchjob, 500)  # it runs for longer than this test looks at it, on a busy machine too
    url = sandbox("--latency", "0.2")
    terminal = Terminal(batchjob, 80, "start", "t.csv", "--base-url", url, *LABELS, "--concurrency", "2")
    terminal.read_until("rows/s")
    terminal.process.send_signal(signal.SIGINT)
    code, out = terminal.end()
    assert code == 130
    assert re.search(r"\x1b\[Jbatchjob: stopping: waiting for the requests in flight", out)
    assert "next      batchjob resume t" in out


def test_a_screen_that_is_watched_is_painted_anew_when_its_terminal_is_resized(
    batchjob: BatchJob, sandbox: Sandbox
) -> None:
    write_tickets(batchjob, 500)
    more = ("--concurrency", "2", "--dedupe", "off", "--no-cache")  # it runs for longer than this test looks at it
    job = batchjob.begin("start", "t.csv", "--base-url", sandbox("--latency", "1"), *LABELS, *more)
    try:
        until(lambda: is_under_way(batchjob))
        terminal = Terminal(batchjob, 120, "status", "--watch", "--interval", "60", lines=40)
        wide = terminal.read_until("labels ").split("\r\n")
        terminal.resize(40, 12)
        narrow = terminal.read_until("rows   ")
        up, painted = re.split(r"\x1b\[J", narrow)
        # Nothing of the wide lines stays, each of which takes several of the narrow terminal.
        assert up.count("\x1b[A") == sum(max(-(-len(line) // 40), 1) for line in wide) - 1
        assert max(map(len, painted.split("\r\n"))) < 40
        terminal.process.send_signal(signal.SIGTERM)
        assert len(terminal.end().out.rpartition("\x1b[J")[2].strip().split("\r\n")) <= 12
    finally:
        job.kill()
        job.communicate()
