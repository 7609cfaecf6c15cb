"""The session of editors and operators on the pages: a signed cookie, and nothing that is stored.

It works in every process that has the same tokens, also while Valkey is down, and ends when the token that opened it is
changed. See docs/decisions/0100-staff-sessions-are-signed-cookies.md.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from greenroom.clock import SYSTEM, Clock
from greenroom.sessions.cookie import CookieSettings

Role = Literal["act", "read"]
"""What a member of staff may do: an editor changes things, who has the control token looks at them."""

COOKIE = CookieSettings("greenroom-staff", same_site="strict")
LIFETIME = timedelta(hours=12)
WHO_MAX = 64
"""Characters of the name that a member of staff gives."""
_LONGEST = 1024
"""Characters of a cookie above which nothing of it is looked at; one of ours has fewer than 600."""
# From a cookie the token can be guessed without asking the service: each guess costs so much, some 25 ms and 8 MB.
_COST = 2**13
_SALT = b"greenroom-staff-session"


class StaffSession(msgspec.Struct, frozen=True, kw_only=True):
    """Who acts: the role, the name that was given, and when the session ends (None where a token was sent)."""

    role: Role
    who: str
    until: datetime | None


class _Claims(msgspec.Struct, frozen=True, array_like=True):
    role: Role
    who: str
    until: int
    nonce: str


class ForgedCookie(Exception):
    """The cookie is not signed with a token of now: a guess, or of a time when the token was another."""


class StaffSessions:
    """Signs cookies, and reads them.

    Arguments:
        editor_token: opens sessions that may act.
        control_token: opens sessions that may read; None where there is no such token.
    """

    def __init__(self, editor_token: str | None, control_token: str | None, *, clock: Clock = SYSTEM) -> None:
        self._tokens: dict[Role, str] = {}
        if editor_token is not None:
            self._tokens["act"] = editor_token
        if control_token is not None:
            self._tokens["read"] = control_token
        self._keys: dict[Role, bytes] = {}
        self._clock = clock

    def role_of(self, token: str) -> Role | None:
        """The role that a token gives; compared in constant time, with every token."""
        found: Role | None = None
        for role, expected in self._tokens.items():
            # How long a wrong guess takes must not tell how much of it was right.
            if hmac.compare_digest(token.encode("utf-8", "surrogatepass"), expected.encode()):
                found = role
        return found

    def open(self, role: Role, who: str) -> tuple[StaffSession, str]:
        """A new session, and its cookie's value."""
        until = self._clock.now().replace(microsecond=0) + LIFETIME
        claims = msgspec.json.encode(_Claims(role, who, int(until.timestamp()), secrets.token_urlsafe(12)))
        session = StaffSession(role=role, who=who, until=until)
        return session, f"{_text(claims)}.{_text(self._signature(role, claims))}"

    def read(self, cookies: Iterable[str]) -> StaffSession | None:
        """The session of a request's cookies; None where there is none, or where it is over.

        Raises:
            ForgedCookie: for what is not signed with the token of its role.
        """
        cookies = list(cookies)
        if not cookies:
            return None
        # Of two cookies nobody can say which was planted.
        if len(cookies) > 1 or len(cookies[0]) > _LONGEST:
            raise ForgedCookie
        text, _dot, signature = cookies[0].partition(".")
        try:
            claims, signed = _bytes(text), _bytes(signature)
            # Read before it is verified: the role says with which token. Prevents: who may look signs a cookie that may
            # act. Nothing else of it is used until then.
            claimed = msgspec.json.decode(claims, type=_Claims)
        except (ValueError, msgspec.DecodeError):
            raise ForgedCookie from None
        if claimed.role not in self._tokens or not hmac.compare_digest(signed, self._signature(claimed.role, claims)):
            raise ForgedCookie
        until = datetime.fromtimestamp(claimed.until, UTC)
        if until <= self._clock.now():
            return None
        return StaffSession(role=claimed.role, who=claimed.who, until=until)

    def _signature(self, role: Role, claims: bytes) -> bytes:
        if role not in self._keys:
            token = self._tokens[role].encode()
            self._keys[role] = hashlib.scrypt(token, salt=_SALT, n=_COST, r=8, p=1, dklen=32)
        return hmac.digest(self._keys[role], claims, "sha256")


def _text(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
