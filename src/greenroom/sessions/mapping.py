"""A request's session as a mapping: what packages expect at `scope["session"]`, as `request.session`."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import Any

import msgspec

from greenroom.sessions.limits import SessionLifetime
from greenroom.sessions.policy import Kind
from greenroom.sessions.raw_json import ACTIVITY, member_json
from greenroom.sessions.refusals import Refused
from greenroom.sessions.request import RequestSession


class SessionMapping(MutableMapping[str, Any]):
    """The members of a session, but for the time of its activity; what was changed is written when the response begins.

    A changed `user_id` is a log-in: the token changes, see `RequestSession.sign_in`. A `user_id` that is taken out ends
    the session, and another one begins with what is left; a mapping that is emptied ends it. Nothing is written for an
    answer of 500 or above, nor once `session_of(scope).end()` has ended the session, and nothing on a socket: use
    `session_of(scope).update` there.

    Raises:
        InvalidInput: at an assignment of what cannot be JSON, naming the member.
        Refused: at any access where the session cannot be read, as `RequestSession.get`.
        RuntimeError: at an assignment on a socket.
    """

    def __init__(self, session: RequestSession[Any]) -> None:
        self._session = session
        self._members: dict[str, Any] = {}
        self._stored: dict[str, bytes] = {}
        self._has_session = False
        self._refused: Refused | None = None

    @classmethod
    async def of(cls, session: RequestSession[Any]) -> SessionMapping:
        """The mapping of a request; one with a token costs a look-up."""
        mapping, used = cls(session), session.used
        try:
            live = await session.get()
        except Refused as refused:
            mapping._refused = refused
            live = None
        # The answer depends on the session once somebody looks at it, and not because it is at hand.
        session.used = used
        if live is not None:
            mapping._has_session = True
            mapping._members = {name: value for name, value in live.members.items() if name != ACTIVITY}
            mapping._stored = {name: member_json(name, value) for name, value in mapping._members.items()}
        return mapping

    async def save(self, lifetime: SessionLifetime | None = None) -> None:
        """Write what was changed.

        Arguments:
            lifetime: of a session that begins by this, or is signed in; None: the room's.

        Raises:
            As `RequestSession.update` and `sign_in`.
        """
        members = {name: member_json(name, value) for name, value in self._members.items()}
        changes: dict[str, object] = {
            name: msgspec.Raw(json) for name, json in members.items() if json != self._stored.get(name)
        }
        changes |= dict.fromkeys(self._stored.keys() - members.keys(), msgspec.UNSET)
        # What was written before the session was ended goes with it: a log-out is not refused for a message.
        if not changes or (self._has_session and self._session.over):
            return
        session, user = self._session, self._session.sessions.user.name
        if not self._has_session:
            await session.sign_in(changes, lifetime=lifetime)
        elif changes.get(user) is msgspec.UNSET or not members:
            await session.end()
            if members:
                begun = {name: msgspec.Raw(json) for name, json in members.items()}
                await session.sign_in(begun, lifetime=lifetime)
        elif user in changes:
            await session.sign_in(changes, lifetime=lifetime)
        else:
            await session.update(changes)

    def peek(self, name: str) -> Any:
        """A member, None without it; the answer does not come to depend on the session by that."""
        return self._members.get(name)

    def __getitem__(self, name: str) -> Any:
        return self._looked_at()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._check_writable()
        member_json(name, value)
        self._looked_at()[name] = value

    def __delitem__(self, name: str) -> None:
        self._check_writable()
        del self._looked_at()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._looked_at())

    def __len__(self) -> int:
        return len(self._looked_at())

    def __repr__(self) -> str:
        return f"SessionMapping({sorted(self._members)})"

    def _looked_at(self) -> dict[str, Any]:
        self._session.used = True
        if self._refused is not None:
            raise self._refused
        return self._members

    def _check_writable(self) -> None:
        if self._session.signals.kind is Kind.WEBSOCKET:
            raise RuntimeError("nothing is written at the end of a socket: use session_of(scope).update(…)")
