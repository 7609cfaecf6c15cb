"""Users' own feeds: an address with a secret, of which the record has the hash alone."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from greenroom_platform.domain.listings import Listings
from greenroom_platform.domain.records import UserRecords
from greenroom_platform.domain.task_records import Listed

_BYTES = 24
_SECRET = re.compile(r"([0-9A-Za-z_-]{1,128})\.([0-9A-Za-z_-]{32})")


class Feeds:
    """The feeds of one platform. A secret begins with the user's id, by which its hash is found."""

    def __init__(self, users: UserRecords, listings: Listings) -> None:
        self._users = users
        self._listings = listings

    async def make(self, user_id: str) -> str | None:
        """A new secret, which ends an earlier one; None where there is no such user any more."""
        self._listings.opened.check()
        token = secrets.token_urlsafe(_BYTES)
        return f"{user_id}.{token}" if await self._users.set_feed(user_id, _hash(token)) else None

    async def end(self, user_id: str) -> bool:
        """End a user's feed; False where there is no such user any more."""
        self._listings.opened.check()
        return await self._users.set_feed(user_id, None)

    async def read(self, secret: str) -> tuple[list[Listed], dict[str, str]] | None:
        """What is in the feed of a secret, in its order, and the names of the topics; None for another secret."""
        self._listings.opened.check()
        given = _SECRET.fullmatch(secret)
        user = await self._users.user(given[1]) if given is not None else None
        if given is None or user is None or not isinstance(user.feed_hash, str):
            return None
        if not hmac.compare_digest(user.feed_hash, _hash(given[2])):
            return None
        history = user.history if isinstance(user.history, tuple) else ()
        every = await self._listings.listed([one.podcast_id for one in history])
        audible = [
            every[one.podcast_id] for one in history if one.podcast_id in every and every[one.podcast_id].audible
        ]
        return audible, await self._listings.topic_names(audible)


def _hash(token: str) -> str:
    """Without a salt: what is hashed is random, and no password."""
    return hashlib.sha256(token.encode()).hexdigest()
