"""One key by the names of its keyspace and parts: what this process has, what the server has, and the record.

Nothing is looked for: a key that is declared is made of its parts. It is read on the connection that caches nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import time
from typing import Any, Literal

import msgspec

from greenroom.caching import Cache
from greenroom.caching.generation import SLACK, moment_of
from greenroom.engine import Channel, Engine
from greenroom.errors import BrokenValue, EngineError, InvalidInput, OtherVersionValue
from greenroom.keyspace import Keyspace
from greenroom.keyspace.derived_keys import derived_key

_AGAIN = 0.3
"""Seconds after which a difference is looked at once more: a change may be on its way."""
_SHOWN = 20_000
"""Characters of a value that are shown."""
_DIFFERENCES = 50
_TEXT = 300
"""Characters of a differing member that are shown."""

State = Literal["value", "unreadable", "absence", "nothing", "unknown"]
Agreement = Literal["same", "differs", "record_has_none", "only_record", "neither", "unknown"]


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Who loads the value now, or what the last load has left.

    Arguments:
        holder: the name that the loading process has given itself; empty after a failed load.
        failed: the kind of error that a load has just ended with; nobody loads until this lapses.
    """

    holder: str
    failed: str
    left_ms: int


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A member that the cached value has otherwise than the record; None where one of the two lacks it."""

    member: str
    cached: str | None
    recorded: str | None


class KeyView(msgspec.Struct, frozen=True, kw_only=True):
    """What there is under a key.

    Arguments:
        near: whether the process that answers would serve it without asking the server.
        process: which process that is.
        state: what the server has; `unknown` where it cannot be asked.
        served: False for a value that nobody is given, since its keyspace was dropped after it was stored.
        left_ms: milliseconds until it expires; below zero where it never does.
        ttl_ms: the declared lifetime.
        fresh: whether it is within its soft lifetime; None where there is no value.
        bytes: of the value's JSON.
        record: how the cached value and the record compare.
        record_error: why that is not known.
    """

    keyspace: str
    key: str
    groups: tuple[str, ...]
    near: bool
    process: str
    state: State
    error: str | None
    served: bool
    left_ms: int | None
    ttl_ms: int
    fresh: bool | None
    bytes: int | None
    lease: Lease | None
    record: Agreement
    record_error: str | None
    differences: tuple[Difference, ...]
    cached: str | None
    recorded: str | None


class _Stored(msgspec.Struct, kw_only=True):
    state: State = "nothing"
    error: str | None = None
    body: bytes | None = None
    left_ms: int | None = None
    lease: Lease | None = None
    served: bool = True


async def look_up(cache: Cache[Any], engine: Engine, parts: Mapping[str, Any], *, process: str) -> KeyView:
    """What there is under the key of a cache that is made of these parts.

    Raises:
        InvalidInput: for parts that no key can hold.
    """
    keyspace = cache.keyspace
    key = keyspace.key(**parts)
    stored, found = await _both(cache, engine, key, parts)
    agreement, differences = _compared(keyspace, key, stored, found)
    if agreement not in ("same", "neither", "unknown"):
        # Prevents: a change is committed, and its keys dropped in the next moment · the operator sees a difference
        # that nobody else has seen.
        await asyncio.sleep(_AGAIN)
        stored, found = await _both(cache, engine, key, parts)
        agreement, differences = _compared(keyspace, key, stored, found)
    lifetime = keyspace.lifetime
    there = stored.state == "value" and stored.left_ms is not None
    return KeyView(
        keyspace=keyspace.name,
        key=key,
        groups=tuple(group.key(**{name: parts[name] for name in group.names}) for group in cache.group_patterns),
        near=cache.is_near(**parts),
        process=process,
        state=stored.state,
        error=stored.error,
        served=stored.served,
        left_ms=stored.left_ms,
        ttl_ms=lifetime.ttl_ms,
        fresh=stored.left_ms > lifetime.ttl_ms - lifetime.fresh_ms if there and stored.left_ms is not None else None,
        bytes=None if stored.body is None else len(stored.body),
        lease=stored.lease,
        record=agreement,
        record_error=found if isinstance(found, str) else None,
        differences=differences,
        cached=_text(stored.body),
        recorded=_text(found) if isinstance(found, bytes) else None,
    )


async def _both(
    cache: Cache[Any], engine: Engine, key: str, parts: Mapping[str, Any]
) -> tuple[_Stored, bytes | str | None]:
    # The record last: a change that came between is new there, and its drop is on its way.
    stored = await _stored(cache.keyspace, engine, key)
    return stored, await _recorded(cache, key, parts)


async def _stored(keyspace: Keyspace[Any], engine: Engine, key: str) -> _Stored:
    lease, absence, mark = keyspace.lease_key(key), keyspace.absent_key(key), keyspace.mark_key(key)
    generation = derived_key(keyspace.pattern.prefix, "generation", keyspace.pattern.prefix + keyspace.pattern.text)

    async def ask(*command: str) -> Any:
        try:
            return await engine.execute(Channel.PLAIN, command[1], *command)
        except EngineError as error:
            return error

    commands = ("GET", key), ("PTTL", key), ("GET", lease), ("PTTL", lease), ("PTTL", absence), ("GET", mark)
    replies: list[Any] = await asyncio.gather(*(ask(*one) for one in (*commands, ("GET", generation))))
    body, left, held, held_ms, absent_ms, marked, current = replies
    if isinstance(left, EngineError):
        return _Stored(state="unknown", error=str(left))
    found = _Stored(left_ms=left if left != -2 else None)
    if isinstance(held, bytes) and isinstance(held_ms, int):
        text = held.decode("utf-8", "replace")
        failed = text.removeprefix("failed:") if text.startswith("failed:") else ""
        found.lease = Lease(holder="" if failed else text, failed=failed, left_ms=held_ms)
    if isinstance(body, EngineError):
        found.state, found.error = "unreadable", f"it is not a value of ours: {body}"
    elif body is not None:
        found.state, found.body = "value", body
        try:
            keyspace.decode(key, body)
        except (BrokenValue, OtherVersionValue) as error:
            found.state, found.error = "unreadable", str(error)
        if isinstance(current, bytes):
            age = time() - moment_of(current.decode("ascii", "replace")) / 1e6
            found.served = marked == current or age > keyspace.lifetime.ttl_ms / 1000 + SLACK
    elif isinstance(absent_ms, int) and absent_ms >= 0:
        found.state, found.left_ms = "absence", absent_ms
    return found


async def _recorded(cache: Cache[Any], key: str, parts: Mapping[str, Any]) -> bytes | str | None:
    """What a load would store now: its JSON, None where there is nothing, or why that is not known."""
    try:
        value = await cache.load(**parts)
        return None if value is None else cache.keyspace.encode(key, value)
    except InvalidInput:
        raise
    except Exception as error:  # whatever a loader raises
        return f"{type(error).__name__}: {error}"


def _compared(
    keyspace: Keyspace[Any], key: str, stored: _Stored, found: bytes | str | None
) -> tuple[Agreement, tuple[Difference, ...]]:
    if isinstance(found, str) or stored.state in ("unknown", "unreadable"):
        return "unknown", ()
    if stored.body is None:
        return ("neither" if found is None else "only_record"), ()
    if found is None:
        return "record_has_none", ()
    if stored.body == found or keyspace.decode(key, stored.body) == keyspace.decode(key, found):
        return "same", ()
    differing = differences(msgspec.json.decode(stored.body), msgspec.json.decode(found))
    return "differs", tuple(differing)


def differences(cached: Any, recorded: Any, member: str = "") -> list[Difference]:
    """Where two JSON values differ, member by member, at most fifty."""
    if type(cached) is dict and type(recorded) is dict:
        names = [*cached, *(name for name in recorded if name not in cached)]
        found: list[Difference] = []
        for name in names:
            inner = f"{member}.{name}" if member else name
            if name not in recorded or name not in cached:
                found.append(_difference(inner, cached.get(name, _MISSING), recorded.get(name, _MISSING)))
            else:
                found += differences(cached[name], recorded[name], inner)
        return found[:_DIFFERENCES]
    if type(cached) is list and type(recorded) is list:
        found = []
        for number in range(max(len(cached), len(recorded))):
            one = cached[number] if number < len(cached) else _MISSING
            other = recorded[number] if number < len(recorded) else _MISSING
            inner = f"{member}[{number}]"
            if one is _MISSING or other is _MISSING:
                found.append(_difference(inner, one, other))
            else:
                found += differences(one, other, inner)
        return found[:_DIFFERENCES]
    return [] if cached == recorded and type(cached) is type(recorded) else [_difference(member, cached, recorded)]


_MISSING = object()


def _difference(member: str, cached: Any, recorded: Any) -> Difference:
    return Difference(member=member or "the value", cached=_written(cached), recorded=_written(recorded))


def _written(value: Any) -> str | None:
    if value is _MISSING:
        return None
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= _TEXT else f"{text[:_TEXT]}…"


def _text(body: bytes | None) -> str | None:
    if body is None:
        return None
    try:
        text = msgspec.json.format(body, indent=2).decode("utf-8", "replace")
    except msgspec.DecodeError:
        text = body.decode("utf-8", "replace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
