"""The client's secret and the session's name: a name leaked by a dump, a log or MONITOR opens no session."""

from __future__ import annotations

import hashlib
import re
import secrets
from base64 import urlsafe_b64encode

from greenroom.sessions.arguments import session_part

_TOKEN = re.compile(r"[A-Za-z0-9_-]{43}")


def new_token() -> str:
    """256 random bits in base64url, 43 characters."""
    return secrets.token_urlsafe(32)


def is_token(text: str) -> bool:
    """Whether a text has a token's form; anything else is refused before any look-up."""
    return _TOKEN.fullmatch(text) is not None


def session_id(token: str) -> str:
    """The unpadded base64url of SHA-256 over the token's ASCII; `greenroom definitions` says the same."""
    return _digest(token.encode("ascii"))


def handle(session: str) -> str:
    """A public name of a session, for its owner's list: neither its id nor its token follows from it.

    Raises:
        InvalidInput: for what is no session's id.
    """
    session_part("session", session)
    return hashlib.sha256(b"greenroom-handle:" + session.encode("ascii")).hexdigest()[:32]


def _digest(data: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode("ascii")
