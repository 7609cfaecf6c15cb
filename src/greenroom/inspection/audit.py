"""`greenroom audit`: a sample of what is stored, held against its declaration and against the record.

A fault counts if it is still there two seconds later, on the primary. Prevents what would be told for nothing:

    the audit reads the old value · a change commits, and drops it · the audit reads the new record: they differ
    the audit asks a replica that is a moment behind its primary

and what would be told of a value that is right: the record is read after what is stored, never before it.

    the record is read · it changes, and the new value is loaded and stored · it is read there: they differ
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from greenroom.acl import Holds
from greenroom.clock import SYSTEM
from greenroom.deployment import RecordReader
from greenroom.engine import Address
from greenroom.engine.operator import OperatorConnection, Pace, Shard, Sleep, find_shards, looking
from greenroom.errors import BrokenValue, OtherVersionValue
from greenroom.inspection.comparison import DroppedKeyspaces, NotCompared, Recorded, agrees, recorded
from greenroom.inspection.faults import Fault, Faulty, Stored, faulty, of_companion, of_value
from greenroom.inspection.keys import KeyIndex, KeyKind
from greenroom.inspection.sampling import Bounds, survey
from greenroom.inspection.stored import read_stored
from greenroom.keyspace import Keyspace

RECHECK = 2.0
"""Seconds after which what was found is looked at again: the bound for changes made outside."""


class Audited(msgspec.Struct, kw_only=True):
    """What was looked at of a keyspace.

    Arguments:
        found: values that were met.
        sampled: those that were looked at closely.
        compared: those that were held against the record.
        not_compared: those that could not be, though the record has the keyspace.
        reason: why the last of them could not.
    """

    name: str
    found: int = 0
    sampled: int = 0
    compared: int = 0
    not_compared: int = 0
    reason: str | None = None


class AuditedServer(msgspec.Struct, kw_only=True):
    """A server that was looked through."""

    address: str
    at_replica: bool
    keys: int
    looked: int


@dataclass(slots=True)
class _Suspect:
    shard: Shard
    fault: Fault
    kind: KeyKind
    name: str
    """The key on the server."""
    keyspace: Keyspace[Any]
    key: str
    """That of the value that it belongs to."""
    stored: Stored
    record: Recorded | None = None


@dataclass(slots=True)
class Audit:
    """Looks through servers.

    Arguments:
        index: of the program's keys.
        record: what is compared with; None where nothing is.
        pace: how often servers are asked.
        sleep: what waits before the second look.
        random: numbers in [0, 1).
    """

    index: KeyIndex
    record: RecordReader | None
    bounds: Bounds
    pace: Pace
    sleep: Sleep = asyncio.sleep
    random: Callable[[], float] = SYSTEM.random
    only: frozenset[str] = frozenset()
    """Names of keyspaces; empty: all of them."""
    servers: list[AuditedServer] = field(default_factory=list)
    keyspaces: dict[str, Audited] = field(default_factory=dict)
    _generations: DroppedKeyspaces = field(default_factory=DroppedKeyspaces)

    async def run(self, servers: Sequence[tuple[Holds, Address]]) -> list[Faulty]:
        """Every fault that was found twice.

        Arguments:
            servers: with a user who may look for keys, and what the program keeps there.

        Raises:
            EngineError: when one cannot be asked, or refuses.
        """
        suspects: list[_Suspect] = []
        shards = [(holds, shard) for holds, address in servers for shard in await find_shards(address)]
        caches = {one.name: one for one in self.index.keyspaces.caches}
        for _, shard in shards:
            async with looking(shard, at_replica=True, pace=self.pace) as look:
                await self._generations.learn(look, caches)
        for holds, shard in shards:
            async with looking(shard, at_replica=True, pace=self.pace) as look:
                suspects += await self._first_look(look, holds)
        if not suspects:
            return []
        await self.sleep(RECHECK)
        found = []
        for _, shard in shards:
            mine = [one for one in suspects if one.shard is shard]
            if mine:
                async with looking(shard, pace=self.pace) as look:
                    found += [self._faulty(one) for one in await self._second_look(look, mine)]
        return found

    # The first look -----------------------------------------------------------------------------------

    async def _first_look(self, look: OperatorConnection, holds: Holds) -> list[_Suspect]:
        seen = await survey(look, self.index, self.bounds, self.random)
        self.servers.append(
            AuditedServer(address=str(look.address), at_replica=look.at_replica, keys=seen.total, looked=seen.looked)
        )
        suspects: list[_Suspect] = []
        for keyspace in self._kept(holds):
            tally = self.keyspaces.setdefault(keyspace.name, Audited(name=keyspace.name))
            for kind in (KeyKind.VALUE, KeyKind.LEASE, KeyKind.ABSENCE, KeyKind.STRAY):
                sample = seen.samples.get((kind, keyspace.name))
                if sample is None:
                    continue
                names = list(dict.fromkeys(sample.keys))
                if kind is KeyKind.VALUE:
                    tally.found += sample.found
                    tally.sampled += len(names)
                suspects += await self._looked(look, kind, keyspace, names)
        return suspects

    def _kept(self, holds: Holds) -> Iterable[Keyspace[Any]]:
        for one in self.index.keyspaces:
            of_sessions = one is self.index.keyspaces.sessions
            wanted = not self.only or one.name in self.only
            if wanted and holds is not (Holds.CACHES if of_sessions else Holds.SESSIONS):
                yield one

    async def _looked(
        self, look: OperatorConnection, kind: KeyKind, keyspace: Keyspace[Any], names: list[str]
    ) -> list[_Suspect]:
        suspects: list[_Suspect] = []
        keys = {name: self.index.owner(name).key for name in names}
        cached = keyspace in self.index.keyspaces.caches
        marks = [keyspace.mark_key(keys[name]) for name in names] if cached and kind is KeyKind.VALUE else []
        for name, stored in (await read_stored(look, names, marks)).items():
            faults = list(self._of_itself(kind, keyspace, name, stored))
            suspects += [_Suspect(look.shard, one, kind, name, keyspace, keys[name], stored) for one in faults]
            if cached and stored.body is not None and kind in (KeyKind.VALUE, KeyKind.ABSENCE):
                suspect = _Suspect(look.shard, Fault.STALE, kind, name, keyspace, keys[name], stored)
                if Fault.UNDECODABLE not in faults and await self._differs(suspect):
                    suspects.append(suspect)
        return suspects

    def _of_itself(self, kind: KeyKind, keyspace: Keyspace[Any], name: str, stored: Stored) -> Iterable[Fault]:
        if kind is KeyKind.STRAY:
            return (Fault.FOREIGN,) if stored.there else ()
        if kind is not KeyKind.VALUE:
            return of_companion(kind, stored)
        kept = self.index.keyspaces.kind(keyspace)
        return of_value(keyspace, name, stored, cached=kept == "cache", sliding=kept == "sessions")

    async def _differs(self, suspect: _Suspect) -> bool:
        """Whether the record has something else; what it has is kept in the suspect."""
        keyspace, stored, record = suspect.keyspace, suspect.stored, self.record
        if record is None or not record.knows(keyspace) or self._is_rejected(suspect):
            return False
        tally = self.keyspaces[keyspace.name]
        try:
            suspect.record = await recorded(record, keyspace, suspect.key)
        except NotCompared as why:
            tally.not_compared += 1
            tally.reason = str(why)
            return False
        tally.compared += 1
        if suspect.kind is KeyKind.ABSENCE:
            return suspect.record.body is not None
        assert stored.body is not None
        try:
            return not agrees(keyspace, suspect.key, stored.body, suspect.record)
        except (BrokenValue, OtherVersionValue):
            return False

    def _is_rejected(self, suspect: _Suspect) -> bool:
        stored = suspect.stored
        if suspect.kind is KeyKind.ABSENCE:  # it holds the generation itself
            stored = Stored(stored.type, stored.left, stored.body, stored.body)
        return self._generations.rejects(suspect.keyspace, stored)

    # The second ---------------------------------------------------------------------------------------

    async def _second_look(self, look: OperatorConnection, suspects: list[_Suspect]) -> list[_Suspect]:
        names = list(dict.fromkeys(one.name for one in suspects))
        marks = {one.name: one.keyspace.mark_key(one.key) for one in suspects}
        now = await read_stored(look, names, [marks[name] for name in names])
        return [one for one in suspects if await self._stands(one, now[one.name])]

    async def _stands(self, suspect: _Suspect, now: Stored) -> bool:
        before, suspect.stored = suspect.stored, now
        if suspect.fault is not Fault.STALE:
            return suspect.fault in self._of_itself(suspect.kind, suspect.keyspace, suspect.name, now)
        # The same value for two seconds, and the record the same too: if that has changed meanwhile, the drop of this
        # value may be on its way.
        record = suspect.record
        return now.body == before.body and await self._differs(suspect) and suspect.record == record

    def _faulty(self, suspect: _Suspect) -> Faulty:
        keyspace, key = suspect.keyspace, suspect.name
        server = str(suspect.shard.primary)
        kind = "stray" if suspect.kind is KeyKind.STRAY else self.index.keyspaces.kind(keyspace)
        what = f"{key} of {keyspace.name} {_words(suspect)}"
        return faulty(suspect.fault, what, keyspace=keyspace.name, key=key, server=server, kind=kind)


def _words(suspect: _Suspect) -> str:
    stored, keyspace = suspect.stored, suspect.keyspace
    match suspect.fault:
        case Fault.STALE if suspect.kind is KeyKind.ABSENCE:
            return "says that there is nothing, and the record has a value"
        case Fault.STALE:
            gone = suspect.record is not None and suspect.record.body is None
            return "is not in the record" if gone else "differs from the record"
        case Fault.FOREIGN if suspect.kind is KeyKind.STRAY:
            return "begins like its keys, but is not one of them"
        case Fault.FOREIGN:
            return f"holds a {stored.type.decode('utf-8', 'replace')}, and no JSON"
        case Fault.UNDECODABLE:
            return _reason(suspect)
        case Fault.IMMORTAL:
            return "has no lifetime"
        case Fault.OVERLONG:
            return (
                f"lives for {stored.left / 1000:,.0f} s more, and {keyspace.lifetime.ttl_ms / 1000:,.0f} s is the most"
            )
        case Fault.ORPHAN_LEASE:
            left = "for ever" if stored.left < 0 else f"for {stored.left / 1000:,.0f} s more"
            return f"stands {left}, and no lease does"
    raise AssertionError(suspect.fault)


def _reason(suspect: _Suspect) -> str:
    try:
        suspect.keyspace.decode(suspect.key, suspect.stored.body or b"")
    except BrokenValue as broken:
        return f"does not fit its type: {broken}"
    return "does not fit its type"
