"""What is stored, held against the record: one value at a time, and what another generation makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from greenroom.caching.generation import SLACK
from greenroom.deployment import RecordReader
from greenroom.engine.operator import OperatorConnection
from greenroom.inspection.faults import Stored
from greenroom.keyspace import Keyspace
from greenroom.keyspace.derived_keys import derived_key


class NotCompared(Exception):
    """A value cannot be held against the record; the text says why."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the record has for a key, as it would be stored; None where it has nothing."""

    body: bytes | None


async def recorded(reader: RecordReader, keyspace: Keyspace[Any], key: str) -> Recorded:
    """What the record has for a key now.

    Raises:
        NotCompared: when it cannot be read.
    """
    parts = keyspace.pattern.parse(key)
    if parts is None or None in parts.values():  # of a digest nobody knows what it is of
        raise NotCompared("its parts cannot be read back from the key")
    try:
        value = await reader.read(keyspace, parts)
        return Recorded(None if value is None else keyspace.encode(key, value))
    except Exception as failure:  # whatever a loader of somebody's raises
        raise NotCompared(f"{type(failure).__name__}: {failure}") from None


def agrees(keyspace: Keyspace[Any], key: str, stored: bytes, record: Recorded) -> bool:
    """Whether readers get of what is stored what a load would give them; what cannot be decoded is loaded anew."""
    if record.body is None:
        return False
    if stored == record.body:
        return True
    one, other = keyspace.decode(key, stored), keyspace.decode(key, record.body)
    return bool(one == other) or keyspace.codec.encode(one) == keyspace.codec.encode(other)


@dataclass(slots=True)
class DroppedKeyspaces:
    """The generations of keyspaces that were dropped of late: what bears another one is served to nobody.

    Arguments:
        known: generation and its age in seconds, by the keyspace's name.
    """

    known: dict[str, tuple[bytes, float]] = field(default_factory=dict)

    async def learn(self, look: OperatorConnection, keyspaces: Mapping[str, Keyspace[Any]]) -> None:
        """Read those whose truth is on this server; raises `EngineError`."""
        here = {}
        for name, one in keyspaces.items():
            key = derived_key(one.pattern.prefix, "generation", one.pattern.prefix + one.pattern.text)
            if look.shard.owns(key):
                here[name] = key
        if not here:
            return
        seconds, micros = await look.ask("TIME")
        now = int(seconds) + int(micros) / 1e6
        for name, reply in zip(here, await look.replies(*(("GET", key) for key in here.values())), strict=True):
            if isinstance(reply, bytes) and (moment := reply.partition(b"-")[0]).isdigit():
                self.known[name] = reply, now - int(moment) / 1e6

    def rejects(self, keyspace: Keyspace[Any], stored: Stored) -> bool:
        """Whether no process of ours serves this value, since its keyspace was dropped after it was stored."""
        generation, age = self.known.get(keyspace.name, (b"", 0.0))
        return bool(generation) and age < keyspace.lifetime.ttl_ms / 1000 + SLACK and stored.mark != generation
