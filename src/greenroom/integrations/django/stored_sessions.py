"""Sessions on the server: what one request changes is merged into what is there, and nothing that is over comes back.

Prevents: two requests read one session · one sets `cart`, the other `theme` · the later save has the earlier one's key
as it was before. And: a request reads a session · its user signs out, and it is deleted · the request saves it again.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any

import msgspec

from greenroom import Keyspace, Text
from greenroom.caching.result import CacheResult
from greenroom.errors import Overloaded
from greenroom.sync import Greenroom

LONGEST = timedelta(days=400)
"""The longest life of a session: a browser keeps no cookie for longer (RFC 6265bis, 5.5)."""
_ATTEMPTS = 100
_USER = "_auth_user_id"
"""Where django.contrib.auth keeps whose session it is."""


class DjangoSession(msgspec.Struct):
    """What stands under the digest of a session's key.

    Arguments:
        data: its members.
        era: that of its user when it was theirs; one of an earlier era is over.
    """

    data: dict[str, Any]
    era: str = ""


class UserEra(msgspec.Struct, frozen=True):
    """What begins when all sessions of a user are ended.

    Arguments:
        era: its name, which is random.
        spared: the digest of the one session that goes on.
    """

    era: str
    spared: str = ""


@dataclass(slots=True)
class MemberChanges:
    """What a request has made of a session's members.

    Arguments:
        members: those that it has set, or changed in place.
        removed: those that it has deleted.
    """

    members: Mapping[str, Any] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()

    def applied(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """The members of a session after them."""
        return {name: one for name, one in data.items() if name not in self.removed} | dict(self.members)


Lifetime = Callable[[Mapping[str, Any]], timedelta]
"""How long a session with these members lives from now on; zero or less: it is over."""


class SessionOver(Exception):
    """There is no such session any more."""


class StoredSessions:
    """The sessions of a room; its coroutines run in the room's event loop.

    Sessions are read from the server each time, and never near: one that was ended is over at once.
    """

    def __init__(self, room: Greenroom) -> None:
        self.room = room
        sessions = Keyspace("django:session:{digest}", DjangoSession, ttl=LONGEST, jitter=0, name="django_session")
        eras = Keyspace("django:era:{user}", UserEra, parts={"user": Text()}, ttl=2 * LONGEST, jitter=0)
        self._sessions = room.store(sessions, near_for=timedelta(0))
        self._eras = room.store(eras, near_for=timedelta(0))

    async def read(self, key: str) -> dict[str, Any] | None:
        """The members of a session; None where it is over."""
        found = await self._found(digest(key))
        return None if found is None else found[1].data

    def read_in_thread(self, key: str) -> dict[str, Any] | None:
        """As `read`, without `await`: a thread that is alone needs no other for it."""
        name = digest(key)
        session = self._sessions.get(digest=name)
        if session is None:
            return None
        user = session.data.get(_USER)
        era = self._eras.get(user=str(user)) if user else None
        return session.data if self._lives(name, session, era) else None

    async def create(self, key: str, data: dict[str, Any], lifetime: Lifetime) -> bool:
        """Begin a session; False where there is one with this key."""
        new = DjangoSession(data, await self._era(data))
        if (ttl := lifetime(data)) <= timedelta(0):
            return True
        return await self._sessions.asynchronous.add(new, ttl=min(ttl, LONGEST), digest=digest(key))

    async def change(self, key: str, changes: MemberChanges, lifetime: Lifetime) -> None:
        """Merge what a request has changed into a session.

        Raises:
            SessionOver: when it was ended, or has lapsed.
            Overloaded: when others were faster a hundred times.
        """
        name = digest(key)
        for _ in range(_ATTEMPTS):
            result, session = await self._living(name)
            new = await self._changed(session, changes)
            ttl = min(lifetime(new.data), LONGEST)
            if await self._replaced(name, result, new if ttl > timedelta(0) else None, ttl):
                return
        raise Overloaded(f"a session was changed by others {_ATTEMPTS} times meanwhile")

    async def move(self, key: str, new_key: str, changes: MemberChanges, lifetime: Lifetime) -> None:
        """Let a session go on under a new key, with what others have changed to the last.

        Prevents: a log-in copies the session · another request saves it under the old key, and is told that it is
        saved · the old key is deleted, and what was saved with it. So it is deleted only as it was copied.

        Raises:
            As `change`; nothing is left under the new key then.
        """
        name, new_name, sessions = digest(key), digest(new_key), self._sessions.asynchronous
        try:
            for _ in range(_ATTEMPTS):
                result, session = await self._living(name)
                new = await self._changed(session, changes)
                ttl = max(min(lifetime(new.data), LONGEST), timedelta(milliseconds=1))
                await sessions.set(new, ttl=ttl, digest=new_name)
                if await self._replaced(name, result, None, LONGEST):
                    return
            raise Overloaded(f"a session was changed by others {_ATTEMPTS} times meanwhile")
        except BaseException:
            await sessions.delete(digest=new_name)
            raise

    async def end(self, key: str) -> None:
        """End a session."""
        await self._sessions.asynchronous.delete(digest=digest(key))

    async def end_all(self, user: str, spared: str | None) -> None:
        """End all sessions of a user: an era begins, and none of an earlier one is taken any more."""
        era = UserEra(secrets.token_hex(8), "" if spared is None else digest(spared))
        await self._eras.asynchronous.set(era, user=user)

    # ------------------------------------------------------------------------------------------------

    async def _found(self, name: str) -> tuple[CacheResult[DjangoSession], DjangoSession] | None:
        result = await self._sessions.asynchronous.get_result(digest=name)
        session = result.value
        if session is None:
            return None
        user = session.data.get(_USER)
        era = await self._eras.asynchronous.get(user=str(user)) if user else None
        return (result, session) if self._lives(name, session, era) else None

    @staticmethod
    def _lives(name: str, session: DjangoSession, era: UserEra | None) -> bool:
        """Whether a session is of the present era of its user, into which it is taken where it was spared."""
        if era is not None and era.era != session.era:
            if era.spared != name:
                return False
            session.era = era.era  # stored with its next change
        return True

    async def _living(self, name: str) -> tuple[CacheResult[DjangoSession], DjangoSession]:
        found = await self._found(name)
        if found is None:
            raise SessionOver
        return found

    async def _changed(self, session: DjangoSession, changes: MemberChanges) -> DjangoSession:
        data = changes.applied(session.data)
        # Of a session that is this user's already the era stays. Prevents: a request reads it · `end_all` · the request
        # saves it into the new era, in which it is alive.
        mine = data.get(_USER) == session.data.get(_USER)
        return DjangoSession(data, session.era if mine else await self._era(data))

    async def _era(self, data: Mapping[str, Any]) -> str:
        user = data.get(_USER)
        era = await self._eras.asynchronous.get(user=str(user)) if user else None
        return "" if era is None else era.era

    async def _replaced(
        self, name: str, result: CacheResult[DjangoSession], new: DjangoSession | None, ttl: timedelta
    ) -> bool:
        lifetime = None if new is None else max(ttl, timedelta(milliseconds=1))
        return await self._sessions.asynchronous.compare_and_set(result, new, ttl=lifetime, digest=name)


def digest(key: str) -> str:
    """What stands in the server's key for that of a cookie: who can list the keys can use none of them."""
    return urlsafe_b64encode(sha256(key.encode("utf-8", "surrogatepass")).digest()).decode().rstrip("=")
