"""The session of one request or socket, as an application uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, Generic, TypeVar

from greenroom.argument_types import function
from greenroom.detached import to_the_end
from greenroom.errors import BrokenValue, EngineError, Overloaded
from greenroom.sessions import arguments
from greenroom.sessions.cookie import DEFAULT, CookieSettings
from greenroom.sessions.limits import SessionLifetime
from greenroom.sessions.policy import Carrier, Decision, Kind, LookUp, Signals, Token, Transport, decide, sets_cookie
from greenroom.sessions.raw_json import Members
from greenroom.sessions.refusals import Refused, SessionBroken, SignInRequired, refusal
from greenroom.sessions.sessions import Sessions
from greenroom.sessions.snapshot import SessionGone, SessionSnapshot
from greenroom.sessions.token import session_id
from greenroom.sessions.websocket import SessionWatch

T = TypeVar("T")


class RequestSession(Generic[T]):
    """The session of one request, looked up when it is first asked for; a socket's, before it is accepted.

    Every call raises a `Refused` that says how to answer when there is no session to give: `SignInRequired`,
    `SessionsUnavailable`, `SessionsOverloaded`, `SessionBroken`, `InsecureTransport`. The middleware answers with it
    where the application does not.
    """

    def __init__(self, sessions: Sessions[T], signals: Signals, cookie: CookieSettings = DEFAULT) -> None:
        self.sessions = sessions
        self._cookie = cookie
        self.signals = signals
        self.used = False
        """Whether the answer depends on the session."""
        self.token: str | None = None
        """The token that was made for this request; for its client only."""
        self.set_cookie: str | None = None
        """The value of Set-Cookie that the answer needs."""
        self.refused: Refused | None = None
        """What was raised last: some frameworks make a plain 500 of it."""
        self._outcome = decide(signals)
        self._live: SessionSnapshot[T] | None = None
        self._watch: SessionWatch[T] | None = None
        self._look = asyncio.Lock()
        self._answering = asyncio.Lock()
        self._begun = False
        self._malformed = signals.token is Token.MALFORMED
        """Whether that is still to be counted."""

    @property
    def presented(self) -> bool:
        """Whether the request has a token, valid or not."""
        return self.signals.token is not Token.ABSENT

    @property
    def foreign(self) -> bool:
        """Whether a page of a foreign origin, which is not allowed, sends a request that may change something."""
        return self._outcome is Decision.FOREIGN

    @property
    def over(self) -> bool:
        """Whether the token names no live session, or this request has ended it."""
        return self._outcome is Decision.DEAD

    async def get(self) -> SessionSnapshot[T] | None:
        """The session, for a caller that needs none; None without a token, or if the token names no live session.

        It may be a copy (`writable` is False) that a rotation has left for requests under way.
        """
        await self._looked_up()
        if self._watch is not None:
            return self._watch.live
        match self._outcome:
            case Decision.LIVE | Decision.READ_ONLY:
                return self._live
            case Decision.NONE | Decision.DEAD:
                return None
            case Decision.INSECURE if not self.presented:
                return None
            case _:
                raise self._refusal(self._outcome)

    async def require(self, *, writable: bool = False) -> SessionSnapshot[T]:
        """The session; raises `SignInRequired` where there is none.

        Arguments:
            writable: whether the copy of a rotation does not count: for a request that changes something, or shows more
            than the session.
        """
        live = await self.get()
        if live is None or (writable and not live.writable):
            raise self._refusal(self._outcome)
        return live

    async def require_confidential(self) -> None:
        """Raise `InsecureTransport` where no session can begin; to be asked before a password is looked at."""
        self.used = True
        if self._outcome is Decision.INSECURE:
            raise self._refusal(self._outcome)

    async def start(
        self,
        members: Mapping[str, object] | None = None,
        /,
        *,
        remember: bool = False,
        lifetime: SessionLifetime | timedelta | None = None,
        **more: object,
    ) -> SessionSnapshot[T]:
        """Begin the session of a visitor who has none.

        Arguments:
            members: what it holds.
            remember, lifetime: as for `Sessions.start`; its cookie then stays when the browser ends.
            more: further members, by keyword.

        Raises:
            InvalidInput: naming the member that cannot be JSON, or does not fit the session's type.
            RuntimeError: as `rotate`.
            SignInRequired: when a token was presented that names no live session: it never becomes one. Also where
                there is a live one, as of another task of this request.
        """
        given = arguments.mapping(members, self.sessions.user.renamed(more))
        own = self.sessions.own_lifetime(remember=remember, lifetime=lifetime)
        await self._looked_up()
        self._check_none()
        async with self._before_the_answer():
            # Prevents: two tasks of one request find no session, and wait here · both begin one · nobody gets the
            # token of the first.
            self._check_none()
            return await self._begin(given, own)

    async def sign_in(
        self, members: Members, *, remember: bool = False, lifetime: SessionLifetime | timedelta | None = None
    ) -> SessionSnapshot[T]:
        """Sign a user in: a live session is rotated, or one begins. The old token never leads to the new session.

        Arguments:
            members: with a `user_id`, as for `Sessions.rotate`; where a session begins it is asked with `{}`.
            remember, lifetime: as for `start`.

        Raises:
            RuntimeError: as `rotate`.
            SignInRequired: when another log-in of this session was first; of two at once one session is left.
        """
        own = self.sessions.own_lifetime(remember=remember, lifetime=lifetime)
        await self._looked_up()
        if self._outcome not in (Decision.NONE, Decision.DEAD, Decision.LIVE):
            raise self._refusal(self._outcome)
        had_one = self._outcome is Decision.LIVE
        async with self._before_the_answer():
            # Looked at again, as in `start`: another task of this request may have begun one meanwhile.
            if had_one or self._outcome is Decision.LIVE:
                return await self._rotate(members, own)
            return await self._begin(arguments.given(members, b"{}"), own)

    async def rotate(self, members: Members) -> SessionSnapshot[T]:
        """Continue under a new token, after each change of the session's rights. See `Sessions.rotate`.

        If the caller is cancelled meanwhile, the rotation is finished first: the middleware still sends the cookie.

        Raises:
            RuntimeError: on a socket, and once the response has begun: nobody would get the new token.
        """
        async with self._before_the_answer():
            return await self._rotate(members, None)

    async def change(self, change: Callable[[bytes], bytes]) -> SessionSnapshot[T]:
        """Change the session's JSON; see `Sessions.change`."""
        function("change", change, arguments.CHANGE)
        live = await self.require(writable=True)
        with self._refusing():
            changed = await self.sessions.change(live.session_id, change)
        self._wrote(changed)
        return changed

    async def update(self, members: Mapping[str, object] | None = None, /, **more: object) -> SessionSnapshot[T]:
        """Set some members, given as for `dict`; `msgspec.UNSET` removes one, and those not named stay byte for byte.

        Raises:
            InvalidInput: naming the member that cannot be JSON, or does not fit the session's type.
        """
        new = arguments.mapping(members, self.sessions.user.renamed(more))
        live = await self.require(writable=True)
        with self._refusing():
            updated = await self.sessions.change(live.session_id, lambda body: self.sessions.user.changed(body, new))
        self._wrote(updated)
        return updated

    async def end(self) -> None:
        """End the session and take the cookie away, also that of one that is over already.

        A browser's page cannot give up the cookie itself, and no new session begins while it is sent along. Only here:
        an answer to anything else may be on its way while a log-in sets the new one. That is also why a rotation's copy
        is not over yet, and its cookie stays.

        One that cannot be read is ended too: its owner wants to be signed out.
        """
        try:
            ended = (await self.require(writable=True)).session_id
        except SignInRequired:
            if self._outcome is Decision.DEAD:
                self.forget()
            raise
        except SessionBroken:
            ended = session_id(self.signals.text)
        with self._refusing():
            await self.sessions.end(ended)
        self.forget()

    async def begin_answer(self) -> None:
        """Called by the middleware when the response begins; waits for a token that is being made."""
        async with self._answering:
            self._begun = True

    # docs/decisions/0037-only-signing-out-clears-a-dead-cookie.md
    def forget(self) -> None:
        """The session was ended by other means: take the cookie away."""
        self._outcome = Decision.DEAD
        self._wrote(None)
        if self.signals.carrier is Carrier.COOKIE:
            self.set_cookie = self._cookie.cleared(secure=self._secure)

    def follow(self, watch: SessionWatch[T]) -> None:
        """Take the session as the socket's watch has read it."""
        self._watch = watch
        self._outcome = decide(self.signals, _state(watch.live))
        if watch.live is None:
            self.sessions.counters.sessions["token_unknown",] += 1
        watch.active()

    def failed(self, error: Exception) -> None:
        """The look-up of a socket's session has failed."""
        self._outcome = decide(self.signals, _found(error))

    # ------------------------------------------------------------------------------------------------

    @property
    def _secure(self) -> bool:
        return self.signals.transport is Transport.SECURE

    async def _looked_up(self) -> None:
        self.used = True
        async with self._look:
            if self._outcome is not Decision.LOOK_UP:
                # An attack that guesses shows in these two counts; an editor's token, which is none of ours, does not.
                self.sessions.counters.sessions["token_malformed",] += self._malformed
                self._malformed = False
                return
            try:
                self._live = await self.sessions.read(self.signals.text)
            except (EngineError, BrokenValue) as error:
                self._outcome = decide(self.signals, _found(error))
                return
            self._outcome = decide(self.signals, _state(self._live))
            if self._live is not None:
                self.sessions.touch(self._live)
            else:
                self.sessions.counters.sessions["token_unknown",] += 1

    # Within `_before_the_answer`:

    async def _begin(self, members: Mapping[str, object], own: SessionLifetime | None) -> SessionSnapshot[T]:
        with self._refusing():
            new, self.token = await self.sessions.start(members, lifetime=own)
        return self._now(new)

    async def _rotate(self, members: Members, own: SessionLifetime | None) -> SessionSnapshot[T]:
        live = await self.require(writable=True)

        async def rotated() -> None:
            with self._refusing():
                new, self.token = await self.sessions.rotate(live.session_id, members, lifetime=own)
            self._now(new)

        # Prevents: the old token is taken · the request is cancelled · the new one is forgotten before anybody has
        # it, and its owner is signed out.
        await to_the_end(rotated)
        assert self._live is not None
        return self._live

    def _check_none(self) -> None:
        if self._outcome is not Decision.NONE:
            raise self._refusal(self._outcome)

    def _wrote(self, live: SessionSnapshot[T] | None) -> None:
        self._live = live
        if self._watch is not None:
            self._watch.wrote(live)

    @asynccontextmanager
    async def _before_the_answer(self) -> AsyncIterator[None]:
        """Around what makes a new token: its response begins afterwards, and carries it.

        Prevents: a task rotates · the response's headers leave without the new token · the rotation takes place, the
        old token dies, and its owner is signed out.
        """
        if self.signals.kind is Kind.WEBSOCKET:
            raise RuntimeError("a socket's session begins, or is rotated, in an HTTP request: only that sets a cookie")
        async with self._answering:
            if self._begun:
                raise RuntimeError(
                    "the response has begun, and its headers carry no new token any more: begin or rotate a session "
                    "before the first byte, not in a streamed body or a background task"
                )
            yield

    def _now(self, live: SessionSnapshot[T]) -> SessionSnapshot[T]:
        assert self.token is not None
        self._outcome, self._live = Decision.LIVE, live
        if sets_cookie(self.signals):
            self.set_cookie = self._cookie.given(self.token, secure=self._secure, max_age=live.max_age)
        return live

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except SessionGone as gone:
            # docs/decisions/0040-changes-after-the-end-are-refused.md
            self.refused = SignInRequired(str(gone), presented=self.presented)
            raise self.refused from gone
        except (EngineError, BrokenValue) as error:
            raise self._refusal(_UNANSWERED[_found(error)]) from error

    def _refusal(self, outcome: Decision) -> Refused:
        self.refused = refusal(outcome, presented=self.presented, plain=self.signals.plain)
        return self.refused


_UNANSWERED = {
    LookUp.UNAVAILABLE: Decision.UNAVAILABLE,
    LookUp.OVERLOADED: Decision.OVERLOADED,
    LookUp.BROKEN: Decision.BROKEN,
}


def _found(error: Exception) -> LookUp:
    match error:
        case Overloaded():
            return LookUp.OVERLOADED
        case BrokenValue():
            return LookUp.BROKEN
        case _:
            return LookUp.UNAVAILABLE


def _state(live: SessionSnapshot[Any] | None) -> LookUp:
    if live is None:
        return LookUp.NOTHING
    return LookUp.LIVE if live.writable else LookUp.COPY
