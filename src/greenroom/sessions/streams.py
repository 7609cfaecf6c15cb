"""The open streams of a session: a companion says what each is of, and when it was opened.

What a session's JSON says of them is set anew from here at every opening and closing, and at a touch: a server that was
killed closes nothing, its streams lapse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from greenroom.engine import Engine
from greenroom.sessions.index import ExpiringSet
from greenroom.sessions.limits import SessionLimits
from greenroom.sessions.store import SessionStore

_MEMBER = re.compile(r"[0-9]{16}:[A-Za-z0-9._~-]+:[A-Za-z0-9._~-]{1,128}")


@dataclass(frozen=True, slots=True)
class StreamNames:
    """What streams are called where they are stored.

    Arguments:
        member: the member of a session that names the content of its newest open stream.
        content: what a stream is of, in one word, as "episode"; the keys of the rolls are made of it.
    """

    member: str = "active_stream_id"
    content: str = "content"


@dataclass(frozen=True, slots=True)
class Stream:
    """Somebody listens to something, over one socket.

    Arguments:
        content_id: what is listened to.
        member: its name on the rolls; of two the later one is greater.
        session_id: whose it is; None for a listener without a session.
    """

    content_id: str
    member: str = field(repr=False)
    session_id: str | None = field(repr=False)


def stream(content_id: str, session: str | None, opened: int, name: str) -> Stream:
    """A stream opened at a time of the server, in µs, with a name that no other has."""
    return Stream(content_id, f"{opened:016d}:{name}:{content_id}", session)


def _is_stream(text: str) -> bool:
    return _MEMBER.fullmatch(text) is not None


class Streams:
    """The open streams of every session."""

    def __init__(self, engine: Engine, slot: SessionStore, limits: SessionLimits, names: StreamNames) -> None:
        self.names = names
        self._engine = engine
        self._slot = slot
        self._limits = limits

    def of(self, session: str) -> ExpiringSet:
        """The roll of a session's streams."""
        return ExpiringSet(
            self._engine, self._slot.companion("streams", session), self._limits.stream, is_member=_is_stream
        )

    async def newest(self, session: str, *, deadline: float | None = None) -> str | None:
        """The content of the stream that was opened last, of those that are still open."""
        present = await self.of(session).members(deadline=deadline)
        return max(present).rpartition(":")[2] if present else None
