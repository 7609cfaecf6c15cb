"""Types that are imported when somebody asks for them: a room that has caches only loads caches only.

Signatures name them as `lazy.Sessions`, so that their annotations can be evaluated. Prevents: a name is imported for
type checkers only · a framework that injects arguments, or makes documentation, asks `typing.get_type_hints` for a
room's · NameError.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from greenroom.late_imports import names_of

if TYPE_CHECKING:
    from greenroom.cached import CachedFunction
    from greenroom.caching.store import Store
    from greenroom.caching.threads import LoaderThreads
    from greenroom.declarations import Declarations
    from greenroom.keyspace.registry import Keyspaces
    from greenroom.progress import Jobs, Order
    from greenroom.rate_limit import Bound, RateLimit
    from greenroom.sessions import Presence, Sessions, SessionSettings

__all__ = [
    "Bound",
    "CachedFunction",
    "Declarations",
    "Jobs",
    "Keyspaces",
    "LoaderThreads",
    "Order",
    "Presence",
    "RateLimit",
    "SessionSettings",
    "Sessions",
    "Store",
]

MODULES = {
    "Bound": "greenroom.rate_limit",
    "CachedFunction": "greenroom.cached",
    "Declarations": "greenroom.declarations",
    "Jobs": "greenroom.progress",
    "Keyspaces": "greenroom.keyspace.registry",
    "LoaderThreads": "greenroom.caching.threads",
    "Order": "greenroom.progress",
    "Presence": "greenroom.sessions",
    "RateLimit": "greenroom.rate_limit",
    "SessionSettings": "greenroom.sessions",
    "Sessions": "greenroom.sessions",
    "Store": "greenroom.caching.store",
}
"""Where each is."""


if not TYPE_CHECKING:  # a type checker would take any name for one that is here
    __getattr__ = names_of(__name__, MODULES)
