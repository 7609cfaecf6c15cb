"""Sessions over a keyspace: tokens, the store, who is here, and what a request's signals mean."""

from greenroom.engine.factory import Use
from greenroom.engine.key_events import KeyEvents
from greenroom.sessions import index as _roll
from greenroom.sessions import store as _slot
from greenroom.sessions.asgi import SessionMiddleware, session_of
from greenroom.sessions.eviction import eviction_warning
from greenroom.sessions.limits import SessionLimits
from greenroom.sessions.presence import Presence
from greenroom.sessions.raw_json import merged
from greenroom.sessions.refusals import Refused, SignInRequired
from greenroom.sessions.request import RequestSession
from greenroom.sessions.revocations import Revocations
from greenroom.sessions.sessions import Sessions
from greenroom.sessions.settings import SessionData, SessionSettings
from greenroom.sessions.snapshot import SessionGone, SessionSnapshot
from greenroom.sessions.streams import Stream, StreamNames
from greenroom.sessions.token import handle

SCRIPTS = (*_slot.SCRIPTS, *_roll.SCRIPTS)
"""To be loaded by the engine of the sessions."""


def session_use(pushes: KeyEvents, ends: Revocations) -> Use:
    """What sessions need of their engine."""
    # Before a tracked connection serves, what others owe it takes its time: slots may have been taken over since.
    return Use(
        SCRIPTS,
        pushes.keys_invalidated,
        pushes.keys_lost,
        before_serving=ends.send,
        either_gained=ends.queue,
        before_use=ends.send,
    )


__all__ = [
    "SCRIPTS",
    "Presence",
    "Refused",
    "RequestSession",
    "Revocations",
    "SessionData",
    "SessionGone",
    "SessionLimits",
    "SessionMiddleware",
    "SessionSettings",
    "SessionSnapshot",
    "Sessions",
    "SignInRequired",
    "Stream",
    "StreamNames",
    "eviction_warning",
    "handle",
    "merged",
    "session_of",
    "session_use",
]
