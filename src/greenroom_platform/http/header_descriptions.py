"""The headers that the API takes and sends: what each means, and in which answers each can stand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar.openapi.spec import OpenAPIHeader, OpenAPIType, Parameter, Reference, Schema

_SUCCESS = frozenset({200, 201, 202, 204, 206, 304})


@dataclass(frozen=True, slots=True)
class RequestHeader:
    """A header that a route takes.

    Arguments:
        schema: what is not refused; a value of another form is mostly as good as none, so only few say more.
    """

    name: str
    description: str
    schema: dict[str, Any]
    example: str


@dataclass(frozen=True, slots=True)
class ResponseHeader:
    """A header that a route sends.

    Arguments:
        statuses: of the answers that it has a meaning in.
    """

    name: str
    description: str
    statuses: frozenset[int]
    example: str
    number: bool = False


TAKEN_ALWAYS = RequestHeader(
    "X-Request-Id",
    "Names the request in the answer, in the log and in problems; one that is not 1 to 128 of `A-Z a-z 0-9 . _ ~ : + / "
    "= -` is replaced.",
    {},
    "3f9c-17",
)
TAKEN = {
    header.name.lower(): header
    for header in (
        RequestHeader(
            "Idempotency-Key",
            "A name for the request: sent again within 24 hours by the same caller, it gives the first answer again "
            "and does nothing else. With another body the answer is 422.",
            {"pattern": "^[!-~]+$", "min_length": 1, "max_length": 255},
            "8e03978e-40d5-43dd-bc93-6894a57f9324",
        ),
        RequestHeader(
            "If-Match",
            "The entity tags of the versions that may be changed, or `*`; 412 if none of them is current.",
            {},
            '"0a1b2c3d4e5f60718293a4b5c6d7e8f9"',
        ),
        RequestHeader(
            "If-None-Match",
            "Entity tags, or `*`. If one of them is current, a read answers 304, and a change 412.",
            {},
            '"0a1b2c3d4e5f60718293a4b5c6d7e8f9"',
        ),
        RequestHeader("Prefer", "`drop-receipt` asks for the header `Drop-Receipt` (RFC 7240).", {}, "drop-receipt"),
        RequestHeader("Range", "The requested bytes, as one range.", {}, "bytes=0-1023"),
        RequestHeader(
            "If-Range",
            "The entity tag of the recording that `Range` refers to; any other tag gives the whole recording.",
            {},
            '"1-48213"',
        ),
        RequestHeader(
            "Last-Event-ID",
            "The id of the last event that the client has; it is not sent again.",
            {},
            "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        ),
    )
}
"""By their names in lower case, as routes mention them."""

SENT_ALWAYS = ResponseHeader(
    "X-Request-Id", "The id of the request: the client's own, or a generated one.", frozenset(), "3f9c-17"
)
SENT = {
    header.name.lower(): header
    for header in (
        ResponseHeader(
            "Accept-Ranges", "The unit in which ranges can be asked for.", frozenset({200, 206, 304}), "bytes"
        ),
        ResponseHeader(
            "Cache-Control",
            "Which caches may keep the answer, and for how long.",
            _SUCCESS | {503},
            "public, no-cache",
        ),
        ResponseHeader(
            "Cache-Status",
            "How the service's own cache handled the request (RFC 9211).",
            frozenset({200, 304, 404}),
            "greenroom; hit; ttl=3421",
        ),
        ResponseHeader(
            "Content-Disposition",
            "A name for the file.",
            frozenset({200}),
            'attachment; filename="greenroom-2026-01-01.ndjson"',
        ),
        ResponseHeader(
            "Content-Range",
            "The range that is sent, and the length of the whole.",
            frozenset({206, 416}),
            "bytes 0-1023/48213",
        ),
        ResponseHeader(
            "Drop-Receipt",
            "The keys that the change has dropped from the caches, and when their server acknowledged that, as JSON.",
            frozenset({200, 201, 204}),
            '{"change_id":"17","topics":1}',
        ),
        ResponseHeader(
            "ETag",
            "The version of the answer, for `If-None-Match` and `If-Match`.",
            frozenset({200, 206, 304}),
            '"0a1b2c3d4e5f60718293a4b5c6d7e8f9"',
        ),
        ResponseHeader(
            "Link",
            'The next page, with `rel="next"`, where there may be one.',
            frozenset({200, 304}),
            '</api/v1/snippets?topic_id=tech_ai_ethics&page=2>; rel="next"',
        ),
        ResponseHeader(
            "Location",
            "The path of the new resource, or of its status.",
            frozenset({201, 202}),
            "/api/v1/topics/tech_ai_ethics",
        ),
        ResponseHeader(
            "Preference-Applied",
            "The preference of `Prefer` that was followed.",
            frozenset({200, 201, 204}),
            "drop-receipt",
        ),
        ResponseHeader(
            "Retry-After",
            "Seconds after which to ask again.",
            frozenset({200, 304, 409, 429, 503}),
            "5",
            number=True,
        ),
        ResponseHeader("WWW-Authenticate", "How to authenticate.", frozenset({401}), 'Bearer realm="greenroom"'),
    )
}
"""By their names in lower case, as routes mention them."""


def parameters() -> dict[str, Parameter | Reference]:
    """The headers that are taken, as components of the description."""
    return {
        header.name: Parameter(
            header.name,
            "header",
            schema=Schema(type=OpenAPIType.STRING, **header.schema),
            description=header.description,
            example=header.example,
        )
        for header in (TAKEN_ALWAYS, *TAKEN.values())
    }


def headers() -> dict[str, OpenAPIHeader | Reference]:
    """The headers that are sent, as components of the description."""
    return {
        header.name: OpenAPIHeader(
            Schema(type=OpenAPIType.INTEGER, minimum=0) if header.number else Schema(type=OpenAPIType.STRING),
            description=header.description,
            example=int(header.example) if header.number else header.example,
        )
        for header in (SENT_ALWAYS, *SENT.values())
    }


def taken(*names: str) -> list[Parameter | Reference]:
    """References to headers that are taken."""
    return [Reference(f"#/components/parameters/{name}") for name in names]


def sent(*names: str) -> dict[str, OpenAPIHeader | Reference]:
    """References to headers that are sent."""
    return {name: Reference(f"#/components/headers/{name}") for name in names}
