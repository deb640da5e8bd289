"""Debian's Chromium, driven by selenium."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
MISSING = "Chromium and its driver are not installed (Debian: apt-get install chromium chromium-driver)"

webdriver: Any = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")


class Browser:
    """A browser with one tab."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.driver.set_script_timeout(20)

    def shape(self, width: int, *, dark: bool = False) -> None:
        """A window of this width, in light or dark colours."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        still = {"name": "prefers-reduced-motion", "value": "reduce"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme, still]})

    def open(self, address: str) -> None:
        self.driver.get(address)

    def run(self, script: str, *values: object) -> Any:
        """What a piece of JavaScript gives."""
        return self.driver.execute_script(script, *values)

    def text(self, selector: str) -> str:
        """What is written in an element; "" where there is none."""
        return str(self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def texts(self, selector: str) -> list[str]:
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map(x => x.innerText)", selector
        )
        return found

    def click(self, selector: str, words: str = "") -> None:
        """Click the first element that has these words."""
        script = "return [...document.querySelectorAll(arguments[0])].find(x => x.textContent.includes(arguments[1]))"
        self.run(script, selector, words).click()

    def press(self, *keys: str) -> None:
        """Type on the keyboard, wherever the focus is."""
        webdriver.ActionChains(self.driver, duration=0).send_keys(*keys).perform()

    @property
    def address(self) -> str:
        return str(self.driver.current_url)

    def complaints(self) -> list[str]:
        """What the console says is wrong, such as what the page's policy forbade."""
        return [line["message"] for line in self.driver.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]

    def faults(self) -> list[str]:
        """What axe-core finds serious."""
        import axe_core_python

        source = Path(axe_core_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
        self.run(source)
        script = "axe.run(document).then(found => arguments[0](found.violations))"
        found = self.driver.execute_async_script(script)
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
        ]
