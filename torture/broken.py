"""Builds that are broken on purpose: a checker that never finds anything proves nothing.

Each breaks one process's Greenroom from outside; the product knows nothing of it. What finds it is in `builds`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from math import inf
from typing import Any

from greenroom.caching import Cache, lease
from greenroom.caching.generation import KeyspaceGeneration
from greenroom.caching.groups import Groups, Registered
from greenroom.caching.invalidation import Backing
from greenroom.engine import Channel, Handover, Limits, Script
from greenroom.engine.cluster.replica import Replica
from greenroom.engine.commands import Command, Hook
from greenroom.engine.transport.connection import Connection
from greenroom.engine.unacknowledged import Kept, ReplayLog
from greenroom.sessions import store
from greenroom.sessions.revocations import Revocations
from greenroom_platform.domain.outbox_sender import OutboxSender
from greenroom_platform.domain.record_caches import RecordCaches
from torture.lane import LateLane

Late = Callable[[Backing, str, str], Awaitable[None]]
"""Registers a key in a group, both named."""

LEASE_UNCHECKED = "lease-unchecked"
"""`fill` stores whatever the lease says: a load that began before an invalidation is stored after it."""
LEASE_NOT_HELD = "lease-not-held"
"""Whoever asks for a lease has it: each process loads for itself."""
WAITERS_DEAF = "waiters-deaf"
"""Who waits for another's load sleeps until the lease ends, whatever is pushed."""
NEAR_AFTER_AWAIT = "near-after-await"
"""What enters the near cache is put there by the woken task, no longer in the socket's reader."""
GROUP_AFTER_LOAD = "group-after-load"
"""A page is put into its group when it has been loaded, and not before its lease is asked for."""
GROUP_UNCHECKED = "group-unchecked"
"""What was put into a group of late is not looked for at its new owner."""
DROPS_FORGOTTEN = "drops-forgotten"
"""An invalidation that was acknowledged is not sent again to a server that has come back."""
SILENCE_TRUSTED = "silence-trusted"
"""No heartbeat, and what is near is served however long its connection has been silent."""
REPLICA_UNCOMPARED = "replica-uncompared"
"""A replica is read from whether or not it has come as far as its primary."""
SESSION_UNCOMPARED = "session-uncompared"
"""A change of a session is written over whatever has been written since it was read."""
ENDS_NOT_RESENT = "ends-not-resent"
"""The ends of sessions are not sent again to a server that has come back."""
KEYSPACE_KEPT = "keyspace-kept"
"""A drop of a keyspace is sent to the server and acknowledged, and no process makes anything of it."""
MARKS_UNREAD = "marks-unread"
"""After a drop of a keyspace what is stored counts, whatever its mark; what is near is dropped all the same."""
OUTBOX_UNREAD = "outbox-unread"
"""What a killed process has left in the outbox stays there."""
ANSWERS_KEPT = "answers-kept"
"""What HTTP answers before its route outlives the near entry that it was made of."""
STATUS_UNSENT = "status-unsent"
"""A change of a podcast's status invalidates nothing."""


def apply(build: str) -> Late | None:
    """Break this process, in several ways where `+` stands between them.

    Returns what registers a page after its load, where that is broken.
    """
    late: Late | None = None
    for one in build.split("+"):
        if one in _BREAKS:
            _BREAKS[one]()
        elif one == GROUP_AFTER_LOAD:
            registered: Any = Groups.register
            _put(Groups, "register", _nothing)
            late = partial(_registered_late, registered)
    return late


def limits(build: str, all_is_well: Limits) -> Limits:
    """The bounds of an engine."""
    if SILENCE_TRUSTED not in build.split("+"):
        return all_is_well
    # The question for a server's role, asked each second, is a heartbeat too.
    return replace(all_is_well, ping_after=inf, role_interval=3600.0)


def channel(build: str) -> type[LateLane]:
    """What callers use the caches' engine by."""
    return _HookAfterAwait if NEAR_AFTER_AWAIT in build.split("+") else LateLane


# ----------------------------------------------------------------------------------------------------


async def _registered_late(register: Any, backing: Backing, group: str, key: str) -> None:
    await register(backing.groups, group, key)


def _uncheck_leases() -> None:
    source = lease.FILL.source
    lease.FILL = Script(source[source.index("redis.call('SET', KEYS[1]") :])


def _give_everybody_the_lease() -> None:
    mine = "string.sub(lease, 1, #ARGV[1]) ~= ARGV[1]"
    lease.GET_OR_LEASE = _with(lease.GET_OR_LEASE, f"lease and {mine}", "false")
    lease.FILL = _with(lease.FILL, "string.sub(held, 1, #token) ~= token", "false")


def _deafen_waiters() -> None:
    from greenroom.caching import loading

    async def slept(event: asyncio.Event, seconds: float) -> None:
        await asyncio.sleep(seconds)

    _put(loading, "_woken", slept)


def _trust_replicas() -> None:
    async def believed(self: Replica, replica: Connection, primary: Connection) -> None:
        self.as_of = asyncio.get_running_loop().time() + 1e6

    _put(Replica, "_compare", believed)


def _compare_no_session() -> None:
    store.CHANGE = _with(store.CHANGE, "if json ~= ARGV[1] then", "if false then")


def _forget_ends() -> None:
    _put(Revocations, "before_use", _nothing)
    _put(Revocations, "keys_gained", lambda *_: None)


def _forget_drops() -> None:
    acknowledge = ReplayLog.acknowledged

    def acknowledged(self: ReplayLog, kept: Kept, keys: Iterable[str]) -> None:
        if self._what != "an invalidation":
            acknowledge(self, kept, keys)
            return
        for key in keys:
            kept.unsent.discard(key)
            if self._kept.get(key) is kept:
                del self._kept[key]

    _put(ReplayLog, "acknowledged", acknowledged)


def _find_nothing_missing() -> None:
    async def missing(self: Registered, handover: Handover) -> list[str]:
        return []

    _put(Registered, "missing", missing)


def _keep_keyspaces() -> None:
    _put(KeyspaceGeneration, "adopt", lambda *_: None)


def _read_no_marks() -> None:
    _put(KeyspaceGeneration, "checks", lambda *_: False)


def _leave_the_outbox() -> None:
    async def sent(*_: object, **__: object) -> int:
        return 0

    _put(OutboxSender, "send_pending", sent)


def _send_no_status() -> None:
    async def dropped(self: RecordCaches, stale: Any) -> None:
        """Nothing."""

    _put(RecordCaches, "drop", dropped)


def _keep_answers() -> None:
    kept: dict[str, Any] = {}
    attached = Cache.attached

    def kept_or_attached(self: Cache[Any], key: str) -> Any:
        kept[key] = attached(self, key) or kept.get(key)
        return kept[key]

    _put(Cache, "attached", kept_or_attached)


def _put(owner: Any, name: str, value: object) -> None:
    """Put something in the place of what there is: were it not there, nothing would be broken."""
    assert hasattr(owner, name), f"{owner} has no {name} any more"
    setattr(owner, name, value)


def _with(script: Script, text: str, instead: str) -> Script:
    """A script with other text in it."""
    assert text in script.source, f"the script has no {text!r} any more"
    return Script(script.source.replace(text, instead))


_BREAKS: dict[str, Callable[[], None]] = {
    LEASE_UNCHECKED: _uncheck_leases,
    LEASE_NOT_HELD: _give_everybody_the_lease,
    WAITERS_DEAF: _deafen_waiters,
    REPLICA_UNCOMPARED: _trust_replicas,
    SESSION_UNCOMPARED: _compare_no_session,
    ENDS_NOT_RESENT: _forget_ends,
    DROPS_FORGOTTEN: _forget_drops,
    GROUP_UNCHECKED: _find_nothing_missing,
    KEYSPACE_KEPT: _keep_keyspaces,
    MARKS_UNREAD: _read_no_marks,
    OUTBOX_UNREAD: _leave_the_outbox,
    ANSWERS_KEPT: _keep_answers,
    STATUS_UNSENT: _send_no_status,
}


BUILDS = frozenset({*_BREAKS, SILENCE_TRUSTED, NEAR_AFTER_AWAIT, GROUP_AFTER_LOAD})
"""Every way to break one."""


class _HookAfterAwait(LateLane):
    """An engine that calls the hook of a read, or of what is stored, when the caller wakes."""

    def read(
        self, key: str, commands: tuple[Command, ...], hook: Hook | None = None
    ) -> asyncio.Future[list[Any]] | None:
        sources: list[Any] = []
        sent = super().read(key, commands, lambda _, source: sources.append(source))
        return None if sent is None else asyncio.ensure_future(_hooked(sent, hook, sources))

    async def execute_all(
        self, channel: Channel, key: str, commands: tuple[Command, ...], *, hook: Hook | None = None, **options: Any
    ) -> list[Any]:
        sources: list[Any] = []
        sent = super().execute_all(channel, key, commands, hook=lambda _, source: sources.append(source), **options)
        return await _hooked(sent, hook, sources)


async def _hooked(sent: Awaitable[list[Any]], hook: Hook | None, sources: Sequence[Any]) -> list[Any]:
    replies = await sent
    if hook is not None:
        hook(replies, sources[0])
    return replies


async def _nothing(*_: object, **__: object) -> None:
    """What is left out."""
