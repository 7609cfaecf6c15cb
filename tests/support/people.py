"""People who use the service: each with a client that keeps cookies, as a browser does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

import httpx

from tests.support.running_service import API, KEPT, NO_TLS, Service

PASSWORD = "correct horse battery staple"
COOKIE = "greenroom"
"""The cookie's name over plain HTTP on loopback."""
_NUMBERS = count()


class Person:
    """Somebody with a name that nobody else has, and a client."""

    def __init__(self, client: httpx.Client, username: str) -> None:
        self.client = client
        self.username = username

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(API + path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.post(API + path, **options)

    def patch(self, path: str, **options: Any) -> httpx.Response:
        return self.client.patch(API + path, **options)

    def delete(self, path: str, **options: Any) -> httpx.Response:
        return self.client.delete(API + path, **options)

    def sign_up(self) -> Person:
        """Become a user."""
        answer = self.post("/users", json={"username": self.username, "password": PASSWORD})
        assert answer.status_code == 201, answer.text
        return self

    def log_in(self, **more: object) -> httpx.Response:
        """Sign in, with further members in the body."""
        answer = self.post("/session/login", json={"username": self.username, "password": PASSWORD, **more})
        assert answer.status_code == 200, answer.text
        return answer

    def prefer(self, **preferences: object) -> dict[str, Any]:
        """Change preferences; returns those that then hold."""
        answer = self.patch("/session/preferences", json=preferences)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["preferences"]
        return found

    @property
    def token(self) -> str:
        """The token in the cookie."""
        return self.client.cookies[COOKIE]


People = Callable[..., Person]
"""Makes a person, or another device of one: `people()`, `people(person.username)`."""


@contextmanager
def people_of(service: Service) -> Iterator[People]:
    """People of a service, whose attempts are forgotten first: all come from one address."""
    raw = service.raw()
    for key in raw("KEYS", "greenroom:attempts:*"):
        raw("DEL", key)
    raw.close()
    with ExitStack() as stack:

        def made(username: str | None = None, **headers: str) -> Person:
            client = stack.enter_context(
                httpx.Client(base_url=service.url, timeout=15, headers=headers, verify=NO_TLS, limits=KEPT)
            )
            return Person(client, username or f"user{next(_NUMBERS)}")

        yield made
