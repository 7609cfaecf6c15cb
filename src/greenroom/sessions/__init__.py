"""Sessions over a keyspace: tokens, the store, who is here, and what a request's signals mean."""

from greenroom.sessions import roll as _roll
from greenroom.sessions import slot as _slot
from greenroom.sessions.document import merged
from greenroom.sessions.ends import Ends
from greenroom.sessions.limits import Limits
from greenroom.sessions.live import Live, SessionGone
from greenroom.sessions.presence import Presence
from greenroom.sessions.store import Sessions
from greenroom.sessions.streams import Stream
from greenroom.sessions.token import handle

SCRIPTS = (*_slot.SCRIPTS, *_roll.SCRIPTS)
"""To be loaded by the engine of the sessions."""

__all__ = ["SCRIPTS", "Ends", "Limits", "Live", "Presence", "SessionGone", "Sessions", "Stream", "handle", "merged"]
