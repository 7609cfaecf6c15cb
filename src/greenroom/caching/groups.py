"""Groups: keys that one change makes stale together, remembered on the server so that a drop needs no SCAN.

A group is a sorted set without lifetime; its members are keys, their scores the server's time when each was last
registered. A key is registered, acknowledged, *under* its lease and *before* its load. Later would be too late:

    a page is loaded · a change reads the group, the page is not in it · the page is registered and filled · it is stale
    and no change finds it

and so would earlier be, since a drop forgets what it has dropped:

    a page is registered · a change reads the group, drops the page, forgets it · its lease is taken, it is loaded and
    filled · the next change does not find it

Under the lease a drop that finds the page deletes its lease or its value, before it forgets the page.

Other programs can write there: a member that can be no key of ours is passed over, and taken out.

A cache server that evicts must use a `volatile-*` policy, or it may evict a group.

On a cluster a group and its keys are on different nodes, and replication is asynchronous:

    a page is registered, acknowledged, loaded and stored on another node · the group's node dies · its successor has
    the group without the page · a change drops what the group names · the page is stale until its lifetime ends

So a new connection to a group's server asks for what was registered in the last 30 s, and what is missing is dropped. A
key that its group's own node has is never missing: a replica has what came before its value.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from greenroom.clock import Clock
from greenroom.engine import Channel, Engine, Handover, KeyFilter, Script
from greenroom.engine.shapes import NUMBER, SCORED
from greenroom.engine.unacknowledged import RECENT
from greenroom.errors import CommandFailed, EngineError
from greenroom.keyspace.derived_keys import are_keys, derived_key, is_key

log = logging.getLogger("greenroom.caching")


class Registered:
    """The registrations of one process; a group is named by its key on the server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._when: dict[tuple[str, str], float] = {}  # (group, key) → when, the oldest first

    def note(self, group: str, key: str) -> None:
        """A key was put into a group."""
        now = self._clock.monotonic()
        self._when.pop((group, key), None)
        self._when[group, key] = now
        while self._when[oldest := next(iter(self._when))] < now - RECENT:
            del self._when[oldest]

    async def missing(self, handover: Handover) -> list[str]:
        """The keys that the server of a new connection lacks in its groups.

        Raises:
            EngineError: when it cannot be asked.
        """
        owns, since = handover.owns, self._clock.monotonic() - RECENT
        missing: list[str] = []
        for group, keys in self._of(owns, since).items():
            for start in range(0, len(keys), _MEMBERS_PER_SCRIPT):
                chunk = keys[start : start + _MEMBERS_PER_SCRIPT]
                (scores,) = await handover.run((("ZMSCORE", group, *chunk),))
                if isinstance(scores, EngineError):
                    scores = [None] * len(chunk)  # it is on its way, or gone: nobody can tell
                missing += [key for key, score in zip(chunk, scores, strict=True) if score is None]
        return missing

    def _of(self, owns: KeyFilter, since: float) -> dict[str, list[str]]:
        groups: dict[str, list[str]] = {}
        for (group, key), when in self._when.items():
            if when >= since and owns(group) and not owns(key):
                groups.setdefault(group, []).append(key)
        return groups


REGISTER = Script.named("group_register", NUMBER, bool)
FORGET = Script.named("group_forget", NUMBER, deleted=bool)
MEMBERS = Script.named("group_members", SCORED)
SCRIPTS = (REGISTER, FORGET, MEMBERS)

_MEMBERS_PER_SCRIPT = 500
"""Members forgotten by one script: it blocks the server while it runs."""
_FOR_EVER = 10**12
"""Milliseconds longer than any value lives."""


class Members(NamedTuple):
    """What a group held when it was read."""

    keys: Sequence[str | bytes]
    scores: Sequence[bytes]
    """One for each key, as the server has written them."""


class Groups:
    """The groups of one room.

    Arguments:
        prefix: the room's key prefix.
    """

    def __init__(self, engine: Engine, prefix: str, clock: Clock) -> None:
        self._engine = engine
        self._prefix = prefix
        self.registered = Registered(clock)
        self.pending_reads: set[str] = set()
        """Groups that a drop could not read: kept invalidations. Only `send` takes one away: what another drop reads
        may be older than the change for which it is here."""
        # docs/decisions/0024-unread-groups-load-past-the-server.md
        self.pending_drops: set[str] = set()
        """Those, and any that has been read since and whose keys are not dropped yet. On a cluster the keys are on
        other nodes than their group, which serve meanwhile: what they hold of it must not be read."""

    def name(self, group: str) -> str:
        """The key of a group."""
        return derived_key(self._prefix, "group", group)

    async def register(self, group: str, key: str, *, deadline: float | None = None) -> None:
        """Put a key into a group.

        Raises:
            EngineError: when that was not acknowledged; what is loaded must then not be stored.
        """
        name = self.name(group)
        self.registered.note(name, key)
        await self._engine.run(Channel.TRACKED, REGISTER, (name,), (key,), deadline=deadline)

    async def members(self, group: str) -> tuple[list[str], Members]:
        """The keys of a group, and what `forget` takes of them.

        Raises:
            EngineError: when the group cannot be read; it is then kept, and dropped when its server is back.
        """
        name = self.name(group)
        try:
            reply = await self._engine.run(Channel.TRACKED, MEMBERS, (name,), (), urgent=True)
        except EngineError as error:
            # A key of another type never was a group: nothing of it is stored.
            if _is_none(error):
                return [], Members((), ())
            self.keep(group)
            raise
        members, scores = reply[::2], reply[1::2]
        keys = _keys(members, self._prefix)
        if keys is not None:
            return keys, Members(keys, scores)
        # docs/decisions/0026-foreign-group-members-are-removed.md
        ours = {member: text for member in members if (text := _key(member, self._prefix)) is not None}
        foreign = [(member, score) for member, score in zip(members, scores, strict=True) if member not in ours]
        log.warning("%s held %d members that are not keys, as %r; they are removed", name, len(foreign), foreign[0][0])
        with suppress(EngineError):
            await self._forget(name, Members(*zip(*foreign, strict=True)), _FOR_EVER)
        keys = list(ours.values())
        return keys, Members(keys, [score for member, score in zip(members, scores, strict=True) if member in ours])

    def keep(self, group: str) -> None:
        """Have a group read and dropped by the next connection to its server; until then its keys are not read."""
        self.pending_reads.add(group)
        self.pending_drops.add(group)

    def dropped(self, group: str) -> None:
        """What `send` has read of a group is dropped, or kept key by key."""
        if group not in self.pending_reads:  # added again meanwhile
            self.pending_drops.discard(group)

    # docs/decisions/0076-scores-of-dropped-members-are-compared.md
    async def forget(self, group: str, members: Members, longest_ms: int) -> None:
        """Remove members that were dropped, unless they have been registered since.

        Arguments:
            longest_ms: no value of the group lives longer; older members go too.
        """
        await self._forget(self.name(group), members, longest_ms)

    async def _forget(self, name: str, members: Members, longest_ms: int) -> None:
        for start in range(0, len(members.keys), _MEMBERS_PER_SCRIPT):
            chunk = slice(start, start + _MEMBERS_PER_SCRIPT)
            args = longest_ms, b" ".join(members.scores[chunk]), *members.keys[chunk]
            await self._engine.run(Channel.TRACKED, FORGET, (name,), args)

    async def eviction_warning(self) -> str | None:
        """What is wrong with the eviction policy of a server; None where nothing is, or it does not say."""
        remedy = "set volatile-lru, volatile-lfu or volatile-ttl"
        from greenroom.engine.eviction import eviction_warning  # not with the package: needed once, at the start

        return await eviction_warning(self._engine, "groups", remedy, has_lifetime=False)

    async def send(self, handover: Handover) -> tuple[str, list[str]] | None:
        """Read one of the unread groups over a connection that does not serve yet; returns it and its keys.

        None when its server has no group that is unread.

        Raises:
            EngineError: when that cannot be done.
        """
        group = next((one for one in self.pending_reads if handover.owns(self.name(one))), None)
        if group is None:
            return None
        # It goes before the group is read. Prevents: it is read for an earlier change · another process fills a page ·
        # a drop for a later change fails, and finds it pending · it goes, and with it the later change.
        self.pending_reads.discard(group)
        command = "ZRANGE", self.name(group), 0, -1
        try:
            (reply,) = await handover.run((command,))
            if isinstance(reply, EngineError) and _is_none(reply):
                reply = []
            if isinstance(reply, Exception):
                raise reply
        except BaseException:
            self.pending_reads.add(group)
            raise
        keys = _keys(reply, self._prefix)
        if keys is None:  # some are foreign
            keys = [text for member in reply if (text := _key(member, self._prefix)) is not None]
        return group, keys


def _keys(members: list[Any], prefix: str) -> list[str] | None:
    """The members of a group, where all are keys, as they mostly are; without a step of Python for each."""
    if not members:
        return []
    texts = b"\n".join(members).decode("utf-8", "replace")
    return texts.split("\n") if are_keys(texts, len(members), prefix) else None


def _key(member: bytes, prefix: str) -> str | None:
    """A member as a key; None where it can be none."""
    text = member.decode("utf-8", "replace")
    return text if "\ufffd" not in text and is_key(text, prefix) else None


def _is_none(error: EngineError) -> bool:
    """Whether a key is no group: of another type nothing was stored, and the next registration replaces it."""
    return isinstance(error, CommandFailed) and error.of_another_type
