"""Who may do what on a server: ACL rules per role, derived from declarations, the scripts and what we send.

Least privilege: a role has the keys that it works on and the commands that are sent, those inside scripts included, and
nothing more: no KEYS, no SCAN for programs, no CONFIG, no FLUSHALL. A test sends everything and compares both ways.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from greenroom import sessions
from greenroom.caching import drops, groups, keyspace_drops, lease, store_tier
from greenroom.declarations import Declarations
from greenroom.engine import Script
from greenroom.errors import InvalidInput
from greenroom.keyspace import Keyspace
from greenroom.keyspace.derived_keys import absent_key, derived_key, lease_key
from greenroom.keyspace.pattern import Pattern, check_prefix, escaped_glob

PLACEHOLDER = "#SHA256-OF-THE-PASSWORD"
"""Stands where a password's hash belongs; a server refuses it, so that nobody runs with a password from a manual."""

_CONNECTION = frozenset(
    {
        *("hello", "ping", "select", "info", "client|tracking", "script|load", "evalsha"),
        *("cluster|info", "cluster|shards", "asking", "readonly"),
    }
)
_CACHES = frozenset({"get", "pttl", "del", "pexpire", "zrange", "zmscore"})
_SESSIONS = frozenset({"mget", "pttl", "time", "zrem"})
_LOOK = frozenset(
    {
        *("get", "mget", "strlen", "exists", "type", "ttl", "pttl", "scan", "dbsize", "memory|usage"),
        *("zcard", "zcount", "zrange", "zscore"),
        *("hello", "ping", "select", "info", "cluster|info", "cluster|shards", "cluster|slots"),
        *("command", "command|docs", "readonly", "time"),
    }
)
"""What somebody with `valkey-cli` needs in order to look, and what `greenroom audit` and its kin send."""
_IN_SCRIPT = re.compile(r"redis\.p?call\('([A-Z]+)'")
_USER = re.compile(r"[!-~]+")


class Role(enum.Enum):
    """Who logs in."""

    SERVICE = "service"
    """A program that uses caches and sessions."""
    WORKER = "worker"
    """A program that uses caches alone."""
    VIEWER = "viewer"
    """Somebody who looks, and changes nothing."""


class Holds(enum.Enum):
    """What a server holds, where caches and sessions may have one each."""

    BOTH = "both"
    CACHES = "caches"
    SESSIONS = "sessions"


@dataclass(frozen=True, slots=True)
class Rules:
    """What a role may do on a server.

    Arguments:
        keys: patterns as the server matches them, with its wildcards.
        commands: in lower case, subcommands as `client|tracking`.
        reads_only: whether the keys may only be read, whatever the commands.
    """

    keys: tuple[str, ...]
    commands: frozenset[str]
    reads_only: bool = False

    def text(self) -> str:
        """The rules in the server's words."""
        sign = "%R~" if self.reads_only else "~"
        keys = (sign + key for key in self.keys)
        return " ".join(["resetkeys", *keys, "resetchannels", "-@all", *(f"+{one}" for one in sorted(self.commands))])


# docs/decisions/0066-acl-rules-are-derived.md
def rules(role: Role, declared: Declarations, *, prefix: str = "", holds: Holds = Holds.BOTH) -> Rules | None:
    """What a role may do on a server that holds this; None where it has nothing to do there.

    Raises:
        InvalidInput: for a prefix that is not valid.
    """
    check_prefix(prefix)
    caches, keyspaces = holds is not Holds.SESSIONS, declared.keyspaces
    with_sessions = holds is not Holds.CACHES and role is not Role.WORKER and keyspaces.sessions is not None
    keys: tuple[str, ...] = ()
    if caches:
        groups_of_caches = [group.pattern.text for group in keyspaces.groups]
        keys = cache_keys(prefix, keyspaces.caches, groups_of_caches, declared.beside_caches)
        keys += tuple(one.prefixed(prefix).pattern.glob for one in keyspaces.stores)
    if with_sessions:
        keys += session_keys(prefix, declared)
    if not keys:
        return None
    if role is Role.VIEWER:
        return Rules(keys, _LOOK, reads_only=True)
    commands = set(_CONNECTION)
    if caches:
        commands |= _called(declared.cache_scripts)
    if caches and keyspaces.caches:
        commands |= _CACHES | _called((*lease.SCRIPTS, *drops.SCRIPTS, *groups.SCRIPTS, *keyspace_drops.SCRIPTS))
    if caches and keyspaces.stores:
        commands |= store_tier.COMMANDS | _called(store_tier.SCRIPTS)
    if with_sessions:
        commands |= _SESSIONS | _called((*sessions.SCRIPTS, *declared.scripts)) | declared.commands
    return Rules(keys, frozenset(commands))


def cache_keys(
    prefix: str,
    keyspaces: Iterable[Keyspace[Any]],
    of_groups: Sequence[str],
    beside: Sequence[tuple[str, str]] = (),
) -> tuple[str, ...]:
    """Patterns of the keys of caches, with their companions and groups, and of what is declared beside them."""
    start = escaped_glob(prefix)
    values = [one.prefixed(prefix).pattern.glob for one in keyspaces]
    names = [name for value in values for name in (value, lease_key(start, value), absent_key(start, value))]
    for value in values:
        marks = derived_key(start, "mark", value)
        copies = f"{derived_key(start, 'generation', '*')}:{value}"
        names += [marks, derived_key(start, "generation", value), copies]
    tags = (*(("group", Pattern(group).glob) for group in of_groups), *beside)
    return (*names, *(derived_key(start, use, tag) for use, tag in tags))


def session_keys(prefix: str, declared: Declarations) -> tuple[str, ...]:
    """Patterns of the keys of sessions and of what is declared beside them."""
    sessions_keyspace = declared.keyspaces.sessions
    assert sessions_keyspace is not None
    start = escaped_glob(prefix)
    session = sessions_keyspace.prefixed(prefix).pattern.glob
    beside = (derived_key(start, use, session) for use in ("touched", "life", "grace", "ended", "streams"))
    tags = (("active", "sessions"), ("sessions", "user:*"), *declared.beside_sessions)
    return (session, *beside, *(derived_key(start, use, tag) for use, tag in tags))


def hashed(password: str) -> str:
    """A password as a rule takes it: nobody who reads the rule learns it.

    Raises:
        InvalidInput: when it is empty.
    """
    if not password:
        raise InvalidInput("password", "is empty", "put it on standard input, as one line")
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def check_user(name: str) -> str:
    """A user's name that a rule can hold.

    Raises:
        InvalidInput: when it cannot.
    """
    if _USER.fullmatch(name) is None:
        raise InvalidInput("user", f"{name!r} cannot be a user's name", "use printable ASCII characters, no spaces")
    return name


def _called(scripts: Iterable[Script]) -> frozenset[str]:
    return frozenset(name.lower() for script in scripts for name in _IN_SCRIPT.findall(script.source))
