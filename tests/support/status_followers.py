"""Clients that follow the status of a podcast over HTTP, each in its way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import httpx


async def poller(client: httpx.AsyncClient, url: str, seen: list[str]) -> None:
    """Polls a status to its end."""
    while not seen or seen[-1] not in ("ready_to_stream", "error"):
        seen.append((await client.get(url)).raise_for_status().json()["status"])
        await asyncio.sleep(0.02)  # as a client that polls


async def long_poller(client: httpx.AsyncClient, url: str, seen: list[str]) -> None:
    """Waits for each change of a status, to its end."""
    held: dict[str, str] = {}
    while not seen or seen[-1] not in ("ready_to_stream", "error"):
        answer = await client.get(url, params={"wait": 20}, headers=held)
        if answer.status_code == 200:
            seen.append(answer.json()["status"])
            held = {"If-None-Match": answer.headers["etag"]}


async def listener(client: httpx.AsyncClient, url: str, seen: list[str]) -> None:
    """Listens to the events of a status, to their end."""
    async for event, data, _ in events(client, url):
        assert event == "status"
        seen.append(json.loads(data)["status"])


async def events(client: httpx.AsyncClient, url: str, last: str | None = None) -> AsyncIterator[tuple[str, str, str]]:
    """Name, data and id of each event."""
    headers = {} if last is None else {"Last-Event-ID": last}
    async with client.stream("GET", url.replace("/status", "/events"), headers=headers) as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        found: dict[str, str] = {}
        async for line in answer.aiter_lines():
            name, _, value = line.partition(": ")
            found[name] = value
            if not line:
                if "data" in found:
                    yield found["event"], found["data"], found["id"]
                found = {}
