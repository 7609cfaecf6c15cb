"""What a server's INFO says of how it is set, held against what is kept there. Pure: from its lines to findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from greenroom.acl import Holds
from greenroom.engine import Address
from greenroom.findings import Finding, error, warning

SECTIONS = ("server", "clients", "memory", "persistence", "stats", "replication")
"""Of INFO, what is looked at."""
CONNECTIONS = 3
"""Connections of one process to a server: two, and for a moment a third while it asks for the topology."""
_FULL = 0.9
_VALKEY, _REDIS = (8, 0), (7, 0)
"""The oldest versions that the tests run on."""


@dataclass(frozen=True, slots=True)
class Told:
    """What one server tells of itself.

    Arguments:
        address: where it was asked.
        holds: what the program keeps there.
        info: the lines of its INFO by name.
        processes: of the program, that connect to it.
    """

    address: Address
    holds: Holds
    info: Mapping[str, str]
    processes: int = 1

    @property
    def name(self) -> str:
        """The server in a sentence."""
        kept = "caches and sessions" if self.holds is Holds.BOTH else self.holds.value
        return f"{self.address} (server of the {kept})"

    @property
    def embedded(self) -> bool:
        """Whether it is on this host alone, by a socket: it needs no log-in, bound or replica."""
        return self.address.path is not None

    def number(self, name: str) -> int:
        """A line that is a number; 0 where it is none, or the server does not tell."""
        text = self.info.get(name, "")
        return int(text) if text.isdecimal() else 0


def versions(told: Told) -> Sequence[Finding]:
    """Whether the server is one that this library is tested with."""
    valkey = "valkey_version" in told.info
    text = told.info.get("valkey_version" if valkey else "redis_version", "")
    numbers = tuple(int(one) for one in text.split(".")[:2] if one.isdecimal())
    least = _VALKEY if valkey else _REDIS
    if numbers >= least:
        return ()
    product = "Valkey" if valkey else "Redis"
    what = f"{told.name} is {product} {text or 'of an unknown version'}"
    why = "commands and replies that this library relies on are from Valkey 8, or Redis 7.0, on"
    return (error("version", what, why, "upgrade the server to Valkey 8 or 9, or Redis 7.0 or later"),)


def eviction(told: Told) -> Sequence[Finding]:
    """Whether the server may evict what must stay."""
    policy = told.info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return ()
    if told.holds is not Holds.CACHES:
        if not told.number("maxmemory"):
            return ()  # nothing is evicted without a bound; that there is none is another finding
        why = "sessions are evicted when it is full: their users are signed out"
        return (error("eviction", f"{told.name} has maxmemory-policy {policy}", why, _set("noeviction")),)
    if policy.startswith("allkeys"):
        why = "groups have no lifetime and may be evicted: pages that a change makes stale are then served to their end"
        return (error("eviction", f"{told.name} has maxmemory-policy {policy}", why, _set("volatile-lru")),)
    return ()


def memory(told: Told) -> Sequence[Finding]:
    """Whether the server has a bound, and room below it."""
    bound, used = told.number("maxmemory"), told.number("used_memory")
    if not bound:
        if told.embedded:
            return ()
        why = "it grows until the system ends it, or the machine stands still"
        mend = "valkey-cli CONFIG SET maxmemory …, and in its configuration file; `greenroom size` projects how much"
        return (warning("no_bound", f"{told.name} has no maxmemory", why, mend),)
    if used < bound * _FULL:
        return ()
    what = f"{told.name} uses {used / bound:.0%} of its maxmemory of {bound:,} bytes"
    evicts = told.info.get("maxmemory_policy", "noeviction") != "noeviction"
    why = "it evicts what is still read" if evicts else "when it is full nothing can be stored, and nobody can log in"
    mend = "valkey-cli CONFIG SET maxmemory …; `greenroom size` says which keyspace needs how much"
    return (warning("full", what, why, mend),)


def persistence(told: Told) -> Sequence[Finding]:
    """Whether sessions survive a restart, and whether files can be written."""
    found: list[Finding] = []
    if told.holds is not Holds.CACHES and told.info.get("aof_enabled") != "1":
        what = f"{told.name} writes no append-only file"
        mend = "valkey-cli CONFIG SET appendonly yes, and appendfsync everysec; both in its configuration file"
        found.append(warning("not_persistent", what, "a restart signs everybody out", mend))
    for line, file in (("aof_last_write_status", "append-only file"), ("rdb_last_bgsave_status", "snapshot")):
        if told.info.get(line, "ok") != "ok":
            what = f"{told.name} cannot write its {file} ({line} is {told.info[line]})"
            mend = "make room on its disk, or correct the owner of its directory; its log says which"
            found.append(error("cannot_persist", what, "it refuses writes, or loses them with the machine", mend))
    return found


def replication(told: Told) -> Sequence[Finding]:
    """Whether the address is a primary's, and whether sessions have a replica."""
    if told.info.get("role") != "master":
        what = f"{told.name} is a replica"
        why = "it takes no writes, so nothing can be stored and nothing dropped"
        return (error("replica", what, why, "give the address of the primary, or of sentinels, or of the cluster"),)
    if told.holds is Holds.CACHES or told.embedded or told.number("connected_slaves"):
        return ()
    mend = "start a second server with `replicaof HOST PORT`, on another host"
    why = "when its machine is lost, so are all sessions"
    return (warning("no_replica", f"{told.name} has no replica", why, mend),)


def connections(told: Told) -> Sequence[Finding]:
    """Whether all processes can connect, beside those who have connected already."""
    bound, now = told.number("maxclients"), told.number("connected_clients")
    found: list[Finding] = []
    needed = told.processes * CONNECTIONS
    if bound and now + needed > bound:
        what = f"{told.name} takes {bound:,} clients, has {now:,}, and {told.processes} processes need {needed}"
        why = "processes that cannot connect read the record, and have no sessions"
        found.append(warning("maxclients", what, why, "raise maxclients, and the server's limit of open files"))
    if refused := told.number("rejected_connections"):
        what = f"{told.name} has refused {refused:,} connections since its start"
        why = "it had as many clients as maxclients allows"
        mend = "raise maxclients; then `valkey-cli CONFIG RESETSTAT` begins the count anew"
        found.append(warning("refused_connections", what, why, mend))
    return found


def lost_sessions(told: Told) -> Sequence[Finding]:
    """Whether the server has evicted, where sessions are."""
    evicted = told.number("evicted_keys")
    if told.holds is Holds.CACHES or not evicted:
        return ()
    what = f"{told.name} has evicted {evicted:,} keys since its start"
    why = "each may have been a session: its user was signed out"
    mend = "set maxmemory-policy noeviction and a greater maxmemory; `valkey-cli CONFIG RESETSTAT` begins anew"
    return (error("evicted", what, why, mend),)


LOOKS: Mapping[str, Callable[[Told], Sequence[Finding]]] = {
    "versions of the servers": versions,
    "what may be evicted": eviction,
    "evicted sessions": lost_sessions,
    "memory of the servers": memory,
    "persistence": persistence,
    "replicas": replication,
    "connections": connections,
}
"""What is looked at, by the name of the check."""


def _set(policy: str) -> str:
    return f"valkey-cli CONFIG SET maxmemory-policy {policy}, and the same in its configuration file"
