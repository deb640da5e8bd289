"""The page in a real browser: live, searched, worked by keyboard, and fit for everybody."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from batchjob.corrections import log
from tests.faults.server import Exchange, FaultServer, completion, http, well
from tests.page.browser import CHROMIUM, DRIVER, MISSING, Browser
from tests.page.client import Page, viewed
from tests.page.jobs import FILTERED, MARKUP, NEAR, OFF_LIST, SCRIPT
from tests.waiting import until

if TYPE_CHECKING:
    from tests.conftest import BatchJob

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING)

ENTER, ESCAPE = "\ue007", "\ue00c"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    browser = Browser()
    yield browser
    browser.driver.quit()


@pytest.fixture(scope="module")
def page(jobs: BatchJob) -> Iterator[Page]:
    with viewed(jobs) as page:
        yield page


@pytest.fixture(autouse=True)
def _nothing_is_forbidden(browser: Browser) -> Iterator[None]:
    """No test may leave a complaint of the browser: of the policy, of a script, of a file that is not there."""
    browser.shape(1280)
    browser.complaints()
    yield
    assert browser.complaints() == []
    assert "hacked" not in browser.driver.title


def opened(browser: Browser, page: Page, path: str) -> None:
    """Open a screen, with the token the first time."""
    browser.open(f"http://127.0.0.1:{page.port}{path}{'&' if '?' in path else '?'}token={page.token}")
    until(lambda: browser.text("h1") != "")


def query(browser: Browser) -> dict[str, list[str]]:
    return parse_qs(urlsplit(browser.address).query)


def test_a_running_job_is_followed_to_its_end(browser: Browser, batchjob: BatchJob) -> None:
    go_on, answered = threading.Event(), 0

    async def half(x: Exchange) -> None:
        nonlocal answered
        answered += 1
        while answered > 30 and not go_on.is_set():
            await asyncio.sleep(0.02)
        await well(x)

    (batchjob.folder / "in.csv").write_text("id,text\n" + "".join(f"{n},row {n}\n" for n in range(60)))
    with FaultServer(half).running() as server:
        flags = ("--labels", "alpha,beta", "--base-url", server.url, "--model", "m", "--rpm", "0", "--quiet")
        run = batchjob.begin("start", "in.csv", *flags)
        until(lambda: answered > 30)
        with viewed(batchjob, "in") as page:
            opened(browser, page, "/j/in")
            assert "token" not in browser.address
            until(lambda: browser.text(".lead").startswith("50\u202f% done"))
            assert "Running since" in browser.text(".head")
            go_on.set()
            until(lambda: browser.text(".lead") == "Done 60 of 60 rows have a label")
            assert browser.text(".head .st") == "Finished"
            assert "row 0" in browser.text("#prompt-cols")
            assert run.wait(20) == 0
            browser.open("about:blank")  # that nothing asks any more
            browser.complaints()


def test_filters_stand_in_the_address_and_a_row_opens_with_its_story(browser: Browser, page: Page) -> None:
    opened(browser, page, "/j/one/rows")
    until(lambda: len(browser.texts("#rows tbody tr")) == 50)
    browser.click(".pager a", "Later rows")
    until(lambda: browser.texts("#rows tbody tr td:first-child")[0] == "51")
    browser.click("details.menu summary", "State")
    browser.click(".pop a", "failed")
    until(lambda: len(browser.texts("#rows tbody tr")) == len(FILTERED) + len(OFF_LIST))
    assert query(browser) == {"state": ["failed"]}
    assert SCRIPT not in browser.text("#rows thead")
    browser.press("/", "row 1")
    until(lambda: query(browser) == {"state": ["failed"], "q": ["row 1"]})
    until(lambda: browser.texts("#rows tbody tr td:first-child") == [str(n) for n in OFF_LIST])
    assert browser.texts("#rows mark") == ["row 1"] * 3
    browser.press(ESCAPE, "j", ENTER)
    until(lambda: browser.text("#drawer-h") == "Row 10")
    until(lambda: "answered" in browser.text("#drawer .story"))
    assert SCRIPT in browser.text("#drawer .kv"), "a column's name and value are text"
    assert SCRIPT in browser.text("#drawer .story"), "and so is an answer"
    assert browser.run("return document.querySelectorAll('main img, main script, aside img, aside script').length") == 0
    browser.run("const x = document.querySelector('#set'); x.value = 'beta'; x.dispatchEvent(new Event('change'))")
    browser.click("#drawer .acts button", "Set label")
    until(lambda: "beta, by" in browser.text("#drawer .kv"))
    browser.click("#drawer .acts button", "Take back")
    until(lambda: "none" in browser.text("#drawer .kv"))
    browser.press("j")
    until(lambda: browser.text("#drawer-h") == "Row 11")
    browser.press(ESCAPE)
    until(lambda: browser.text("#drawer-h") == "")
    browser.click(".chip button")
    until(lambda: query(browser) == {"q": ["row 1"]})
    assert browser.run("return document.querySelector('.find a').href").endswith("/download?job=one&format=csv&q=row+1")
    browser.driver.back()
    until(lambda: "state" in query(browser))


def test_twenty_rows_are_reviewed_by_keyboard_and_a_kill_loses_none(browser: Browser, jobs: BatchJob) -> None:
    path = jobs.folder / "batchjob.db.corrections"
    path.unlink(missing_ok=True)

    def stored() -> list[tuple[int, str | None, str]]:
        return [(one.row, one.label, one.why) for one in log.read(path)[0]]

    def press(*keys: str) -> None:
        """Each key when what the one before did is on the disk and the next text is there."""
        for key in keys:
            before, text = len(stored()), browser.text("#meta")
            browser.press(key)
            until(lambda: len(stored()) == before + 1)  # noqa: B023
            until(lambda: browser.text("#meta") != text)  # noqa: B023

    with viewed(jobs) as first:
        opened(browser, first, "/j/one/review")
        until(lambda: f"row {FILTERED[0]}" in browser.text("#meta"))
        assert "Only a person can." in browser.text("#why")
        assert browser.texts("#cands button span:nth-child(2)") == ["alpha", "beta", MARKUP]
        press("2", "3")
        assert stored() == [(FILTERED[0], "beta", "content_filter"), (FILTERED[1], MARKUP, "content_filter")]
        until(lambda: "This queue is finished" in browser.text(".empty"))
        browser.click(".queues button", "Not letter for letter")
        until(lambda: f"row {NEAR[0]}" in browser.text("#meta"))
        browser.press("s")
        until(lambda: f"row {NEAR[1]}" in browser.text("#meta"))
        press(ENTER, "2")
        press("u")
        until(lambda: f"row {NEAR[2]}" in browser.text("#meta"))
        browser.click(".queues button", "Random sample")
        until(lambda: "It came by chance" in browser.text("#why"))
        press(*[ENTER] * 5)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait(10)
        text = browser.text("#text")
        browser.press(ENTER)
        until(lambda: "No contact with batchjob view" in browser.text(".notes"))
        assert browser.text("#text") == text, "the text stays with the choice"
        assert len(stored()) == 10
    with viewed(jobs) as second:
        opened(browser, second, "/j/one/review?queue=sample")
        until(lambda: "row" in browser.text("#meta"))
        assert browser.text("#text") == text, "it goes on where it was"
        press(*[ENTER] * 9, "2")
        assert browser.text("#acc") == f"{round(100 * 14 / 15)}\u202f%"
        assert "14 of 15 texts" in browser.text("#acc-words")
    browser.open("about:blank")  # that nothing asks any more
    browser.complaints()
    said = stored()
    assert len(said) == 20
    assert [why for *_, why in said].count("sample") == 15
    assert (NEAR[2], None, "near") in said, "what was undone is in the log too"
    assert "accuracy 93 % (70 to 99), n=15" in jobs("status", "one").out


def test_a_queue_goes_on_behind_the_rows_that_came_first(browser: Browser, jobs: BatchJob) -> None:
    path = jobs.folder / "batchjob.db.corrections"
    path.unlink(missing_ok=True)
    with viewed(jobs) as page:
        opened(browser, page, "/j/one/review?queue=sample")
        until(lambda: "row" in browser.text("#meta"))
        for n in range(1, 44):
            browser.press(ENTER)
            until(lambda: path.exists() and len(log.read(path)[0]) == n)  # noqa: B023
            until(lambda: browser.text("#pos") == f"{n + 1} of 100")  # noqa: B023
        browser.open("about:blank")
        browser.complaints()
    assert len({one.row for one in log.read(path)[0]}) == 43


FIELDS = (
    '[[fields]]\nname = "topics"\nkind = "several"\nlabels = ["p", "q"]\n'
    '[[fields]]\nname = "stars"\nkind = "number"\nmin = 1\nmax = 5\n'
)


def test_several_labels_and_numbers_are_reviewed_too(browser: Browser, batchjob: BatchJob) -> None:
    (batchjob.folder / "job.toml").write_text(f'model = "m"\nrpm = 0\nquiet = true\n{FIELDS}')
    (batchjob.folder / "in.csv").write_text("id,text,gold\n" + "".join(f"{n},row {n},q\n" for n in range(1, 7)))

    async def alike(x: Exchange) -> None:
        await x.send(http(completion('{"topics": ["p"], "stars": 3}')))

    with FaultServer(alike).running() as server:
        assert batchjob("start", "in.csv", "--base-url", server.url).code == 0

    def stored() -> list[tuple[str | None, str | None, str]]:
        path = batchjob.folder / "batchjob.db.corrections"
        return [(one.field, one.label, one.why) for one in log.read(path)[0]]

    with viewed(batchjob) as page:
        opened(browser, page, "/j/in/review?queue=sample")
        until(lambda: browser.texts("#cands .on span:nth-child(2)") == ["p"])
        browser.press("2")
        until(lambda: browser.texts("#cands .on span:nth-child(2)") == ["p", "q"])
        browser.press(ENTER)
        until(lambda: stored() == [("topics", '["p","q"]', "sample")])
        browser.run("window.beside = document.querySelector('#beside'); window.beside.value = 'gold:gold'")
        browser.run("window.beside.dispatchEvent(new Event('change'))")
        until(lambda: "Column gold says “q”" in browser.text("#why"))
        browser.click(".answers a", "stars")
        until(lambda: browser.run("return document.querySelector('#value')?.value") == "3")
        browser.click(".queues button", "Random sample")
        until(lambda: browser.text("#pos") == "1 of 6")
        browser.run("document.querySelector('#value').select()")
        browser.press("9", ENTER)
        until(lambda: "is no value of field stars" in browser.text(".notes").lower())
        browser.run("document.querySelector('#value').select()")
        browser.press("5", ENTER)
        until(lambda: stored()[1:] == [("stars", "5", "sample")])
        for width, dark in ((1280, False), (390, True)):
            browser.shape(width, dark=dark)
            assert browser.faults() == []
            assert browser.run("return document.documentElement.scrollWidth") <= width
        browser.open("about:blank")
        browser.complaints()


SCREENS = {
    "/": ".jobs tbody tr",
    "/j/one": "#prompt-cols",
    "/j/one/rows?row=10&after=9": "#drawer .story li.no, #drawer .story li.ok",
    "/j/one/review?queue=off_list": "#cands button",
}


@pytest.mark.parametrize("path", SCREENS)
def test_everybody_can_use_it_wide_and_light_narrow_and_dark(
    browser: Browser, page: Page, jobs: BatchJob, path: str
) -> None:
    assert jobs("correct", "one", "R-5", "beta").code == 0
    opened(browser, page, path)
    until(lambda: browser.texts(SCREENS[path]) != [])
    for width, dark in ((1280, False), (390, True)):
        browser.shape(width, dark=dark)
        assert browser.faults() == []
        assert browser.run("return document.documentElement.scrollWidth") <= width, "it scrolls sideways"
