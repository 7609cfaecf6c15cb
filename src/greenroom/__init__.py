"""Greenroom: caches and sessions in Valkey or Redis, for any Python service.

What a program needs is named here; `greenroom.errors` says what to do about each error.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from greenroom import lazy
from greenroom.caching import Cache, CacheResult, Loaded, Outcome
from greenroom.client import Greenroom
from greenroom.errors import GreenroomError
from greenroom.keyspace import Keyspace, Number, Text

if TYPE_CHECKING:
    from greenroom.cached import CachedFunction
    from greenroom.caching.store import Store
    from greenroom.keyspace.registry import Keyspaces
    from greenroom.rate_limit import RateLimit
    from greenroom.sessions import (
        CookieSettings,
        Refused,
        RequestSession,
        SessionData,
        SessionGone,
        SessionLifetime,
        SessionMiddleware,
        SessionSettings,
        SignInRequired,
        session_of,
    )

__version__ = "0.2.0.dev0"
"""The one place of the version: the metadata are made from it. Between releases it is the next one, with .dev0."""

__all__ = [
    "Cache",
    "CacheResult",
    "CachedFunction",
    "CookieSettings",
    "Greenroom",
    "GreenroomError",
    "Keyspace",
    "Keyspaces",
    "Loaded",
    "Number",
    "Outcome",
    "RateLimit",
    "Refused",
    "RequestSession",
    "SessionData",
    "SessionGone",
    "SessionLifetime",
    "SessionMiddleware",
    "SessionSettings",
    "SignInRequired",
    "Store",
    "Text",
    "__version__",
    "session_of",
]


def __getattr__(name: str) -> Any:
    """What not every process needs is imported when it is asked for: a process that has caches only does without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(lazy.MODULES.get(name, "greenroom.sessions")), name)
