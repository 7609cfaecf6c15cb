"""The operator's page: its files, and one operator who looks, acts, meets an outage and sees it pass."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from hashlib import sha256
from importlib import resources

import pytest
from playwright.sync_api import Page, Route, ViewportSize, expect

from tests.support.axe_audit import clean as audited
from tests.support.process_tree import ON_LINUX, the_server
from tests.support.running_service import API, CONTROL_TOKEN, TOKEN, Service
from tests.support.visitors import WITH_CHROMIUM, Visit

FOLDER = resources.files("greenroom_platform.http") / "page_control"
SCRIPTS = {"app.js", "uPlot.iife.min.js"}
"""All other modules are in the first."""
FILES = {entry.name for entry in FOLDER.iterdir() if not entry.name.endswith(".js")} | SCRIPTS
DIGESTS = {  # of uplot 1.6.32, as its package has them
    "uPlot.LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
}
WIDTHS = 375, 1920, 1280


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without a worker, with a topic, a failed podcast, and one that waits."""
    env = {
        "GREENROOM_EDITOR_TOKEN": TOKEN,
        "GREENROOM_CONTROL_TOKEN": CONTROL_TOKEN,
        "GREENROOM_SAMPLE": "off",
        "GREENROOM_WORK": "off",
    }
    service = Service(tmp_path_factory.mktemp("serve"), env=env).start()
    draft = {"display_name": "Tides", "description": "As it is.", "keywords": []}
    service.client.put(f"{API}/topics/tides", json=draft, headers=service.editor).raise_for_status()
    for _ in range(2):
        made = service.client.post(f"{API}/podcasts/generate", json={"topic_id": "tides"}).raise_for_status().json()
    stop = f"{API}/control/podcasts/{made['podcast_id']}/stop"
    service.client.post(stop, json={"why": "a test wants it"}, headers=service.editor).raise_for_status()
    yield service
    service.stop()


# The files ------------------------------------------------------------------------------------------


def test_the_chart_library_is_the_released_one() -> None:
    assert {name: sha256((FOLDER / name).read_bytes()).hexdigest() for name in DIGESTS} == DIGESTS


def test_the_page_names_its_own_files_and_all_of_them(service: Service) -> None:
    index = service.client.get("/control").text
    linked = set(re.findall(r'(?:href|src)="/control/([^"]+)"', index))
    assert linked == FILES - {"index.html", "uPlot.LICENSE"}
    assert not re.search(r"<style|\sstyle=|\son\w+=", index)
    for name in (one for one in FILES if one.endswith(".js")):
        text = service.client.get(f"/control/{name}").raise_for_status().text
        assert not re.search(r"https?://(?!www\.w3\.org/|github\.com/leeoniya/uPlot)", text), name


# One operator ---------------------------------------------------------------------------------------


def clean(page: Page) -> None:
    """axe-core finds nothing; nothing sticks out, however wide the window is, and it is a desk's afterwards."""
    audited(page, [ViewportSize(width=width, height=900) for width in WIDTHS])


def sign_in(page: Page, token: str, who: str) -> None:
    page.locator("#staff-who").fill(who)
    page.locator("#staff-token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#health .sentence")).to_be_visible()


def view(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_role("link", name=name).click()
    expect(page.locator("main:not([aria-busy]) h1")).to_have_text(name)


def say_why(page: Page, button: str, why: str) -> None:
    """Give a reason, and go through with it."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=button).click()
    expect(dialog.get_by_role("alert")).to_have_text("Say why.")
    dialog.get_by_label("Why").fill(why)
    dialog.get_by_role("button", name=button).click()
    expect(dialog).to_be_hidden()


@pytest.mark.parametrize("_", [pytest.param(None, marks=[WITH_CHROMIUM, ON_LINUX])])
def test_an_operator_looks_acts_and_lives_through_an_outage(service: Service, visitor: Visit, _: None) -> None:
    page = visitor(reduced_motion="reduce", viewport=ViewportSize(width=1280, height=900)).context.new_page()
    page.goto(f"{service.url}/control")
    page.locator("#staff-who").fill("Ana")
    page.locator("#staff-token").fill("a-token-that-is-not-right")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("neither the editor token nor the control token")
    clean(page)

    # Who has the control token sees everything, and is offered nothing.
    sign_in(page, CONTROL_TOKEN, "Lou")
    expect(page.locator("#staff")).to_contain_text("Lou looks")
    view(page, "Podcasts")
    expect(page.locator("tbody tr")).to_have_count(2)
    expect(page.locator("main button")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()

    sign_in(page, TOKEN, "Ana")
    expect(page.locator("#health")).to_have_attribute("data-state", "ok")
    view(page, "Overview")
    for _tries in range(3):
        service.client.get(f"{API}/topics/tides")
    expect(page.locator(".stations .readers .rate")).not_to_have_text("0/s")
    # A point needs two samples, five seconds apart.
    expect(page.locator(".keyspace[data-points=some] canvas").first).to_be_visible()
    clean(page)

    look_up_and_drop(service, page)
    pause_and_retry(page)
    outage(service, page)

    view(page, "Log")
    for number, kind in enumerate(("Retry podcast", "Resume queue", "Pause queue", "Drop key")):
        expect(page.locator("tbody td:nth-child(3)").nth(number)).to_have_text(re.compile(f"^{kind}"))
    expect(page.locator("tbody tr").nth(3)).to_contain_text("It says what was.")
    expect(page.locator("tbody tr").nth(3)).to_contain_text("Ana")
    clean(page)


@pytest.mark.parametrize("_", [pytest.param(None, marks=[WITH_CHROMIUM, ON_LINUX])])
def test_where_nothing_is_pushed_the_page_asks_and_loads_are_shown(service: Service, visitor: Visit, _: None) -> None:
    """As behind a proxy that holds event streams back."""
    page = visitor(reduced_motion="reduce").context.new_page()
    load = {"process": "host-1", "keyspace": "topic", "key": "cache:topic:tides", "seconds": 3.2, "waiting": 41}

    def with_a_load(route: Route) -> None:
        found = route.fetch().json()
        route.fulfill(json=found | {"loads": [load]})

    page.route("**/api/v1/control/events", lambda route: route.fulfill(status=503))
    page.route("**/api/v1/control/summary", with_a_load)
    page.goto(f"{service.url}/control")
    sign_in(page, TOKEN, "Ana")
    expect(page.locator("#loads-title + .scroll tbody tr")).to_have_text(re.compile("tides.*3 s.*41.*host-1"))
    clean(page)
    page.get_by_role("button", name="Cancel cache:topic:tides").click()
    say_why(page, "Cancel the load", "It takes too long.")
    expect(page.locator("#notice p")).to_contain_text("Cancelled: 0 waited in")
    with page.expect_response("**/api/v1/control/summary"):
        pass  # it goes on asking


def look_up_and_drop(service: Service, page: Page) -> None:
    view(page, "Keys")
    stored = service.raw()("GET", "cache:topic:tides")
    service.raw()("SET", "cache:topic:tides", stored.replace(b"As it is.", b"As it was."), "PX", 100_000)
    page.get_by_label("Keyspace").select_option("topic")
    page.get_by_role("button", name="Look up").click()
    expect(page.get_by_role("alert")).to_have_text("topic_id is missing.")
    page.get_by_label("topic_id").fill("tides")
    page.get_by_role("button", name="Look up").click()
    expect(page.locator(".verdict")).to_contain_text("something else than the record")
    expect(page.locator(".differences tbody tr")).to_have_count(1)
    expect(page.locator(".differences .cached")).to_have_text('"As it was."')
    expect(page.locator(".differences .recorded")).to_have_text('"As it is."')
    clean(page)
    page.get_by_role("button", name="Drop this key").click()
    clean(page)
    say_why(page, "Drop it", "It says what was.")
    expect(page.locator(".verdict")).to_have_text("Only the record has it: the next reader loads it.")
    assert service.client.get(f"{API}/topics/tides").json()["description"] == "As it is."


def pause_and_retry(page: Page) -> None:
    view(page, "Podcasts")
    page.get_by_role("button", name="Pause the queue").click()
    say_why(page, "Pause the queue", "The disk is full.")
    expect(page.locator("#paused")).to_contain_text("Paused by Ana")
    expect(page.locator("#health")).to_have_attribute("data-state", "warning")
    clean(page)
    page.get_by_role("button", name="Resume the queue").click()
    say_why(page, "Resume the queue", "There is room again.")
    expect(page.locator("#health")).to_have_attribute("data-state", "ok")
    page.get_by_role("button", name=re.compile("^Retry")).click()
    say_why(page, "Retry", "The disk has room.")
    expect(page.locator("tbody .state.error")).to_have_count(0)
    expect(page.locator("tbody .state.queued")).to_have_count(2)


def outage(service: Service, page: Page) -> None:
    """Valkey stands still: the page tells it, and shows what it can; then it goes on."""
    server = the_server(service.data_dir)
    server.signal(signal.SIGSTOP)
    try:
        expect(page.locator("#health")).to_have_attribute("data-state", "error")
        expect(page.locator(".troubles .error").first).to_contain_text("since")
        expect(page.locator(".troubles")).to_contain_text("Reads go to the record")
        # When, as a clock has it, and once.
        expect(page.locator("#health")).not_to_contain_text(re.compile(r"\d{4}-\d\d-\d\dT"))
        expect(page.locator(".troubles")).to_contain_text("docs/operations.md, When the engine is down")
        view(page, "Keys")
        page.get_by_role("button", name="Look up").click()
        expect(page.locator(".verdict")).to_have_text("They could not be compared.")
        expect(page.locator(".key-view .facts")).to_contain_text(re.compile(r"Lease\s*not known"))
        page.get_by_text("In the cache", exact=True).click()
        expect(page.locator(".bodies details").first).to_contain_text("Not known.")
        view(page, "Servers")
        expect(page.locator(".server .verdict")).to_contain_text("It does not answer")
        view(page, "Sessions")
        expect(page.locator("#here-title")).to_be_visible()
        clean(page)
        view(page, "Podcasts")
        expect(page.locator("tbody tr")).to_have_count(2)
    finally:
        server.signal(signal.SIGCONT)
    expect(page.locator("#health")).to_have_attribute("data-state", "ok")
    view(page, "Servers")
    expect(page.locator(".server .facts")).to_be_visible()
    clean(page)
