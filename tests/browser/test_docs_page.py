"""The page of the documentation in a real Chromium: its policy refuses nothing that the page needs."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import expect

from tests.support.running_service import Service
from tests.support.visitors import WITH_CHROMIUM, Visitor

pytestmark = WITH_CHROMIUM


def test_the_documentation_works_under_its_policy(service: Service, visitor: Callable[..., Visitor]) -> None:
    visiting = visitor()
    page = visiting.context.new_page()
    answer = page.goto(f"{service.url}/docs")
    assert answer is not None
    assert "script-src 'self'" in answer.headers["content-security-policy"]
    expect(page.locator(".swagger-ui .info .title")).to_contain_text("Greenroom")
    call = page.locator(".opblock", has_text="/health/live")
    call.locator(".opblock-summary").click()
    call.get_by_role("button", name="Try it out").click()
    call.get_by_role("button", name="Execute").click()
    expect(call.locator(".live-responses-table td.response-col_status:not(.col_header)")).to_contain_text("200")
    visiting.check()
