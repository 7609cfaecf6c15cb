"""Keywords in the editor's page: what is stored stays as it is, and each can be written."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

from tests.support.axe_audit import WIDE
from tests.support.running_service import API, TOKEN, Service
from tests.support.visitors import WITH_CHROMIUM, Visitor, saved, visit

pytestmark = WITH_CHROMIUM

KEYWORDS = ["Paris, Texas", " blanks ", "two\r\nlines", '"quoted"', '"', "{}", "é, ü", "\u2028", " "]


def topic(service: Service) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get(f"{API}/topics/words").raise_for_status().json()
    return found


def edited(service: Service, page: Page) -> None:
    """The page with the topic `words`, which has these keywords."""
    draft = {"display_name": "Words", "description": "", "keywords": KEYWORDS}
    service.client.put(f"{API}/topics/words", json=draft, headers=service.editor).raise_for_status()
    page.get_by_label("Your name").fill("Ann")
    page.get_by_label("Editor token").fill(TOKEN)
    page.get_by_role("button", name="Sign in", exact=True).click()
    expect(page.get_by_role("heading", name="Library", exact=True, level=1)).to_be_visible()
    visit(page, "#/topics/words/edit")
    expect(page.locator(".state")).to_have_text("As it is stored.")


def save(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    saved(page)


def test_saving_another_field_leaves_every_keyword_as_it_is(service: Service, visitor: Callable[..., Visitor]) -> None:
    page = visitor(reduced_motion="reduce", viewport=WIDE).open("edit")
    edited(service, page)
    page.get_by_label("Description").fill("Changed.")
    save(page)
    assert (topic(service)["description"], topic(service)["keywords"]) == ("Changed.", KEYWORDS)


def test_a_keyword_is_written_on_a_line_and_may_have_commas(service: Service, visitor: Callable[..., Visitor]) -> None:
    page = visitor(reduced_motion="reduce", viewport=WIDE).open("edit")
    edited(service, page)
    keywords = page.get_by_label("Keywords")
    assert keywords.input_value().splitlines()[0] == "Paris, Texas"
    keywords.fill(f"{keywords.input_value()}\n\n London, Ontario \nsea")
    expect(page.locator(".preview .topic-about .keywords")).to_contain_text("London, Ontario · sea")
    save(page)
    assert topic(service)["keywords"] == [*KEYWORDS, "London, Ontario", "sea"]
    keywords.fill("sea")
    save(page)
    assert topic(service)["keywords"] == ["sea"]
