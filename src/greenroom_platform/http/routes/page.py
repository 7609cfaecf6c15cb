"""`/`, `/edit` and `/control`: the pages of listeners, editors and operators, their files from this package alone."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath

from greenroom.caching.result import digest
from greenroom_platform.http.joined_scripts import joined
from greenroom_platform.http.not_modified import is_not_modified
from greenroom_platform.http.problems import Problem, shown
from greenroom_platform.http.responses import CACHE_CONTROL
from greenroom_platform.http.router import OwnRouter

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"
_SCRIPT = "app.js"


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    tag: str


@dataclass(frozen=True, slots=True)
class _Page:
    """A page: its address, the path of its files, and the folder in which they lie."""

    address: str
    files: str
    folder: str


PAGES = (
    _Page("/", "/page", "page"),
    _Page("/edit", "/edit", "page_edit"),
    _Page("/control", "/control", "page_control"),
)


def _files(page: _Page) -> dict[str, _File]:
    """What a page consists of. Its modules, and those of the listener's page that it imports, are in its script."""
    script, modules = joined(f"{page.files}/{_SCRIPT}", _module)
    found = {}
    for entry in _folder(page).iterdir():
        media_type = _TYPES.get(entry.name[entry.name.rfind(".") :])
        if media_type is not None and f"{page.files}/{entry.name}" not in modules:
            content = script.encode() if entry.name == _SCRIPT else entry.read_bytes()
            found[entry.name] = _File(content, media_type, f'"{digest(content)}"')
    return found


def _folder(page: _Page) -> Traversable:
    return resources.files("greenroom_platform.http") / page.folder


def _module(address: str) -> str:
    files, _, name = address.rpartition("/")
    (page,) = (one for one in PAGES if one.files == files)
    return (_folder(page) / name).read_text("utf-8")


def _handlers(page: _Page) -> list[HTTPRouteHandler]:
    """What serves a page, and each of its files."""
    files = _files(page)

    @get(page.address, summary="A page")
    async def index(request: Request[Any, Any, Any]) -> Response[bytes | None]:
        """The page; what it shows, its scripts ask of the API."""
        return _answer(request, files[_INDEX])

    @get(f"{page.files}/{{name:str}}", summary="A file of a page")
    async def asset(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes | None]:
        """A script, a style sheet or an icon; 404 for anything else."""
        found = files.get(name)
        if found is None:
            raise Problem("not-found", f"the page has no file {shown(name)}")
        return _answer(request, found)

    return [index, asset]


@get("/favicon.ico", summary="The icon")
async def icon(request: Request[Any, Any, Any]) -> Response[bytes | None]:
    """The page's icon, for what browsers show without a page: they ask for it here."""
    return _answer(request, _ICON)


def _answer(request: Request[Any, Any, Any], file: _File) -> Response[bytes | None]:
    headers = {"Cache-Control": CACHE_CONTROL, "ETag": file.tag}
    if is_not_modified(request, file.tag):
        return Response(None, status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


_ICON = _files(PAGES[0])["icon.svg"]
new_router = partial(
    OwnRouter,
    "/",
    route_handlers=[icon, *(one for page in PAGES for one in _handlers(page))],
    include_in_schema=False,
)
"""Makes the router of the pages."""
