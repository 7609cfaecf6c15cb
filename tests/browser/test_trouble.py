"""What can stand in a podcast's way, and what the listener's page makes of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from signal import SIGTERM

import httpx
import pytest
from playwright.sync_api import Page, Route, ViewportSize, expect

from tests.support.held_renderer import BARE, LONG, NAMES, SHORT, ask_for, held, is_whole, write_topics
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX
from tests.support.real_servers import free_port
from tests.support.running_service import API, KEPT, NO_TLS, TOKEN, Serve, Service
from tests.support.visitors import (
    AUDIO,
    PASSWORD,
    PATIENCE,
    WITH_CHROMIUM,
    Visit,
    Visitor,
    heard,
    notice,
    patched,
    sign_up,
    slowly,
    until,
    value,
    visit,
)

pytestmark = [WITH_CHROMIUM, ON_LINUX]

PROXY = {"GREENROOM_EDITOR_TOKEN": TOKEN, "GREENROOM_SAMPLE": "off", "GREENROOM_TRUSTED_PROXIES": "127.0.0.1"}
WITHOUT_MSE = "delete window.MediaSource; delete window.ManagedMediaSource;"
WITHOUT_WEBM = f"{WITHOUT_MSE} HTMLMediaElement.prototype.canPlayType = () => '';"
AT = {"generation_timestamp": "2026-01-01T00:00:00Z"}
BLOCKED = """
const play = HTMLMediaElement.prototype.play;
HTMLMediaElement.prototype.play = function () {
    return window.allowed ? play.call(this) : Promise.reject(new DOMException('not unasked', 'NotAllowedError'));
};
"""
HEARD = """
window.heard = [];
addEventListener('DOMContentLoaded', () => {
    const announcer = document.getElementById('announcer');
    new MutationObserver(() => window.heard.push(announcer.textContent)).observe(announcer, { childList: true });
});
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests of this file, which believes who forwards an address."""
    home: Path = tmp_path_factory.mktemp("serve")
    service = Service(home, env=PROXY).start()
    write_topics(service)
    yield service
    service.stop()


def prepared(script: str) -> Callable[[Page], object]:
    """To be run in a page before its own scripts."""
    return lambda page: page.add_init_script(script)


def make(page: Page, topic: str) -> None:
    """Ask for a podcast, as a listener does."""
    page.get_by_role("button", name=re.compile(f"^Make .* about {NAMES[topic]}$")).click()


def podcast_of(page: Page) -> str:
    """The id of the podcast that the page shows."""
    expect(page.locator(".podcast")).to_be_visible()
    return page.url.partition("#/listen/")[2].partition("/")[0]


def said(page: Page, text: str) -> None:
    """Wait for what the player says."""
    expect(page.locator("#player .state")).to_have_text(text)


def to_its_end(page: Page) -> None:
    """Return when the whole recording has come, and its end was played."""
    until(page, f"Number.isFinite({AUDIO}.duration)")
    playing(page)
    page.get_by_role("slider", name="Position").press("End")
    said(page, "Finished")
    assert value(page, "ended")


def playing(page: Page) -> None:
    """Return when it is heard."""
    until(page, f"{AUDIO}.currentTime > 0.2 && !{AUDIO}.paused")


def streams(visiting: Visitor) -> list[str]:
    """The sockets that were opened."""
    return [url for url in visiting.requests if url.startswith("ws:")]


def listeners(service: Service) -> dict[str, int]:
    found: dict[str, int] = service.client.get(f"{API}/activity", headers=service.editor).json()["listeners"]
    return found


def test_a_restart_of_the_server_is_told_and_the_podcast_goes_on(serve: Serve, visitor: Visit) -> None:
    port = ("--port", str(free_port()), "--sample", "off")
    service = serve(*port)
    write_topics(service)
    visiting = visitor(service.url)
    page = visiting.open(f"#/topics/{LONG}", before=prepared(HEARD))
    make(page, LONG)
    with held(service) as renderer:
        slowly(page)
        renderer.speak(lambda: heard(page), 5)
        playing(page)
        assert service.stop(SIGTERM) == 0
    expect(page.get_by_role("alert").first).to_contain_text("Greenroom cannot be reached.")
    said(page, "The connection was lost. Connecting again.")
    at = value(page, "currentTime")
    # What has come is played on meanwhile.
    until(page, f"{AUDIO}.currentTime > {at}")
    again = serve(*port)
    expect(page.locator("#banner")).to_be_hidden()
    until(page, "window.heard.includes('Greenroom answers again.')")
    expect(page.locator(".making")).to_have_text("Ready.")
    to_its_end(page)
    assert is_whole(again, podcast_of(page))
    assert page.evaluate(f"{AUDIO}.buffered.length") == 1
    assert value(page, "currentTime") > at


def test_two_tabs_listen_to_one_podcast_and_one_goes(service: Service, visitor: Visit) -> None:
    visiting = visitor()
    first = visiting.open(f"#/topics/{LONG}")
    with patched(first):
        first.get_by_role("button", name=f"Follow {NAMES[LONG]}").click()

    def streamed() -> object:
        return first.request.get(f"{service.url}{API}/session").json().get("active_podcast_stream_id")

    make(first, LONG)
    with held(service) as renderer:
        renderer.speak(lambda: heard(first), 3)
        playing(first)
        podcast = podcast_of(first)
        second = visiting.open(f"#/listen/{podcast}/{LONG}")
        second.get_by_role("button", name="Listen", exact=True).click()
        playing(second)
        wait_for(lambda: (listeners(service), streamed()) == ({podcast: 2}, podcast), PATIENCE)
        second.close()
        wait_for(lambda: listeners(service) == {podcast: 1}, PATIENCE)
        assert streamed() == podcast
    to_its_end(first)
    wait_for(lambda: listeners(service) == {}, PATIENCE)
    wait_for(lambda: streamed() is None, PATIENCE)


def test_a_session_that_ends_elsewhere_is_told_and_the_podcast_goes_on(service: Service, visitor: Visit) -> None:
    visiting = visitor()
    page = visiting.open()
    sign_up(page, "mary")
    visit(page, f"#/topics/{LONG}")
    make(page, LONG)
    with held(service) as renderer:
        renderer.speak(lambda: heard(page), 3)
        playing(page)
        assert len(streams(visiting)) == 1
        with httpx.Client(base_url=service.url, verify=NO_TLS, limits=KEPT) as elsewhere:
            credentials = {"username": "mary", "password": PASSWORD}
            elsewhere.post(f"{API}/session/login", json=credentials).raise_for_status()
            elsewhere.post(f"{API}/session/logout-everywhere").raise_for_status()
        expect(notice(page)).to_have_text("Your session has ended. Sign in again to keep what you choose.")
        expect(page.locator("#you")).to_have_text("Sign in")
        wait_for(lambda: len(streams(visiting)) >= 2, PATIENCE)
        wait_for(lambda: listeners(service) == {podcast_of(page): 1}, PATIENCE)
    to_its_end(page)


def test_who_signs_in_while_listening_goes_on_listening(service: Service, visitor: Visit) -> None:
    visiting = visitor()
    page = visiting.open(f"#/topics/{LONG}")
    with patched(page):
        page.get_by_role("button", name=f"Follow {NAMES[LONG]}").click()
    make(page, LONG)
    with held(service) as renderer:
        renderer.speak(lambda: heard(page), 3)
        playing(page)
        podcast = podcast_of(page)
        sign_up(page, "jane")
        wait_for(lambda: len(streams(visiting)) >= 2, PATIENCE)
        own = f"{service.url}{API}/session"
        wait_for(lambda: page.request.get(own).json().get("active_podcast_stream_id") == podcast, PATIENCE)
        expect(notice(page)).to_have_count(0)
        assert not value(page, "paused")
    to_its_end(page)


def test_a_failed_podcast_says_why_and_is_made_once_there_are_stories(service: Service, visitor: Visit) -> None:
    def gone_meanwhile(route: Route) -> None:
        route.fulfill(json=[{"topic_id": BARE, "snippet_id": "x", "title": "x", "text_content": "x"} | AT])

    page = visitor().open()
    page.route(f"**/snippets?topic_id={BARE}*", gone_meanwhile)
    make(page, BARE)
    reason = "The podcast could not be made: there is nothing to tell about its topic yet."
    expect(page.locator(".making")).to_have_text(reason)
    said(page, reason)
    page.unroute(f"**/snippets?topic_id={BARE}*")
    expect(page.locator(".steps")).to_be_hidden()
    for name in ("Listen", "Play", "Keyboard"):
        expect(page.get_by_role("button", name=name, exact=True)).to_be_hidden()
    expect(page.get_by_label("Speed")).to_be_hidden()
    close = page.get_by_role("button", name="Close the player").bounding_box()
    assert close is not None
    assert close["x"] > page.evaluate("innerWidth") * 0.9
    expect(page.locator(".made")).to_have_text("Asked for today")
    make(page, BARE)
    expect(notice(page)).to_have_text(f"There are no stories about {NAMES[BARE]} yet, and so no podcast.")
    expect(page.locator("#player")).to_be_hidden()
    page.get_by_role("link", name="Back to the topic").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(NAMES[BARE])
    expect(page.get_by_role("button", name="Follow")).to_be_visible()
    expect(page.get_by_role("button", name="podcast")).to_have_count(0)

    story = {"topic_id": BARE, "title": "The first", "text_content": "The bridge is open again."}
    written = service.client.post(f"{API}/snippets", json=story, headers=service.editor).json()
    page.go_back()
    expect(page.locator(".making")).to_have_text(reason)
    make(page, BARE)
    expect(page.locator(".making")).to_have_text("Ready.")
    playing(page)
    service.client.delete(f"{API}/snippets/{written['snippet_id']}", headers=service.editor).raise_for_status()


def test_without_media_source_extensions_the_whole_recording_is_played(service: Service, visitor: Visit) -> None:
    visiting = visitor()
    page = visiting.open(f"#/topics/{SHORT}", before=prepared(WITHOUT_MSE))
    make(page, SHORT)
    with held(service):
        said(page, "This browser cannot play it while it is being made. It begins by itself when it is whole.")
        assert value(page, "currentSrc") == ""
    until(page, f"{AUDIO}.currentTime > 0.2")
    said(page, "The whole recording: this browser cannot play it in parts.")
    assert value(page, "currentSrc") == f"{service.url}{API}/podcasts/{podcast_of(page)}/audio.webm"
    page.evaluate(f"{AUDIO}.playbackRate = 16")
    until(page, f"{AUDIO}.ended")
    assert streams(visiting) == []


def test_a_browser_that_cannot_play_webm_is_offered_the_file(service: Service, visitor: Visit) -> None:
    page = visitor().open(f"#/topics/{SHORT}", before=prepared(WITHOUT_WEBM))
    make(page, SHORT)
    said(page, "This browser cannot play WebM audio. Once the podcast is ready you can download it.")
    download = page.get_by_role("link", name="Download")
    expect(download).to_have_attribute("download", f"{NAMES[SHORT]}.webm")
    path = download.get_attribute("href")
    # The file is offered as soon as the browser is known to need it, which is before the recording is whole.
    wait_for(lambda: page.request.get(f"{service.url}{path}").ok, PATIENCE)
    assert page.request.get(f"{service.url}{path}").body()[:4] == b"\x1a\x45\xdf\xa3"


def test_a_browser_that_does_not_begin_by_itself_is_asked_to_by_a_click(service: Service, visitor: Visit) -> None:
    page = visitor().open(f"#/topics/{SHORT}", before=prepared(BLOCKED))
    make(page, SHORT)
    # The click has asked for sound once; the podcast itself asks again when it is known.
    assert podcast_of(page)
    said(page, "Press play: this browser does not begin by itself.")
    expect(page.locator(".toggle")).to_have_accessible_name("Play")
    expect(page.locator("html")).to_have_attribute("data-air", "off")
    page.evaluate("window.allowed = true")
    page.locator(".toggle").click()
    until(page, f"{AUDIO}.currentTime > 0.2")
    said(page, "Playing")


def test_too_many_podcasts_of_one_address_are_told_with_the_time_to_wait(service: Service, visitor: Visit) -> None:
    headers = {"X-Forwarded-For": "192.0.2.7"}
    status = 202
    while status == 202:
        # One podcast, asked for again and again.
        same = headers | {"Idempotency-Key": "one"}
        status = service.client.post(f"{API}/podcasts/generate", json={"topic_id": BARE}, headers=same).status_code
    assert status == 429
    page = visitor(extra_http_headers=headers).open(f"#/topics/{SHORT}")
    make(page, SHORT)
    told = notice(page)
    expect(told).to_contain_text("No podcast was made. Too many requests for podcasts from this address. Try again in ")
    expect(page.locator("#player")).to_be_hidden()
    expect(page.locator("html")).to_have_attribute("data-air", "off")


def test_refusals_are_told_with_their_remedy_and_one_can_ask_again(visitor: Visit) -> None:
    page = visitor().open(f"#/topics/{SHORT}")
    refusals: list[tuple[int, str, dict[str, str], str]] = [
        (503, "100 podcasts wait", {"Retry-After": "20"}, "100 podcasts wait. Try again in 20 seconds."),
        (501, "this needs voices: pip install x", {}, "This needs voices: pip install x."),
    ]
    for status, detail, headers, told in refusals:
        found = json.dumps({"type": "/problems/x", "title": "X", "status": status, "detail": detail})
        headers["Content-Type"] = "application/problem+json"
        answer = partial(Route.fulfill, status=status, body=found, headers=headers)
        page.route("**/podcasts/generate", answer, times=1)
        make(page, SHORT)
        expect(notice(page)).to_have_text(f"No podcast was made. {told}")
        expect(page.locator("#player")).to_be_hidden()
    make(page, SHORT)
    expect(page.locator("#player")).to_be_visible()
    expect(page.locator(".podcast")).to_be_visible()
    expect(notice(page)).to_have_count(0)


def test_a_request_whose_answer_is_lost_is_repeated_for_the_same_podcast(service: Service, visitor: Visit) -> None:
    made: list[str] = []

    def lose(route: Route) -> None:
        made.append(route.fetch().json()["podcast_id"])
        route.abort()

    page = visitor().open(f"#/topics/{SHORT}")
    page.route("**/podcasts/generate", lose, times=1)
    make(page, SHORT)
    assert [podcast_of(page)] == made


def test_a_link_to_a_recording_that_is_not_kept_says_so(service: Service, visitor: Visit) -> None:
    podcast = ask_for(service, SHORT)
    wait_for(lambda: is_whole(service, podcast), PATIENCE)
    (file,) = [one for one in service.data_dir.rglob("*.webm") if podcast in one.name]
    file.unlink()
    page = visitor().open(f"#/listen/{podcast}/{SHORT}")
    said(page, "This recording is not kept any more. Ask for the podcast again.")


def test_where_events_do_not_come_through_the_status_is_asked_for(service: Service, visitor: Visit) -> None:
    page = visitor().open(f"#/topics/{SHORT}")
    page.route("**/events", lambda route: route.fulfill(status=404))
    make(page, SHORT)
    with held(service):
        expect(page.locator(".steps .now")).to_have_text("Recording")
    expect(page.locator(".making")).to_have_text("Ready.")


def test_the_steps_of_a_podcast_do_not_touch_on_the_narrowest_screen(visitor: Visit) -> None:
    podcast = "0" * 32
    told = {"podcast_id": podcast, "topic_id": SHORT, "status": "audio_rendering"}
    body = f"event: status\ndata: {json.dumps(told)}\n\n"
    page = visitor(viewport=ViewportSize(width=320, height=640)).open()
    page.route("**/events", lambda route: route.fulfill(body=body, headers={"Content-Type": "text/event-stream"}))
    page.evaluate("address => { location.hash = address }", f"#/listen/{podcast}/{SHORT}")
    expect(page.locator(".steps .now")).to_have_text("Recording")
    words = """element => [...element.children].map((step) => {
        const range = document.createRange();
        range.selectNodeContents(step.lastChild);
        const { left, right } = range.getBoundingClientRect();
        return [left, right];
    })"""
    edges = page.locator(".steps").evaluate(words)
    assert [after[0] - before[1] >= 6 for before, after in pairwise(edges)] == [True] * 3


def test_a_status_that_comes_late_does_not_lead_back(visitor: Visit) -> None:
    podcast = "0" * 32

    def event(status: str) -> str:
        found = {"podcast_id": podcast, "topic_id": SHORT, "status": status}
        return f"event: status\ndata: {json.dumps(found)}\n\n"

    def answer(route: Route) -> None:
        body = event("queued") + event("audio_rendering") + event("script_generating")
        route.fulfill(body=body, headers={"Content-Type": "text/event-stream"})

    page = visitor().open()
    page.route("**/events", answer)
    page.evaluate("address => { location.hash = address }", f"#/listen/{podcast}/{SHORT}")
    expect(page.locator(".steps .now")).to_have_text("Recording")
    # It was told all three by then: they came in one piece.
    expect(page.locator(".making")).to_have_text("The voices are being recorded. You can listen already.")
