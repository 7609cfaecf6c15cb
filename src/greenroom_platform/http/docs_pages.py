"""`/docs`: the API's descriptions and Swagger UI, every asset from an installed package."""

from __future__ import annotations

from functools import cache, partial
from os import PathLike
from pathlib import Path
from threading import Lock
from typing import Any

import litestar_offline_docs
from litestar import Router, get
from litestar.enums import MediaType, OpenAPIMediaType
from litestar.params import FromPath
from litestar.serialization import encode_json
from litestar.static_files import create_static_files_router

from greenroom_platform.http import description
from greenroom_platform.http.asyncapi import asyncapi
from greenroom_platform.http.problems import Problem
from greenroom_platform.http.resources import DRAFTS, resources
from greenroom_platform.http.router import OwnRouter

_ASSETS = "/docs/assets"
# The framework's own page has its script, and the whole description, written into it: its policy would have to let
# whatever is written into a page run.
_PAGE = f"""<!doctype html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <title>Greenroom</title>
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="{_ASSETS}/swagger-ui.css">
  <script src="{_ASSETS}/swagger-ui-bundle.js"></script>
  <script src="{_ASSETS}/start.js"></script>
</head>
<body>
  <div id="swagger-container"></div>
</body>
</html>
""".encode()
_MAKING = Lock()
"""Prevents: two ask before the description is there · both make it, each for a tenth of a second of a core."""


@get("/", media_type=MediaType.HTML, sync_to_thread=False)
def read_page() -> bytes:
    """The page, whose scripts ask for the description."""
    return _PAGE


# docs/decisions/0115-the-description-is-made-when-it-is-asked-for.md
@get("/openapi.json", media_type=OpenAPIMediaType.OPENAPI_JSON, sync_to_thread=True)
def read_description() -> bytes:
    """The description of every call, made when it is first asked for."""
    with _MAKING:
        return _description()


@get("/{path:str}", sync_to_thread=False)
def read_other(path: FromPath[str]) -> None:
    """No page.

    Raises:
        Problem: always.
    """
    raise Problem("not-found", "there is no such page of the documentation")


@cache
def _description() -> bytes:
    return encode_json(description.of(resources(), DRAFTS))


def assets() -> Router:
    """The files that the page loads."""
    directories: list[Path | PathLike[Any] | str] = [
        Path(litestar_offline_docs.__file__).parent / "static",
        Path(__file__).parent / "docs_page",
    ]
    return create_static_files_router(_ASSETS, directories, include_in_schema=False)


new_router = partial(
    OwnRouter, "/docs", route_handlers=[read_page, read_description, asyncapi, read_other], include_in_schema=False
)
"""Makes the router of the pages."""
