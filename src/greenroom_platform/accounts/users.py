"""Accounts: a name and a password make a user; signing in finds the user again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from greenroom.clock import SYSTEM, Clock
from greenroom.errors import Conflict, EngineError, GreenroomError, InvalidInput, RecordError
from greenroom.opened import Opened
from greenroom_platform.accounts.attempts import Attempts
from greenroom_platform.accounts.common_passwords import is_common
from greenroom_platform.accounts.passwords import Passwords
from greenroom_platform.domain.records import UserRecords
from greenroom_platform.models import User

USERNAME = (3, 64)
"""Characters, of the alphabet of key parts."""
PASSWORD = (8, 256)
"""Characters, whichever."""
_USERNAME = re.compile(r"[A-Za-z0-9._~-]{{{},{}}}".format(*USERNAME))
_ID = re.compile(r"[0-9A-Fa-f]{32}")
"""No name: operators find users by either."""


class WrongCredentials(GreenroomError):
    """No user has this name and password; which of the two is wrong is not said."""


class _Look:
    """Whether a password was looked at."""

    begun = False

    def begin(self) -> None:
        """It is looked at now."""
        self.begun = True


class Accounts:
    """The users of one platform."""

    def __init__(
        self, records: UserRecords, passwords: Passwords, attempts: Attempts, *, clock: Clock = SYSTEM
    ) -> None:
        self._records = records
        self._passwords = passwords
        self._attempts = attempts
        self._clock = clock
        self._opened = Opened()

    async def check(self, username: str, password: str) -> None:
        """Return if they can be a user's.

        Raises:
            InvalidInput: naming `username` or `password`, when it cannot be one.
        """
        if _USERNAME.fullmatch(username) is None:
            remedy = "use {} to {} characters of A-Z a-z 0-9 . _ ~ -".format(*USERNAME)
            raise InvalidInput("username", "cannot be a user name", remedy)
        if _ID.fullmatch(username) is not None:
            remedy = "use another length, or another character in it"
            raise InvalidInput("username", "has the form of a user's id: 32 hexadecimal digits", remedy)
        await self._check_password(username, password)

    async def _check_password(self, username: str, password: str) -> None:
        if not PASSWORD[0] <= len(password) <= PASSWORD[1]:
            reason = f"has {len(password)} characters"
            raise InvalidInput("password", reason, "use {} to {} characters".format(*PASSWORD))
        # On a thread: the list is read at its first use.
        if password.lower() == username.lower() or await asyncio.to_thread(is_common, password):
            remedy = "use another one; several unrelated words are easy to remember"
            raise InvalidInput("password", "is one of those that are guessed first", remedy)

    async def create(self, username: str, password: str) -> User:
        """Make a user; signs nobody in.

        Raises:
            InvalidInput: as `check`.
            Conflict: when the name is taken; `Ana` and `ana` are the same.
            Overloaded: when too many passwords are waited for.
        """
        self._opened.check()
        await self.check(username, password)
        user = User(
            user_id=self._clock.token().hex(),
            username=username.lower(),
            password_hash=await self._passwords.hashed(password),
            created_at=self._clock.now(),
        )
        await self._records.add_user(user)
        return user

    async def sign_in(self, username: str, password: str, *, address: str) -> User:
        """The user of this name and password.

        Arguments:
            address: where the attempt comes from.

        Raises:
            WrongCredentials: after the same time, and with the same words, whichever is wrong.
            TooManyAttempts: when neither may be tried; a right password is no exception.
            EngineError: when the attempt cannot be counted, or too many passwords are waited for.
        """
        self._opened.check()
        name = username.lower()
        async with self._attempt(name, address) as look:
            user = await self._records.user_by_name(name) if _USERNAME.fullmatch(username) else None
            stored = None if user is None else user.password_hash
            verified = await self._passwords.verify(stored, password[: PASSWORD[1] + 1], begun=look.begin)
        if user is None or not verified.right:
            raise WrongCredentials("wrong name or password")
        # Prevents: the password is right · what follows cannot be done now · the log-in fails, and counts as wrong.
        if verified.rehash is not None:
            with suppress(RecordError):
                await self._records.replace_hash(user.user_id, user.password_hash, verified.rehash)
        with suppress(EngineError):
            await self._attempts.forgive(name)
        return user

    async def change_password(
        self,
        user_id: str,
        current: str,
        new: str,
        *,
        address: str,
        once_right: Callable[[], Awaitable[object]] | None = None,
    ) -> User:
        """Give a user another password; counts as a log-in. Their other sessions are the caller's to end.

        Arguments:
            address: where the attempt comes from.
            once_right: what to do when the current password is found right, before the new one counts; if that fails
                the password stays.

        Raises:
            InvalidInput: naming `current_password`, when it is not theirs, or `new_password`, when it cannot be one.
            WrongCredentials: when there is no such user any more.
            Conflict: when the password was changed meanwhile.
            TooManyAttempts, EngineError: as `sign_in`.
        """
        user = await self._user(user_id)
        try:
            await self._check_password(user.username, new)
        except InvalidInput as error:
            raise InvalidInput("new_password", error.reason, error.remedy) from None
        async with self._attempt(user.username, address) as look:
            new_hash = await self._passwords.replaced(
                user.password_hash, current[: PASSWORD[1] + 1], new, begun=look.begin
            )
        if new_hash is None:
            # docs/decisions/0073-a-wrong-current-password-is-422.md
            raise InvalidInput("current_password", "is not your password", "send the password that you sign in with")
        # Before what may fail: as in `sign_in`, a password that was right costs no attempt.
        with suppress(EngineError):
            await self._attempts.forgive(user.username)
        if once_right is not None:
            await once_right()
        if not await self._records.replace_hash(user.user_id, user.password_hash, new_hash):
            raise Conflict("the password was changed in another place at the same time; sign in again")
        return user

    async def delete(
        self, user_id: str, password: str, *, address: str, once_right: Callable[[], Awaitable[object]]
    ) -> None:
        """Delete a user and all that is kept of them; counts as a log-in. Their sessions are the caller's to end.

        Arguments:
            address: where the attempt comes from.
            once_right: what to do when the password is found right, before the user goes; if that fails they stay.

        Raises:
            InvalidInput: naming `password`, when it is not theirs.
            WrongCredentials: when there is no such user any more.
            Conflict: when the password was changed meanwhile.
            TooManyAttempts, EngineError: as `sign_in`.
        """
        user = await self._user(user_id)
        async with self._attempt(user.username, address) as look:
            verified = await self._passwords.verify(user.password_hash, password[: PASSWORD[1] + 1], begun=look.begin)
        if not verified.right:
            # docs/decisions/0073-a-wrong-current-password-is-422.md
            raise InvalidInput("password", "is not your password", "send the password that you sign in with")
        with suppress(EngineError):
            await self._attempts.forgive(user.username)
        await once_right()
        # Whoever signs in meanwhile may have stored the same password's hash with today's parameters.
        while not await self._records.delete_user(user_id, user.password_hash):
            if not await self.still_right(user, password) or (now := await self._records.user(user_id)) is None:
                raise Conflict("the password was changed in another place at the same time; sign in again")
            user = now

    async def still_right(self, user: User, password: str) -> bool:
        """Whether a password that was verified a moment ago is still the user's.

        Raises:
            EngineError, RecordError: when that cannot be told.
        """
        self._opened.check()
        now = await self._records.user(user.user_id)
        if now is None or now.password_hash == user.password_hash:
            return now is not None
        # Of the same password too there may be another hash by now: with today's parameters.
        return (await self._passwords.verify(now.password_hash, password[: PASSWORD[1] + 1])).right

    async def _user(self, user_id: str) -> User:
        self._opened.check()
        user = await self._records.user(user_id)
        if user is None:
            raise WrongCredentials("this user does not exist any more")
        return user

    @asynccontextmanager
    async def _attempt(self, name: str, address: str) -> AsyncIterator[_Look]:
        """Around the look at a password: counted before it, and not if it was not looked at, for whatever reason."""
        await self._attempts.count(name, address)
        look = _Look()
        try:
            yield look
        except BaseException:  # a caller who gives up while others are hashed is one of them
            if not look.begun:
                await self._attempts.take_back(name, address)
            raise

    async def close(self) -> None:
        """Finish the hashes under way; further calls fail."""
        self._opened.end()
        await self._passwords.close()

    async def keep_preferences(self, user_id: str, preferences: Mapping[str, Any], at: datetime) -> bool:
        """Keep some of a user's preferences beyond the session; False where nobody is the user, or later ones are kept.

        Arguments:
            at: when they were set, by the clock of the sessions' server.
        """
        self._opened.check()
        return await self._records.set_preferences(user_id, preferences, at)
