"""Whose a key on a server is: the inverse of all that makes keys, from the declarations alone."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any

from greenroom.acl import cache_keys, session_keys
from greenroom.declarations import Declarations
from greenroom.keyspace import Keyspace
from greenroom.keyspace.registry import Keyspaces

_COMPANION = re.compile(r"(lease:|absent:|greenroom:[a-z_:]+:)\{(.*)\}(:.*)?", re.DOTALL)
_GLOB = re.compile(r"\\(.)|(\*)|(.)", re.DOTALL)


class KeyKind(enum.Enum):
    """What a key is for."""

    VALUE = "value"
    """A value of a keyspace."""
    LEASE = "lease"
    """Who loads a value."""
    ABSENCE = "absence"
    """The memory that the record holds nothing."""
    MARK = "mark"
    """The generation under which a value was stored."""
    GENERATION = "generation"
    """The generation of a keyspace, or a copy of it."""
    GROUP = "group"
    """Keys that one change makes stale together."""
    COMPANION = "companion"
    """Other bookkeeping, as of sessions and of rate limits."""
    STRAY = "stray"
    """It begins like a keyspace's keys and is none: no program of ours has written it."""
    NOBODY = "nobody"
    """No declaration makes it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a key is.

    Arguments:
        keyspace: with the prefix; None where the key is of no keyspace.
        key: the key of the value that it belongs to; of a group or of other bookkeeping its tag.
        use: of other bookkeeping, what it is for, as `life`.
    """

    kind: KeyKind
    keyspace: Keyspace[Any] | None = None
    key: str = ""
    use: str = ""


_NOBODY = Owner(KeyKind.NOBODY)
_OF_A_KEY = {"lease:": KeyKind.LEASE, "absent:": KeyKind.ABSENCE, "greenroom:mark:": KeyKind.MARK}


class KeyIndex:
    """Finds the owner of a key.

    Arguments:
        declared: of a program.
        prefix: what stands before its keys.
    """

    def __init__(self, declared: Declarations, prefix: str) -> None:
        self.keyspaces: Keyspaces = declared.keyspaces.prefixed(prefix)
        """The program's keyspaces, with the prefix."""
        self.prefix = prefix
        self._globs = [(re.compile(as_regex(one.pattern.glob), re.DOTALL), one) for one in self.keyspaces]
        allowed = cache_keys(
            prefix,
            declared.keyspaces.caches,
            [group.pattern.text for group in declared.keyspaces.groups],
            declared.beside_caches,
        )
        if declared.keyspaces.sessions is not None:
            allowed += session_keys(prefix, declared)
        self._ours = [re.compile(as_regex(glob), re.DOTALL) for glob in allowed if "greenroom:" in glob]

    def owner(self, name: str) -> Owner:
        """Whose a key is; a key that is no text of ours is nobody's."""
        if not name.startswith(self.prefix):
            return _NOBODY
        if (found := _COMPANION.fullmatch(name, len(self.prefix))) is not None:
            return self._companion(name, found.group(1), found.group(2))
        for keyspace in self.keyspaces:
            if keyspace.pattern.matches(name) and keyspace.pattern.parse(name) is not None:
                return Owner(KeyKind.VALUE, keyspace, name)
        for glob, keyspace in self._globs:
            if glob.fullmatch(name) is not None:
                return Owner(KeyKind.STRAY, keyspace, name)
        return _NOBODY

    def _companion(self, name: str, before: str, tag: str) -> Owner:
        kind = _OF_A_KEY.get(before)
        if kind is not None:
            of = self.owner(tag) if "{" not in tag else _NOBODY
            return Owner(kind, of.keyspace, tag) if of.kind is KeyKind.VALUE else _NOBODY
        if not any(one.fullmatch(name) for one in self._ours):
            return _NOBODY
        use = before.removeprefix("greenroom:").rstrip(":")
        if use in ("group", "generation"):
            return Owner(KeyKind(use), self._of_pattern(name), tag, use)
        of = self.owner(tag)
        return Owner(KeyKind.COMPANION, of.keyspace if of.kind is KeyKind.VALUE else None, tag, use)

    def _of_pattern(self, name: str) -> Keyspace[Any] | None:
        """The keyspace of a generation: its pattern stands in the name, in the braces or behind them."""
        texts = [(self.prefix + one.pattern.text, one) for one in self.keyspaces]
        ending = [one for text, one in texts if name.endswith((f":{text}", f":{{{text}}}"))]
        return ending[0] if ending else None


def as_regex(glob: str) -> str:
    """A server's pattern, of literal text and `*`, as a regular expression."""
    return "".join(".*" if star else re.escape(escaped or plain) for escaped, star, plain in _GLOB.findall(glob))
