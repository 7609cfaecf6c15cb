"""Greenroom: caches and sessions in Valkey or Redis, for any Python service.

What a program needs is named here; `greenroom.errors` says what to do about each error.
"""

from typing import TYPE_CHECKING

from greenroom.late_imports import names_of

if TYPE_CHECKING:
    from greenroom.cached import CachedFunction
    from greenroom.caching import Cache, CacheResult, Loaded, Outcome
    from greenroom.caching.store import Store
    from greenroom.client import Greenroom
    from greenroom.errors import GreenroomError
    from greenroom.keyspace import Keyspace, Number, Text
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


# A process that has caches only does without sessions, and one that needs the errors only without both.
_MODULES = {
    "Cache": "greenroom.caching",
    "CacheResult": "greenroom.caching",
    "CachedFunction": "greenroom.cached",
    "Greenroom": "greenroom.client",
    "GreenroomError": "greenroom.errors",
    "Keyspace": "greenroom.keyspace",
    "Keyspaces": "greenroom.keyspace.registry",
    "Loaded": "greenroom.caching",
    "Number": "greenroom.keyspace",
    "Outcome": "greenroom.caching",
    "RateLimit": "greenroom.rate_limit",
    "Store": "greenroom.caching.store",
    "Text": "greenroom.keyspace",
}
if not TYPE_CHECKING:  # a type checker would take any name for one that is here
    __getattr__ = names_of(__name__, dict.fromkeys(__all__, "greenroom.sessions") | _MODULES)


def __dir__() -> list[str]:
    """All names, also those that nobody has asked for yet: interactive shells complete them."""
    return [*globals(), *__all__]
