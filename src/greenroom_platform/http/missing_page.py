"""The answer to a wrong address: a page for a browser, a problem document for everything else."""

from __future__ import annotations

from importlib import resources
from typing import Any

from litestar import Request, Response
from litestar.exceptions import NotFoundException

_PAGE = (resources.files("greenroom_platform.http") / "page" / "not-found.html").read_bytes()
_OF_MACHINES = ("/api/", "/docs/", "/health/", "/page/", "/problems/")
_SHOWN = "greenroom.page_shown"


def missing_page(request: Request[Any, Any, Any], error: Exception) -> Response[bytes] | None:
    """The page, where nothing is at the address and the client would show HTML; None for any other error."""
    if not isinstance(error, NotFoundException) or request.scope["path"].startswith(_OF_MACHINES):
        return None
    # A browser names HTML when it opens an address; no library does, and */* is not meant for people.
    accepted = ",".join(request.headers.getall("accept", [])).lower()
    if "text/html" not in accepted:
        return None
    scope: Any = request.scope
    scope[_SHOWN] = True
    headers = {"Cache-Control": "no-store", "Vary": "Accept"}
    return Response(_PAGE, status_code=404, media_type="text/html", headers=headers)


def is_page_shown(scope: Any) -> bool:
    """Whether the request was answered with the page, which needs a page's policy."""
    return _SHOWN in scope
