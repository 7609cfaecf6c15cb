"""Sends requests of the operations that the API's description has, and holds the answers against it."""

from __future__ import annotations

from typing import Any

import httpx

from tests.support.described_answers import Description, Operation
from tests.support.people import PASSWORD
from tests.support.running_service import API, Service
from tests.support.stream_listeners import UNKNOWN

TOPIC, SNIPPET = "tech_ai_ethics", "ai_ethics_001"
WHY = {"why": "A test of the description."}
CONTROL = f"{API}/control"
BODIES: dict[Operation, dict[str, Any]] = {
    ("PUT", f"{API}/topics/{{topic_id}}"): {"display_name": "Described", "description": "", "keywords": []},
    ("POST", f"{API}/snippets"): {"topic_id": TOPIC, "title": "Title", "text_content": "Text."},
    ("PUT", f"{API}/snippets/{{snippet_id}}"): {"topic_id": TOPIC, "title": "Title", "text_content": "Text."},
    ("POST", f"{API}/users"): {"username": "described", "password": PASSWORD},
    ("POST", f"{API}/session/login"): {"username": "described", "password": PASSWORD},
    ("PUT", f"{API}/session/password"): {"current_password": PASSWORD, "new_password": f"{PASSWORD} and more"},
    ("PATCH", f"{API}/session/preferences"): {"playback_speed_default": 1.5},
    ("POST", f"{API}/podcasts/generate"): {"topic_id": TOPIC},
    ("POST", f"{API}/history"): {"items": []},
    ("PUT", f"{API}/history/{{podcast_id}}"): {"position_seconds": 0.5},
    ("DELETE", f"{API}/users/me"): {"password": PASSWORD},
    ("POST", f"{API}/staff/session"): {"token": "a-token-that-is-not-right", "who": "Ana"},
    ("POST", f"{CONTROL}/drops"): {"what": "keyspace", "keyspace": "topic", **WHY},
    ("POST", f"{CONTROL}/loads/cancel"): {"keyspace": "topic", "key": "cache:topic:a", **WHY},
    **{("POST", f"{CONTROL}/{path}"): WHY for path in ("outbox/send", "queue/pause", "queue/resume")},
    **{("POST", f"{CONTROL}/podcasts/{{podcast_id}}/{name}"): WHY for name in ("retry", "release", "stop", "delete")},
    ("POST", f"{CONTROL}/users/{{name}}/sessions/end"): WHY,
}
"""A body for each operation that takes one, as JSON."""


class Driver:
    """Sends requests of the description's operations, and holds the answers against it."""

    def __init__(self, service: Service, description: Description) -> None:
        self.service = service
        self.description = description
        self.credentials = dict[str, str]()

    def send(
        self, operation: Operation, *, status: int, client: httpx.Client | None = None, query: str = "", **options: Any
    ) -> httpx.Response:
        """Send a request whose ids are unknown unless they are given, with the credentials that it needs."""
        method, path = operation
        ids = {"topic_id": "nobody", "snippet_id": "nobody", "podcast_id": UNKNOWN, "handle": "nobody", "slug": "none"}
        ids |= {"name": "nobody", "keyspace": "nobody", "change": "1"}
        for name, value in (ids | options.pop("ids", {})).items():
            path = path.replace(f"{{{name}}}", value)
        headers = self.credentials_of(operation) | options.pop("headers", {})
        if operation in BODIES and not {"json", "content"} & options.keys():
            options["json"] = BODIES[operation]
        answer = (client or self.service.client).request(method, path + query, headers=headers, **options)
        assert answer.status_code == status, (operation, answer, answer.text)
        return self.description.hold(answer)

    def credentials_of(self, operation: Operation) -> dict[str, str]:
        """The headers for what secures an operation, and for what it gives to who asks."""
        schemes = {name for one in self.description.operations[operation]["security"] for name in one}
        token = self.credentials.get("session") if "session_token" in schemes else None
        if "editor" in schemes:
            token = self.service.token
        told = {"Prefer": "drop-receipt"} if "Prefer" in self.description.takes(operation) else {}
        return told if token is None else told | {"Authorization": f"Bearer {token}"}
