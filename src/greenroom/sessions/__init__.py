"""Sessions over a keyspace: tokens, the store, presence, and the policy for requests."""
# docs/decisions/0079-small-files-before-few.md

from greenroom.sessions.asgi import SessionMiddleware, session_of
from greenroom.sessions.cookie import CookieSettings
from greenroom.sessions.index import Stream
from greenroom.sessions.limits import SessionLifetime, SessionLimits
from greenroom.sessions.presence import Presence
from greenroom.sessions.raw_json import merged
from greenroom.sessions.refusals import Refused, SignInRequired
from greenroom.sessions.request import RequestSession
from greenroom.sessions.revocations import Revocations
from greenroom.sessions.sessions import SCRIPTS, Sessions
from greenroom.sessions.settings import SessionData, SessionSettings, StreamNames
from greenroom.sessions.snapshot import SessionGone, SessionSnapshot
from greenroom.sessions.token import handle

__all__ = [
    "SCRIPTS",
    "CookieSettings",
    "Presence",
    "Refused",
    "RequestSession",
    "Revocations",
    "SessionData",
    "SessionGone",
    "SessionLifetime",
    "SessionLimits",
    "SessionMiddleware",
    "SessionSettings",
    "SessionSnapshot",
    "Sessions",
    "SignInRequired",
    "Stream",
    "StreamNames",
    "handle",
    "merged",
    "session_of",
]
