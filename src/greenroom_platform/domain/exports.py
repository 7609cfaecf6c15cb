"""A record that can be read from its beginning to its end, some objects at a time."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from greenroom_platform.models import Snippet, Topic

T = TypeVar("T")


class Chunk(msgspec.Struct, Generic[T], frozen=True):
    """Some objects by their ids, and the id after which to read on; None at the end.

    With an id of its own: what does not fit is left out, and may have been the last.
    """

    objects: tuple[T, ...]
    after: str | None


@runtime_checkable
class Exports(Protocol):
    """A record that gives all its objects by their ids. It is no snapshot: of what is changed meanwhile each object is
    as it was before or after, and none that stays is missed.

    Raises, from any method:
        RecordUnavailable: when the database cannot be reached.
    """

    async def topics_after(self, after: str, limit: int) -> Chunk[Topic]:
        """The next topics; "" begins. What does not fit is left out, and counted."""

    async def snippets_after(self, after: str, limit: int) -> Chunk[Snippet]:
        """The next snippets, likewise."""

    async def topic(self, topic_id: str) -> Topic | None:
        """As `Records.topic`."""
