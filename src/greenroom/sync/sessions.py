"""Sessions as threads use them: a thread that is alone may read by itself, all else goes through the portal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import timedelta
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Generic, TypeVar

from greenroom import sessions
from greenroom.errors import EngineUnavailable, RoomClosed
from greenroom.sessions import SessionLifetime, SessionSnapshot, Stream, arguments
from greenroom.sessions.raw_json import Members

if TYPE_CHECKING:
    from greenroom.sync.client import Greenroom

T = TypeVar("T")


def _touch(all_of_them: sessions.Sessions[T], live: SessionSnapshot[T]) -> None:
    with suppress(RoomClosed):  # it was closed meanwhile
        all_of_them.opened.check()
        all_of_them.touch(live)


class Sessions(Generic[T]):
    """The sessions of a room, from any thread; each call is that of `greenroom.sessions.Sessions` without `await`."""

    def __init__(self, room: Greenroom) -> None:
        self._room = room

    def start(
        self,
        members: Mapping[str, object] | None = None,
        /,
        *,
        remember: bool = False,
        lifetime: SessionLifetime | timedelta | None = None,
        **more: object,
    ) -> tuple[SessionSnapshot[T], str]:
        """Begin a session; returns it and its token, which is for its client only.

        Arguments:
            members: what it holds, by the names in JSON; the time of its activity is the server's.
            remember: whether it lives as long as `SessionSettings(remember=…)` says.
            lifetime: how long this one lives, where that is another time; one time stands for both limits.
            more: further members, by keyword; `user_id` is whose it is.
        """
        return self._room.run(lambda _: self._sessions.start(members, remember=remember, lifetime=lifetime, **more))

    def read(self, token: str) -> SessionSnapshot[T] | None:
        """The live session of a token; None for what is no token, or names none. It says nothing of its use."""
        return self._read(token, note=False)

    def load(self, token: str) -> SessionSnapshot[T] | None:
        """As `read`, for a request of the session's client: its use is noted, where that is due."""
        return self._read(token, note=True)

    def _read(self, token: str, *, note: bool) -> SessionSnapshot[T] | None:
        direct, deadline = self._room.session_calls, None
        if direct is not None and direct.alone():
            deadline = monotonic() + direct.patience
            with suppress(EngineUnavailable):
                found: SessionSnapshot[T] | None = self._sessions.directly(direct.ask, token)
                if found is not None:
                    if note and found.touch_due:
                        self._room.post(partial(_touch, self._sessions, found))
                    return found
            # Asked once more, if any time is left.

        async def read() -> SessionSnapshot[T] | None:
            live: SessionSnapshot[T] | None = await self._sessions.read(token, deadline=deadline)
            if note and live is not None:
                self._sessions.touch(live)
            return live

        return self._room.run(lambda _: read())

    def read_id(self, session: str) -> SessionSnapshot[T] | None:
        """As `read`, by id."""
        return self._room.run(lambda _: self._sessions.read_id(session))

    def touch(self, live: SessionSnapshot[T]) -> None:
        """Note that the session is in use, if that is due; never fails for want of the server."""

        async def touch() -> None:
            self._sessions.touch(live)

        self._room.run(lambda _: touch())

    def change(self, session: str, change: Callable[[bytes], bytes]) -> SessionSnapshot[T]:
        """Change a session's JSON; of two at once neither is lost.

        Arguments:
            change: from the JSON as it is to the JSON as it shall be; called again with newer JSON on a conflict. It
                runs in the room's event loop, and must neither wait nor call the room.
        """
        return self._room.run(lambda _: self._sessions.change(session, change))

    def save(self, session: str, members: Mapping[str, object] | None = None, /, **more: object) -> SessionSnapshot[T]:
        """Set some members of a session; all others stay, also if another caller has changed them meanwhile.

        Arguments:
            members: the new ones, by the names in JSON; `msgspec.UNSET` removes one.
            more: further ones, by keyword.

        Raises:
            SessionGone: when it is over; nothing comes back to life.
            InvalidInput: naming the member that cannot be JSON, or does not fit the session's type.
        """

        async def save() -> SessionSnapshot[T]:
            all_of_them = self._sessions
            new = arguments.mapping(members, all_of_them.user.renamed(more))
            return await all_of_them.change(session, lambda body: all_of_them.user.changed(body, new))

        return self._room.run(lambda _: save())

    def rotate(
        self,
        session: str,
        members: Members,
        *,
        remember: bool = False,
        lifetime: SessionLifetime | timedelta | None = None,
    ) -> tuple[SessionSnapshot[T], str]:
        """Go on under a new token; after whatever changes what the session may do, as a log-in.

        Arguments:
            members: what changes: a mapping, or a function of the session's JSON that returns one.
        """
        return self._room.run(lambda _: self._sessions.rotate(session, members, remember=remember, lifetime=lifetime))

    def end(self, session: str) -> bool:
        """End a session; False where it was over. Twice is as good as once."""
        return self._room.run(lambda _: self._sessions.end(session))

    def end_all(self, user_id: str | int, *, but: str | None = None) -> int:
        """End every session of a user; returns how many this call has ended.

        Arguments:
            but: the id of one that goes on, as that of the user who has just changed the password.
        """
        return self._room.run(lambda _: self._sessions.end_all(user_id, but=but))

    def end_all_behind(self, user_id: str | int, *, but: str | None = None) -> None:
        """End every session of a user as soon as the server can be asked; does not wait for that."""

        async def behind() -> None:
            self._sessions.end_all_behind(user_id, but=but)

        self._room.run(lambda _: behind())

    def of_user(self, user_id: str | int) -> list[SessionSnapshot[T]]:
        """A user's live sessions, the oldest first; one that cannot be decoded is left out."""
        return self._room.run(lambda _: self._sessions.of_user(user_id))

    def active(self) -> int:
        """Sessions that are alive; after a crash at most too many, until the limit that they had."""
        return self._room.run(lambda _: self._sessions.active())

    @property
    def _sessions(self) -> sessions.Sessions[T]:
        return self._room.room.sessions


class Presence:
    """Presence, from any thread; each call is that of `greenroom.sessions.Presence` without `await`."""

    def __init__(self, room: Greenroom) -> None:
        self._room = room

    def open(self, content_id: str, session: str | None) -> Stream:
        """Somebody begins to listen; their session then names what they listen to."""
        return self._room.run(lambda _: self._room.room.presence.open(content_id, session))

    def renew(self, stream: Stream) -> bool:
        """Somebody still listens; False when their session is over. To be called every `interval`."""
        return self._room.run(lambda _: self._room.room.presence.renew(stream))

    def close(self, stream: Stream) -> None:
        """Somebody has stopped."""
        return self._room.run(lambda _: self._room.room.presence.close(stream))

    def listeners(self) -> dict[str, int]:
        """How many listen to each content, by its id; those of a killed server count until they lapse."""
        return self._room.run(lambda _: self._room.room.presence.listeners())

    def active(self) -> int:
        """See `Sessions.active`."""
        return self._room.run(lambda _: self._room.room.presence.active())

    @property
    def interval(self) -> float:
        """Seconds between two renewals of a stream."""

        async def interval() -> float:
            return self._room.room.presence.interval

        return self._room.run(lambda _: interval())
