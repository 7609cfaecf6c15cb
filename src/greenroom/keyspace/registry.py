"""`Keyspaces`: what a program keeps in its servers, as one object that commands and documents are made from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from greenroom.argument_types import instance, type_name
from greenroom.errors import InvalidInput
from greenroom.keyspace.keyspace import Keyspace, group_pattern
from greenroom.keyspace.overlap import can_make_one_key
from greenroom.keyspace.pattern import Pattern

GroupMembers = Keyspace[Any] | Iterable[Keyspace[Any]]

_ONCE = "declare each keyspace once, with a key format of its own"


class Group(NamedTuple):
    """A group of cached keys.

    Arguments:
        pattern: its name, as `episodes:{show_id}`; never prefixed.
        keyspaces: whose keys are in it.
    """

    pattern: Pattern
    keyspaces: tuple[Keyspace[Any], ...]


class Keyspaces:
    """The keyspaces of a program: `SHOP = Keyspaces(PRODUCT, PAGE, groups={"pages:{region}": PAGE})`.

    `greenroom definitions`, `greenroom acl` and their kin take it as `MODULE:NAME`. They take an open or closed room as
    well, which knows its own caches, groups, stores and limits: then there is no need for this.

    Arguments:
        keyspaces: those of caches.
        stores: those of `room.store`.
        sessions: that of the sessions, where the program keeps any.
        groups: the groups of the caches, by their patterns: the keyspace, or the keyspaces, whose keys are in them.
        titles: the title of a type's schema where it is not the type's own name.

    Raises:
        InvalidInput: for what is no keyspace, for two that can make one key or have one name, and for a group with a
            part that its keyspaces do not have, or spell in two ways.
    """

    def __init__(
        self,
        *keyspaces: Keyspace[Any],
        stores: Iterable[Keyspace[Any]] = (),
        sessions: Keyspace[Any] | None = None,
        groups: Mapping[str, GroupMembers] | None = None,
        titles: Mapping[str, str] | None = None,
    ) -> None:
        self.caches = keyspaces
        """Keyspaces of caches."""
        self.stores = tuple(stores)
        """Keyspaces of stores."""
        self.sessions = sessions
        """The keyspace of sessions."""
        self.titles = dict(titles or {})
        """Titles of types."""
        for one in self:
            instance("keyspaces", one, Keyspace, "give what Keyspace('episode:{id}', Episode, ttl=…) returns")
        _check_apart(tuple(self))
        if not isinstance(groups, Mapping | None):
            remedy = "use a dict, like {'episodes:{show_id}': EPISODE}"
            raise InvalidInput("groups", f"are {type_name(groups)}, not a dict", remedy)
        self.groups = tuple(self._group(text, members) for text, members in (groups or {}).items())
        """Groups of cached keys."""

    def __iter__(self) -> Iterator[Keyspace[Any]]:
        sessions = () if self.sessions is None else (self.sessions,)
        return iter((*sessions, *self.caches, *self.stores))

    def kind(self, keyspace: Keyspace[Any]) -> str:
        """What holds the values of one of these keyspaces: a cache, a store, or the sessions."""
        if keyspace is self.sessions:
            return "sessions"
        return "store" if keyspace in self.stores else "cache"

    def groups_of(self, keyspace: Keyspace[Any]) -> list[Group]:
        """The groups that a keyspace's keys are in."""
        return [group for group in self.groups if keyspace in group.keyspaces]

    def prefixed(self, prefix: str) -> Keyspaces:
        """The same keyspaces with `prefix` before every key.

        Raises:
            InvalidInput: for a prefix that is not valid.
        """
        known = {id(one): one.prefixed(prefix) for one in self}
        return Keyspaces(
            *(known[id(one)] for one in self.caches),
            stores=[known[id(one)] for one in self.stores],
            sessions=None if self.sessions is None else known[id(self.sessions)],
            groups={group.pattern.text: [known[id(one)] for one in group.keyspaces] for group in self.groups},
            titles=self.titles,
        )

    def _group(self, text: str, members: GroupMembers) -> Group:
        keyspaces = (members,) if isinstance(members, Keyspace) else tuple(members)
        for one in keyspaces:
            if one not in self.caches:
                remedy = "name a keyspace of these caches, or a list of such"
                raise InvalidInput("groups", f"{text!r} is of {one!r:.80}, which is not one of the caches", remedy)
        if not keyspaces:
            raise InvalidInput("groups", f"{text!r} is of no keyspace", "name a keyspace of these caches")
        patterns = [group_pattern(text, one) for one in keyspaces]
        if any(one.declared != patterns[0].declared for one in patterns):
            names = ", ".join(one.pattern.text for one in keyspaces)
            raise InvalidInput("groups", f"{text!r} has parts of other kinds in {names}", "declare them alike")
        return Group(patterns[0], keyspaces)

    def __repr__(self) -> str:
        return f"Keyspaces({', '.join(one.pattern.text for one in self)})"


def _check_apart(keyspaces: tuple[Keyspace[Any], ...]) -> None:
    for place, one in enumerate(keyspaces):
        for other in keyspaces[place + 1 :]:
            text, theirs = one.pattern.text, other.pattern.text
            if can_make_one_key(one.pattern, other.pattern):
                raise InvalidInput("keyspaces", f"{text!r} can make the same key as {theirs!r}", _ONCE)
            if one.name == other.name:
                reason = f"{text!r} and {theirs!r} have one name, {one.name!r}"
                raise InvalidInput("keyspaces", reason, "give one of them another, by name=")
