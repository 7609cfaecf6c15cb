"""One's own corner of the listener's page: signing up, in and out, preferences, sessions."""

from __future__ import annotations

from functools import partial

from playwright.sync_api import APIResponse, Page, Route, expect

from tests.support.patience import wait_for
from tests.support.running_service import API, Service
from tests.support.visitors import (
    PASSWORD,
    WITH_CHROMIUM,
    Visit,
    arrived,
    cards,
    notice,
    patched,
    shown,
    sign_in,
    sign_up,
    visit,
)

pytestmark = WITH_CHROMIUM

NEW_PASSWORD = "another horse battery"
WHO = "You are not signed in. What you choose is kept for this visit."


def choose_speed(page: Page, speed: str) -> None:
    """Choose it, and wait until the service has kept it."""
    with patched(page):
        page.locator("#default-speed").select_option(speed)


def begin(page: Page, speed: str) -> None:
    """Choose it as a visitor without a session, and wait until the page knows that there is one."""
    # It makes its forms anew then, and uses the session once more.
    with page.expect_response(lambda answer: answer.request.method == "GET" and answer.url.endswith("/session")):
        choose_speed(page, speed)


def prefer(page: Page, topic: str) -> None:
    with patched(page):
        page.get_by_role("checkbox", name=topic).check()


def test_who_signs_up_is_signed_in_and_finds_everything_after_a_reload(visitor: Visit) -> None:
    page = visitor().open()
    sign_up(page, "ada")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    expect(page.locator("#you")).to_have_text("ada")
    choose_speed(page, "1.5")
    prefer(page, "Ocean Science")
    page.reload()
    shown(page)
    expect(page.locator("#who")).to_have_text("You are signed in as ada.")
    expect(page.locator("#default-speed")).to_have_value("1.5")
    expect(page.get_by_role("checkbox", name="Ocean Science")).to_be_checked()
    visit(page, "#/")
    assert cards(page)[0] == "Ocean Science"


def test_preferences_are_there_again_wherever_one_signs_in(visitor: Visit) -> None:
    page = visitor().open()
    sign_up(page, "grace")
    choose_speed(page, "1.25")
    prefer(page, "Music and Sound")
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.locator("#who")).to_have_text(WHO)
    expect(page.locator("#default-speed")).to_have_value("1")
    expect(page.get_by_role("checkbox", name="Music and Sound")).not_to_be_checked()

    elsewhere = visitor().open()
    sign_in(elsewhere, "Grace")
    expect(elsewhere.locator("#who")).to_have_text("You are signed in as grace.")
    expect(elsewhere.locator("#default-speed")).to_have_value("1.25")
    expect(elsewhere.get_by_role("checkbox", name="Music and Sound")).to_be_checked()


def test_what_a_visitor_chose_goes_along_when_they_sign_up(visitor: Visit) -> None:
    page = visitor().open("#/you")
    begin(page, "2")
    sign_up(page, "linus")
    expect(page.locator("#default-speed")).to_have_value("2")


def test_what_cannot_be_is_told_beside_the_field_or_the_button(visitor: Visit) -> None:
    page = visitor().open("#/you")
    page.get_by_role("button", name="Sign up").click()
    name, password = page.locator("#sign-up-username"), page.locator("#sign-up-password")
    expect(name).to_be_focused()
    expect(page.locator("#sign-up-username-refusal")).to_have_text("Name is missing.")
    expect(name).to_have_attribute("aria-invalid", "true")
    name.fill("no spaces")
    password.fill("short")
    expect(page.locator("#sign-up-username-refusal")).to_have_text("")
    page.get_by_role("button", name="Sign up").click()
    expect(password).to_be_focused()
    expect(page.locator("#sign-up-password-refusal")).to_have_text("Password needs at least 8 characters.")
    password.fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    # What only the service knows comes back to the field as well.
    expect(page.locator("#sign-up-username-refusal")).not_to_have_text("")
    expect(name).to_be_focused()

    sign_in(page, "nobody-of-that-name")
    expect(page.locator("#sign-up-username-refusal")).to_have_text("")
    expect(page.locator("[aria-labelledby=sign-in-title] > .refusal")).not_to_have_text("")
    expect(page.locator("#who")).to_have_text(WHO)


def test_a_name_that_is_taken_is_told(service: Service, visitor: Visit) -> None:
    service.client.post(f"{API}/users", json={"username": "taken", "password": PASSWORD}).raise_for_status()
    page = visitor().open("#/you")
    page.locator("#sign-up-username").fill("taken")
    page.locator("#sign-up-password").fill(PASSWORD)
    page.get_by_role("button", name="Sign up").click()
    expect(page.locator("[aria-labelledby=sign-up-title]")).to_contain_text("taken")
    expect(page.locator("#who")).to_have_text(WHO)


def test_tabs_of_one_browser_agree_on_who_is_there(visitor: Visit) -> None:
    visiting = visitor()
    first, second = visiting.open(), visiting.open()
    sign_up(first, "rosalind")
    expect(second.locator("#you")).to_have_text("rosalind")
    second.get_by_role("button", name="Follow Fermented Food").click()
    expect(first.get_by_role("checkbox", name="Fermented Food")).to_be_checked()
    first.get_by_role("button", name="Sign out", exact=True).click()
    expect(second.locator("#you")).to_have_text("Sign in")


def test_an_answer_from_before_one_signed_in_does_not_sign_out(visitor: Visit) -> None:
    """As when the stream of the old session ends at that moment, and the page asks who one is."""
    page = visitor().open("#/you")
    begin(page, "1.5")
    held: list[tuple[Route, APIResponse]] = []

    def hold(route: Route) -> None:
        if route.request.method != "GET" or held:
            route.continue_()
        else:
            held.append((route, route.fetch()))

    page.route(f"**{API}/session", hold)
    page.evaluate("new BroadcastChannel('greenroom.session').postMessage('changed')")
    arrived(page, held)
    sign_up(page, "jill")
    with page.expect_event("requestfinished", lambda request: request.url.endswith(f"{API}/session")):
        held[0][0].fulfill(response=held[0][1])
    page.evaluate("fetch('/health/live').then((answer) => answer.text())")  # what waits in the page is done by then
    assert page.locator("#who").inner_text() == "You are signed in as jill."


def test_one_ends_a_session_elsewhere_and_then_all(visitor: Visit) -> None:
    here, there = visitor().open(), visitor().open()
    sign_up(here, "hedy")
    sign_in(there, "hedy")
    expect(there.locator(".sessions li")).to_have_count(2)
    visit(here, "#/")
    visit(here, "#/you")
    rows = here.locator(".sessions li")
    expect(rows.locator("strong")).to_have_text(["This browser", "Another browser"])
    rows.nth(1).get_by_role("button").click()
    expect(rows).to_have_count(1)
    expect(here.locator("#sessions-title")).to_be_focused()
    # The other browser learns it with its next change, and goes on as a visitor.
    there.get_by_role("checkbox", name="Ocean Science").click()
    expect(notice(there)).to_contain_text("Your session has ended")
    expect(there.locator("#who")).to_have_text(WHO)
    begin(there, "1.75")

    sign_in(there, "hedy")
    expect(there.locator(".sessions li")).to_have_count(2)
    here.get_by_role("button", name="Sign out everywhere").click()
    expect(here.locator("#who")).to_have_text(WHO)
    there.reload()
    shown(there)
    expect(there.locator("#who")).to_have_text(WHO)


def test_a_changed_password_signs_out_elsewhere_and_signs_in_from_then_on(visitor: Visit) -> None:
    here, there = visitor().open(), visitor().open()
    sign_up(here, "barbara")
    sign_in(there, "barbara")
    expect(there.locator("#who")).to_have_text("You are signed in as barbara.")
    visit(here, "#/")
    visit(here, "#/you")
    expect(here.locator(".sessions li")).to_have_count(2)

    current, new = here.locator("#new-password-current_password"), here.locator("#new-password-new_password")
    for field, autocomplete in ((current, "current-password"), (new, "new-password")):
        expect(field).to_have_attribute("type", "password")
        expect(field).to_have_attribute("autocomplete", autocomplete)
    current.fill("not my password")
    new.fill(NEW_PASSWORD)
    here.get_by_role("button", name="Change it").click()
    expect(here.locator("#new-password-current_password-refusal")).not_to_have_text("")
    expect(current).to_be_focused()

    current.fill(PASSWORD)
    here.get_by_role("button", name="Change it").click()
    expect(here.locator(".sessions li")).to_have_count(1)
    expect(current).to_have_value("")
    expect(new).to_have_value("")
    expect(here.locator("#who")).to_have_text("You are signed in as barbara.")
    there.reload()
    shown(there)
    expect(there.locator("#who")).to_have_text(WHO)
    sign_in(there, "barbara", NEW_PASSWORD)
    expect(there.locator("#who")).to_have_text("You are signed in as barbara.")


def test_an_account_is_deleted_by_its_password_and_a_second_yes(visitor: Visit) -> None:
    page, elsewhere = visitor().open(), visitor().open()
    sign_up(page, "zoe")
    sign_in(elsewhere, "zoe")
    expect(elsewhere.locator("#who")).to_have_text("You are signed in as zoe.")
    password, delete = (
        page.locator("#delete-account-password"),
        page.get_by_role("button", name="Delete it", exact=True),
    )
    for wrong, chosen in (("not my password", "Delete it for good"), (PASSWORD, "Cancel")):
        password.fill(wrong)
        delete.click()
        page.get_by_role("dialog").get_by_role("button", name=chosen).click()
        refused = page.locator("#delete-account-password-refusal")
        expect(refused).not_to_have_text("") if chosen != "Cancel" else expect(refused).to_have_text("")
        expect(page.locator("#who")).to_have_text("You are signed in as zoe.")
    delete.click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it for good").click()
    expect(page.locator("#who")).to_have_text(WHO)
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    elsewhere.reload()
    shown(elsewhere)
    expect(elsewhere.locator("#who")).to_have_text(WHO)
    # What one form was refused is gone when another is sent.
    sign_in(page, "zoe")
    refusal = page.locator("[aria-labelledby=sign-in-title] > .refusal")
    expect(refusal).to_have_text("Wrong name or password.")
    sign_up(page, "zoe")
    expect(page.locator("#you")).to_have_text("zoe")


def test_ending_this_session_signs_out(visitor: Visit) -> None:
    page = visitor().open()
    sign_up(page, "tim")
    page.get_by_role("button", name="Sign out this browser").click()
    expect(page.locator("#who")).to_have_text(WHO)
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_a_visitor_s_new_session_is_used_once_more_and_so_lives_on(service: Service, visitor: Visit) -> None:
    page = visitor().open("#/you")
    begin(page, "1.5")
    raw = service.raw()
    lives = [key.replace(b"session:", b"greenroom:life:{session:") + b"}" for key in raw("KEYS", "session:*")]
    wait_for(lambda: max(raw("PTTL", key) for key in lives) > 3_600_000)


def test_a_visitor_whose_session_lapsed_goes_on_with_a_new_one(service: Service, visitor: Visit) -> None:
    page = visitor().open("#/you")
    choose_speed(page, "1.5")
    raw = service.raw()
    raw("DEL", *raw("KEYS", "session:*"))
    choose_speed(page, "2")
    expect(notice(page)).to_have_count(0)
    page.reload()
    shown(page)
    expect(page.locator("#default-speed")).to_have_value("2")


def test_a_choice_that_could_not_be_kept_is_taken_back_and_told(visitor: Visit) -> None:
    page = visitor().open("#/you")
    box = page.get_by_role("checkbox", name="Ocean Science")
    for status in (503, 500):
        refusal = {"status": status, "detail": "the sessions did not answer in time"}
        page.route("**/session/preferences", partial(Route.fulfill, status=status, json=refusal), times=1)
        box.click()
        expect(notice(page)).to_contain_text("This could not be kept.")
        expect(box).not_to_be_checked()
        page.get_by_role("button", name="Dismiss").click()
        expect(notice(page)).to_have_count(0)


def test_a_speed_of_another_client_is_shown_as_it_is(service: Service, visitor: Visit) -> None:
    visiting = visitor()
    page = visiting.open()
    answer = page.request.patch(f"{service.url}{API}/session/preferences", data={"playback_speed_default": 1.1})
    assert answer.ok
    page.goto(f"{service.url}/#/you")
    page.reload()
    shown(page)
    expect(page.locator("#default-speed")).to_have_value("1.1")
