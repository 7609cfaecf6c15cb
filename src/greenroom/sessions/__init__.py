"""Sessions over a keyspace: tokens, the store, who is here, and what a request's signals mean."""

from greenroom.engine.factory import Use
from greenroom.engine.key_events import Pushes
from greenroom.sessions import index as _roll
from greenroom.sessions import store as _slot
from greenroom.sessions.asgi import SessionMiddleware, session_of
from greenroom.sessions.eviction import eviction_advice
from greenroom.sessions.limits import Limits
from greenroom.sessions.presence import Presence
from greenroom.sessions.raw_json import merged
from greenroom.sessions.refusals import Refused, SignInRequired
from greenroom.sessions.request import RequestSession
from greenroom.sessions.revocations import Ends
from greenroom.sessions.sessions import Sessions
from greenroom.sessions.settings import SessionData, SessionSettings
from greenroom.sessions.snapshot import Live, SessionGone
from greenroom.sessions.streams import Stream
from greenroom.sessions.token import handle

SCRIPTS = (*_slot.SCRIPTS, *_roll.SCRIPTS)
"""To be loaded by the engine of the sessions."""


def session_use(pushes: Pushes, ends: Ends) -> Use:
    """What sessions need of their engine."""
    # Before a tracked connection serves, what others owe it takes its time: slots may have been taken over since.
    return Use(
        SCRIPTS,
        pushes.invalidated,
        pushes.lost,
        before_serving=ends.send,
        either_gained=ends.queue,
        before_use=ends.send,
    )


__all__ = [
    "SCRIPTS",
    "Ends",
    "Limits",
    "Live",
    "Presence",
    "Refused",
    "RequestSession",
    "SessionData",
    "SessionGone",
    "SessionMiddleware",
    "SessionSettings",
    "Sessions",
    "SignInRequired",
    "Stream",
    "eviction_advice",
    "handle",
    "merged",
    "session_of",
    "session_use",
]
