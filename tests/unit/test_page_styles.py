"""The style sheet that all pages have: which of its classes the pages of editors and operators use is said here."""

from __future__ import annotations

import re
from importlib import resources

import pytest

_HTTP = resources.files("greenroom_platform.http")
SHARED = {
    "page_edit": """
        about actions banner button card danger field foot hint keywords kind lamp lead masthead notice off pager panel
        plain primary refusal sheet skeleton skip snippet soft taller text topic-about unseen when wordmark
    """,
    "page_control": """
        actions danger field foot hint lamp lead links masthead notice panel primary refusal sheet skip unseen wordmark
    """,
}
"""What each page takes over from the listener's, on purpose. Any other name has to be the page's own."""
_CLASSES = re.compile(r"""class(?:=|: |List\.\w+\()\s*["'`]([^"'`]+)["'`]""")


def styled(name: str) -> set[str]:
    """The classes that a style sheet has rules for."""
    text = re.sub(r"/\*.*?\*/", "", _HTTP.joinpath("page", name).read_text(), flags=re.DOTALL)
    selectors = [one for one in re.findall(r"([^{}]+)\{", text) if not one.strip().startswith("@")]
    return {found for one in selectors for found in re.findall(r"\.([a-zA-Z][\w-]*)", one)}


def used(folder: str) -> set[str]:
    """The classes that a page's elements have, as its markup and its scripts name them."""
    files = [one for one in _HTTP.joinpath(folder).iterdir() if one.name.endswith((".html", ".js"))]
    texts = [one.read_text() for one in files if not one.name.startswith("uPlot")]
    named = [found for text in texts for found in _CLASSES.findall(text)]
    return {one for text in named for one in re.findall(r"(?<![\w{.-])[a-z][\w-]*", text)}


@pytest.mark.parametrize("folder", SHARED)
def test_a_page_has_classes_of_the_listener_s_sheet_on_purpose_only(folder: str) -> None:
    """Prevents: a rule for the listener's page is written · another page has the class too, and looks another way."""
    assert used(folder) & styled("style.css") == set(SHARED[folder].split())
