"""What the API's description says of all calls, and the words for what a single call says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import (
    Components,
    License,
    OpenAPIMediaType,
    Operation,
    Reference,
    RequestBody,
    SecurityScheme,
)

from greenroom.keyspace.parts import PART_MAX
from greenroom.sessions import cookie
from greenroom_platform.http.staff_session import COOKIE as STAFF_COOKIE

SCHEMAS = "#/components/schemas/{name}"
"""Where the description has a schema."""
ID: dict[str, Any] = {"pattern": "^[A-Za-z0-9._~-]+$", "minLength": 1, "maxLength": PART_MAX}
"""What the description says of an id that can be a part of a key."""
EDITOR_SECURITY: list[dict[str, list[str]]] = [{"editor": []}, {"staff": []}]
"""What the description of an editor call says of its token, or of the cookie of the pages."""
STAFF_SECURITY: list[dict[str, list[str]]] = [{"editor": []}, {"control": []}, {"staff": []}]
"""What it says of a call for all staff."""


BEGINS_SESSION: list[dict[str, list[str]]] = [{"session": []}, {"session_token": []}, {}]
"""Of a call that begins an anonymous session where there is none."""
SESSION_SECURITY: list[dict[str, list[str]]] = [{"session": []}, {"session_token": []}]
"""What the description of a call says of the session that it takes."""


def openapi(operation_id: Callable[..., str]) -> OpenAPIConfig:
    """The description of the API without its calls, which `description` completes."""
    schemes: dict[str, SecurityScheme | Reference] = {
        "editor": SecurityScheme(type="http", scheme="bearer", description="The editor token."),
        "control": SecurityScheme(type="http", scheme="bearer", description="The control token, which may only read."),
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
        license=License(name="Apache License 2.0", identifier="Apache-2.0"),
        description="Topics, snippets and podcasts of the podcast platform, served from its hot-data tier. What is "
        "pushed, over WebSockets and as events, is described in [asyncapi.json](/docs/asyncapi.json).",
        use_handler_docstrings=True,
        operation_id_creator=operation_id,
        components=Components(security_schemes=schemes),
    )


def described(**schema: Any) -> msgspec.Meta:
    """What the description says of a member whose errors are told by whoever takes it."""
    return msgspec.Meta(extra_json_schema=schema)


def taking(draft: type[msgspec.Struct], *media_types: str) -> type[Operation]:
    """An operation whose body is a draft; its handler reads the body itself, unseen by the framework."""
    content = {media_type: _holding(draft) for media_type in media_types or ("application/json",)}
    body = RequestBody(content, required=True)

    @dataclass
    class Taking(Operation):
        def __post_init__(self) -> None:
            self.request_body = body

    return Taking


def _holding(type_: type[msgspec.Struct]) -> OpenAPIMediaType:
    return OpenAPIMediaType(schema=Reference(SCHEMAS.format(name=type_.__name__)))
