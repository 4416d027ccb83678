"""A real browser for the live page: Debian's chromium, driven by its own driver."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from programs import PATIENCE_S, ROOT, require

DESKTOP, PHONE = (1280, 1000), (390, 840)
AXE = ROOT / ".tools" / "node_modules" / "axe-core" / "axe.min.js"


class Page:
    """The live page in one window."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, port: int) -> None:
        self.driver.get(f"http://127.0.0.1:{port}/")

    def all(self, selector: str) -> Sequence[WebElement]:
        return self.driver.find_elements("css selector", selector)

    def one(self, selector: str) -> WebElement:
        """Wait, bounded, until it is there."""
        found: Sequence[WebElement] = self.until(lambda: self.all(selector), selector)
        return found[0]

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def until(self, is_so: Any, what: str) -> Any:
        return WebDriverWait(self.driver, PATIENCE_S, 0.1).until(lambda _: is_so(), what)

    def until_says(self, selector: str, text: str) -> None:
        self.until(
            lambda: any(
                text in (found.get_attribute("textContent") or "") for found in self.all(selector)
            ),
            f"{selector} saying {text!r}",
        )

    def complaints(self) -> list[str]:
        """What the console has of errors and refusals of the policy."""
        lines: list[dict[str, Any]] = self.driver.get_log("browser")  # type: ignore[no-untyped-call]
        return [line["message"] for line in lines]

    def requested(self) -> set[str]:
        """Where the page asked for anything: scheme, host and port."""
        script = (
            "return performance.getEntriesByType('resource').map((e) => new URL(e.name).origin)"
        )
        return set(self.driver.execute_script(script))

    def axe(self) -> list[dict[str, Any]]:
        """Accessibility violations that are serious or critical (deque's axe-core)."""
        self.driver.execute_script(axe_source())
        found = self.driver.execute_async_script(
            "axe.run().then((found) => arguments[0](found.violations))"
        )
        return [each for each in found if each["impact"] in ("serious", "critical")]


def axe_source() -> str:
    if not AXE.exists():
        message = "axe-core is not installed; `make tools` installs it"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return AXE.read_text()


@contextmanager
def open_browser(
    size: tuple[int, int] = DESKTOP, *, is_dark: bool = False, downloads: Path | None = None
) -> Iterator[Page]:
    """A window without a screen; nothing is fetched to have it."""
    options = ChromeOptions()
    options.binary_location = require("chromium")
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    if downloads is not None:
        options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    driver = Chrome(options=options, service=Service(require("chromedriver")))
    try:
        width, height = size
        metrics = {
            "width": width,
            "height": height,
            "deviceScaleFactor": 1,
            "mobile": size == PHONE,
        }
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        yield Page(driver)
    finally:
        driver.quit()


if sys.platform != "linux":
    pytest.skip("chromium is Debian's here", allow_module_level=True)
