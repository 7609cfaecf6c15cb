"""Looking around on the listener's page: topics, pages of snippets, preferred topics, and where answers came from."""

from __future__ import annotations

import json
import re
from functools import partial

from playwright.sync_api import Page, Route, ViewportSize, expect

from tests.support.patience import wait_for
from tests.support.running_service import API, Service
from tests.support.visitors import (
    PATIENCE,
    WITH_CHROMIUM,
    Visit,
    arrived,
    cards,
    notice,
    patched,
    shown,
    titles,
    visit,
)

pytestmark = WITH_CHROMIUM

MARKUP = '<img src="/health/live?stolen" onerror="document.title = 1">'


def write_topic(service: Service, topic: str, **fields: object) -> None:
    draft = {"display_name": topic.title(), "description": "Of a test.", "keywords": []} | fields
    service.client.put(f"{API}/topics/{topic}", json=draft, headers=service.editor).raise_for_status()


def write_snippet(service: Service, topic: str, **fields: object) -> None:
    draft = {"topic_id": topic, "title": "One", "text_content": "Of a test."} | fields
    service.client.post(f"{API}/snippets", json=draft, headers=service.editor).raise_for_status()


def remove(service: Service, *paths: str) -> None:
    for path in paths:
        service.client.delete(f"{API}/{path}", headers=service.editor).raise_for_status()


def test_all_topics_are_shown_at_a_glance(service: Service, visitor: Visit) -> None:
    page = visitor().open()
    topics = service.client.get(f"{API}/topics").json()
    expect(page.locator(".card")).to_have_count(len(topics))
    assert cards(page) == [topic["display_name"] for topic in topics]
    expect(page).to_have_title("Greenroom")


def test_pages_are_turned_by_links_keys_and_the_browser_s_buttons(service: Service, visitor: Visit) -> None:
    pages = [
        [one["title"] for one in service.client.get(f"{API}/snippets?topic_id=mind_memory&page={number}").json()]
        for number in (1, 2)
    ]
    page = visitor().open()
    page.get_by_role("link", name="Mind and Memory").click()
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.locator("#page-heading")).to_have_text("Stories")
    assert titles(page) == pages[0]
    expect(page.locator(".pager").get_by_role("link", name="Newer")).to_have_count(0)
    expect(page.locator(".pager .number")).to_have_text("Stories 1–20")

    page.locator(".pager").get_by_role("link", name="Older").click()
    expect(page.locator("#page-heading")).to_have_text("Stories, page 2")
    expect(page.locator("#page-heading")).to_be_focused()
    expect(page).to_have_title("Mind and Memory, page 2 · Greenroom")
    assert titles(page) == pages[1]
    expect(page.locator(".pager").get_by_role("link", name="Older")).to_have_count(0)
    count = 20 + len(pages[1])
    expect(page.locator(".pager .number")).to_have_text(f"Stories 21–{count} of {count}")

    page.keyboard.press("ArrowLeft")
    expect(page.locator("#page-heading")).to_have_text("Stories")
    assert titles(page) == pages[0]
    page.keyboard.press("ArrowRight")
    expect(page.locator("#page-heading")).to_have_text("Stories, page 2")
    page.go_back()
    expect(page.locator("#page-heading")).to_have_text("Stories")


def test_the_newest_of_all_topics_lead_to_their_topics(service: Service, visitor: Visit) -> None:
    page = visitor().open("#/newest")
    assert titles(page) == [one["title"] for one in service.client.get(f"{API}/snippets").json()]
    first = page.locator(".snippet .when a").first
    name = first.inner_text()
    first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)


def test_what_is_not_there_is_said_in_words(service: Service, visitor: Visit) -> None:
    write_topic(service, "empty")
    page = visitor().open("#/topics/nobody")
    expect(page.get_by_role("heading", level=1)).to_have_text("Not found")
    expect(page.locator(".panel")).to_contain_text("There is no topic nobody.")
    for address in ("#/nowhere", "#/search/100%"):
        visit(page, address)
        expect(page.locator(".panel")).to_contain_text("This address leads nowhere on this page.")
    visit(page, "#/stories/nobody")
    expect(page.locator(".panel")).to_contain_text("There is no such story, or none any more.")
    visit(page, "#/topics/empty")
    expect(page.locator(".panel")).to_contain_text("No stories yet.")
    visit(page, "#/topics/mind_memory/9")
    expect(page.locator(".panel")).to_contain_text("There is nothing on this page.")
    page.get_by_role("link", name="First page").click()
    expect(page.locator(".snippet")).to_have_count(20)
    visit(page, "#/listen/nobody")
    expect(page.locator(".panel")).to_contain_text("There is no podcast nobody.")
    remove(service, "topics/empty")


def test_no_topics_at_all_is_no_empty_page(visitor: Visit) -> None:
    visiting = visitor()
    page = visiting.open(before=lambda page: page.route("**/api/v1/topics", lambda route: route.fulfill(json=[])))
    expect(page.locator(".panel")).to_contain_text("No topics yet")


def test_text_of_the_api_never_becomes_markup(service: Service, visitor: Visit) -> None:
    write_topic(service, "markup", display_name=MARKUP, description=MARKUP, keywords=[MARKUP])
    write_snippet(service, "markup", title=MARKUP, text_content=MARKUP)
    visiting = visitor()
    page = visiting.open()
    assert MARKUP in cards(page)
    visit(page, "#/topics/markup")
    for part in (".topic h1", ".topic-about > p", ".keywords", ".snippet h3", ".snippet .text"):
        expect(page.locator(part).first).to_have_text(MARKUP)
    expect(page.locator("#main img")).to_have_count(0)
    assert [url for url in visiting.requests if "stolen" in url] == []
    expect(page).to_have_title(f"{MARKUP} · Greenroom")


def test_a_picture_elsewhere_is_a_link_and_one_of_this_host_is_shown(service: Service, visitor: Visit) -> None:
    write_topic(service, "pictures")
    for url in ("https://pictures.example/a.png", "javascript:alert(1)", f"{service.url}/page/icon.svg"):
        write_snippet(service, "pictures", title=url, image_url=url)
    page = visitor().open("#/topics/pictures")
    links = page.locator(".snippet p a")
    expect(links).to_have_text(["Picture at pictures.example"])
    expect(links.first).to_have_attribute("rel", "noopener noreferrer")
    expect(page.locator(".snippet img")).to_have_count(1)
    expect(page.locator(".snippet img")).to_have_attribute("src", f"{service.url}/page/icon.svg")


def test_preferred_topics_are_marked_come_first_and_are_found_again(visitor: Visit) -> None:
    page = visitor().open()
    before = cards(page)
    for name in ("Space Exploration", "Mind and Memory"):
        button = page.get_by_role("button", name=f"Follow {name}")
        with patched(page):
            button.click()
        expect(button).to_have_attribute("aria-pressed", "true")
        expect(button).to_have_text("Following")
        expect(button).to_be_focused()
    preferred = ["Mind and Memory", "Space Exploration"]
    expect(page.locator(".card.preferred h2")).to_have_text(preferred)
    assert cards(page) == [*preferred, *(name for name in before if name not in preferred)]
    page.reload()
    shown(page)
    assert cards(page)[:2] == preferred

    visit(page, "#/topics/mind_memory")
    page.get_by_role("button", name="Follow Mind and Memory").click()
    expect(page.get_by_role("button", name="Follow Mind and Memory")).to_have_attribute("aria-pressed", "false")
    page.get_by_role("link", name="Topics", exact=True).click()
    expect(page.locator(".card.preferred h2")).to_have_text(["Space Exploration"])


def test_the_footer_says_where_the_last_answer_came_from_and_its_time(service: Service, visitor: Visit) -> None:
    page = visitor().open()
    counts = page.locator(".counts")

    def comes_from(source: str) -> bool:
        page.reload()
        shown(page)
        return f"Last answer: {source} in " in page.locator("#provenance").inner_text()

    def several_near() -> bool:
        for address in ("#/newest", "#/"):
            visit(page, address)
        return re.search(r": ([2-9]|\d\d+) near", counts.inner_text()) is not None

    write_topic(service, "provenance")  # drops the list of all topics
    # After a stall of the machine nothing near is trusted, until it was read again.
    for source in ("the record (and now kept in Valkey)", "the near cache (memory of the process that answered)"):
        wait_for(partial(comes_from, source), PATIENCE)
        expect(page.locator("#provenance strong").last).to_have_text(re.compile(r"^[\d.]+ ms$"))
    expect(counts).to_have_text("Since you opened this page: 1 near, 0 Valkey, 0 record.")
    wait_for(several_near, PATIENCE)
    remove(service, "topics/provenance")


SOURCES = [
    ("greenroom; hit; detail=near", "the near cache (memory of the process that answered)"),
    ("greenroom; hit; ttl=20", "Valkey (the shared cache)"),
    ("greenroom; hit; ttl=-3; detail=stale", "Valkey (a little old, and being refreshed behind it)"),
    ("greenroom; hit", "Valkey (the shared cache)"),
    ("greenroom; fwd=miss; stored", "the record (and now kept in Valkey)"),
    ("greenroom; fwd=miss; collapsed", "the record (one look-up, shared with others who asked)"),
    ("greenroom; fwd=bypass; detail=engine-down", "the record (while Valkey cannot be reached)"),
    ("greenroom; fwd=miss", "the record (the database)"),
    ("ExampleCDN; fwd=stale, greenroom; hit; detail=near", "the near cache (memory of the process that answered)"),
]
"""Where an answer came from, as its header says it and as the page does; no two that follow each other look alike."""


def test_each_cache_status_is_told_in_words(visitor: Visit) -> None:
    headers = iter(header for header, _ in SOURCES)

    def answer(route: Route) -> None:
        route.fulfill(json=[], headers={"Cache-Status": next(headers)})

    page = visitor().open("#/mine", before=lambda page: page.route("**/api/v1/topics", answer))
    for _, said in SOURCES:
        visit(page, "#/")
        expect(page.locator("#provenance")).to_contain_text(f"Last answer: {said} in ")
        visit(page, "#/mine")
    assert list(headers) == []


def test_a_problem_is_told_with_its_remedy_and_can_be_tried_again(visitor: Visit) -> None:
    failing = True

    def answer(route: Route) -> None:
        if not failing:
            route.fallback()
            return
        found = {"type": "/problems/unavailable", "status": 503, "detail": "the system of record is not reachable"}
        headers = {"Content-Type": "application/problem+json", "Retry-After": "1"}
        route.fulfill(status=503, body=json.dumps(found), headers=headers)

    page = visitor().open(before=lambda page: page.route("**/api/v1/topics", answer))
    expect(page.locator(".panel")).to_contain_text("The system of record is not reachable. Try again in 1 second.")
    failing = False
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(".card")).not_to_have_count(0)
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_while_it_waits_it_shows_where_the_answer_will_be(visitor: Visit) -> None:
    held: list[Route] = []
    visiting = visitor()
    page = visiting.context.new_page()
    page.route("**/api/v1/topics", lambda route: held.append(route))
    page.goto(visiting.url)
    expect(page.locator(".card.skeleton").first).to_be_visible()
    expect(page.locator("#main")).to_have_attribute("aria-busy", "true")
    arrived(page, held)
    held[0].fallback()
    expect(page.locator(".card.skeleton")).to_have_count(0)
    expect(page.locator("#main")).not_to_have_attribute("aria-busy", "true")


def test_offline_it_says_so_and_goes_on_by_itself_when_it_is_back(visitor: Visit) -> None:
    visiting = visitor()
    page = visiting.open()
    visiting.context.set_offline(True)
    banner = page.get_by_role("alert").first
    expect(banner).to_contain_text("You are offline.")
    page.get_by_role("link", name="Newest").click()
    expect(page.locator(".panel")).to_contain_text("You are offline.")
    page.get_by_role("button", name="Try now").click()
    expect(banner).to_be_visible()
    visiting.context.set_offline(False)
    expect(page.locator("#banner")).to_be_hidden()
    expect(page.locator(".snippet")).to_have_count(20)


def test_it_can_be_used_by_the_keyboard_alone(visitor: Visit) -> None:
    page = visitor().open()
    first = cards(page)[0]
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    assert page.evaluate("location.hash") == ""
    page.keyboard.press("Tab")
    expect(page.locator(".card a").first).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name=f"Make me a podcast about {first}")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_role("button", name=f"Follow {first}")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#announcer")).to_have_text(f"{first} now comes first.")
    expect(notice(page)).to_have_count(0)


def test_a_first_visit_is_refused_nothing(visitor: Visit) -> None:
    """Not even who one is: the browser itself would note that in red."""
    refused: list[str] = []
    visiting = visitor()
    page = visiting.open(before=lambda page: page.on("console", lambda message: refused.append(message.text)))
    expect(page.locator("#you")).to_have_text("Sign in")
    assert (refused, [url for url in visiting.requests if url.endswith("/session")]) == ([], [])


def in_sight(page: Page, selector: str) -> bool:
    """Whether an element is where one looks, whole."""
    found: bool = page.locator(selector).evaluate("""element => {
        const { top, bottom, left, right } = element.getBoundingClientRect();
        const above = document.elementFromPoint((left + right) / 2, (top + bottom) / 2);
        return top >= 0 && bottom <= innerHeight && left >= 0 && right <= innerWidth && element.contains(above);
    }""")
    return found


SIZES = [(375, 740), (740, 360), (1280, 900)]
"""A telephone, the same on its side, a desk."""


def test_one_comes_back_to_where_one_was(visitor: Visit) -> None:
    page = visitor().open()
    for width, height in SIZES:
        page.set_viewport_size(ViewportSize(width=width, height=height))
        visit(page, "#/newest")
        page.locator(".snippet h2 a").nth(9).scroll_into_view_if_needed()
        place = page.evaluate("scrollY")
        assert place > 300
        page.locator(".snippet h2 a").nth(9).click()
        expect(page.locator(".story h1")).to_be_focused()
        assert page.evaluate("scrollY") == 0
        page.go_back()
        expect(page.locator(".snippet h2 a").nth(9)).to_be_focused()
        assert abs(page.evaluate("scrollY") - place) < 2
        page.reload()
        shown(page)
        assert abs(page.evaluate("scrollY") - place) < 2
        visit(page, "#/")


def test_one_is_told_where_one_looks(service: Service, visitor: Visit) -> None:
    write_topic(service, "brief")
    write_snippet(service, "brief", text_content="The bridge is open again.")
    visiting = visitor(reduced_motion="reduce")
    page = visiting.open("#/topics/brief")
    page.get_by_role("button", name="about Brief").click()
    expect(page.locator(".podcast")).to_be_visible()
    visit(page, "#/newest")
    for width, height in SIZES:
        page.set_viewport_size(ViewportSize(width=width, height=height))
        assert page.locator("#player").evaluate("(bar) => bar.offsetHeight") < max(90, height / 4)
        page.evaluate("scrollTo(0, 1200)")
        visiting.context.set_offline(True)
        expect(page.locator("#banner")).to_be_visible()
        page.locator("#player-speed").select_option("1.5")
        expect(notice(page)).to_contain_text("The speed could not be kept.")
        for part in ("#notice p", "#player .about", "#banner p"):
            assert in_sight(page, part), part
        page.get_by_role("button", name="Dismiss").click()
        # What is at the end of the page is not under the player.
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        assert in_sight(page, "#foot .links")
        visiting.context.set_offline(False)
        expect(page.locator("#banner")).to_be_hidden()


def test_long_words_wrap_and_other_scripts_begin_at_their_side(service: Service, visitor: Visit) -> None:
    word = "W" * 120
    write_topic(service, "long", display_name=word, description=word * 3, keywords=[word[:40], word[:50]])
    write_snippet(service, "long", title=word, text_content=word * 9)
    write_snippet(service, "long", title="שלום עולם", text_content="סיפור קצר")
    page = visitor(viewport=ViewportSize(width=320, height=640)).open()
    for address in ("#/", "#/topics/long", "#/newest", f"#/listen/{'3' * 128}"):
        visit(page, address)
        for width in (320, 1280):
            page.set_viewport_size(ViewportSize(width=width, height=640))
            assert page.evaluate("document.documentElement.scrollWidth") == width, address
    visit(page, "#/topics/long")
    aligned = "element => getComputedStyle(element).direction"
    assert page.locator(".snippet h3", has_text="שלום").evaluate(aligned) == "rtl"
    assert page.locator(".snippet h3", has_text=word).evaluate(aligned) == "ltr"


def test_without_voices_nothing_is_offered_that_cannot_be_had(visitor: Visit) -> None:
    def prepare(page: Page) -> None:
        page.route("**/api/v1/site", lambda route: route.fulfill(json={"podcasts": False, "session": False}))

    page = visitor().open(before=prepare)
    expect(page.locator(".card")).not_to_have_count(0)
    visit(page, "#/topics/mind_memory")
    expect(page.locator(".snippet")).to_have_count(20)
    for address in ("#/", "#/topics/mind_memory", "#/you"):
        visit(page, address)
        assert "podcast" not in page.locator("body").inner_text().lower(), address


def test_topics_and_stories_are_found_as_one_types(service: Service, visitor: Visit) -> None:
    write_topic(service, "quokkas", display_name="Quokkas")
    write_snippet(service, "quokkas", title="A quokka smiles", text_content="At a zygomatic camera.")
    held: list[Route] = []
    page = visitor().open()
    box, found = page.get_by_role("searchbox"), page.locator("#search-found")
    page.route("**/api/v1/search?q=ocean*", lambda route: held.append(route))
    box.fill("ocean")
    arrived(page, held)
    box.fill("quok")
    expect(found.get_by_role("link")).to_have_text(["Quokkas", "A quokka smiles"])
    expect(found.get_by_role("status")).to_have_text("1 topic, 1 story")
    # The answer to what was typed before comes late, and is nobody's any more.
    held[0].fulfill(json={"topics": [], "snippets": []})
    page.evaluate("fetch('/health/live').then((answer) => answer.text())")
    assert found.get_by_role("link").all_inner_texts() == ["Quokkas", "A quokka smiles"]
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(found.get_by_role("link", name="A quokka smiles")).to_be_focused()
    page.keyboard.press("Escape")
    expect(found).to_be_hidden()
    expect(box).to_be_focused()
    box.fill("zygomatic")
    expect(found.get_by_role("link")).to_have_text(["A quokka smiles"])
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.locator(".story h1")).to_have_text("A quokka smiles")
    expect(found).to_be_hidden()
    expect(box).to_have_value("")
    page.get_by_role("link", name="More stories about Quokkas").click()
    expect(page.locator(".topic h1")).to_have_text("Quokkas")

    box.fill("quokka")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("“quokka”")
    expect(page.locator(".rows a")).to_have_text(["Quokkas", "A quokka smiles"])
    page.reload()
    shown(page)
    expect(box).to_have_value("quokka")
    box.fill("no such thing")
    expect(found).to_contain_text("Nothing was found.")
    page.keyboard.press("Enter")
    expect(page.locator(".panel")).to_contain_text("Nothing was found.")


def test_where_there_are_no_topics_none_are_to_be_chosen(visitor: Visit) -> None:
    def prepare(page: Page) -> None:
        page.route("**/api/v1/topics", lambda route: route.fulfill(json=[]))

    page = visitor().open("#/you", before=prepare)
    expect(page.get_by_label("Playback speed")).to_be_visible()
    expect(page.get_by_text("Topics that come first")).to_have_count(0)
