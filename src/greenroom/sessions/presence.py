"""Presence: listeners of each content, and the stream that a session names as its own.

A listener is an open stream: two tabs are two. It is in the sets before it counts as open, is renewed while
somebody listens, and lapses when its server was killed. Which content has a set is in a set of its own, so that
nobody need SCAN for it.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from functools import partial
from typing import Any

from greenroom.argument_types import instance
from greenroom.errors import EngineError
from greenroom.keyspace.derived_keys import derived_key
from greenroom.keyspace.parts import check_part
from greenroom.sessions.arguments import session_part
from greenroom.sessions.index import ExpiringSet, Stream, stream
from greenroom.sessions.raw_json import members
from greenroom.sessions.sessions import Sessions
from greenroom.sessions.snapshot import SessionGone

_STREAM = "give what `open` has returned"
_COUNTED_AT_A_TIME = 500
"""Sets counted at a time."""


class Presence:
    """The listeners of one platform. Every call raises as those of `Sessions`."""

    def __init__(self, sessions: Sessions[Any]) -> None:
        self._sessions = sessions
        self._stay = sessions.limits.stream
        self._content = sessions.streams.names.content
        # Content enters it before its own set, and must not leave it sooner.
        name = derived_key(sessions.prefix, "active", f"{self._content}s")
        self._listened_to = ExpiringSet(sessions.engine, name, self._stay + sessions.limits.late)

    @property
    def interval(self) -> float:
        """Seconds between two renewals of a stream: two may fail before it lapses."""
        return self._stay.total_seconds() / 3

    async def open(self, content_id: str, session: str | None) -> Stream:
        """Somebody begins to listen; their session then names what they listen to.

        Arguments:
            session: the id of the listener's session, where there is one.

        Raises:
            SessionGone: when it is over.
            BrokenValue: when its JSON does not fit; nobody then listens.
            InvalidInput: when no key can be made of the content's id, or the session's.
        """
        self._sessions.opened.check()
        check_part(f"{self._content}_id", content_id)
        if session is not None:
            session_part("session", session)
        opened = await self._sessions.store.now(session or "anonymous")
        new = stream(content_id, session, opened, secrets.token_hex(8))
        try:
            # Of its two sets the second may refuse it: it would be counted in the first until it lapses.
            await self._enter(new)
            if session is not None:
                await self._sessions.settle(session)
        except SessionGone:
            with suppress(EngineError):
                await self._leave(new)
            raise
        except BaseException:
            self._left_behind(new)
            raise
        return new

    async def renew(self, stream: Stream) -> bool:
        """Somebody still listens, which keeps their session alive; False when that is over: close the socket.

        To be called every `interval`.
        """
        self._sessions.opened.check()
        instance("stream", stream, Stream, _STREAM)
        if stream.session_id is None:
            await self._enter(stream)
            return True
        live = await self._sessions.read_id(stream.session_id)
        if live is None or not live.writable:
            await self.close(stream)
            return False
        await self._enter(stream)  # before the touch, which looks for who is there
        if self._sessions.streams.names.member in members(live.body):
            self._sessions.touch(live)
            return True
        # It had lapsed, since we were late, and somebody's touch has noticed.
        try:
            await self._sessions.settle(stream.session_id)
        except SessionGone:
            await self.close(stream)
            return False
        return True

    async def close(self, stream: Stream) -> None:
        """Somebody has stopped; their session then names the newest stream that is still open, or none.

        What fails, or whose caller is cancelled, is done behind.
        """
        self._sessions.opened.check()
        instance("stream", stream, Stream, _STREAM)
        try:
            await self._close(stream)
        except BaseException:
            self._left_behind(stream)
            raise

    async def listeners(self) -> dict[str, int]:
        """How many listen to each content, by its id; those of a killed server count until they lapse."""
        self._sessions.opened.check()
        ids, counts = sorted(await self._listened_to.members()), list[int]()
        for at in range(0, len(ids), _COUNTED_AT_A_TIME):
            chunk = ids[at : at + _COUNTED_AT_A_TIME]
            counts += await asyncio.gather(*(self._listeners(content_id).count() for content_id in chunk))
        return {content_id: count for content_id, count in zip(ids, counts, strict=True) if count}

    async def active(self) -> int:
        """See `Sessions.active`."""
        return await self._sessions.active()

    # ------------------------------------------------------------------------------------------------

    def _left_behind(self, stream: Stream) -> None:
        """Somebody does not listen any more, whatever stands in the sets."""
        self._sessions.leftovers.add(
            f"the stream {stream.member}", partial(self._close, stream), self._stay.total_seconds()
        )

    async def _leave(self, stream: Stream) -> None:
        try:
            for one in self._sets(stream):
                await one.remove(stream.member)
        except BaseException:
            self._left_behind(stream)
            raise

    async def _close(self, stream: Stream) -> None:
        for one in self._sets(stream):
            await one.remove(stream.member)
        if stream.session_id is not None:
            with suppress(SessionGone):
                await self._sessions.settle(stream.session_id)

    async def _enter(self, stream: Stream) -> None:
        await self._listened_to.try_add(stream.content_id)
        for one in self._sets(stream):
            await one.add(stream.member)

    def _sets(self, stream: Stream) -> list[ExpiringSet]:
        sets = [self._listeners(stream.content_id)]
        if stream.session_id is not None:
            sets.append(self._sessions.streams.of(stream.session_id))
        return sets

    def _listeners(self, content_id: str) -> ExpiringSet:
        name = derived_key(self._sessions.prefix, "listeners", f"{self._content}:{content_id}")
        return ExpiringSet(self._sessions.engine, name, self._stay)
