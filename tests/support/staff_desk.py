"""The pages of editors and operators, opened by one who signs in, and requests of them that are held or lost."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Locator, Page, Route, expect

from tests.support.running_service import API, TOKEN, Service
from tests.support.visitors import Visit


def sign_in(page: Page) -> None:
    page.get_by_label("Your name").fill("Ann")
    page.get_by_role("textbox", name="token").fill(TOKEN)
    page.get_by_role("button", name="Sign in").click()


def press(page: Page | Locator, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def edit(service: Service, visitor: Visit, address: str) -> Page:
    page = visitor(reduced_motion="reduce").context.new_page()
    page.goto(f"{service.url}/edit{address}")
    sign_in(page)
    expect(page.locator("form.edit")).to_be_visible()
    return page


def topic(service: Service, topic_id: str, **members: Any) -> None:
    draft = {"display_name": topic_id.title(), "description": "", "keywords": []}
    service.client.put(f"{API}/topics/{topic_id}", json=draft | members, headers=service.editor).raise_for_status()


def stories(service: Service, topic_id: str) -> list[str]:
    found = service.client.get(f"{API}/snippets", params={"topic_id": topic_id}).raise_for_status().json()
    return [one["text_content"] for one in found]


def lost(route: Route) -> None:
    """The service does what it is asked, and its answer does not come through."""
    route.fetch()
    route.abort()


def held(page: Page, path: str, method: str) -> list[Route]:
    """The requests of a method that wait for `continue_`; the first one only waits."""
    waiting: list[Route] = []

    def wait(route: Route) -> None:
        if route.request.method == method and not waiting:
            waiting.append(route)
        else:
            route.continue_()

    page.route(f"**{path}", wait)
    return waiting
