"""`/docs/asyncapi.json`: what the service pushes, as AsyncAPI 3 describes it: streams, statuses, and how it is.

The schemas are those of the structs that are sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from litestar import Response, get

from greenroom_platform.http.control.summary import Summary
from greenroom_platform.http.events import COMMENT_EVERY, RETRY_MS, event_id
from greenroom_platform.http.stream_messages import CLOSES, StreamEnd, StreamError, StreamStart
from greenroom_platform.models import ERROR, READY_TO_STREAM, STATUSES, PodcastStatus
from greenroom_platform.studio.webm import MIME

VERSION = "3.0.0"
MEDIA_TYPE = f"application/vnd.aai.asyncapi+json;version={VERSION}"
_SCHEMAS = "#/components/schemas/{name}"
_JSON = "application/json"
_EXAMPLE = "0123456789abcdef0123456789abcdef"
_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_OVER_HTTP = {"bindings": {"http": {"method": "GET", "bindingVersion": "0.3.0"}}}
_SAID = {
    "streamStart": StreamStart(podcast_id=_EXAMPLE, mime=MIME),
    "streamEnd": StreamEnd(),
    "streamError": StreamError(detail="The podcast could not be made."),
}
"""A stream's messages in words, each with an example."""
_STATUSES = (
    PodcastStatus(podcast_id=_EXAMPLE, status="audio_rendering", estimated_completion_time=_NOON),
    PodcastStatus(podcast_id=_EXAMPLE, status=READY_TO_STREAM),
    PodcastStatus(podcast_id=_EXAMPLE, status=ERROR, error_message="The podcast could not be made."),
)


def document() -> dict[str, Any]:
    """The description of the pushed messages."""
    types = [*(type(example) for example in _SAID.values()), PodcastStatus, Summary]
    _, schemas = msgspec.json.schema_components(types, ref_template=_SCHEMAS)
    schemas["PodcastStatus"]["properties"]["status"]["enum"] = [*STATUSES.steps, STATUSES.failure]
    closes = "\n".join(f"- `{code}`: {meaning}." for code, meaning in CLOSES.items())
    stream = {
        "address": "/api/v1/podcasts/{podcast_id}/stream",
        "title": "A podcast's recording, as it is made",
        "description": f"The socket is closed with one of these codes:\n\n{closes}",
        "servers": [{"$ref": "#/servers/websocket"}],
        "parameters": {"podcast_id": {"$ref": "#/components/parameters/podcast_id"}},
        "messages": {name: _message_of(name) for name in (*_SAID, "cluster")},
        "bindings": {"ws": {"method": "GET", "query": _query(), "bindingVersion": "0.1.0"}},
        "x-close-codes": {str(code): meaning for code, meaning in CLOSES.items()},
    }
    events = {
        "address": "/api/v1/podcasts/{podcast_id}/events",
        "title": "How far a podcast is",
        "description": "Server-sent events; the answer ends after a terminal status. A client that comes back with "
        "`Last-Event-ID` is not sent that event again, and is answered 204 when there will be no other.",
        "servers": [{"$ref": "#/servers/events"}],
        "parameters": {"podcast_id": {"$ref": "#/components/parameters/podcast_id"}},
        "messages": {"status": _message_of("status")},
    }
    control = {
        "address": "/api/v1/control/events",
        "title": "How the service is, for its staff",
        "description": "Server-sent events, one every two seconds or so; the answer ends after 15 minutes. It takes "
        "the editor token, the control token, or the cookie of the pages.",
        "servers": [{"$ref": "#/servers/events"}],
        "messages": {"summary": _message_of("summary")},
    }
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Greenroom: pushed messages",
            "version": "1",
            "license": {"name": "Apache License 2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
            "description": "The rest of the API is described by OpenAPI, in /docs/openapi.json.",
        },
        "defaultContentType": _JSON,
        "servers": {
            "websocket": _server("ws", "Over TLS: wss."),
            "events": _server("http", "Over TLS: https."),
        },
        "channels": {"stream": stream, "events": events, "control": control},
        "operations": {
            "sendStream": _operation("stream", "streamStart", "cluster", "streamEnd", "streamError"),
            "sendStatus": _operation("events", "status") | _OVER_HTTP,
            "sendSummary": _operation("control", "summary") | _OVER_HTTP,
        },
        "components": {
            "schemas": schemas,
            "parameters": {"podcast_id": {"description": "The podcast's id.", "examples": [_EXAMPLE]}},
            "messages": _messages(),
        },
    }


def _messages() -> dict[str, Any]:
    messages: dict[str, Any] = {
        name: {
            "name": name,
            "title": _first_line(example),
            "contentType": _JSON,
            "payload": {"$ref": _SCHEMAS.format(name=type(example).__name__)},
            "examples": [{"name": name, "payload": msgspec.to_builtins(example)}],
        }
        for name, example in _SAID.items()
    }
    messages["cluster"] = {
        "name": "cluster",
        "title": "A piece of the recording, in a binary message: the first begins the file, each other is a cluster.",
        "contentType": MIME.partition(";")[0],
        "payload": {"type": "string", "format": "binary"},
    }
    messages["status"] = {
        "name": "status",
        "title": "The podcast's status has changed.",
        "description": f"An event named `status`, with the status as its data. Between events a comment comes every "
        f"{COMMENT_EVERY:g} seconds; `retry` is {RETRY_MS} ms.",
        "contentType": _JSON,
        "headers": _fields("status"),
        "payload": {"$ref": _SCHEMAS.format(name="PodcastStatus")},
        "examples": [
            {
                "name": status.status,
                "headers": {"id": event_id(status), "event": "status"},
                "payload": msgspec.to_builtins(status),
            }
            for status in _STATUSES
        ],
    }
    messages["summary"] = {
        "name": "summary",
        "title": "How the service is now, with everything that is counted.",
        "contentType": _JSON,
        "headers": _fields("summary"),
        "payload": {"$ref": _SCHEMAS.format(name="Summary")},
    }
    return messages


def _fields(event: str) -> dict[str, Any]:
    """The fields of an event beside its data."""
    return {
        "type": "object",
        "required": ["id", "event"],
        "properties": {
            "id": {"type": "string", "description": "For `Last-Event-ID`; equal data have equal ids."},
            "event": {"type": "string", "const": event},
        },
    }


def _first_line(example: Any) -> str:
    return str(type(example).__doc__).partition("\n")[0]


def _message_of(name: str) -> Mapping[str, str]:
    return {"$ref": f"#/components/messages/{name}"}


def _operation(channel: str, *messages: str) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
    }


def _server(protocol: str, description: str) -> dict[str, Any]:
    host = {"default": "127.0.0.1:8000", "description": "Where the service is."}
    return {"host": "{host}", "protocol": protocol, "description": description, "variables": {"host": host}}


def _query() -> dict[str, Any]:
    place = {
        "type": "number",
        "minimum": 0,
        "maximum": 86400,
        "default": 0,
        "description": "Seconds into the recording.",
    }
    return {"type": "object", "properties": {"from": place}}


_DOCUMENT = msgspec.json.encode(document())


@get("/asyncapi.json")
async def asyncapi() -> Response[bytes]:
    """The description of the pushed messages."""
    return Response(_DOCUMENT, headers={"Content-Type": MEDIA_TYPE})
