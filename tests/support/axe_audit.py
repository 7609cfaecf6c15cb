"""A page held against axe-core in the state in which it is, light and dark, in windows of all widths."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from axe_playwright_python.base import AxeResults  # type: ignore[import-untyped]
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page, ViewportSize

WIDE, NARROW = ViewportSize(width=1280, height=900), ViewportSize(width=375, height=740)
_TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def clean(page: Page, sizes: Sequence[ViewportSize] = (NARROW, WIDE)) -> None:
    """axe-core finds nothing, in both colours; nothing sticks out in a window of any size, the last of which stays."""
    # Once for each load of the page: reading it costs as much as a run.
    if not page.evaluate("'axe' in window"):
        page.evaluate(_script())
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        options: dict[str, Any] = {"reporter": "no-passes"}
        # Dark, only the colours are others.
        if scheme == "dark":
            options["runOnly"] = ["color-contrast"]
        found = AxeResults(page.evaluate("options => axe.run(document, options)", options))
        assert found.violations_count == 0, f"{scheme}: {found.generate_report()}"
    for size in sizes:
        page.set_viewport_size(size)
        wider = page.evaluate(_TOO_WIDE)
        assert wider <= 0, f"{wider} px stick out at {size['width']} px"


@cache
def _script() -> str:
    script: str = Axe().axe_script
    return script
