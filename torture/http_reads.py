"""Reads as HTTP makes them: near hits are answered before the route, with what it has left at the entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from greenroom.caching import Cache, CacheResult
from greenroom_platform.http.near_answers import FinishedAnswer, KnownAddresses, NearAnswers


class HttpReads:
    """A route over the caches of one process, behind the fast path of the service."""

    def __init__(self) -> None:
        self._known = KnownAddresses()
        self._app = NearAnswers(self._route, self._known)

    async def get(
        self, cache: Cache[Any], key: str, parts: Mapping[str, object]
    ) -> tuple[bytes | None, CacheResult[Any] | None]:
        """The body of an answer, and the route's read; None for one of them where there is no such thing."""
        scope: dict[str, Any] = {
            "type": "http",
            "method": "GET",
            "raw_path": key.encode(),
            "query_string": b"",
            "headers": [],
            "path_template": "",
            "cache": cache,
            "parts": parts,
        }
        body: bytes | None = None

        async def sending(message: Mapping[str, Any]) -> None:
            nonlocal body
            body = message.get("body", body)

        await self._app(scope, None, sending)
        return body, scope.get("read")

    async def _route(self, scope: Any, _: Any, send: Any) -> None:
        read = scope["read"] = await scope["cache"].get_result(**scope["parts"])
        if read.body is not None:
            self._known.keep(scope, scope["cache"], read, FinishedAnswer(f'"{read.digest}"', [], [], read.body))
            await send({"type": "http.response.body", "body": read.body})
