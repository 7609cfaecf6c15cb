"""Greenroom: the hot-data tier of a podcast platform, in Valkey or Redis.

What a program needs is named here; `greenroom.errors` says what to do about each error.
"""

from greenroom.caching import Cache, Outcome, Read
from greenroom.client import Greenroom
from greenroom.errors import GreenroomError
from greenroom.keyspace import Keyspace
from greenroom.sessions import (
    Refused,
    RequestSession,
    SessionGone,
    SessionMiddleware,
    SignInRequired,
    session_of,
)
from greenroom_platform.models import PodcastStatus, Session, Snippet, Topic

__version__ = "0.1.0"
"""The one place of the version: the package's metadata are made from it."""

__all__ = [
    "Cache",
    "Greenroom",
    "GreenroomError",
    "Keyspace",
    "Outcome",
    "PodcastStatus",
    "Read",
    "Refused",
    "RequestSession",
    "Session",
    "SessionGone",
    "SessionMiddleware",
    "SignInRequired",
    "Snippet",
    "Topic",
    "__version__",
    "session_of",
]
