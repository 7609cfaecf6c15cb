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
from tests.support.visitors import chromium

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None,
    reason="the packages of requirements/docs.lock are not installed; `make docs` installs them",
)

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


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it. Any warning of MkDocs, as for a dead link, is an error."""
    place = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(place)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "GREENROOM_URL": ""}
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110)
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


def foreign(address: str) -> bool:
    return re.match(r"\s*(?:\w[\w+.-]*:)?//", address) is not None


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 100
    for page in pages:
        assert not [one for one in _Loads(page).addresses if foreign(one)], page.name
    for sheet in site.rglob("*.css"):
        found = re.findall(r"(?:@import|url\()\s*['\"]?([^'\")]+)", sheet.read_text("utf-8"))
        assert not [one for one in found if foreign(one)], sheet.name


def test_the_site_has_every_page_in_its_menu(site: Path) -> None:
    home = (site / "index.html").read_text("utf-8")
    menu = set(re.findall(r'<a href="([^"#:]+\.html)" class="md-nav__link', home))
    assert len(menu) >= PAGES_LEAST
    assert not [one for one in menu if not (site / one).is_file()]


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    ids = set[str]().union(*(_Loads(page).ids for page in (site / "reference").glob("*.html")))
    missing = [f"{module}.{name}" for module, name in public_names() if f"{module}.{name}" not in ids]
    assert not missing


def test_every_public_name_has_a_docstring() -> None:
    griffe = importlib.import_module("griffe")
    loader = griffe.GriffeLoader(search_paths=[ROOT / "src"])
    loader.load("greenroom")
    loader.resolve_aliases()
    part = loader.modules_collection["greenroom.keyspace.parts.Part"].members  # the protocol says what its methods do
    without = []
    for module, name in public_names():
        one = loader.modules_collection[f"{module}.{name}"]
        members = one.members.values() if one.is_class else ()
        methods = [member for member in members if member.is_function and not member.name.startswith("_")]
        without += [thing.path for thing in (one, *methods) if not thing.has_docstring and thing.name not in part]
    assert not without


def public_names() -> Iterator[tuple[str, str]]:
    griffe = importlib.import_module("griffe")
    loader = griffe.GriffeLoader(search_paths=[ROOT / "src"])
    loader.load("greenroom")
    for module in WITH_ALL:
        yield from ((module, str(name)) for name in loader.modules_collection[module].exports)
    for module in WITHOUT_ALL:
        found = loader.modules_collection[module]
        defined = (name for name, one in found.members.items() if not one.is_alias and not one.is_module)
        yield from ((module, name) for name in defined if not name.startswith("_"))


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


def test_no_request_leaves_a_page_and_the_search_finds(address: str) -> None:
    asked: list[str] = []
    problems: list[str] = []
    with chromium() as browser:
        page = browser.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        for name in ("caching.html", "reference/room.html", "guarantees.html", "examples/index.html"):
            page.goto(f"{address}/{name}", wait_until="networkidle")
        page.goto(f"{address}/index.html")
        page.keyboard.press("s")
        page.keyboard.type("invalidate_group")
        page.wait_for_selector(".md-search-result__link")
        page.close()
    assert not [one for one in asked if not one.startswith((address, "data:"))]
    assert not problems
