"""A real browser: Debian's Chromium, driven by Playwright, with what it may not do written down."""

from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from server import PATIENCE_SECONDS, missing_part, wait_until

IMAGES = Path(__file__).parent.parent / "docs" / "images"
DESKTOP, PHONE = {"width": 1200, "height": 900}, {"width": 320, "height": 640}
Way = tuple[dict[str, int], str]
ALL_WAYS: tuple[Way, ...] = tuple((size, scheme) for size in (DESKTOP, PHONE) for scheme in ("light", "dark"))
TWO_WAYS: tuple[Way, ...] = ((DESKTOP, "light"), (PHONE, "dark"))
"""Every size and every scheme once, for pages that are made of what was looked at in all ways."""
MOST_IMAGE_BYTES = 100_000

# Chromium itself logs each answer that is no success, and each that does not come.
_NETWORK = re.compile(
    r"Failed to load resource: (the server responded with a status of (401|403|500|503) \(.*\)|net::ERR_\w+)"
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the browser."""
    program = shutil.which("chromium")
    if program is None:
        missing_part("chromium is not installed: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


class Looker:
    """Somebody who looks at the page.

    Attributes:
        page: Of Playwright.
        faults: What the console said that it may not, what left the server's origin.
        requests: Every address that was asked.
    """

    def __init__(self, browser: Browser, url: str, **context: object) -> None:
        self._context: BrowserContext = browser.new_context(viewport=DESKTOP, **context)
        self._context.set_default_timeout(PATIENCE_SECONDS * 1000)
        self.page: Page = self._context.new_page()
        self.url = url
        self._origin = re.match(r"https?://[^/]+", url).group()
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page.on("request", self._asked)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))

    def open(self) -> Looker:
        """Open the page."""
        self.page.goto(self.url)
        return self

    def look_again(self) -> None:
        """Let the script fetch now what it would fetch in some seconds."""
        self.page.evaluate("window.dispatchEvent(new Event('online'))")

    def text(self) -> str:
        """Return all that is to be seen."""
        return " ".join(self.page.inner_text("body").split())

    def shows(self, words: str) -> None:
        """Wait until *words* are to be seen."""
        wait_until(lambda: words in self.text(), f"{words!r} is shown: {self.text()[:600] if self.page else ''}")

    def assert_accessible(self, ways: Sequence[Way] = ALL_WAYS) -> None:
        """axe-core finds nothing, in each of the *ways* to look at it, and a phone scrolls down only."""
        self.page.evaluate(Axe().axe_script)
        for size, scheme in ways:
            self.page.set_viewport_size(size)
            self.page.emulate_media(color_scheme=scheme)
            found = self.page.evaluate("axe.run()")
            told = [(each["id"], [node["html"][:200] for node in each["nodes"]][:3]) for each in found["violations"]]
            assert told == [], (size, scheme, told)
            assert len(found["passes"]) > 10  # it looked at something
        self.page.set_viewport_size(PHONE)
        assert self.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(DESKTOP)

    def keep_image(self, name: str) -> None:
        """Keep what is to be seen for the documentation, when asked by `TASKER_TEST_SCREENSHOTS=1`."""
        if os.environ.get("TASKER_TEST_SCREENSHOTS"):
            from PIL import Image

            size = self.page.viewport_size
            if size["width"] == DESKTOP["width"]:
                self.page.set_viewport_size({"width": 900, "height": 1100})
            file = IMAGES / f"page-{name}.png"
            with Image.open(io.BytesIO(self.page.screenshot(animations="disabled"))) as taken:
                taken.quantize(128).save(file, optimize=True)
            self.page.set_viewport_size(size)
            assert file.stat().st_size < MOST_IMAGE_BYTES, file

    def close(self) -> None:
        """Close it; nothing may have gone wrong."""
        self._context.close()
        assert self.faults == []
        assert all(each.startswith(self._origin) for each in self.requests), self.requests

    def _asked(self, request) -> None:
        self.requests.append(request.url)

    def _said(self, message) -> None:
        if message.type in {"error", "warning"} and not _NETWORK.fullmatch(message.text):
            self.faults.append(message.text)


@contextmanager
def looking(browser: Browser, url: str, **context: object) -> Iterator[Looker]:
    """Yield somebody who looks at *url*."""
    looker = Looker(browser, url, **context)
    try:
        yield looker
    except BaseException:
        looker._context.close()
        raise
    looker.close()
