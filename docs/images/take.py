"""Takes the README's pictures of the page anew: `make images`. Needs Chromium.

It runs the service with an empty data directory and makes a podcast. One picture shows a telephone while the podcast is
rendered, another one a desk when it is finished; the third one the editor's page after an edit, the fourth the control
room.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

HERE = Path(__file__).resolve().parent
TOPIC = "ocean_science"
TOKEN = "token-of-the-pictures"
WIDE: dict[str, Any] = {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"}
NARROW: dict[str, Any] = {"viewport": {"width": 375, "height": 740}, "color_scheme": "dark"}
CONTROL: dict[str, Any] = {"viewport": {"width": 1440, "height": 1100}, "color_scheme": "light"}
PLACE = 98
"""Seconds into the podcast, for a slider that shows something."""
_PATIENCE = 240_000
"""Milliseconds for each wait: a podcast takes up to a minute on a busy machine."""
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--mute-audio",
    "--autoplay-policy=no-user-gesture-required",
)


@contextmanager
def service() -> Iterator[str]:
    """The address of a service of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    settings = {"GREENROOM_PORT": str(port), "GREENROOM_LOG_LEVEL": "warning", "GREENROOM_EDITOR_TOKEN": TOKEN}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GREENROOM_")} | settings
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "greenroom", "serve", "--data-dir", directory]
        process = subprocess.Popen(command, env=environment)
        try:
            _wait_for(f"{url}/health/ready")
            yield url
        finally:
            process.terminate()
            process.wait(30)


def _wait_for(url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=5)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise SystemExit(f"{url} does not answer")


def page_of(browser: Browser, options: dict[str, Any], address: str) -> Page:
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(_PATIENCE)
    page.goto(address)
    return page


def play(page: Page) -> None:
    """Let a podcast that plays go on from `PLACE`, as soon as so much of it is there."""
    # In this program, not in the browser: the page's policy forbids the browser's own polling.
    while float(page.get_by_label("Position").get_attribute("max") or 0) <= PLACE:
        page.wait_for_timeout(100)
    page.get_by_label("Position").evaluate(
        "(slider, place) => { slider.value = place; slider.dispatchEvent(new Event('change')); }", PLACE
    )
    expect(page.get_by_text("Playing", exact=True)).to_be_visible(timeout=_PATIENCE)
    page.wait_for_timeout(1500)


def edit(browser: Browser, url: str) -> None:
    """Change a topic, and take the picture of what the editor is told of it."""
    page = page_of(browser, WIDE, f"{url}/edit#/topics/{TOPIC}/edit")
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Editor token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    description = page.get_by_label("Description")
    description.fill(f"{description.input_value()} New this week: the colour of deep water.")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("Dropped from Valkey at")).to_be_visible(timeout=_PATIENCE)
    page.evaluate("scrollTo(0, 0)")
    page.screenshot(path=HERE / "edit-wide.png")


def control(browser: Browser, url: str) -> None:
    """Take the picture of the control room, after two minutes of readers."""
    page = page_of(browser, CONTROL, f"{url}/control")
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator(".stations")).to_be_visible(timeout=_PATIENCE)
    end = time.monotonic() + 120
    while time.monotonic() < end:
        for path in ("topics", f"topics/{TOPIC}", f"snippets?topic_id={TOPIC}", "snippets"):
            with urllib.request.urlopen(f"{url}/api/v1/{path}") as answer:
                answer.read()
        time.sleep(0.02)
    page.wait_for_timeout(10_000)
    page.screenshot(path=HERE / "control.png")


def main() -> None:
    chromium = shutil.which("chromium-headless-shell") or shutil.which("chromium")
    if chromium is None:
        raise SystemExit("chromium is not installed")
    with service() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(_FLAGS))
        telephone = page_of(browser, NARROW, f"{url}/#/topics/{TOPIC}")
        telephone.get_by_role("button", name="Make me a podcast").click()
        telephone.wait_for_url("**/#/listen/**")
        link = telephone.url
        play(telephone)
        telephone.screenshot(path=HERE / "page-narrow.png")
        expect(telephone.get_by_role("link", name="Download")).to_be_visible(timeout=_PATIENCE)
        desk = page_of(browser, WIDE, link)
        desk.get_by_role("button", name="Listen", exact=True).click()
        play(desk)
        expect(desk.locator(".line[aria-current]")).to_be_visible(timeout=_PATIENCE)
        desk.wait_for_timeout(500)
        desk.screenshot(path=HERE / "page-wide.png")
        edit(browser, url)
        control(browser, url)
        browser.close()


if __name__ == "__main__":
    main()
