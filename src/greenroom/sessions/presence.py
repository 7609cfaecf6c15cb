"""Who is here: listeners per podcast, and the stream that a session names as its own.

A listener is an open stream: two tabs are two. It stands on the rolls before it counts as open, is renewed while
somebody listens, and lapses when its server was killed. Which podcasts have a roll is on a roll of its own, so that
nobody need SCAN for them.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from functools import partial
from typing import Any

from greenroom.errors import EngineError
from greenroom.keyspace.companions import companion_key
from greenroom.keyspace.pattern import check_part
from greenroom.sessions.arguments import instance, session_part
from greenroom.sessions.document import STREAM, members
from greenroom.sessions.live import SessionGone
from greenroom.sessions.roll import Roll
from greenroom.sessions.store import Sessions
from greenroom.sessions.streams import Stream, stream

_STREAM = "give what `open` has returned"
_CHUNK = 500
"""Podcasts counted at a time."""


class Presence:
    """The listeners of one platform. Every call raises as those of `Sessions`."""

    def __init__(self, sessions: Sessions[Any]) -> None:
        self._sessions = sessions
        self._stay = sessions.limits.stream
        # A podcast enters it before its own roll, and must not leave it sooner.
        name = companion_key(sessions.prefix, "active", "podcasts")
        self._podcasts = Roll(sessions.engine, name, self._stay + sessions.limits.late)

    @property
    def interval(self) -> float:
        """Seconds between two renewals of a stream: two may fail before it lapses."""
        return self._stay.total_seconds() / 3

    async def open(self, podcast_id: str, session: str | None) -> Stream:
        """Somebody begins to listen; their session then names the podcast.

        Arguments:
            session: the id of the listener's session, where there is one.

        Raises:
            SessionGone: when it is over.
            BrokenValue: when its JSON does not fit; nobody then listens.
            InvalidInput: when no key can be made of the podcast's id, or the session's.
        """
        self._sessions.opened.check()
        check_part("podcast_id", podcast_id)
        if session is not None:
            session_part("session", session)
        opened = await self._sessions.slot.now(session or "anonymous")
        new = stream(podcast_id, session, opened, secrets.token_hex(8))
        try:
            # Of its two rolls the second may refuse it: it would be counted on the first until it lapses.
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
        if STREAM in members(live.body):
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
        """How many listen to each podcast; of a killed server's until they lapse."""
        self._sessions.opened.check()
        podcasts, counts = sorted(await self._podcasts.present()), list[int]()
        for at in range(0, len(podcasts), _CHUNK):
            chunk = podcasts[at : at + _CHUNK]
            counts += await asyncio.gather(*(self._listeners(podcast).count() for podcast in chunk))
        return {podcast: count for podcast, count in zip(podcasts, counts, strict=True) if count}

    async def active(self) -> int:
        """See `Sessions.active`."""
        return await self._sessions.active()

    # ------------------------------------------------------------------------------------------------

    def _left_behind(self, stream: Stream) -> None:
        """Somebody does not listen any more, whatever stands on the rolls."""
        self._sessions.leftovers.add(
            f"the stream {stream.member}", partial(self._close, stream), self._stay.total_seconds()
        )

    async def _leave(self, stream: Stream) -> None:
        try:
            for roll in self._rolls(stream):
                await roll.leave(stream.member)
        except BaseException:
            self._left_behind(stream)
            raise

    async def _close(self, stream: Stream) -> None:
        for roll in self._rolls(stream):
            await roll.leave(stream.member)
        if stream.session_id is not None:
            with suppress(SessionGone):
                await self._sessions.settle(stream.session_id)

    async def _enter(self, stream: Stream) -> None:
        await self._podcasts.note(stream.podcast_id)
        for roll in self._rolls(stream):
            await roll.enter(stream.member)

    def _rolls(self, stream: Stream) -> list[Roll]:
        rolls = [self._listeners(stream.podcast_id)]
        if stream.session_id is not None:
            rolls.append(self._sessions.streams.of(stream.session_id))
        return rolls

    def _listeners(self, podcast_id: str) -> Roll:
        name = companion_key(self._sessions.prefix, "listeners", f"podcast:{podcast_id}")
        return Roll(self._sessions.engine, name, self._stay)
