"""The documentation site: it builds strictly, has every public name, and loads nothing from elsewhere."""

from __future__ import annotations

import functools
import http.server
import importlib
import importlib.util
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.support.repository import ROOT
from tests.support.visitors import WITH_CHROMIUM, chromium

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("mkdocs") is None,
        reason="the packages of requirements/docs.lock are not installed; `make docs` installs them",
    ),
    pytest.mark.timeout(400),  # the build takes 9 s of a core; a busy machine has less than one
]

PAGES_LEAST = 25
INTEGRATIONS = (
    "celery",
    "django",
    "dogpile",
    "fastapi",
    "flask",
    "litestar",
    "litestar_store",
    "problems",
    "rq",
    "sqlalchemy",
)
WITH_ALL = ("greenroom", "greenroom.sync", *(f"greenroom.integrations.{name}" for name in INTEGRATIONS))
"""The public modules that say what is public in them."""
WITHOUT_ALL = (
    "greenroom.errors",
    "greenroom.integrations.conditional",
    *(f"greenroom.testing.{name}" for name in ("clock", "fixtures", "http", "server")),
)
"""Those in which every name without an underscore is."""
LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "source": ("src", "srcset"),
    "iframe": ("src",),
    "object": ("data",),
    "video": ("src", "poster"),
    "audio": ("src",),
    "use": ("href", "xlink:href"),
    "image": ("href", "xlink:href"),
}
"""What a browser loads by itself; of `link` see below. A link that a reader follows is none of it."""
NOT_LOADED = {"canonical", "prev", "next", "alternate", "edit"}

NOTHING_TO_FIND = {"config": {"lang": ["en"], "separator": "\\s+", "pipeline": [], "fields": {}}, "docs": []}
"""A search index of no page."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it. Any warning of MkDocs, as for a dead link, is an error."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "GREENROOM_URL": ""}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=390)
    assert run.returncode == 0, run.stdout + run.stderr
    return place


class _Loads(HTMLParser):
    """Collects the addresses that a page loads, and the ids of its elements."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids.add(given.get("id", ""))
        self.addresses += re.findall(r"url\(['\"]?([^'\")]+)", given.get("style", ""))
        self.addresses += [given[name] for name in LOADED.get(tag, ()) if name in given]
        if tag == "link" and not NOT_LOADED & set(given.get("rel", "").split()):
            self.addresses.append(given.get("href", ""))


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, _Loads]:
    """What each page loads, by its path in the site."""
    return {page.relative_to(site).as_posix(): _Loads(page) for page in site.rglob("*.html")}


def foreign(address: str) -> bool:
    return re.match(r"\s*(?:\w[\w+.-]*:)?//", address) is not None


def test_no_page_loads_anything_from_elsewhere(site: Path, pages: dict[str, _Loads]) -> None:
    assert len(pages) > 100
    for name, page in pages.items():
        assert not [one for one in page.addresses if foreign(one)], name
    for sheet in site.rglob("*.css"):
        found = re.findall(r"(?:@import|url\()\s*['\"]?([^'\")]+)", sheet.read_text("utf-8"))
        assert not [one for one in found if foreign(one)], sheet.name


def test_the_menu_has_pages_of_every_kind(pages: dict[str, _Loads]) -> None:
    menu = re.findall(r"(\S+)\.md\b", (ROOT / "mkdocs.yml").read_text("utf-8").partition("\nnav:\n")[2])
    names = [re.sub(r"\bREADME$", "index", name.lstrip("[")) for name in menu]
    assert len(names) >= PAGES_LEAST
    assert {f"{name}.html" for name in names} <= pages.keys()
    assert {name.partition("/")[0] for name in names if "/" in name} >= {
        "concepts",
        "decisions",
        "migration",
        "reference",
    }


@pytest.fixture(scope="module")
def modules() -> Any:
    """The library's modules as griffe reads them, without importing any."""
    griffe = importlib.import_module("griffe")
    loader = griffe.GriffeLoader(search_paths=[ROOT / "src"])
    loader.load("greenroom")
    loader.resolve_aliases()
    return loader.modules_collection


def test_every_public_name_is_in_the_reference(pages: dict[str, _Loads], modules: Any) -> None:
    ids = set[str]().union(*(page.ids for name, page in pages.items() if name.startswith("reference/")))
    names = list(public_names(modules))
    assert len(names) > 100
    assert not [name for name in names if name not in ids]


def test_every_name_that_a_reader_is_told_to_import_is_in_the_reference(pages: dict[str, _Loads]) -> None:
    ids = set[str]().union(*(page.ids for name, page in pages.items() if name.startswith("reference/")))
    told = {name for file in _told() for name in imported(file.read_text("utf-8"))}
    assert len(told) > 40
    assert not sorted(told - ids)


def _told() -> Iterator[Path]:
    """What readers copy from: the pages, the README and the examples."""
    yield ROOT / "README.md"
    yield from (page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "decisions")
    yield from (ROOT / "examples").rglob("*.py")


def imported(text: str) -> Iterator[str]:
    """The names that a text imports from the library, with their module."""
    for module, names in re.findall(
        r"^\s*from (greenroom(?:\.[\w.]+)?) import (\([^)]*\)|[^\n#]+)", text, re.MULTILINE
    ):
        yield from (f"{module}.{name}" for name in re.findall(r"\w+", re.sub(r" as \w+", "", names)))


def test_every_public_name_has_a_docstring(modules: Any) -> None:
    part = modules["greenroom.keyspace.parts.Part"].members  # the protocol says what its methods do
    without = []
    for name in public_names(modules):
        one = modules[name]
        members = one.members.values() if one.is_class else ()
        methods = [member for member in members if member.is_function and not member.name.startswith("_")]
        without += [thing.path for thing in (one, *methods) if not thing.has_docstring and thing.name not in part]
    assert not without


def public_names(modules: Any) -> Iterator[str]:
    for module in WITH_ALL:
        yield from (f"{module}.{name}" for name in modules[module].exports)
    for module in WITHOUT_ALL:
        members = modules[module].members.items()
        defined = (name for name, one in members if not one.is_alias and not one.is_module)
        yield from (f"{module}.{name}" for name in defined if not name.startswith("_"))


@pytest.fixture
def address(site: Path) -> Iterator[str]:
    """The site on a server of files."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@WITH_CHROMIUM
def test_no_request_leaves_a_page_and_the_search_finds(address: str) -> None:
    asked: list[str] = []
    problems: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        # Each page would make its index of all texts, which takes most of a second; only the search below needs one.
        page.route("**/search_index.json", lambda route: route.fulfill(json=NOTHING_TO_FIND))
        for name in ("caching.html", "reference/room.html", "guarantees.html", "examples/index.html"):
            page.goto(f"{address}/{name}", wait_until="networkidle")
        page.unroute("**/search_index.json")
        page.goto(f"{address}/index.html")
        page.keyboard.press("s")
        page.keyboard.type("invalidate_group")
        page.wait_for_selector(".md-search-result__link")
        page.close()
    assert not [one for one in asked if not one.startswith((address, "data:"))]
    assert not problems
