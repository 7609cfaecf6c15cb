"""`/`: the listener's page and its files, from this package and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from litestar import Request, Response, Router, get
from litestar.params import FromPath

from greenroom.caching.outcome import digest
from greenroom.service.conditional import CACHE_CONTROL, matches
from greenroom.service.problems import Problem, shown

_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
_INDEX = "index.html"

# Trusted types: the browser itself refuses markup from text, whatever the API sends. Forms are sent by scripts only: a
# form that went by itself would write a password into an address. Pictures are the page's own: an editor's `image_url`
# elsewhere is a link, so that no other host learns who listens.
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
_HEADERS: Mapping[str, str] = {
    "Cache-Control": CACHE_CONTROL,
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "autoplay=(self), camera=(), display-capture=(), geolocation=(), microphone=(), payment=()",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _File:
    content: bytes
    media_type: str
    tag: str


def _files() -> dict[str, _File]:
    found = {}
    for entry in (resources.files("greenroom.service") / "page").iterdir():
        media_type = _TYPES.get(entry.name[entry.name.rfind(".") :])
        if media_type is not None:
            content = entry.read_bytes()
            found[entry.name] = _File(content, media_type, f'"{digest(content)}"')
    return found


_FILES = _files()


@get("/", summary="The listener's page")
async def index(request: Request[Any, Any, Any]) -> Response[bytes | None]:
    """The page; what it shows, its scripts ask of the API."""
    return _answer(request, _FILES[_INDEX])


@get("/page/{name:str}", summary="A file of the page")
async def asset(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes | None]:
    """A script, the style sheet or the icon; 404 for anything else."""
    found = _FILES.get(name)
    if found is None:
        raise Problem("not-found", f"the page has no file {shown(name)}")
    return _answer(request, found)


def _answer(request: Request[Any, Any, Any], file: _File) -> Response[bytes | None]:
    headers = {**_HEADERS, "ETag": file.tag}
    wanted = request.headers.getall("if-none-match", [])
    if wanted and matches(wanted, file.tag):
        return Response(None, status_code=304, headers=headers)
    return Response(file.content, media_type=file.media_type, headers=headers)


ROUTER = Router("/", route_handlers=[index, asset], include_in_schema=False)
"""The page."""
