"""Read-through caching over a keyspace."""

from greenroom.caching.cache import Cache
from greenroom.caching.loader import Loader
from greenroom.caching.result import Outcome, Read

__all__ = ["Cache", "Loader", "Outcome", "Read"]
