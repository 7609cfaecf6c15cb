"""Sessions over a keyspace: tokens, the store, and what a request's signals mean."""

from greenroom.sessions.store import Limits, Live, SessionGone, Sessions

__all__ = ["Limits", "Live", "SessionGone", "Sessions"]
