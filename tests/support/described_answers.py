"""What the API's description says of an answer, held against answers that were really given."""

from __future__ import annotations

import re
from typing import Any

import httpx
from jsonschema import Draft202012Validator

from greenroom_platform.http.security_headers import DATA, DOCS, PAGE
from tests.support.running_service import Service

Operation = tuple[str, str]
"""A method and the template of a path."""

OF_EVERY_ANSWER = frozenset(
    {
        *("date", "server", "connection", "content-length", "content-type", "transfer-encoding", "set-cookie", "vary"),
        "x-accel-buffering",
        *(name.decode() for name, _ in (*DATA, *DOCS, *PAGE)),
    }
)
"""Headers of the protocol, of browsers and of proxies: no client of the API reads them."""


class Description:
    """The description that a service gives of itself; remembers which of it was seen in answers."""

    def __init__(self, service: Service) -> None:
        answer = service.client.get("/docs/openapi.json")
        answer.raise_for_status()
        self.document: dict[str, Any] = answer.json()
        self.seen = dict[Operation, set[int]]()
        self.sent = dict[tuple[Operation, int], set[str]]()
        self._paths = {
            path: re.compile(re.sub(r"\\{[^}]*\\}", "[^/]*", re.escape(path))) for path in self.document["paths"]
        }

    @property
    def operations(self) -> dict[Operation, dict[str, Any]]:
        """All of them."""
        return {
            (method.upper(), path): operation
            for path, methods in self.document["paths"].items()
            for method, operation in methods.items()
        }

    def responses(self, operation: Operation) -> dict[int, dict[str, Any]]:
        """The answers of an operation by their status, with what they refer to; without the one for all others."""
        found = self.operations[operation]["responses"]
        return {int(status): self.resolved(one) for status, one in found.items() if status != "default"}

    def takes(self, operation: Operation) -> set[str]:
        """The names of an operation's parameters."""
        return {self.resolved(one)["name"] for one in self.operations[operation].get("parameters", ())}

    def resolved(self, given: dict[str, Any]) -> dict[str, Any]:
        """An object, or what it refers to."""
        while "$ref" in given:
            found: Any = self.document
            for name in given["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            given = found
        return given

    def hold(self, answer: httpx.Response) -> httpx.Response:
        """The answer, when its status, headers, media type and content are described."""
        operation = self._operation(answer)
        described = self.responses(operation)
        told = f"{operation}: {answer.status_code} {answer.text[:200]!r}"
        assert answer.status_code in described, f"{told}: only {sorted(described)} are described"
        response = described[answer.status_code]
        headers = {name.lower(): self.resolved(one) for name, one in response.get("headers", {}).items()}
        for name in answer.headers.keys() - OF_EVERY_ANSWER:
            assert name in headers, f"{told}: the header {name} is not described"
            if headers[name]["schema"]["type"] == "integer":
                assert answer.headers[name].isdecimal(), f"{told}: {name}"
        self._hold_content(answer, response.get("content", {}), told)
        self.seen.setdefault(operation, set()).add(answer.status_code)
        self.sent.setdefault((operation, answer.status_code), set()).update(answer.headers.keys())
        return answer

    def _hold_content(self, answer: httpx.Response, content: dict[str, Any], told: str) -> None:
        if not content:
            assert answer.content == b"", told
            return
        media_type = answer.headers["content-type"].partition(";")[0]
        assert media_type in content, f"{told}: {media_type} is not described"
        if media_type.endswith("json"):
            schema = {**content[media_type]["schema"], "components": self.document["components"]}
            Draft202012Validator(schema).validate(answer.json())

    def _operation(self, answer: httpx.Response) -> Operation:
        sent = answer.request.url.raw_path.partition(b"?")[0].decode()
        # A path without a parameter goes before one with.
        for path in sorted(self._paths, key=lambda path: "{" in path):
            if self._paths[path].fullmatch(sent) and (answer.request.method, path) in self.operations:
                return answer.request.method, path
        raise AssertionError(f"{answer.request.method} {sent} is not described")
