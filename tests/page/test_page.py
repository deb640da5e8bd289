"""`batchjob view`: what the page is told, and that nobody else is told anything."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from batchjob.page import pace
from batchjob.page.safety import HEADERS
from batchjob.page.server import STATIC
from batchjob.records import Sent
from batchjob.states import Source
from tests.page.client import Page, viewed
from tests.waiting import is_under_way, until

if TYPE_CHECKING:
    from batchjob.ports import StoreReader
    from tests.conftest import BatchJob

SCRIPT = "<script>alert(1)</script><img src=x onerror=alert(2)>"
ROWS = 130
MOST_BYTES = 400_000


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, batchjob_in: type) -> BatchJob:
    """A finished job of 130 rows: markup in texts and in a column's name, blank rows, duplicates."""
    batchjob: BatchJob = batchjob_in(tmp_path_factory.mktemp("page"))
    texts = [SCRIPT if n == 3 else "" if n % 40 == 0 else f"text {n % 50} Äpfel" for n in range(ROWS)]
    lines = [f"T-{n},{text},{n % 3}" for n, text in enumerate(texts)]
    (batchjob.folder / "in.csv").write_text(f"id,text,{SCRIPT}\n" + "\n".join(lines) + "\n", encoding="utf-8")
    ended = batchjob("start", "in.csv", "--labels", "a,b", "--sandbox", "--rpm", "0", "--name", "a/b c", "--quiet")
    assert ended.code == 4, ended
    return batchjob


@pytest.fixture(scope="module")
def page(job: BatchJob) -> Iterator[Page]:
    with viewed(job, "a/b c") as page:
        yield page


# ---------------------------------------------------------------- what it tells


def test_it_tells_of_a_job_what_the_terminal_does(job: BatchJob, page: Page) -> None:
    assert page.address.startswith(f"http://127.0.0.1:{page.port}/j/a%2Fb%20c?token=")
    told = page.ask("/api/job", job="a/b c")
    assert told["status"] == json.loads(job("status", "--json").out)
    problems = json.loads(job("errors", "--json").out)
    assert [(one["kind"], one["count"], one["command"]) for one in told["problems"]] == [
        (one["kind"], one["count"], one["command"]) for one in problems["kinds"]
    ]
    assert told["next"] in job("status").out
    (line,) = page.ask("/api/jobs")["jobs"]
    assert line["entry"] == json.loads(job("jobs", "--json").out)[0]


def test_it_shows_the_first_request_as_it_is_sent(job: BatchJob, page: Page) -> None:
    shown = page.ask("/api/prompt", job="a/b c")
    printed = job("start", "in.csv", "--labels", "a,b", "--sandbox", "--show-prompt").out
    assert [one["role"] for one in shown["messages"]] == ["system", "user"]
    assert all(one["content"] in printed for one in shown["messages"])
    assert shown["parameters"] in printed


def walked(page: Page, back: bool = False, **wanted: object) -> list[int]:
    """The numbers of all rows that a view finds, page by page."""
    numbers: list[int] = []
    place: dict[str, object] = {"last": ""} if back else {}
    while True:
        told = page.ask("/api/rows", job="a/b c", **wanted, **place)
        found = [row["number"] for row in told["rows"]]
        assert len(found) <= 50
        numbers = [*found, *numbers] if back else [*numbers, *found]
        if told["ended"]:
            return numbers
        place = {"before": told["looked_to"]} if back else {"after": told["looked_to"]}


def test_rows_are_paged_both_ways_and_filtered_by_what_stands_in_the_address(job: BatchJob, page: Page) -> None:
    lines = list(csv.DictReader(io.StringIO(job("export", "-o", "-").out)))
    at = {name: [line[name] for line in lines] for name in ("state", "label", "source", "text")}

    def those(name: str, value: str) -> list[int]:
        return [n for n, held in enumerate(at[name], 1) if held == value]

    assert walked(page) == walked(page, back=True) == list(range(1, ROWS + 1))
    assert walked(page, state="failed") == walked(page, kind="blank_text") == those("state", "failed")
    assert walked(page, source="duplicate", back=True) == those("source", "duplicate")
    assert walked(page, label="a") == those("label", "a")
    assert walked(page, q="ÄPFEL", label="b", source="model") == [
        n for n in those("label", "b") if at["source"][n - 1] == "model" and "Äpfel" in at["text"][n - 1]
    ]
    assert walked(page, q="T-7") == [8]
    assert walked(page, q="no such text") == []


@pytest.mark.parametrize("wanted", [{}, {"state": "failed"}], ids=["all", "failed"])
@pytest.mark.parametrize("format_", ["csv", "jsonl"])
def test_any_view_is_a_file_as_export_writes_it(
    wanted: dict[str, str], format_: str, job: BatchJob, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = job("export", "-o", "-", "--format", format_, *(["--only", "failed"] if wanted else [])).out
    got = page.get("/download", job="a/b c", format=format_, **wanted)
    assert got.body.decode() == exported
    assert got.headers["Content-Disposition"] == f"attachment; filename*=UTF-8''a%2Fb%20c-rows.{format_}"


def test_a_row_has_its_whole_story(job: BatchJob, page: Page) -> None:
    told = page.ask("/api/row", job="a/b c", number=4)
    assert (told["key"], told["line"], told["text"]) == ("T-3", 5, SCRIPT)
    assert told["columns"] == {SCRIPT: "0"}
    (request,) = told["story"]["requests"]
    assert told["story"]["looked_to"] is None
    assert isinstance(request["id"], str)
    assert int(request["id"]) > 2**40, "it would not be whole as a number of JavaScript"
    assert (request["outcome"], request["rows"], request["purpose"]) == ("answered", 1, "label")
    assert request["input_tokens"] > 0
    duplicate = page.ask("/api/row", job="a/b c", number=53)
    assert (duplicate["source"], duplicate["cost_usd"]) == ("duplicate", None)
    missing = page.get("/api/row", job="a/b c", number=131)
    assert (missing.status, missing.document) == (404, {"error": "job 'a/b c' has no row 131: its rows are 1 to 130"})


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/job?job=no", 404, "no job is named 'no'"),
        ("/api/job", 400, "names no job"),
        ("/api/rows?job=a/b+c&after=x", 400, "after is 'x' in the address"),
        ("/api/rows?job=a/b+c&after=99999999999999999999999", 400, "must be a number"),
        ("/api/rows?job=a/b+c&before=9223372036854775807", 400, "must be a number"),
        ("/api/requests?job=a/b+c&number=1&after=0000000000000000000099999999999999999999", 400, "must be a number"),
        ("/download?job=a/b+c&format=exe", 400, "no 'exe'"),
        ("/api/nothing", 404, "Not Found"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence(path: str, status: int, said: str, page: Page) -> None:
    answer = page.get(path)
    assert answer.status == status
    assert said in answer.document["error"]


# ---------------------------------------------------------------- who is answered

ASKED = ("/", "/api/jobs", "/api/job?job=a/b+c", "/static/app.js", "/download?job=a/b+c", "/no-such")


def test_without_the_cookie_or_with_a_wrong_token_nothing_is_answered(page: Page) -> None:
    name, _, secret = page.cookie.partition("=")
    for path in ASKED:
        for headers in ({}, {"Cookie": f"{name}={secret[:-1]}"}, {"Cookie": f"{name}="}, {"Cookie": f"x={secret}"}):
            answer = page.raw("GET", path, headers)
            assert (answer.status, b"token" in answer.body) == (403, True), (path, headers)
            assert "Set-Cookie" not in answer.headers
    for wrong in ("", "x", "%C3%A9", page.token[:-1], page.token + "x", secret):
        assert page.raw("GET", f"/?token={wrong}").status == 403
    assert page.raw("POST", f"/?token={page.token}", {"Origin": f"http://127.0.0.1:{page.port}"}).status == 403


def test_another_host_that_leads_here_is_not_answered(page: Page) -> None:
    for host in ("evil.example", f"evil.example:{page.port}", "127.0.0.1", f"127.0.0.1:{page.port + 1}", "", "[::1]"):
        answer = page.raw("GET", "/api/jobs", {"Host": host, "Cookie": page.cookie})
        assert answer.status == 421, host
        assert b"jobs" not in answer.body
    named = page.raw("GET", "/api/jobs", {"Host": f"localhost:{page.port}", "Cookie": page.cookie})
    assert named.status == 200


def test_what_another_page_asks_for_is_refused(page: Page) -> None:
    cookie = {"Cookie": page.cookie}
    for site in ("cross-site", "same-site"):
        fetched = page.raw("GET", "/api/jobs", {**cookie, "Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"})
        assert fetched.status == 403
    own = f"http://127.0.0.1:{page.port}"
    for origin in (
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": f"{own}0"},
        {"Origin": "http://127.0.0.1"},
    ):
        assert page.raw("POST", "/api/jobs", {**cookie, **origin}, "{}").status == 403, origin
    assert page.raw("POST", "/api/jobs", {**cookie, "Origin": own}, "{}").status == 405


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/../../../etc/passwd",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e%2f%2e%2e%2fcli%2fview.py",
        "/static//etc/passwd",
        "/static/vendor/../../safety.py",
        "/static/vendor",
        "/static/",
        "/static/vendor/LICENSE.htm%00.js",
    ],
)
def test_a_path_that_climbs_leads_nowhere(path: str, page: Page) -> None:
    answer = page.raw("GET", path, {"Cookie": page.cookie})
    assert answer.status == 404, answer
    assert b"import" not in answer.body


def test_every_answer_says_what_a_browser_may_do_with_it(page: Page) -> None:
    cookie = {"Cookie": page.cookie}
    answers = [page.raw("GET", path, cookie) for path in (*ASKED, "/static/x", "/api/row?job=no")]
    answers += [page.raw("GET", "/"), page.raw("GET", "/", {"Host": "x"}), page.raw("PUT", "/", cookie)]
    for answer in answers:
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert "Access-Control-Allow-Origin" not in answer.headers
    assert "default-src 'self'" in HEADERS["Content-Security-Policy"]
    cookies = page.raw("GET", f"/?token={page.token}").headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookies.split("; "))


def test_every_source_of_a_label_has_its_part_of_the_bar() -> None:
    named = re.search(r"const SOURCES = (\[.*?\]);", (STATIC / "job.js").read_text())
    assert named is not None
    assert set(json.loads(named[1])) == {str(source) for source in Source}


def test_the_page_is_of_one_piece_and_small(page: Page) -> None:
    files = [file for file in STATIC.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < MOST_BYTES
    said = "".join(file.read_text(encoding="utf-8") for file in files if file.parent == STATIC)
    assert "innerHTML" not in said
    assert "dangerouslySetInnerHTML" not in said
    assert "<style" not in said
    assert not [word for word in said.split() if "https://" in word], "nothing comes from elsewhere"
    assert {file.name for file in files} >= {"LICENSE.htm", "LICENSE.preact", "preact-htm.js"}


# ---------------------------------------------------------------- how it runs


def test_ctrl_c_ends_it_and_nothing_was_written(job: BatchJob) -> None:
    def digest() -> str:
        return hashlib.sha256((job.folder / "batchjob.db").read_bytes()).hexdigest()

    before = digest()
    with viewed(job) as page:
        assert page.address.startswith(f"http://127.0.0.1:{page.port}/?token=")
        page.ask("/api/jobs")
        page.ask("/api/rows", job="a/b c")
        assert page.stop() == 0
    assert digest() == before


def test_many_questions_at_once_are_all_answered(job: BatchJob) -> None:
    paths = ("/api/job?job=a/b+c", "/api/jobs", "/api/review?job=a/b+c", "/api/prompt?job=a/b+c", "/api/rows?job=a/b+c")
    for _ in range(2):  # the first questions to a process are those that may meet
        with viewed(job) as page, ThreadPoolExecutor(len(paths)) as many:
            assert [answer.status for answer in many.map(page.get, paths)] == [200] * len(paths)


@pytest.mark.parametrize(
    ("words", "path"),
    [
        (("a/b c", "--queue", "sample"), "/j/a%2Fb%20c/review?queue=sample&"),
        (("--queue",), "/j/a%2Fb%20c/review?"),
        (("a/b c", "--queue", "gold:a&b"), "/j/a%2Fb%20c/review?queue=gold%3Aa%26b&"),
    ],
)
def test_the_review_is_opened_at_once(job: BatchJob, words: tuple[str, ...], path: str) -> None:
    with viewed(job, *words) as page:
        assert page.address == f"http://127.0.0.1:{page.port}{path}token={page.token}"


def test_a_job_that_is_not_there_and_a_port_in_use_are_told(job: BatchJob, page: Page, tmp_path: Path) -> None:
    assert "no job is named 'x'" in job("view", "x", "--no-open").err
    assert "there is no database" in job("view", "--db", str(tmp_path / "no.db"), "--no-open").err
    taken = job("view", "--port", str(page.port), "--no-open")
    assert (taken.code, taken.out) == (1, "")
    why = os.strerror(errno.EADDRINUSE).lower()  # glibc and musl have words of their own
    assert f"cannot listen on port {page.port} ({why}): leave --port out" in taken.err


def test_it_sees_a_job_grow_and_says_when_the_database_went_away(
    batchjob: BatchJob, sandbox: Callable[..., str]
) -> None:
    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(400)))
    url = sandbox("--latency", "0.05")
    flags = ("--labels", "a,b", "--base-url", url, "--model", "m", "--rpm", "0", "--concurrency", "2", "--quiet")
    run = batchjob.begin("start", "in.csv", *flags)
    until(lambda: is_under_way(batchjob))
    with viewed(batchjob, "in") as page:

        def done() -> int:
            status: dict[str, Any] = page.ask("/api/job", job="in")["status"]
            return int(status["rows"]["done"])

        first = done()
        until(lambda: done() > first)
        assert page.ask("/api/job", job="in")["status"]["pid"] == run.pid
        assert page.ask("/api/rows", job="in", state="done")["rows"]
        run.terminate()
        run.communicate(timeout=20)
        moved = batchjob.folder / "batchjob.db"
        moved.rename(moved.with_name("elsewhere.db"))
        answer = page.get("/api/job", job="in")
        assert (answer.status, answer.document["error"].startswith("there is no database")) == (404, True)
        moved.with_name("elsewhere.db").rename(moved)
        assert done() > first
        assert page.stop() == 0


def test_the_address_for_a_browser_serves_once(batchjob_in: type, job: BatchJob, tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}.part && mv {opened}.part {opened}\n')
    browser.chmod(0o700)
    process = job.begin("view", env={**job.environment, "BROWSER": str(browser), "DISPLAY": ":0"})
    try:
        page = Page(process)
        until(opened.exists)
        path = "/" + opened.read_text().strip().split("/", 3)[3]
        assert page.token not in path
        assert [page.raw("GET", path).status for _ in range(2)] == [200, 403]
        assert page.stop() == 0
    finally:
        process.kill()


def test_a_job_of_several_answers_is_shown(batchjob: BatchJob) -> None:
    fields = '[[fields]]\nname = "a"\nlabels = ["x", "y"]\n[[fields]]\nname = "b"\nkind = "yes_no"\n'
    (batchjob.folder / "job.toml").write_text(f"sandbox = true\nrpm = 0\nquiet = true\n{fields}")
    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},text {n}\n" for n in range(5)))
    batchjob("start", "in.csv")
    with viewed(batchjob, "in") as page:
        assert page.ask("/api/prompt", job="in")["messages"]
        assert len(page.ask("/api/rows", job="in")["rows"]) == 5
        assert page.ask("/api/row", job="in", number=1)["text"] == "text 0"
        assert page.get("/download", job="in", format="csv").body.decode() == batchjob("export", "-o", "-").out


def test_the_pace_is_that_of_the_requests_over_time() -> None:
    """Ten requests of two rows in the first minute, twenty in the second; beside them another run, at the end."""
    one = [Sent(n + 1, 6.0 * n if n < 10 else 60 + 3.0 * (n - 10), 2) for n in range(31)]
    two = [Sent(n, 60 + 6.0 * n, 1) for n in range(11)]
    found = pace.pace_page(cast("StoreReader", Sending([one, two])), "job")
    assert (found.begin, found.end, len(found.rows_a_minute)) == (0.0, 120.0, 60)
    assert {round(rows, 6) for rows in found.rows_a_minute[:30]} == {20.0}
    assert {round(rows, 6) for rows in found.rows_a_minute[30:]} == {40.0 + 10.0}
    assert pace.pace_page(cast("StoreReader", Sending([one[:1]])), "job").rows_a_minute == ()
    assert pace.pace_page(cast("StoreReader", Sending([])), "job").rows_a_minute == ()


class Sending:
    """What is asked of a reader for the pace."""

    def __init__(self, runs: list[list[Sent]]) -> None:
        self._runs = runs

    def job(self, name: str) -> str:
        return name

    def sent(self, job: str, *, points: int) -> list[list[Sent]]:
        return self._runs
