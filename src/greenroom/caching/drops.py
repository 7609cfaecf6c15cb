"""What a drop deletes: a key, its lease and its absence."""

from __future__ import annotations

from collections.abc import Sequence

from greenroom.engine import Command, Script
from greenroom.engine.shapes import NUMBER
from greenroom.keyspace.derived_keys import with_companions

DROP = Script.named("drop", NUMBER, deleted=bool)
SCRIPTS = (DROP,)


class Dropped:
    """The names that go with a key's drop, and the command for many keys.

    Arguments:
        prefix: the room's key prefix.
    """

    __slots__ = ("_prefix",)

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def alone(self, key: str) -> Command:
        """The command that drops one key."""
        return ("DEL", *self(key))

    # docs/decisions/0015-tryagain-splits-a-drop.md
    def __call__(self, key: str) -> tuple[str, str, str]:
        """What one DEL deletes. On a cluster it may be three, in this order: without the lease nothing is stored that
        was loaded before, whatever becomes of the other two meanwhile."""
        return with_companions(self._prefix, key)

    # docs/decisions/0075-a-script-drops-a-batch.md
    def together(self, keys: Sequence[str]) -> Command:
        """The command that drops many keys of one server, where the names of their companions are made."""
        return DROP.call(keys, (self._prefix,))
