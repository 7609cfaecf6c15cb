"""`greenroom explain KEY`: whose a key is, where it is, and what is there now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from greenroom.deployment import RecordReader
from greenroom.engine.operator import OperatorConnection, Shard, slot_of
from greenroom.errors import BrokenValue, CommandFailed, EngineRefused, OtherVersionValue
from greenroom.findings import Finding, error
from greenroom.inspection.comparison import NotCompared, agrees, recorded
from greenroom.inspection.faults import Fault, Stored, faulty, of_companion, of_value
from greenroom.inspection.keys import KeyIndex, KeyKind
from greenroom.inspection.stored import read_stored
from greenroom.keyspace import Keyspace
from greenroom.keyspace.derived_keys import derived_key


class Explained(msgspec.Struct, kw_only=True):
    """What a key is.

    Arguments:
        kind: see `KeyKind`.
        held_by: a cache, a store or the sessions.
        of: the key of the value that it belongs to.
        companions: the keys beside that value, by their use.
        server: where it is; None where no server was asked.
        left_ms: milliseconds until it expires; below zero where it never does.
        record: whether the record agrees, or why that is not known.
    """

    key: str
    kind: str
    slot: int
    keyspace: str | None = None
    held_by: str | None = None
    pattern: str | None = None
    of: str | None = None
    parts: dict[str, str] = msgspec.field(default_factory=dict)
    companions: dict[str, str] = msgspec.field(default_factory=dict)
    groups: list[str] = msgspec.field(default_factory=list)
    server: str | None = None
    replica: str | None = None
    type: str | None = None
    bytes: int | None = None
    left_ms: int | None = None
    fresh: bool | None = None
    lease: str | None = None
    record: str | None = None
    findings: list[Finding] = msgspec.field(default_factory=list)


def declared_of(index: KeyIndex, key: str) -> Explained:
    """What the declarations tell of a key."""
    owner = index.owner(key)
    told = Explained(key=key, kind=owner.kind.value, slot=slot_of(key), of=owner.key or None)
    if owner.kind is KeyKind.NOBODY:
        told.findings.append(_nobody(index, key))
        return told
    keyspace = owner.keyspace
    if keyspace is None:
        return told
    told.keyspace, told.held_by = keyspace.name, index.keyspaces.kind(keyspace)
    told.pattern = keyspace.pattern.prefix + keyspace.pattern.text
    if owner.kind is KeyKind.STRAY:
        told.findings.append(_stray(keyspace, key))
    elif owner.kind in (KeyKind.VALUE, KeyKind.LEASE, KeyKind.ABSENCE, KeyKind.MARK):
        _explain_value(told, index, keyspace, owner.key)
    return told


def _explain_value(told: Explained, index: KeyIndex, keyspace: Keyspace[Any], key: str) -> None:
    parts = keyspace.pattern.parse(key) or {}
    told.parts = {name: str(value) for name, value in parts.items()}
    if told.held_by == "cache":
        told.companions = {
            "lease": keyspace.lease_key(key),
            "absence": keyspace.absent_key(key),
            "mark": keyspace.mark_key(key),
        }
        told.groups = list(_groups(index, keyspace, parts))
    elif told.held_by == "sessions":
        uses = ("life", "touched", "grace", "ended", "streams")
        told.companions = {use: derived_key(index.prefix, use, key) for use in uses}


def _groups(index: KeyIndex, keyspace: Keyspace[Any], parts: dict[str, Any]) -> Iterator[str]:
    for group in index.keyspaces.groups_of(keyspace):
        named = {name: parts.get(name) for name in group.pattern.names}
        if None not in named.values():
            yield derived_key(index.prefix, "group", group.pattern.key(**named))


async def look_up(
    told: Explained, index: KeyIndex, look: OperatorConnection, shard: Shard, record: RecordReader | None
) -> None:
    """Add what is on the server of a key, and in the record.

    Raises:
        EngineError: when the server cannot be asked, or refuses.
    """
    told.server = str(shard.primary)
    told.replica = str(shard.replica) if shard.replica is not None else None
    owner = index.owner(told.key)
    try:
        stored = (await read_stored(look, [told.key]))[told.key]
    except (CommandFailed, EngineRefused) as refusal:  # a viewer may read the declared keys alone
        told.type = f"not known: {refusal}"
        return
    told.type = stored.type.decode("utf-8", "replace")
    if not stored.there:
        return
    told.left_ms = stored.left
    told.bytes = len(stored.body) if stored.body is not None else None
    keyspace = owner.keyspace
    if keyspace is None or owner.kind not in (KeyKind.VALUE, KeyKind.LEASE, KeyKind.ABSENCE):
        return
    held_by = index.keyspaces.kind(keyspace)
    if owner.kind is KeyKind.VALUE:
        lifetime = keyspace.lifetime
        told.fresh = stored.left > lifetime.ttl_ms - lifetime.fresh_ms
        cached = held_by == "cache"
        faults = list(of_value(keyspace, told.key, stored, cached=cached, sliding=held_by == "sessions"))
        if cached and Fault.UNDECODABLE not in faults:
            lease = (await read_stored(look, [keyspace.lease_key(told.key)])).popitem()[1]
            told.lease = lease.body.decode("utf-8", "replace") if lease.body is not None else None
            told.record = await _record(keyspace, told.key, stored, record)
            faults += [Fault.STALE] if told.record in (_DIFFERS, _GONE) else []
    else:
        faults = list(of_companion(owner.kind, stored))
    told.findings += [
        faulty(
            one, f"{told.key} is {one.value}", keyspace=keyspace.name, key=told.key, server=told.server, kind=held_by
        )
        for one in faults
    ]


_SAME, _DIFFERS, _GONE = "the same", "differs", "has none"


async def _record(keyspace: Keyspace[Any], key: str, stored: Stored, record: RecordReader | None) -> str | None:
    if record is None or not record.knows(keyspace) or stored.body is None:
        return None
    try:
        found = await recorded(record, keyspace, key)
        if found.body is None:
            return _GONE
        return _SAME if agrees(keyspace, key, stored.body, found) else _DIFFERS
    except (NotCompared, BrokenValue, OtherVersionValue) as why:
        return f"not compared: {why}"


def _nobody(index: KeyIndex, key: str) -> Finding:
    known = ", ".join(one.pattern.prefix + one.pattern.text for one in index.keyspaces)
    what = f"{key} is of no declaration"
    mend = "compare it with the patterns, and with the prefix (--key-prefix)"
    return error("nobody", what, f"the patterns are {known}", mend)


def _stray(keyspace: Keyspace[Any], key: str) -> Finding:
    what = f"{key} begins like the keys of {keyspace.name} and is none"
    why = f"a part has characters, or a number, that {keyspace.pattern.text} does not take: nobody reads it"
    return error("stray", what, why, "find the program that writes it; `greenroom definitions` says what parts may be")
