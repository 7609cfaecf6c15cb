"""`greenroom status`: how a program is, in one sentence, then a line for each keyspace and each server."""

from __future__ import annotations

import asyncio
import json
import math
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException, IncompleteRead
from typing import Any

import msgspec

from greenroom.engine import Address
from greenroom.engine.operator import find_shards, looking
from greenroom.errors import EngineError
from greenroom.findings import Finding, error, warning
from greenroom.inspection.exposition import MetricSample, numbers, summed
from greenroom.inspection.server_settings import SECTIONS
from greenroom.keyspace.registry import Keyspaces

_WITHIN = 5.0
"""Seconds that the service has to answer."""
_LONGEST = 16 * 1024 * 1024
_LARGEST = 2**53
"""Above it a float is no count any more."""
READS, ERRORS = "greenroom_cache_reads_total", "greenroom_cache_errors_total"
_SPARED = ("near", "hit", "stale")
"""Outcomes of reads that the record is spared."""
_SHOWN = 300
"""Characters of why a service does not answer."""
_COUNTS = ("_total", "_count", "_sum", "_bucket", "_created")
_MANUAL = "docs/operations.md"


class ServerLine(msgspec.Struct, kw_only=True):
    """A server; `error` says why nothing else is known."""

    address: str
    error: str | None = None
    version: str | None = None
    role: str | None = None
    keys: int = 0
    used: int = 0
    bound: int = 0
    clients: int = 0
    commands_per_second: int = 0
    evicted: int = 0
    replicas: int = 0


class KeyspaceLine(msgspec.Struct, kw_only=True):
    """A keyspace's reads since the service's start.

    Arguments:
        spared: the part of the reads that the record was spared; None where nothing was read.
    """

    name: str
    reads: int
    spared: float | None
    outcomes: dict[str, int]
    errors: dict[str, int]


class Status(msgspec.Struct, kw_only=True):
    """How a program is."""

    sentence: str
    servers: list[ServerLine]
    keyspaces: list[KeyspaceLine]
    gauges: dict[str, float]
    findings: list[Finding]


class Heard(msgspec.Struct, kw_only=True):
    """What a service says of itself; `failure` where it does not answer."""

    health: dict[str, str] = msgspec.field(default_factory=dict)
    samples: list[MetricSample] = msgspec.field(default_factory=list)
    failure: str | None = None


async def status(addresses: Sequence[Address], keyspaces: Keyspaces, service: str | None, token: str | None) -> Status:
    """Ask the servers, and the service where there is one."""
    servers = [line for address in addresses for line in await _servers(address)]
    heard = None if service is None else await asyncio.to_thread(hear, service, token)
    found = list(verdict(servers, heard, service))
    lines = keyspace_lines(keyspaces, heard.samples if heard is not None else [])
    return Status(
        sentence=sentence(found, servers, lines),
        servers=servers,
        keyspaces=lines,
        gauges=_gauges(heard.samples if heard is not None else []),
        findings=found,
    )


def sentence(found: Sequence[Finding], servers: Sequence[ServerLine], lines: Sequence[KeyspaceLine]) -> str:
    """How it is, in one sentence: what is worst, and what it costs."""
    worst = next((one for one in found if one.severity == "error"), found[0] if found else None)
    if worst is not None:
        more = f" And {len(found) - 1} more." if len(found) > 1 else ""
        return f"{worst.what}: {worst.why}.{more}"
    answers = "the server answers" if len(servers) == 1 else f"all {len(servers)} servers answer"
    reads = sum(one.reads for one in lines)
    if not reads:
        return f"Healthy: {answers}."
    spared = sum(one.reads * (one.spared or 0.0) for one in lines) / reads
    return f"Healthy: {answers}, and of {reads:,} reads {spared:.1%} were answered without the record."


def verdict(servers: Sequence[ServerLine], heard: Heard | None, service: str | None) -> Sequence[Finding]:
    """What is not well, the worst at the head."""
    found: list[Finding] = []
    if heard is not None and heard.failure is not None:
        mend = "start it, or name it with --service; --no-service asks the servers alone"
        found.append(
            error("no_service", f"{service} does not answer ({heard.failure})", "nobody is served by it", mend)
        )
    health = heard.health if heard is not None else {}
    since = f" (since {health['since']})" if "since" in health else ""
    if (state := health.get("status", "ok")) not in ("ok", "degraded"):
        database = health.get("database", "")
        what = f"the service is {state}" + (f": the record {database}" if database not in ("ok", "") else "") + since
        found.append(error("unavailable", what, "a proxy sends it no requests", f"see {_MANUAL}, What to watch"))
    elif state == "degraded":
        if (database := health.get("database", "ok")) != "ok":
            why = "reads are answered, and every change is 503"
            see = f"{_MANUAL}, When the record cannot be written"
            found.append(error("record_read_only", f"the record is ill: {database}{since}", why, f"see {see}"))
        if (engine := health.get("engine", "ok")) != "ok":
            why = "reads go to the record, 16 at a time for each keyspace"
            see = f"{_MANUAL}, When the engine is down"
            found.append(
                error("without_engine", f"the service cannot use its server: {engine}{since}", why, f"see {see}")
            )
    for one in servers:
        if one.error is not None:
            why = "what is kept there cannot be read"
            found.append(error("unreachable", f"{one.address} does not answer: {one.error}", why, "greenroom doctor"))
        elif one.bound and one.used > 0.9 * one.bound:
            what = f"{one.address} uses {one.used / one.bound:.0%} of its memory"
            found.append(warning("full", what, "it soon evicts, or stores nothing more", "greenroom size"))
    return found


def keyspace_lines(keyspaces: Keyspaces, samples: Sequence[MetricSample]) -> list[KeyspaceLine]:
    """A line for each keyspace of a cache that was read, or could have been."""
    lines = []
    for keyspace in keyspaces.caches:
        mine = [one for one in samples if one.labels.get("keyspace") == keyspace.name]
        outcomes = _whole(summed(mine, READS, "outcome"))
        reads = sum(outcomes.values())
        spared = sum(outcomes.get(name, 0) for name in _SPARED)
        errors = {kind: number for kind, number in _whole(summed(mine, ERRORS, "kind")).items() if number}
        lines.append(
            KeyspaceLine(
                name=keyspace.name,
                reads=reads,
                spared=spared / reads if reads else None,
                outcomes={name: number for name, number in outcomes.items() if number},
                errors=errors,
            )
        )
    return lines


def hear(service: str, token: str | None) -> Heard:
    """Ask a service how it is; blocks."""
    try:
        health = json.loads(_fetched(f"{service}/health/ready", token))
        text = _fetched(f"{service}/metrics", token).decode("utf-8", "replace")
    except (OSError, ValueError, HTTPException, RecursionError) as failure:
        return Heard(failure=_why(failure))
    told = {str(name): str(value) for name, value in health.items()} if isinstance(health, dict) else {}
    return Heard(health=told, samples=list(numbers(text)))


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect as the answer that it is."""

    def redirect_request(self, *_: Any) -> None:
        """No other address is asked."""


def _fetched(url: str, token: str | None) -> bytes:
    # Of the service alone. Prevents: http_proxy is set, which holds for 127.0.0.1 too · the token is sent to the proxy,
    # in the clear · or the service is behind a redirect · the token is sent to whatever host that names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects())
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with opener.open(urllib.request.Request(url, headers=headers), timeout=_WITHIN) as answer:
            return _body(answer)
    except urllib.error.HTTPError as refusal:
        if refusal.code != 503:
            raise
        return _body(refusal)  # who is not ready says so in its body


def _body(answer: Any) -> bytes:
    body = bytes(answer.read(_LONGEST))
    if answer.length:  # a read with a bound takes an answer that breaks off for a whole one
        raise IncompleteRead(body, answer.length)
    return body


def _why(failure: Exception) -> str:
    """Why nothing is known of a service, in one line."""
    if isinstance(failure, urllib.error.HTTPError):
        to = f", to {failure.headers['Location']}" if 300 <= failure.code < 400 else ""
        text = f"it answers {failure.code} {failure.reason}{to}"
    elif isinstance(failure, HTTPException):  # some of them have nothing in their text but what was received
        text = f"{type(failure).__name__}: {failure}"
    else:
        text = str(getattr(failure, "reason", None) or failure or type(failure).__name__)
    return " ".join(text.split())[:_SHOWN]


async def _servers(address: Address) -> list[ServerLine]:
    try:
        found = await find_shards(address)
    except EngineError as failure:
        return [ServerLine(address=str(address), error=str(failure))]
    lines = []
    for shard in found:
        line = ServerLine(address=str(shard.primary))
        try:
            async with looking(shard) as look:
                info = await look.info(*SECTIONS)
                line.keys = await look.ask("DBSIZE")
        except EngineError as failure:
            line.error = str(failure)
        else:
            _fill(line, info)
        lines.append(line)
    return lines


def _fill(line: ServerLine, info: Mapping[str, str]) -> None:
    def number(name: str) -> int:
        text = info.get(name, "")
        return int(text) if text.isdecimal() else 0

    line.version = info.get("valkey_version") or info.get("redis_version")
    line.role = "primary" if info.get("role") == "master" else "replica"
    line.used, line.bound = number("used_memory"), number("maxmemory")
    line.clients, line.commands_per_second = number("connected_clients"), number("instantaneous_ops_per_sec")
    line.evicted, line.replicas = number("evicted_keys"), number("connected_slaves")


def _whole(sums: Mapping[str, float]) -> dict[str, int]:
    return {name: int(value) for name, value in sums.items() if abs(value) < _LARGEST}  # so not NaN either


def _gauges(samples: Sequence[MetricSample]) -> dict[str, float]:
    """Numbers of the service as a whole, as how many sessions are alive: what has no label and is no count."""
    return {
        one.name: one.value
        for one in samples
        if one.name.startswith("greenroom_")
        and not one.labels
        and not one.name.endswith(_COUNTS)
        and math.isfinite(one.value)
    }
