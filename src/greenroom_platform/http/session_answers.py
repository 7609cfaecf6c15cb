"""What the routes of sessions share: the session of a request, and its JSON as an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from litestar import Request, Response

from greenroom.sessions import RequestSession, SessionSnapshot, session_of
from greenroom.sessions.raw_json import changed
from greenroom_platform.http.handler_words import mentions
from greenroom_platform.http.responses import StoredJSON
from greenroom_platform.models import Session

Headers = Sequence[tuple[bytes, bytes]]

_JSON = (b"content-type", b"application/json")
UNTAGGED = " "
"""The version of what is answered without an `ETag`: `*` names it, and no tag, which has no spaces."""


@mentions("Cache-Control")
def request_session(request: Request[Any, Any, Any]) -> RequestSession[Session]:
    """The session of a request; `SessionMiddleware` lets nobody keep the answer to whoever has asked for it."""
    return session_of(request.scope)


def session_response(
    live: SessionSnapshot[Session], *, token: str | None = None, headers: Headers = ()
) -> Response[Session]:
    """The session's JSON as it is, with the members that we do not know."""
    body = live.body
    if token is not None:
        body = changed(body, {"token": token})
    answer: Any = StoredJSON(body, 200, [_JSON, (b"content-length", b"%d" % len(body)), *headers])
    return answer  # type: ignore[no-any-return]  # the type argument is what the API's description shows
