"""Greenroom for threads: `from greenroom.sync import Greenroom`. The same interface, without `await`.

One event loop runs in a thread of its own in each process. What is near is read in the caller's thread.
"""

from greenroom.sync.cached import CachedFunction
from greenroom.sync.caches import Cache, DropTarget
from greenroom.sync.client import Greenroom
from greenroom.sync.progress import Jobs
from greenroom.sync.rate_limits import RateLimit
from greenroom.sync.sessions import Presence, Sessions
from greenroom.sync.stores import Store

__all__ = ["Cache", "CachedFunction", "DropTarget", "Greenroom", "Jobs", "Presence", "RateLimit", "Sessions", "Store"]
