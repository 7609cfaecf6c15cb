"""`/docs`: the API's description and Swagger UI, every asset from an installed package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, cast

import litestar_offline_docs
import msgspec
from litestar import Request, Response, Router
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPI,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.static_files import create_static_files_router

from greenroom.keyspace.parts import PART_MAX
from greenroom.sessions import cookie
from greenroom.sessions.refusals import MEDIA_TYPE
from greenroom_platform.http.problems import Document, Problem
from greenroom_platform.http.staff_session import COOKIE as STAFF_COOKIE

_ASSETS = "/docs/assets"
_SCHEMAS = "#/components/schemas/{name}"
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
ID: dict[str, Any] = {"pattern": "^[A-Za-z0-9._~-]+$", "minLength": 1, "maxLength": PART_MAX}
"""What the description says of an id that can be a part of a key."""
_IDS = frozenset({"topic_id", "snippet_id", "podcast_id"})
EDITOR_SECURITY: list[dict[str, list[str]]] = [{"editor": []}, {"staff": []}]
"""What the description of an editor call says of its token, or of the cookie of the pages."""
STAFF_SECURITY: list[dict[str, list[str]]] = [{"editor": []}, {"control": []}, {"staff": []}]
"""What it says of a call for all staff."""


BEGINS_SESSION: list[dict[str, list[str]]] = [{"session": []}, {"session_token": []}, {}]
"""Of a call that begins an anonymous session where there is none."""
SESSION_SECURITY: list[dict[str, list[str]]] = [{"session": []}, {"session_token": []}]
"""What the description of a call says of the session that it takes."""


class _Page(OpenAPIRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        return _PAGE


def openapi() -> OpenAPIConfig:
    """The description of the API, served with its page at `/docs`."""
    problem = OpenAPIResponse("A problem document (RFC 9457).", content={MEDIA_TYPE: _holding(Document)})
    schemes: dict[str, SecurityScheme | Reference] = {
        "editor": SecurityScheme(type="http", scheme="bearer", description="The editor token."),
        "control": SecurityScheme(type="http", scheme="bearer", description="The control token, which only looks."),
        "staff": SecurityScheme(
            type="apiKey",
            name=STAFF_COOKIE.sent_name(secure=True),
            security_scheme_in="cookie",
            description="The cookie of `POST /api/v1/staff/session`.",
        ),
        "session": SecurityScheme(
            type="apiKey", name=cookie.NAME, security_scheme_in="cookie", description="The session's cookie."
        ),
        "session_token": SecurityScheme(
            type="http", scheme="bearer", description="The session's token, for clients without cookies."
        ),
    }
    return OpenAPIConfig(
        title="Greenroom",
        version="1",
        description="Topics, snippets and podcasts of the podcast platform, served from its hot-data tier.",
        openapi_router=Router("/docs", route_handlers=[], include_in_schema=False, after_request=_found),
        use_handler_docstrings=True,
        components=Components(responses={"problem": problem}, security_schemes=schemes),
        render_plugins=[_Page(path="/")],
    )


def described(**schema: Any) -> msgspec.Meta:
    """What the description says of a member whose errors are told by whoever takes it."""
    return msgspec.Meta(extra_json_schema=schema)


def taking(draft: type[msgspec.Struct]) -> type[Operation]:
    """An operation whose body is a draft; its handler reads the body itself, unseen by the framework."""
    body = RequestBody({"application/json": _holding(draft)}, required=True)

    @dataclass
    class Taking(Operation):
        def __post_init__(self) -> None:
            self.request_body = body

    return Taking


def complete(description: OpenAPI, bodies: Sequence[type[msgspec.Struct]]) -> None:
    """Describe bodies, and errors as they are answered: a problem document each, never the framework's own 400."""
    _, schemas = msgspec.json.schema_components([Document, *bodies], ref_template=_SCHEMAS)
    for body in bodies:
        schemas[body.__name__]["additionalProperties"] = False  # others are 422; see `requests.draft`
        for name in _IDS & schemas[body.__name__]["properties"].keys():
            schemas[body.__name__]["properties"][name] |= ID
    # Plain JSON is written as it is, like the framework's own dataclasses.
    description.components.schemas |= cast("dict[str, Schema]", schemas)
    for path in (description.paths or {}).values():
        for operation in (path.get, path.put, path.post, path.patch, path.delete):
            if operation is not None and operation.responses is not None:
                operation.responses.pop("400", None)
                empty = operation.responses.get("204")
                if isinstance(empty, OpenAPIResponse):
                    empty.content = None  # the framework describes a body, `null`, where a handler gives headers
                operation.responses["default"] = Reference("#/components/responses/problem")
                for parameter in operation.parameters or ():
                    if isinstance(parameter, Parameter) and parameter.name in _IDS:
                        parameter.schema = _schema_of_id()


def assets() -> Router:
    """The files that the page loads."""
    directories: list[Path | PathLike[Any] | str] = [
        Path(litestar_offline_docs.__file__).parent / "static",
        Path(__file__).parent / "docs_page",
    ]
    return create_static_files_router(_ASSETS, directories, include_in_schema=False)


def _schema_of_id() -> Schema:
    return Schema(
        type=OpenAPIType.STRING, pattern=ID["pattern"], min_length=ID["minLength"], max_length=ID["maxLength"]
    )


def _holding(type_: type[msgspec.Struct]) -> OpenAPIMediaType:
    return OpenAPIMediaType(schema=Reference(_SCHEMAS.format(name=type_.__name__)))


async def _found(response: Response[Any]) -> Response[Any]:
    # The framework answers an unknown page with HTML of its own.
    if response.status_code == 404:
        raise Problem("not-found", "there is no such page of the documentation")
    return response
