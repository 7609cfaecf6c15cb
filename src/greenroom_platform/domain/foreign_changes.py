"""Changes made outside: what other programs wrote to the record, told by the record itself.

A migration, another service or an operator with a shell changes the database and calls nothing of ours. A record that
notices such changes says so by a member `foreign_changes`; the watcher drops from the caches what they made stale.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from greenroom.keyspace import Keyspace
from greenroom_platform.definitions import PODCAST_STATUS, SEARCH_EPOCH, SNIPPET, SNIPPET_PAGE, TOPIC, TOPICS

P = TypeVar("P")

EVERYTHING: tuple[Keyspace[Any], ...] = (TOPIC, TOPICS, SNIPPET, SNIPPET_PAGE, PODCAST_STATUS, SEARCH_EPOCH)
"""Every keyspace that is fed by the record: what is lost when nothing is known of the past."""


class ForeignChanges(msgspec.Struct, Generic[P], frozen=True, kw_only=True):
    """Some changes that follow one another, made by others.

    Arguments:
        position: where they end, for `acknowledge`; only their source understands it.
        events: how many changes the record has told.
        topics: the topics that they made stale, as in `Change`.
        snippets: the snippets, likewise.
        pages: the last page of each topic whose snippets came, went or moved: that before or after them, whichever is
            greater, plus one.
        statuses: the podcasts whose status they made stale.
        lost: keyspaces of which any key may be stale, because changes were missed or are too many to be named. They
            are dropped whole, after the source has begun to listen anew and before `position` is acknowledged.
        written: when the oldest of them was made, in seconds since 1970; None where the record does not tell.
    """

    position: P
    events: int = 0
    topics: tuple[str, ...] = ()
    snippets: tuple[str, ...] = ()
    pages: tuple[tuple[str, int], ...] = ()
    statuses: tuple[str, ...] = ()
    lost: tuple[Keyspace[Any], ...] = ()
    written: float | None = None


class ChangeSource(Protocol[P]):
    """Tells of changes made outside, in the order of their commits, each at least once.

    Our own changes are left out: their transactions have outbox rows. One process watches at a time; for a moment there
    may be two, when the first stood still. Both then drop the same keys, which is harmless.
    """

    def changes(self) -> AsyncGenerator[ForeignChanges[P], None]:
        """From what was acknowledged last on, for ever: waits for what comes. Whoever reads closes it.

        It is called anew after an error, and whenever this process begins to watch. Where the history since the last
        acknowledgement is lost, and at the very first call on a record in use, it first yields what is `lost`.

        Raises:
            RecordUnavailable: when the record cannot be asked; it is called again soon.
        """

    async def acknowledge(self, position: P) -> None:
        """Every server has dropped what was told up to here: never tell it again.

        Prevents: a position is stored · the watcher is killed before the drop · nobody ever drops it. So it is stored
        afterwards; and it never goes back, whoever stores it: of two watchers the slower acknowledges an older one.

        Raises:
            RecordUnavailable: when it cannot be stored; it is then told once more later.
        """


@runtime_checkable
class TellsForeignChanges(Protocol):
    """A record that notices what other programs write to it; `Records` in other regards."""

    @property
    def foreign_changes(self) -> ChangeSource[Any]:
        """What they have written."""
