"""A podcast on the listener's page: made by a real worker, played while it is made, and heard to its end."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.support.held_renderer import LONG, NAMES, SHORT, ask_for, held, is_whole, write_topics
from tests.support.patience import wait_for
from tests.support.process_tree import ON_LINUX
from tests.support.running_service import API, TOKEN, Service
from tests.support.visitors import (
    AUDIO,
    PATIENCE,
    WITH_CHROMIUM,
    Visit,
    heard,
    notice,
    patched,
    shown,
    sign_in,
    sign_up,
    slowly,
    until,
    value,
    visit,
)

pytestmark = [WITH_CHROMIUM, ON_LINUX]

STEPS = ["In the queue", "Script", "Recording", "Ready"]
WATCHED = """
window.steps = [];
new MutationObserver(() => {
    const at = document.querySelector('.steps .now, .steps .done:last-child')?.textContent;
    if (at && at !== window.steps.at(-1)) window.steps.push(at);
}).observe(document, { subtree: true, childList: true });
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests of this file, with topics for podcasts of known lengths."""
    home: Path = tmp_path_factory.mktemp("serve")
    service = Service(home, env={"GREENROOM_EDITOR_TOKEN": TOKEN, "GREENROOM_SAMPLE": "off"}).start()
    write_topics(service)
    yield service
    service.stop()


@pytest.fixture(scope="module")
def long(service: Service) -> str:
    """The id of a podcast of more than a minute; whole soon after."""
    return ask_for(service, LONG)


@pytest.fixture(scope="module")
def short(service: Service) -> str:
    """The id of a podcast of half a minute; whole soon after."""
    return ask_for(service, SHORT)


def link(podcast_id: str, topic: str) -> str:
    return f"#/listen/{podcast_id}/{topic}"


def podcast_of(page: Page) -> str:
    """The id of the podcast that the page shows."""
    return page.url.partition("#/listen/")[2].partition("/")[0]


def make(page: Page, topic: str) -> None:
    """Ask for a podcast, as a listener does."""
    page.get_by_role("button", name=re.compile(f"^Make .* about {NAMES[topic]}$")).click()


def state(page: Page) -> str:
    return page.locator("#player .state").inner_text()


def whole(page: Page) -> None:
    """Return when the page has all of the recording."""
    until(page, f"Number.isFinite({AUDIO}.duration)")


def still(page: Page) -> None:
    """Press pause."""
    page.locator(".toggle").click()
    until(page, f"{AUDIO}.paused")


def at(page: Page, seconds: float) -> None:
    """Return when it stands there."""
    until(page, f"Math.abs({AUDIO}.currentTime - {seconds}) < 0.1 && !{AUDIO}.seeking")


def test_it_plays_while_it_is_made_and_every_step_is_shown_in_order(service: Service, visitor: Visit) -> None:
    page = visitor().open(f"#/topics/{LONG}", before=lambda page: page.add_init_script(WATCHED))
    ask_for(service, SHORT)
    with held(service) as another:
        # The one studio is taken.
        make(page, LONG)
        expect(page.get_by_role("heading", level=1)).to_have_text(NAMES[LONG])
        expect(page.get_by_role("heading", level=1)).to_be_focused()
        expect(page.locator(".steps .now")).to_have_text("In the queue")
        waits = "It begins as soon as a studio is free. It is the next one in the queue."
        expect(page.locator(".making")).to_contain_text(waits)
        expect(page.locator("#player .state")).to_have_text("Waiting for a studio")
        queue, why = f"{API}/control/queue", {"why": "the disk is full"}
        service.client.post(f"{queue}/pause", json=why, headers=service.editor).raise_for_status()
        expect(page.locator(".making")).to_contain_text("The queue is paused: nothing new begins until the operators")
        service.client.post(f"{queue}/resume", json=why, headers=service.editor).raise_for_status()
        expect(page.locator(".making")).to_contain_text(waits)
    with held(service, after=another) as renderer:
        expect(page.locator(".steps .now")).to_have_text("Recording")
        expect(page.locator(".steps .now")).to_have_attribute("aria-current", "step")
        expect(page.locator("#player .state")).to_have_text("Waiting for the first words")
        expect(page.locator("html")).to_have_attribute("data-air", "soon")
        slowly(page)
        renderer.speak(lambda: heard(page), 5)
        until(page, f"{AUDIO}.currentTime > 1")
        expect(page.locator("#player .state")).to_have_text("Playing")
        expect(page.locator("html")).to_have_attribute("data-air", "on")
        expect(page.locator("#player .times")).to_contain_text("so far")
        expect(page.get_by_role("link", name="Download")).to_be_hidden()
        assert not is_whole(service, podcast_of(page))
        assert value(page, "duration") == float("inf")
    expect(page.locator(".making")).to_have_text("Ready.")
    expect(page.locator(".steps .done")).to_have_text(STEPS)
    whole(page)
    expect(page.locator("#player .times")).not_to_contain_text("so far")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == f"{NAMES[LONG]}.webm"
    seen = page.evaluate("window.steps")
    assert (seen[0], seen[-1]) == ("In the queue", "Ready")
    assert seen == [step for step in STEPS if step in seen]


def test_every_second_of_it_is_played_once_and_then_it_can_be_heard_again(short: str, visitor: Visit) -> None:
    page = visitor().open(link(short, SHORT))
    page.get_by_role("button", name="Listen", exact=True).click()
    whole(page)
    page.evaluate(f"{AUDIO}.playbackRate = 16")
    until(page, f"{AUDIO}.ended")
    expect(page.locator("#player .state")).to_have_text("Finished")
    played = page.evaluate(f"(() => {{ const p = {AUDIO}.played; return [p.length, p.start(0), p.end(0)]; }})()")
    assert played == [1, 0, pytest.approx(value(page, "duration"), abs=0.1)]
    assert value(page, "duration") > 5
    page.evaluate(f"{AUDIO}.playbackRate = 1")
    page.get_by_role("button", name="Play again").click()
    until(page, f"!{AUDIO}.paused && {AUDIO}.currentTime < {AUDIO}.duration / 2")
    expect(page.locator("#player .state")).to_have_text("Playing")


def test_one_moves_about_in_it_by_buttons_and_by_the_slider(long: str, visitor: Visit) -> None:
    page = visitor().open(link(long, LONG))
    page.get_by_role("button", name="Listen", exact=True).click()
    whole(page)
    still(page)
    slider = page.get_by_role("slider", name="Position")
    slider.press("Home")
    at(page, 0)
    page.get_by_role("button", name="Forward 30 seconds").click()
    at(page, 30)
    page.get_by_role("button", name="Back 10 seconds").click()
    at(page, 20)
    slider.press("ArrowRight")
    at(page, 30)
    slider.press("PageDown")
    at(page, 0)
    expect(slider).to_have_attribute("aria-valuetext", f"0 seconds of {_spoken(value(page, 'duration'))}")
    slider.press("End")
    at(page, value(page, "duration"))
    slider.fill("40")
    at(page, 40)
    page.locator(".toggle").click()
    until(page, f"{AUDIO}.currentTime > 40.3")

    # The keys, where nothing else takes them.
    page.locator("#main h1").focus()
    page.keyboard.press("Space")
    until(page, f"{AUDIO}.paused")
    assert page.evaluate("scrollY") == 0
    page.get_by_label("Speed").focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name="Back 10 seconds").focus()
    before = value(page, "currentTime")
    page.keyboard.press("ArrowLeft")
    at(page, before - 10)
    page.keyboard.press("ArrowRight")
    at(page, before)

    # The wave is the sound itself: pauses between the turns, no two bars alike; a click goes there.
    bars = page.locator(".podcast-wave rect:not(.ground)")
    heights = "all => new Set(all.map((bar) => bar.getAttribute('height'))).size"
    wait_for(lambda: bars.evaluate_all(heights) > 40, PATIENCE)
    page.locator(".podcast-wave .wave").click(position={"x": 2, "y": 8})
    until(page, f"{AUDIO}.currentTime < 2")
    middle = page.locator(".podcast-wave .wave").bounding_box()
    assert middle is not None
    page.locator(".podcast-wave .wave").click(position={"x": middle["width"] / 2, "y": 8})
    until(page, f"Math.abs({AUDIO}.currentTime - {AUDIO}.duration / 2) < 1")
    wait_for(lambda: abs(page.locator(".podcast-wave .played").count() - 60) < 3, PATIENCE)


def test_what_is_said_goes_along_with_the_sound_and_leads_to_the_stories(long: str, visitor: Visit) -> None:
    page = visitor().open(link(long, LONG))
    page.get_by_role("button", name="Listen", exact=True).click()
    whole(page)
    still(page)
    lines, said = page.locator(".line"), page.locator(".line[aria-current]")
    told = page.request.get(f"{page.url.partition('/#')[0]}{API}/podcasts/{long}/transcript").json()["lines"]
    times = [line["start_seconds"] for line in told]
    expect(lines).to_have_count(len(times))
    lines.nth(4).click()
    at(page, times[4])
    expect(said).to_have_count(1)
    expect(said).to_contain_text(told[4]["text"])
    page.get_by_role("slider", name="Position").press("End")
    expect(said).to_contain_text(told[-1]["text"])
    page.get_by_role("slider", name="Position").press("Home")
    expect(said).to_contain_text(told[0]["text"])
    # One stop for Tab, and the arrows from line to line.
    expect(page.locator(".line[tabindex='0']")).to_have_count(1)
    lines.nth(0).focus()
    page.keyboard.press("ArrowDown")
    expect(lines.nth(1)).to_be_focused()
    # Where another podcast plays, or none, a line begins this one.
    page.get_by_role("button", name="Close the player").click()
    expect(said).to_have_count(0)
    lines.nth(2).click()
    until(page, f"{AUDIO}.currentTime > {times[2]} && !{AUDIO}.paused")
    page.locator(".sources a").first.click()
    expect(page.locator(".story h1")).to_have_text("Story 0")


def test_who_comes_late_hears_it_from_the_beginning_while_it_is_made(service: Service, visitor: Visit) -> None:
    first = visitor().open(f"#/topics/{LONG}")
    make(first, LONG)
    with held(service) as renderer:
        renderer.speak(lambda: heard(first), 6)
        until(first, f"{AUDIO}.currentTime > 0.5")
        second = visitor().open(first.url.partition("/#")[2].join(["#", ""]))
        # A link is followed to hear it, yet nothing sounds unasked.
        expect(second.locator("#player .state")).to_have_text("Paused")
        second.get_by_role("button", name="Listen", exact=True).click()
        until(second, f"{AUDIO}.currentTime > 0.5")
        assert second.evaluate(f"{AUDIO}.buffered.start(0)") == 0
        assert second.evaluate(f"{AUDIO}.played.start(0)") == 0
        assert not is_whole(service, podcast_of(first))
    whole(first)
    whole(second)
    assert value(first, "duration") == value(second, "duration")


def test_after_a_reload_one_goes_on_where_one_was_and_back_from_there(long: str, visitor: Visit) -> None:
    visiting = visitor()
    page = visiting.open(link(long, LONG))
    page.get_by_role("button", name="Listen", exact=True).click()
    whole(page)
    still(page)
    page.get_by_role("slider", name="Position").fill("40")
    at(page, 40)
    visiting.requests.clear()
    page.reload()
    shown(page)
    at(page, 40)
    assert value(page, "paused")
    assert page.evaluate(f"{AUDIO}.buffered.start(0)") > 30
    assert [url for url in visiting.requests if "/stream" in url and "from=40" in url]
    page.locator(".toggle").click()
    until(page, f"{AUDIO}.currentTime > 40.3")
    # What was not loaded is asked for.
    page.get_by_role("slider", name="Position").press("Home")
    until(page, f"{AUDIO}.currentTime > 0.3 && {AUDIO}.currentTime < 20")
    assert page.evaluate(f"{AUDIO}.buffered.start(0)") == 0


def test_the_speed_is_kept_in_the_session_and_found_after_a_reload(short: str, visitor: Visit) -> None:
    page = visitor().open(link(short, SHORT))
    with patched(page):
        page.get_by_label("Speed").select_option("1.5")
    assert value(page, "playbackRate") == 1.5
    page.reload()
    shown(page)
    expect(page.get_by_label("Speed")).to_have_value("1.5")
    page.get_by_role("button", name="Listen", exact=True).click()
    until(page, f"{AUDIO}.currentTime > 0.3")
    assert value(page, "playbackRate") == 1.5
    visit(page, "#/you")
    expect(page.locator("#default-speed")).to_have_value("1.5")
    with patched(page):
        page.locator("#default-speed").select_option("2")
    assert value(page, "playbackRate") == 2


def test_a_recording_that_there_is_is_offered_before_a_new_one(short: str, service: Service, visitor: Visit) -> None:
    wait_for(lambda: is_whole(service, short), PATIENCE)
    latest = f"{service.url}{API}/topics/{SHORT}/podcasts?limit=1"
    page = visitor().open(f"#/topics/{SHORT}")
    known = page.request.get(latest).json()[0]["podcast_id"]
    offer = page.get_by_role("button", name="Listen to the one made today")
    expect(offer).to_have_text(re.compile(r"^Listen to the one made today \(\d+ (s|min)\)$"))
    expect(page.get_by_role("button", name=f"Make a new one about {NAMES[SHORT]}")).to_be_visible()
    feed = page.locator("link[rel=alternate]").get_attribute("href")
    assert page.locator(".topic-about").get_by_role("link", name="RSS").get_attribute("href") == feed
    assert f"/podcasts/{known}/audio.webm" in page.request.get(f"{service.url}{feed}").text()
    offer.click()
    until(page, f"{AUDIO}.currentTime > 0.2")
    assert podcast_of(page) == known
    expect(page.locator(".made")).to_have_text(re.compile(r"^Made today · \d+ (s|min)$"))
    expect(page).to_have_title(re.compile(rf"^{NAMES[SHORT]}, \w+ \d+, \d+ · Greenroom$"))
    page.get_by_role("button", name="Close the player").click()

    # From a card one is asked; who does not answer has lost nothing.
    visit(page, "#/")
    card = page.get_by_role("button", name=f"Make me a podcast about {NAMES[SHORT]}")
    card.click()
    expect(page.get_by_role("dialog")).to_contain_text("Listen to the one made today")
    expect(page.get_by_role("button", name="Listen to that one")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(card).to_be_focused()
    expect(page.locator("#player")).to_be_hidden()
    card.click()
    page.get_by_role("button", name="Make a new one").click()
    expect(page.locator(".podcast")).to_be_visible()
    assert podcast_of(page) != known
    expect(page.locator(".steps .done")).to_have_count(4)


def test_my_podcasts_outlive_the_player_a_reload_and_signing_in(short: str, service: Service, visitor: Visit) -> None:
    wait_for(lambda: is_whole(service, short), PATIENCE)
    page = visitor().open("#/mine")
    expect(page.locator(".panel")).to_contain_text("Nothing yet.")
    visit(page, link(short, SHORT))
    page.get_by_role("button", name="Listen", exact=True).click()
    whole(page)
    page.get_by_role("slider", name="Position").fill("3")
    until(page, f"{AUDIO}.currentTime > 5.1")
    page.get_by_role("button", name="Close the player").click()
    visit(page, "#/mine")
    rows = page.locator(".podcasts > li")
    expect(rows).to_have_count(1)
    expect(rows.locator(".when")).to_contain_text(re.compile(r"\d+ (s|min) · 0:(?:0[5-9]|[1-5]\d) of 0:\d\d"))
    page.reload()
    shown(page)
    expect(rows).to_have_count(1)
    sign_up(page, "marie")
    visit(page, "#/mine")
    expect(rows).to_have_count(1)
    expect(page.locator(".lead p").first).to_contain_text("the latest first")
    until(page, "localStorage.getItem('greenroom.history') === null")

    page.get_by_role("button", name="Follow in a podcast app").click()
    feed = page.get_by_role("textbox", name="The address of my feed").input_value()
    assert f"/podcasts/{short}/audio.webm" in page.request.get(feed).text()
    page.get_by_role("button", name="End my feed").click()
    expect(notice(page)).to_have_text("Your feed has ended.")
    assert page.request.get(feed).status == 404

    elsewhere = visitor().open()
    sign_in(elsewhere, "marie")
    expect(elsewhere.locator("#who")).to_have_text("You are signed in as marie.")
    visit(elsewhere, "#/mine")
    row = elsewhere.locator(".podcasts > li")
    row.get_by_role("button", name=f"Go on: {NAMES[SHORT]}").click()
    until(elsewhere, f"{AUDIO}.currentTime > 5")
    assert podcast_of(elsewhere) == short
    elsewhere.get_by_role("slider", name="Position").press("End")
    expect(elsewhere.locator("#player .state")).to_have_text("Finished")
    visit(elsewhere, "#/mine")
    expect(row.locator(".when")).to_contain_text("heard to the end")

    page.reload()
    shown(page)
    expect(rows.locator(".when")).to_contain_text("heard to the end")

    rows.get_by_role("button", name="Remove").click()
    expect(page.locator(".panel")).to_contain_text("Nothing yet.")
    page.reload()
    shown(page)
    expect(page.locator(".panel")).to_contain_text("Nothing yet.")


def test_it_plays_on_while_one_looks_around_and_stops_when_it_is_closed(long: str, visitor: Visit) -> None:
    page = visitor().open(link(long, LONG))
    page.get_by_role("button", name="Listen", exact=True).click()
    until(page, f"{AUDIO}.currentTime > 0.2")
    visit(page, "#/newest")
    before = value(page, "currentTime")
    until(page, f"{AUDIO}.currentTime > {before} + 0.2")
    page.locator("#player").get_by_role("link", name=NAMES[LONG]).click()
    expect(page.locator("#main").get_by_role("button", name="Pause", exact=True)).to_be_visible()
    page.get_by_role("button", name="Close the player").click()
    expect(page.locator("#player")).to_be_hidden()
    assert value(page, "paused")
    expect(page.locator("#main")).to_be_focused()
    page.reload()
    shown(page)
    # The link itself asks for it again, from the beginning.
    expect(page.locator("#player .state")).to_have_text("Paused")
    assert value(page, "currentTime") == 0


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    said = [(minutes, "minute"), (rest, "second")]
    return " ".join(f"{number} {unit}{'' if number == 1 else 's'}" for number, unit in said if number)
