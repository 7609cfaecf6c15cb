"""Why a request gets no session, and the answer to it: an RFC 9457 problem document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import quote

import msgspec

from greenroom.errors import GreenroomError
from greenroom.sessions.policy import Decision

MEDIA_TYPE = "application/problem+json"
"""The media type of a problem document (RFC 9457)."""


class Refused(GreenroomError):
    """A request cannot have what it needs of its session; the middleware answers it where the application does not.

    Class members:
        status: of the HTTP answer.
        title: of the problem document.
        close_code: of a WebSocket that is already open.
    """

    status: ClassVar[int] = 403
    title: ClassVar[str] = "Access denied"
    close_code: ClassVar[int] = 1008

    @property
    def headers(self) -> dict[str, str]:
        """What the answer must carry besides."""
        return {}


class SignInRequired(Refused):
    """There is no live session: sign in, or come back with the token that is.

    Arguments:
        presented: whether the request has a token.
    """

    status = 401
    title = "Signing in is needed"
    close_code = 4401

    def __init__(self, detail: str = "this needs a session", *, presented: bool = False) -> None:
        super().__init__(detail)
        self.presented = presented

    @property
    def headers(self) -> dict[str, str]:
        # RFC 6750, 3.1: the error is named only to who sent a token.
        challenge = 'Bearer realm="greenroom"'
        return {"WWW-Authenticate": challenge + ', error="invalid_token"' if self.presented else challenge}


class ForeignOrigin(Refused):
    """A page of another origin tries to act in the user's name."""


class InsecureTransport(Refused):
    """Over this connection a listener on the way would have the token."""


class SessionsUnavailable(Refused):
    """The store of the sessions cannot be asked; that says nothing about who is signed in. Retry later."""

    status = 503
    title = "Sessions cannot be reached"
    close_code = 1013

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


class SessionsOverloaded(SessionsUnavailable):
    """Too many commands are outstanding to look up one more session. Slow down, then retry."""

    title = "The service is overloaded"


class SessionBroken(Refused):
    """The stored session does not fit its schema; it is neither over nor overwritten."""

    status = 500
    title = "The session cannot be read"
    close_code = 1011


# docs/decisions/0078-a-failure-carries-the-new-cookie.md
class RequestFailed(Refused):
    """Never raised: the answer to a request whose application has failed after it had made a new token."""

    status = 500
    title = "Internal error"

    def __init__(self, detail: str = "an unexpected error; the log has it") -> None:
        super().__init__(detail)


class RequestCancelled(RequestFailed):
    """Never raised: likewise, where the request was cancelled, by a time limit or by the server's end."""

    status = 503
    title = "The request was given up"

    def __init__(self) -> None:
        super().__init__("the request took too long, or the service is ending")

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": "1"}


def refusal(outcome: Decision, *, presented: bool, plain: str = "") -> Refused:
    """What stands against an outcome where a session is needed that can be written.

    Arguments:
        plain: as `Signals` has it.
    """
    match outcome:
        case Decision.FOREIGN:
            return ForeignOrigin("the request comes from a page of another origin")
        case Decision.INSECURE:
            detail = "sessions need HTTPS; plain HTTP is for http://localhost only"
            return InsecureTransport(f"{detail}: {plain}" if plain else detail)
        case Decision.UNAVAILABLE:
            return SessionsUnavailable("the sessions cannot be read or written now; /health/ready says why")
        case Decision.OVERLOADED:
            return SessionsOverloaded("the service is overloaded")
        case Decision.BROKEN:
            return SessionBroken("the stored session does not fit its schema")
        case _:
            detail = "the token names no live session" if presented else "this needs a session"
            return SignInRequired(detail, presented=presented)


def document(refused: Refused, scope: Mapping[str, Any]) -> bytes:
    """The problem document; its type is the status's own, so the title tells it."""
    path = scope.get("raw_path") or quote(scope["path"]).encode()
    problem = {
        "type": "about:blank",
        "title": refused.title,
        "status": refused.status,
        "detail": str(refused),
        "instance": path.decode("ascii", "backslashreplace"),
    }
    return msgspec.json.encode(problem)
