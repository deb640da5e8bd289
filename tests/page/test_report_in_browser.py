"""A report in a real browser: wide and narrow, light and dark, with hostile words in every place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from batchjob.views.report.html import html
from tests.page.browser import CHROMIUM, DRIVER, MISSING, Browser
from tests.test_report import HOSTILE

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason=MISSING)


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser that shows a report in which every word is hostile."""
    path: Path = tmp_path_factory.mktemp("report") / "r.html"
    path.write_bytes(html(HOSTILE))
    browser = Browser()
    browser.open(path.as_uri())
    yield browser
    browser.driver.quit()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_report_runs_nothing_fits_and_can_be_read_by_all(shown: Browser, width: int, dark: bool) -> None:
    shown.shape(width, dark=dark)
    root = "document.documentElement"
    assert shown.run(f"return {root}.scrollWidth <= {root}.clientWidth")
    assert shown.run("return document.querySelectorAll('script, img, iframe, object, [onload], [onerror]').length") == 0
    assert shown.run("return getComputedStyle(document.body).backgroundColor") == (
        "rgb(18, 23, 27)" if dark else "rgb(255, 255, 255)"
    )
    assert shown.faults() == []
    assert shown.complaints() == []
