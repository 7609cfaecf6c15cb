"""The pages of editors and operators where something goes wrong on the way: an answer that is lost, a step back."""

from __future__ import annotations

import json
import re

from playwright.sync_api import ConsoleMessage, Route, ViewportSize, expect

from tests.support.people import people_of
from tests.support.process_tree import ON_LINUX
from tests.support.running_service import API, Service
from tests.support.staff_desk import edit, lost, press, sign_in, stories, topic
from tests.support.visitors import WITH_CHROMIUM, Visit, arrived, saved

pytestmark = [WITH_CHROMIUM, ON_LINUX]


def test_a_first_visit_of_staff_is_refused_nothing(service: Service, visitor: Visit) -> None:
    browser = visitor()
    said: list[str] = []

    def note(message: ConsoleMessage) -> None:
        said.append(message.text)

    browser.context.on("console", note)
    page = browser.context.new_page()
    for address in ("edit", "control"):
        page.goto(f"{service.url}/{address}")
        expect(page.get_by_label("Your name")).to_be_visible()
    assert said == []

    # Who has signed in on one page is signed in on the other.
    sign_in(page)
    expect(page.locator("#staff")).to_contain_text("Ann may act")
    page.goto(f"{service.url}/edit")
    expect(page.locator("#who")).to_have_text("Ann")
    assert said == []


def test_a_story_whose_answer_is_lost_is_made_once(service: Service, visitor: Visit) -> None:
    topic(service, "lost")
    page = edit(service, visitor, "#/new-story/lost")
    page.get_by_label("Title").fill("A story")
    page.get_by_label("Text").fill("As it was sent first.")
    page.route(f"**{API}/snippets", lost)
    press(page, "Create")
    expect(page.locator(".trouble")).to_contain_text("cannot be reached")
    page.unroute(f"**{API}/snippets")
    page.get_by_label("Text").fill("As it was sent once more.")
    press(page, "Create")
    expect(page.locator("#receipt")).to_contain_text("Created.")
    expect(page).to_have_url(re.compile(r"#/stories/\w+$"))
    assert stories(service, "lost") == ["As it was sent once more."]


def test_a_topic_whose_answer_is_lost_is_not_called_taken(service: Service, visitor: Visit) -> None:
    page = edit(service, visitor, "#/new-topic")
    page.get_by_label("Name", exact=True).fill("Lost topic")
    page.route(f"**{API}/topics/lost_topic", lost)
    press(page, "Create")
    expect(page.locator(".trouble")).to_contain_text("cannot be reached")
    page.unroute(f"**{API}/topics/lost_topic")
    press(page, "Create")
    expect(page.locator("#receipt")).to_contain_text("Created.")
    expect(page).to_have_url(re.compile(r"#/topics/lost_topic$"))


def test_a_save_that_cannot_be_read_again_is_no_conflict(service: Service, visitor: Visit) -> None:
    topic(service, "unread")
    page = edit(service, visitor, "#/topics/unread/edit")

    puts: list[bool] = []

    def no_reads_after_it(route: Route) -> None:
        if route.request.method == "PUT":
            puts.append(True)
        elif puts:
            route.abort()
            return
        route.continue_()

    for text in ("Once.", "Twice."):
        puts.clear()
        page.route(f"**{API}/topics/unread", no_reads_after_it)
        page.get_by_label("Description").fill(text)
        press(page, "Save")
        saved(page)
        expect(page.locator(".trouble")).to_be_empty()
        page.unroute(f"**{API}/topics/unread")
        assert service.client.get(f"{API}/topics/unread").json()["description"] == text

    # Somebody else's version is noticed all the same.
    topic(service, "unread", description="Theirs.")
    page.get_by_label("Description").fill("Mine.")
    press(page, "Save")
    expect(page.locator(".conflict .theirs")).to_contain_text("Theirs.")


def test_a_step_back_takes_an_operator_s_question_along(service: Service, visitor: Visit) -> None:
    page = visitor(reduced_motion="reduce").context.new_page()
    page.goto(f"{service.url}/control")
    sign_in(page)
    page.get_by_role("navigation").get_by_role("link", name="Podcasts").click()
    press(page, "Pause the queue")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Reads", exact=True)).to_be_visible()
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_an_operator_whose_session_is_over_signs_in_again(service: Service, visitor: Visit) -> None:
    browser = visitor(reduced_motion="reduce")
    page = browser.context.new_page()
    # What is asked every ten seconds would tell it too.
    page.route("**/api/v1/control/history", lambda route: route.fulfill(status=503))
    page.goto(f"{service.url}/control#/podcasts")
    sign_in(page)
    press(page, "Pause the queue")
    browser.context.clear_cookies(name="greenroom-staff")
    page.get_by_label("Why").fill("It is never done.")
    page.get_by_role("dialog").get_by_role("button", name="Pause the queue").click()
    expect(page.locator(".lead")).to_contain_text("Your session is over: sign in again.")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_on_a_telephone_all_that_an_operator_is_told_is_in_sight(service: Service, visitor: Visit) -> None:
    page = visitor(reduced_motion="reduce", viewport=ViewportSize(width=375, height=740)).context.new_page()
    page.goto(f"{service.url}/control#/log")
    sign_in(page)
    # The link of this view, the last of those that are wider than the screen.
    expect(page.get_by_role("link", name="Log")).to_be_in_viewport(ratio=0.9)
    page.get_by_role("link", name="Keys").click()
    page.get_by_label("topic_id").fill("ocean_science")
    press(page, "Look up")
    expect(page.locator(".verdict")).to_be_in_viewport()
    press(page, "Drop this key")
    page.get_by_label("Why").fill("To see what is told.")
    press(page, "Drop it")
    notice = page.locator("#notice")
    expect(notice).to_contain_text("Dropped cache:topic:ocean_science.")
    box = notice.bounding_box()
    assert box is not None
    # As wide as its words need, and not half of the screen.
    assert box["width"] > 375 * 0.8
    assert abs(box["x"] * 2 + box["width"] - 375) < 2


def test_of_many_topics_the_one_that_is_edited_is_in_sight(service: Service, visitor: Visit) -> None:
    made = [{"topic_id": f"many_{one}", "display_name": f"Many {one:02}", "keywords": ["k"]} for one in range(60)]
    content = "".join(f"{json.dumps(one | {'description': ''})}\n" for one in made)
    service.client.post(f"{API}/load", content=content, headers=service.editor).raise_for_status()
    page = edit(service, visitor, "#/topics/many_59/edit")
    expect(page.locator(".entries [aria-current]")).to_have_text("Many 59")
    expect(page.locator(".entries [aria-current]")).to_be_in_viewport(ratio=1)
    assert page.evaluate("scrollY") == 0
    for one in made:
        service.client.delete(f"{API}/topics/{one['topic_id']}", headers=service.editor).raise_for_status()


def test_an_operator_sees_how_old_a_session_is(service: Service, visitor: Visit) -> None:
    page = visitor(reduced_motion="reduce").context.new_page()
    page.goto(f"{service.url}/control#/sessions")
    sign_in(page)
    with people_of(service) as people:
        person = people().sign_up()
        person.log_in()
        page.get_by_label("Name or id").fill(person.username)
        press(page, "Find")
        began = page.get_by_role("region", name=f"Sessions of {person.username}").locator("tbody td").nth(1)
        expect(began).to_have_text(re.compile(r"^\d\d:\d\d:\d\d(< 1|\d+) s ago$"))


def test_a_service_that_says_nothing_is_not_called_healthy(service: Service, visitor: Visit) -> None:
    page = visitor(reduced_motion="reduce").context.new_page()
    page.route("**/control/events", lambda route: route.fulfill(status=503))
    page.goto(f"{service.url}/control")
    sign_in(page)
    health = page.locator("#health")
    expect(health).to_contain_text("Healthy")
    page.route("**/control/*", lambda route: route.abort())
    expect(health).to_contain_text("No news from the service for")
    expect(health).not_to_contain_text("Healthy")
    expect(page.locator("body")).to_have_attribute("data-health", "error")
    page.unroute("**/control/*")
    expect(health).to_contain_text("Healthy")
    expect(page.locator("body")).to_have_attribute("data-health", "ok")


def test_what_is_told_of_a_lost_connection_stands_over_the_page(service: Service, visitor: Visit) -> None:
    browser = visitor(reduced_motion="reduce")
    page = browser.context.new_page()
    page.goto(f"{service.url}/edit")
    sign_in(page)
    expect(page.locator(".rows")).to_be_visible()
    browser.context.set_offline(True)
    banner, bench = page.locator("#banner"), page.locator(".bench")
    expect(banner).to_contain_text("You are offline")
    for width in (375, 1280, 1920):
        page.set_viewport_size(ViewportSize(width=width, height=800))
        over, below = banner.bounding_box(), bench.bounding_box()
        assert over is not None
        assert below is not None
        assert abs(over["x"] - below["x"]) < 2
        assert abs(over["width"] - below["width"]) < 2
    browser.context.set_offline(False)


def test_of_two_files_the_last_is_shown_and_elsewhere_none_is_taken(service: Service, visitor: Visit) -> None:
    page = visitor(reduced_motion="reduce").context.new_page()
    page.goto(f"{service.url}/edit")
    sign_in(page)
    expect(page.locator(".rows")).to_be_visible()
    dropped = page.evaluate(
        """() => {
          const transfer = new DataTransfer();
          transfer.items.add(new File(['x'], 'stray.ndjson'));
          const drop = new DragEvent('drop', { dataTransfer: transfer, bubbles: true, cancelable: true });
          document.body.dispatchEvent(drop);
          return drop.defaultPrevented;
        }"""
    )
    assert dropped, "the browser would open the file"
    expect(page.locator("#notice p")).to_contain_text("Load and export")

    page.get_by_role("link", name="Load and export").click()
    waiting: list[Route] = []
    page.route("**/load?dry_run=true", lambda route: waiting.append(route))
    for name in ("first", "second"):
        page.locator("#file").set_input_files({"name": f"{name}.ndjson", "mimeType": "x", "buffer": b"no json\n"})
        expect(page.locator(".outcome")).to_contain_text(f"Looking at {name}.ndjson")
    arrived(page, waiting, 2)
    first, second = waiting
    second.continue_()
    expect(page.locator(".outcome h3")).to_have_text("second.ndjson")
    with page.expect_response("**/load?dry_run=true") as answer:
        first.continue_()
    answer.value.finished()
    # What the page makes of an answer, it has made when the next one is there.
    page.evaluate("fetch('/api/v1/site').then((answer) => answer.json())")
    expect(page.locator(".outcome h3")).to_have_text("second.ndjson")


def test_an_editor_sees_how_many_stories_a_topic_has(service: Service, visitor: Visit) -> None:
    topic(service, "counted")
    story = {"topic_id": "counted", "text_content": "Some text."}
    content = "".join(f"{json.dumps(story | {'snippet_id': f'c{one}', 'title': f'T{one}'})}\n" for one in range(22))
    service.client.post(f"{API}/load", content=content, headers=service.editor).raise_for_status()
    page = visitor(reduced_motion="reduce").context.new_page()
    page.goto(f"{service.url}/edit#/topics/counted")
    sign_in(page)
    number = page.locator(".pager .number")
    expect(number).to_have_text("Stories 1–20")
    page.get_by_role("link", name="Older").click()
    expect(number).to_have_text("Stories 21–22 of 22")
    for one in range(5):
        service.client.delete(f"{API}/snippets/c{one}", headers=service.editor).raise_for_status()
    page.get_by_role("link", name="Newer").click()
    expect(page.locator("#stories-of-topic + .hint")).to_have_text("17 stories")
    expect(number).to_have_count(0)
