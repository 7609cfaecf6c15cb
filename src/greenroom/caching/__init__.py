"""Read-through caching over a keyspace."""

from greenroom.caching.cache import Cache
from greenroom.caching.loader import Loader
from greenroom.caching.result import CacheResult, Outcome

__all__ = ["Cache", "CacheResult", "Loader", "Outcome"]
