"""A listener's browser: headless Chromium on the real service, and what its page must never do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sized
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Locator, Page, expect, sync_playwright

from tests.support.patience import wait_for

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
"""The same engine without what only a screen needs starts and draws in less than half the time."""
WITH_CHROMIUM = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed; .ci/run installs it")
PASSWORD = "correct horse battery"
PATIENCE = 30.0
"""Seconds within which whatever a page should come to has come, on a busy machine too."""
AUDIO = "document.getElementById('audio')"
_FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--mute-audio",
]

expect.set_options(timeout=PATIENCE * 1000)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser; to be closed before a test with a loop of its own runs in this thread."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=_FLAGS)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A person with a browser of their own: its cookies, and its tabs on one service.

    Arguments:
        options: of the browser's context.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.context: BrowserContext = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE * 1000)
        self._requests: list[str] = []
        self.complaints: list[str] = []
        self.context.on("request", lambda request: self._requests.append(request.url))
        self.context.on("console", self._console)
        self.context.on("weberror", lambda error: self.complaints.append(str(error.error)))

    def open(self, address: str = "", *, before: Callable[[Page], object] = lambda _: None) -> Page:
        """A new tab on `#/…`, with its view shown; `before` prepares it before anything is loaded."""
        page = self.context.new_page()
        page.on("websocket", lambda socket: self._requests.append(socket.url))
        before(page)
        page.goto(f"{self.url}/{address}")
        shown(page)
        return page

    @property
    def requests(self) -> list[str]:
        """Whatever its pages have asked for so far, in its order."""
        # What happens in a page is only told while something is asked of the browser. Prevents: a test waits for a
        # request · the request is made · nobody asks the browser for anything, and the test waits to its end.
        for page in self.context.pages:
            page.evaluate("true")
        return self._requests

    def check(self) -> None:
        """Nothing was asked of another host, refused by the page's policy, or thrown."""
        host = self.url.removeprefix("http://")
        own = (f"http://{host}/", f"ws://{host}/", f"blob:http://{host}/", "data:")
        assert [url for url in self._requests if not url.startswith(own)] == []
        assert self.complaints == []

    def _console(self, message: ConsoleMessage) -> None:
        # What the browser itself notes of a 401 or a lost connection is no complaint of the page.
        if message.type == "error" and not message.text.startswith(
            ("Failed to load resource", "WebSocket connection to")
        ):
            self.complaints.append(message.text)


Visit = Callable[..., Visitor]
"""Gives a visitor, by the options of a browser's context."""


def shown(page: Page) -> None:
    """Wait until a view is there, whatever it is."""
    expect(page.locator("#main:not([aria-busy]) :is(h1, .panel)").first).to_be_visible()


def visit(page: Page, address: str) -> None:
    """Go to another view."""
    page.evaluate("address => { location.hash = address }", address)
    shown(page)


def until(page: Page, expression: str) -> None:
    """Wait for something that no element shows. Not by the browser's own polling, which the page's policy forbids."""
    wait_for(lambda: bool(page.evaluate(expression)), PATIENCE, every=0.05)


def arrived(page: Page, held: Sized, number: int = 1) -> None:
    """Wait until a route that only keeps requests has got as many."""
    # What happens in a page is only told while something is asked of the browser.
    wait_for(lambda: page.evaluate("true") and len(held) >= number, PATIENCE)


def patched(page: Page) -> AbstractContextManager[object]:
    """A block at whose end a change that the page has sent in it has been made."""
    return page.expect_response(lambda answer: answer.request.method == "PATCH" and answer.ok)


def heard(page: Page) -> float:
    """How many seconds of a podcast have come."""
    return float(page.evaluate(f"{AUDIO}.buffered.length && {AUDIO}.buffered.end(0)"))


def value(page: Page, expression: str) -> Any:
    """A value of the page's audio element, such as `currentTime`."""
    return page.evaluate(f"{AUDIO}.{expression}")


def slowly(page: Page) -> None:
    """Play what comes at a quarter of its speed: it is not played out before a busy machine has looked."""
    page.evaluate(f"{AUDIO}.playbackRate = 0.25")


def titles(page: Page) -> list[str]:
    """The titles of the shown snippets."""
    return page.locator(".snippet :is(h2, h3)").all_inner_texts()


def cards(page: Page) -> list[str]:
    """The names on the cards of topics, in their order."""
    return page.locator(".card h2").all_inner_texts()


def notice(page: Page) -> Locator:
    """What the page has to tell."""
    return page.locator("#notice p")


def saved(page: Page) -> None:
    """Wait until the editor's page has saved, and would save again."""
    expect(page.locator("#receipt")).to_contain_text("Saved.")
    expect(page.get_by_role("button", name="Save", exact=True)).not_to_have_attribute("aria-disabled", "true")


def sign_up(page: Page, name: str) -> None:
    """Sign up, which signs in as well; the page shows one's own corner afterwards."""
    visit(page, "#/you")
    page.locator("#sign-up-username").fill(name)
    page.locator("#sign-up-password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.locator("#who")).to_have_text(f"You are signed in as {name}.")


def sign_in(page: Page, name: str, password: str = PASSWORD) -> None:
    """Fill in the form and send it."""
    visit(page, "#/you")
    page.locator("#sign-in-username").fill(name)
    page.locator("#sign-in-password").fill(password)
    page.get_by_role("button", name="Sign in").click()
