"""The listener's page for everybody: axe-core finds nothing in any state, light or dark, and the keyboard is enough."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, Route, expect

from tests.support.axe_audit import WIDE, clean
from tests.support.held_renderer import BARE, LONG, NAMES, SHORT, ask_for, held, is_whole, write_topics
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX
from tests.support.running_service import API, KEPT, NO_TLS, TOKEN, Service
from tests.support.visitors import (
    AUDIO,
    PASSWORD,
    WITH_CHROMIUM,
    Visit,
    heard,
    notice,
    patched,
    shown,
    sign_in,
    until,
    value,
    visit,
)

pytestmark = [WITH_CHROMIUM, ON_LINUX]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service with few topics, a podcast that is whole and one that could not be made."""
    home: Path = tmp_path_factory.mktemp("serve")
    service = Service(home, env={"GREENROOM_EDITOR_TOKEN": TOKEN, "GREENROOM_SAMPLE": "off"}).start()
    write_topics(service)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def whole(service: Service) -> str:
    """The id of a podcast that is whole."""
    podcast = ask_for(service, SHORT)
    wait_for(lambda: is_whole(service, podcast), 60)
    return podcast


@pytest.fixture
def page(visitor: Visit) -> Page:
    """A page without movement: what fades has no contrast of its own."""
    return visitor(reduced_motion="reduce", viewport=WIDE).open()


def refuse(page: Page, pattern: str, status: int, detail: str) -> None:
    """Let the API answer with a problem."""

    def answer(route: Route) -> None:
        found = json.dumps({"type": "/problems/x", "title": "X", "status": status, "detail": detail})
        route.fulfill(status=status, body=found, headers={"Content-Type": "application/problem+json"})

    page.route(pattern, answer)


def test_topics(page: Page) -> None:
    page.get_by_role("button", name=f"Follow {NAMES[LONG]}").click()
    expect(page.locator(".card.preferred")).to_have_count(1)
    clean(page)


def test_topics_that_are_awaited_none_or_refused(page: Page) -> None:
    asked: list[Route] = []
    page.route("**/api/v1/topics", lambda route: asked.append(route))
    page.reload()
    expect(page.locator(".skeleton").first).to_be_visible()
    clean(page)
    asked.pop().fulfill(json=[])
    expect(page.locator(".panel")).to_contain_text("No topics yet")
    clean(page)
    refuse(page, "**/api/v1/topics", 503, "the system of record is not reachable")
    page.reload()
    expect(page.locator(".panel")).to_contain_text("not reachable")
    clean(page)


def test_stories_of_a_topic_the_newest_and_one(service: Service, page: Page) -> None:
    visit(page, f"#/topics/{LONG}")
    clean(page)
    visit(page, f"#/topics/{BARE}")
    expect(page.locator(".panel")).to_contain_text("No stories yet.")
    clean(page)
    visit(page, "#/newest")
    expect(page.locator(".snippet").first).to_be_visible()
    clean(page)
    page.locator(".snippet h2 a").first.click()
    expect(page.locator(".story h1")).to_be_focused()
    clean(page)
    page.goto(f"{service.url}/nowhere")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    clean(page)
    page.go_back()
    shown(page)
    visit(page, "#/topics/nobody")
    expect(page.locator(".panel")).to_contain_text("There is no topic nobody.")
    clean(page)


def test_a_podcast_in_progress_playing_and_whole(service: Service, page: Page) -> None:
    visit(page, f"#/topics/{LONG}")
    page.get_by_role("button", name=f"about {NAMES[LONG]}").click()
    with held(service) as renderer:
        expect(page.locator(".steps .now")).to_have_text("Recording")
        clean(page)
        renderer.speak(lambda: heard(page), 3)
        until(page, f"{AUDIO}.currentTime > 0.2")
        page.get_by_role("button", name="Keyboard").click()
        clean(page)
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    page.locator(".toggle").click()
    page.locator(".line").nth(2).click()
    expect(page.locator(".line[aria-current]")).to_be_visible()
    clean(page)


def test_a_podcast_that_could_not_be_made_and_one_that_was_refused(service: Service, page: Page) -> None:
    visit(page, f"#/topics/{SHORT}")
    refuse(page, "**/podcasts/generate", 429, "too many podcasts were asked for; wait 100 s")
    page.get_by_role("button", name=f"about {NAMES[SHORT]}").click()
    expect(notice(page)).to_contain_text("No podcast was made.")
    clean(page)
    visit(page, f"#/listen/{ask_for(service, BARE)}/{BARE}")
    expect(page.locator(".making")).to_contain_text("could not be made")
    clean(page)


def test_search_my_podcasts_and_a_question(whole: str, page: Page) -> None:
    page.get_by_role("searchbox").fill(NAMES[SHORT][:4])
    expect(page.locator("#search-found a").first).to_be_visible()
    clean(page)
    page.keyboard.press("Enter")
    expect(page.locator(".rows li").first).to_be_visible()
    clean(page)
    visit(page, "#/search/no-such-word-anywhere")
    expect(page.locator(".panel")).to_contain_text("Nothing was found.")
    clean(page)
    visit(page, "#/mine")
    expect(page.locator(".panel")).to_contain_text("Nothing yet.")
    clean(page)
    visit(page, f"#/topics/{SHORT}")
    expect(page.get_by_role("button", name="Listen to the one")).to_be_visible()
    clean(page)
    page.get_by_role("button", name="Listen to the one").click()
    until(page, f"{AUDIO}.currentTime > 0.2")
    page.locator(".toggle").click()
    visit(page, "#/mine")
    expect(page.locator(".podcasts progress")).to_be_visible()
    clean(page)
    visit(page, "#/")
    page.get_by_role("button", name=f"about {NAMES[SHORT]}").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    clean(page)


def test_signed_out_refused_and_signed_in_with_sessions(service: Service, page: Page) -> None:
    visit(page, "#/you")
    page.get_by_role("button", name="Sign up").click()
    expect(page.locator("#sign-up-username-refusal")).to_have_text("Name is missing.")
    clean(page)
    credentials = {"username": "a-listener-with-a-long-name", "password": PASSWORD}
    service.client.post(f"{API}/users", json=credentials).raise_for_status()
    with httpx.Client(base_url=service.url, verify=NO_TLS, limits=KEPT) as elsewhere:
        elsewhere.post(f"{API}/session/login", json=credentials).raise_for_status()
    sign_in(page, credentials["username"])
    expect(page.locator(".sessions li")).to_have_count(2)
    clean(page)


def test_offline(page: Page) -> None:
    page.context.set_offline(True)
    expect(page.locator("#banner")).to_be_visible()
    page.get_by_role("link", name="Newest").click()
    expect(page.locator(".panel")).to_contain_text("You are offline.")
    clean(page)
    page.context.set_offline(False)
    expect(page.locator("#banner")).to_be_hidden()


def test_a_podcast_is_made_and_heard_by_the_keyboard_alone(service: Service, page: Page) -> None:
    visit(page, f"#/topics/{LONG}")
    keys = page.keyboard

    def tab_to(name: str) -> None:
        for _ in range(20):
            keys.press("Tab")
            if page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent") == name:
                return
        raise AssertionError(f"the key Tab does not lead to {name}")

    tab_to(page.get_by_role("button", name=f"about {NAMES[LONG]}").get_attribute("aria-label") or "")
    keys.press("Enter")
    with held(service) as renderer:
        expect(page.locator("#main h1")).to_be_focused()
        renderer.speak(lambda: heard(page), 8)
        until(page, f"{AUDIO}.currentTime > 0.2")
        tab_to("Pause")
        keys.press("Space")
        until(page, f"{AUDIO}.paused")
        expect(page.locator("#main").get_by_role("button", name="Listen", exact=True)).to_be_focused()
    # Its making goes on; the focus stays.
    expect(page.get_by_role("link", name="Download")).to_be_visible()
    expect(page.locator("#main").get_by_role("button", name="Listen", exact=True)).to_be_focused()
    tab_to("Play")
    tab_to("Position")
    keys.press("ArrowRight")
    at = value(page, "currentTime")
    assert at > 5
    keys.press("Home")
    until(page, f"{AUDIO}.currentTime === 0")
    keys.press("Tab")
    expect(page.get_by_label("Speed")).to_be_focused()
    with patched(page):
        keys.press("ArrowDown")
    expect(page.get_by_label("Speed")).to_have_value("1.25")
    keys.press("Tab")
    expect(page.get_by_role("button", name="Keyboard")).to_be_focused()
    keys.press("Enter")
    expect(page.locator("#keys-list")).to_be_visible()
    keys.press("Tab")
    keys.press("Enter")
    expect(page.locator("#player")).to_be_hidden()
    expect(page.locator("#main")).to_be_focused()


def test_what_happens_is_told_to_who_does_not_see_it(whole: str, visitor: Visit) -> None:
    page = visitor().open(f"#/listen/{whole}/{SHORT}")
    expect(page.locator("#announcer")).to_have_text(f"{NAMES[SHORT]}. Paused")
    page.get_by_role("button", name="Listen", exact=True).click()
    expect(page.locator("#announcer")).to_have_text(f"{NAMES[SHORT]}. Playing")
    until(page, f"Number.isFinite({AUDIO}.duration)")
    page.get_by_role("slider", name="Position").press("End")
    expect(page.locator("#announcer")).to_have_text(f"{NAMES[SHORT]}. Finished")
