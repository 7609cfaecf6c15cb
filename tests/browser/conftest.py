"""A real Chromium, and its visitors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.running_service import Service
from tests.support.visitors import Visitor, chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One headless Chromium for all tests of a file; `WITH_CHROMIUM` skips them where it is missing."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Any, service: Service) -> Iterator[Callable[..., Any]]:
    """Makes visitors of the file's service, given the options of their browser; what their pages did is checked."""
    visitors: list[Visitor] = []

    def made(url: str = service.url, **options: Any) -> Visitor:
        visitors.append(Visitor(browser, url, **options))
        return visitors[-1]

    yield made
    for one in visitors:
        one.check()
        one.context.close()
