"""The editor's page: what is typed while a save, or a creation, is under way is lost nowhere."""

from __future__ import annotations

from playwright.sync_api import Route, expect

from tests.support.process_tree import ON_LINUX
from tests.support.running_service import API, Service
from tests.support.staff_desk import edit, held, lost, press, stories, topic
from tests.support.visitors import WITH_CHROMIUM, Visit, arrived, saved

pytestmark = [WITH_CHROMIUM, ON_LINUX]


def test_what_is_typed_right_after_a_save_stays(service: Service, visitor: Visit) -> None:
    topic(service, "typed")
    page = edit(service, visitor, "#/topics/typed/edit")
    listed: list[Route] = []
    page.route(f"**{API}/topics", lambda route: listed.append(route))
    description = page.get_by_label("Description")
    description.fill("Once.")
    press(page, "Save")
    expect(page.locator("#receipt")).to_contain_text("Saved.")
    description.fill("Twice.")
    arrived(page, listed)
    listed[0].continue_()
    saved(page)
    page.unroute(f"**{API}/topics")
    expect(description).to_have_value("Twice.")
    expect(page.locator(".state")).to_contain_text("Not saved yet.")
    press(page, "Save")
    saved(page)
    assert service.client.get(f"{API}/topics/typed").json()["description"] == "Twice."


def test_what_is_typed_while_a_save_is_under_way_stays(service: Service, visitor: Visit) -> None:
    topic(service, "typing")
    page = edit(service, visitor, "#/topics/typing/edit")
    sent = held(page, f"{API}/topics/typing", "PUT")
    description = page.get_by_label("Description")
    description.fill(" Once. ")
    press(page, "Save")
    arrived(page, sent)
    page.get_by_label("Name").fill("Typed on")
    sent[0].continue_()
    saved(page)
    expect(page.locator(".state")).to_contain_text("Not saved yet.")
    expect(page.get_by_label("Name")).to_have_value("Typed on")
    expect(description).to_have_value("Once.")
    # The draft is one of what is stored by now: no conflict.
    page.reload()
    expect(page.get_by_label("Name")).to_have_value("Typed on")
    press(page, "Save")
    saved(page)
    expect(page.locator(".state")).to_contain_text("As it is stored.")
    stored = service.client.get(f"{API}/topics/typing").json()
    assert (stored["display_name"], stored["description"]) == ("Typed on", "Once.")


def test_what_is_typed_while_a_topic_is_created_stays(service: Service, visitor: Visit) -> None:
    page = edit(service, visitor, "#/new-topic")
    sent = held(page, f"{API}/topics/made", "PUT")
    page.get_by_label("Name").fill("Made")
    press(page, "Create")
    arrived(page, sent)
    page.get_by_label("Id", exact=True).fill("other")
    page.get_by_label("Description").fill("More.")
    sent[0].continue_()
    expect(page.get_by_role("heading", level=1)).to_have_text("Made")
    expect(page.get_by_label("Description")).to_have_value("More.")
    expect(page.locator(".unsaved a")).to_have_count(1)
    press(page, "Save")
    saved(page)
    expect(page.locator(".unsaved a")).to_have_count(0)
    assert service.client.get(f"{API}/topics/made").json()["description"] == "More."


def test_a_topic_that_is_created_as_it_stands_leaves_no_draft(service: Service, visitor: Visit) -> None:
    page = edit(service, visitor, "#/new-topic")
    sent = held(page, f"{API}/topics/deep", "PUT")
    page.get_by_label("Name").fill("Deep")
    press(page, "Create")
    arrived(page, sent)
    # The id is sent: it is neither suggested anew, nor is another one a change.
    page.get_by_label("Name").fill("Deep sea")
    expect(page.get_by_label("Id", exact=True)).to_have_value("deep")
    page.get_by_label("Name").fill("Deep")
    page.get_by_label("Id", exact=True).fill("other")
    sent[0].continue_()
    expect(page.get_by_role("heading", level=1)).to_have_text("Deep")
    expect(page.locator(".unsaved a")).to_have_count(0)


def test_what_is_typed_while_a_story_is_created_stays(service: Service, visitor: Visit) -> None:
    topic(service, "telling")
    page = edit(service, visitor, "#/new-story/telling")
    sent = held(page, f"{API}/snippets", "POST")
    page.get_by_label("Title").fill("Told")
    page.get_by_label("Text").fill("Once.")
    press(page, "Create")
    arrived(page, sent)
    page.get_by_label("Text").fill("Twice.")
    sent[0].continue_()
    expect(page.get_by_role("heading", level=1)).to_have_text("Told")
    expect(page.get_by_label("Text")).to_have_value("Twice.")
    press(page, "Save")
    saved(page)
    assert stories(service, "telling") == ["Twice."]


def test_another_s_change_right_after_a_save_is_met_and_not_overwritten(service: Service, visitor: Visit) -> None:
    topic(service, "after")
    page = edit(service, visitor, "#/topics/after/edit")
    read = held(page, f"{API}/topics/after", "GET")
    page.get_by_label("Name").fill("Mine")
    press(page, "Save")
    arrived(page, read)
    page.get_by_label("Description").fill("Mine.")
    topic(service, "after", description="Theirs.")
    read[0].continue_()
    saved(page)
    press(page, "Save")
    expect(page.locator(".conflict .theirs")).to_contain_text(["After", "Theirs."])
    assert service.client.get(f"{API}/topics/after").json()["description"] == "Theirs."


def test_a_reload_before_a_save_is_read_again_meets_nobody(service: Service, visitor: Visit) -> None:
    topic(service, "reloaded")
    page = edit(service, visitor, "#/topics/reloaded/edit")
    read = held(page, f"{API}/topics/reloaded", "GET")
    page.get_by_label("Name").fill("Once")
    press(page, "Save")
    arrived(page, read)
    page.get_by_label("Name").fill("Twice")
    page.reload()
    expect(page.get_by_label("Name")).to_have_value("Twice")
    press(page, "Save")
    saved(page)
    assert service.client.get(f"{API}/topics/reloaded").json()["display_name"] == "Twice"


def test_what_is_discarded_while_it_is_saved_does_not_come_back(service: Service, visitor: Visit) -> None:
    topic(service, "discarded")
    page = edit(service, visitor, "#/topics/discarded/edit")
    sent = held(page, f"{API}/topics/discarded", "PUT")
    page.get_by_label("Name").fill("Saved")
    press(page, "Save")
    arrived(page, sent)
    page.get_by_label("Name").fill("Not to be saved")
    press(page, "Discard")
    sent[0].continue_()
    saved(page)
    expect(page.get_by_label("Name")).to_have_value("Saved")
    expect(page.locator(".unsaved a")).to_have_count(0)


def test_who_comes_back_while_a_save_is_under_way_goes_on_typing(service: Service, visitor: Visit) -> None:
    topic(service, "left")
    page = edit(service, visitor, "#/topics/left/edit")
    sent = held(page, f"{API}/topics/left", "PUT")
    page.get_by_label("Name").fill("Once")
    press(page, "Save")
    arrived(page, sent)
    page.get_by_label("Name").fill("Twice")
    page.get_by_role("link", name="Load and export").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Load and export")
    read: list[str] = []
    page.on("request", lambda request: read.append(request.url) if request.method == "GET" else None)
    page.go_back()
    # The view has begun, and reads nothing: a request that follows is the first.
    expect(page.locator("#main")).to_have_attribute("aria-busy", "true")
    page.evaluate("path => fetch(path)", f"{API}/topics?first")
    assert read == [f"{service.url}{API}/topics?first"]
    sent[0].continue_()
    expect(page.get_by_label("Name")).to_have_value("Twice")
    press(page, "Save")
    expect(page.locator(".state")).to_contain_text("As it is stored.")
    assert service.client.get(f"{API}/topics/left").json()["display_name"] == "Twice"


def test_what_is_typed_while_a_save_meets_another_is_mine(service: Service, visitor: Visit) -> None:
    topic(service, "both")
    page = edit(service, visitor, "#/topics/both/edit")
    sent = held(page, f"{API}/topics/both", "PUT")
    topic(service, "both", description="Theirs.")
    page.get_by_label("Description").fill("Mine.")
    press(page, "Save")
    arrived(page, sent)
    page.get_by_label("Name").fill("Typed on")
    sent[0].continue_()
    press(page, "Keep mine")
    saved(page)
    stored = service.client.get(f"{API}/topics/both").json()
    assert (stored["display_name"], stored["description"]) == ("Typed on", "Mine.")


def test_what_is_typed_while_an_answer_is_lost_stays(service: Service, visitor: Visit) -> None:
    page = edit(service, visitor, "#/new-topic")
    sent = held(page, f"{API}/topics/unanswered", "PUT")
    page.get_by_label("Name").fill("Unanswered")
    press(page, "Create")
    arrived(page, sent)
    page.get_by_label("Description").fill("More.")
    lost(sent[0])
    expect(page.locator(".trouble")).not_to_be_empty()
    page.reload()
    expect(page.get_by_label("Description")).to_have_value("More.")
    press(page, "Create")
    expect(page.locator("#receipt")).to_contain_text("Created.")
    assert service.client.get(f"{API}/topics/unanswered").json()["description"] == "More."


def test_what_is_typed_back_while_it_is_saved_is_a_change(service: Service, visitor: Visit) -> None:
    topic(service, "back")
    page = edit(service, visitor, "#/topics/back/edit")
    sent = held(page, f"{API}/topics/back", "PUT")
    page.get_by_label("Name").fill("Forth")
    press(page, "Save")
    arrived(page, sent)
    page.get_by_label("Name").fill("Back")
    page.get_by_role("link", name="Load and export").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Load and export")
    sent[0].continue_()
    expect(page.locator("#receipt")).to_contain_text("Saved.")
    page.go_back()
    expect(page.get_by_label("Name")).to_have_value("Back")
    expect(page.locator(".state")).to_contain_text("Not saved yet.")


def test_a_field_emptied_while_a_save_meets_another_can_be_filled(service: Service, visitor: Visit) -> None:
    topic(service, "emptied")
    page = edit(service, visitor, "#/topics/emptied/edit")
    sent = held(page, f"{API}/topics/emptied", "PUT")
    topic(service, "emptied", description="Theirs.")
    page.get_by_label("Description").fill("Mine.")
    press(page, "Save")
    arrived(page, sent)
    page.get_by_label("Name").fill("")
    sent[0].continue_()
    press(page, "Keep mine")
    expect(page.locator("#edit-display_name-refusal")).to_have_text("Name is missing.")
    page.get_by_label("Name").fill("Filled")
    press(page, "Save")
    saved(page)
    assert service.client.get(f"{API}/topics/emptied").json()["display_name"] == "Filled"


def test_a_lost_story_that_moves_to_another_topic_is_one(service: Service, visitor: Visit) -> None:
    topic(service, "from-here")
    topic(service, "to-there")
    page = edit(service, visitor, "#/new-story/from-here")
    sent = held(page, f"{API}/snippets", "POST")
    page.get_by_label("Title").fill("Moved")
    page.get_by_label("Text").fill("Once.")
    press(page, "Create")
    arrived(page, sent)
    lost(sent[0])
    expect(page.locator(".trouble")).not_to_be_empty()
    page.get_by_label("Topic", exact=True).select_option("to-there")
    press(page, "Create")
    expect(page.get_by_role("heading", level=1)).to_have_text("Moved")
    assert (stories(service, "from-here"), stories(service, "to-there")) == ([], ["Once."])
    # What was created is told on the view that follows, and not on the next.
    expect(page.locator("#receipt")).to_contain_text("Created.")
    page.get_by_role("link", name="Load and export").click()
    expect(page.locator("#receipt")).to_be_empty()


def test_a_name_that_was_refused_goes_on_suggesting_an_id(service: Service, visitor: Visit) -> None:
    page = edit(service, visitor, "#/new-topic")
    sent = held(page, f"{API}/topics/dep_sea", "PUT")
    page.get_by_label("Name").fill("Dep sea")
    press(page, "Create")
    arrived(page, sent)
    refusal = {"title": "Refused", "status": 422, "detail": "Not this one.", "errors": []}
    sent[0].fulfill(status=422, json=refusal, content_type="application/problem+json")
    expect(page.locator(".trouble")).not_to_be_empty()
    page.get_by_label("Name").fill("Deep sea")
    expect(page.get_by_label("Id", exact=True)).to_have_value("deep_sea")
