"""Which caches the changes of a record are sent to, as the record itself says it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import msgspec


class KnownCaches(msgspec.Struct, frozen=True, kw_only=True):
    """The caches that a record's changes are sent to, and whether somebody still uses them.

    Arguments:
        identity: what these caches call themselves.
        address: their server and key prefix, for messages.
        asked: how often a process with other caches has asked whether anybody still uses these.
        answered: the last of those questions that a process with these caches has answered.
    """

    identity: str
    address: str
    asked: int = 0
    answered: int = 0


class CachesRecords(Protocol):
    """Where a record keeps its `KnownCaches`.

    Raises, from any method: what `Records` does.
    """

    async def known(self) -> KnownCaches | None:
        """What is stored; None where nothing is, or nothing that can be read."""

    async def replace(self, expected: KnownCaches | None, new: KnownCaches) -> bool:
        """Store if what is stored is still what is expected; else False, and nothing is changed.

        Prevents: a process asks whether anybody uses the caches of the record, and nobody answers for a while ·
        somebody answers · the process takes their place all the same.
        """


@runtime_checkable
class KnowsCaches(Protocol):
    """A record that knows which caches its changes are sent to; `Records` in other regards."""

    @property
    def caches(self) -> CachesRecords:
        """Where it says so."""
